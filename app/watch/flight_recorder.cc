#include "app/watch/flight_recorder.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "app/host/outlet.h"
#include "app/host/output_place.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "store/run_store.h"

namespace topspin {
namespace {

/// The findings of an incident are of what came after its rule began to be met, and of so many
/// windows before: what a window shows began in it or before it.
constexpr int64_t kWindowsJudged = 2;

/// Packets stay so much longer than ticks, because a tick is frozen some time after its packets
/// came.
constexpr int64_t kPacketsLongerNs = 5 * kNanosPerSecond;

/// An incident at three in the morning is too late to learn that it cannot be stored.
Status check_database(const std::string& path) {
  if (std::error_code error; std::filesystem::exists(path, error)) {
    const auto store = RunStore::open(path);
    if (!store.ok()) return store.error();
    if (::access(path.c_str(), W_OK) == 0) return {};
    return make_error(
        ErrorCode::kPermission,
        fmt::format("{} cannot be written to; give another --db", sanitize_for_terminal(path)));
  }
  const std::string directory = directory_of(path);
  if (::access(directory.c_str(), W_OK | X_OK) == 0) return {};
  return make_error(ErrorCode::kPermission,
                    fmt::format("no file can be created in {}; give another --db",
                                sanitize_for_terminal(directory)));
}

}  // namespace

FlightRecorder::FlightRecorder(FlightSettings settings)
    : settings_(std::move(settings)),
      ring_(settings_.keep_ns, settings_.ring_bytes),
      trigger_(settings_.rules.size(), settings_.hold_off_ns),
      writer_(settings_.database, settings_.limits) {
  if (settings_.packet_bytes > 0)
    packets_.emplace(settings_.packet_bytes,
                     std::max(settings_.keep_ns, settings_.after_ns) + kPacketsLongerNs);
}

std::span<const int> FlightRecorder::signals() const {
  static constexpr std::array kSignals = {SIGUSR1};
  return kSignals;
}

Status FlightRecorder::on_start(const RunInfo& run) {
  TOPSPIN_TRY(check_database(settings_.database));
  TOPSPIN_ASSIGN(lock_, WatchLock::take(settings_.database));
  if (packets_) {
    TOPSPIN_ASSIGN(PacketDirectory directory, PacketDirectory::open(settings_.database));
    writer_.set_packet_directory(std::move(directory));
  }
  run_ = run;
  rules_.emplace(settings_.rules, run, settings_.window_ns);
  started_ = true;
  const size_t count = settings_.rules.size();
  const std::string by = count == 0   ? "with no rule, so incidents only by hand"
                         : count == 1 ? "by 1 rule"
                                      : fmt::format("by {} rules", count);
  service_.ready(fmt::format("watching {} {}", run.settings.interface, by));
  if (!settings_.quiet) {
    say(fmt::format(
        "watching {} (subject: {}) {}; the last {} are kept in at most {}; {} is written "
        "only on an incident{}",
        run.settings.interface, run.settings.subject, by, format_duration(settings_.keep_ns),
        format_bytes(static_cast<int64_t>(settings_.ring_bytes)), settings_.database,
        packets_ ? fmt::format(", with its packets from at most {}",
                               format_bytes(static_cast<int64_t>(settings_.packet_bytes)))
                 : ""));
  }
  return {};
}

void FlightRecorder::on_sample(const Sample& sample) {
  const std::shared_ptr<const PackedTick> tick = ring_.add(sample);
  if (incident_) incident_->ticks.push_back(tick);
  const std::vector<MetRule> met = rules_->add(sample);
  std::vector<size_t> positions;
  for (const MetRule& rule : met) positions.push_back(rule.rule);
  const auto first =
      trigger_.at_tick(sample.elapsed_ns, positions, incident_.has_value() || closed_);
  if (incident_ && sample.elapsed_ns >= incident_->cause.at_ns + settings_.after_ns) end_incident();
  if (first) {
    for (const MetRule& rule : met) {
      if (rule.rule != *first) continue;
      begin_incident({settings_.rules[*first].text, rule.measured, rule.since_ns, sample.elapsed_ns,
                      rule.since_ns - kWindowsJudged * settings_.window_ns});
    }
  } else if (freeze_asked_) {
    on_signal(SIGUSR1);
  }
  tell_messages();
  service_.alive(sample.monotonic_ns);
}

void FlightRecorder::begin_incident(IncidentCause cause) {
  if (!settings_.quiet) {
    std::string text = cause.rule.empty()
                           ? std::string("frozen by hand")
                           : fmt::format("\"{}\" was met: {}", cause.rule, cause.measured);
    if (settings_.after_ns > 0)
      text += fmt::format("; the next {} are kept too", format_duration(settings_.after_ns));
    LiveEvent met;
    met.name = "topspin.incident_begun";
    met.text = text;
    met.attributes = log_attributes(cause);
    tell(text, met);
  }
  incident_ = ring_.freeze(run_, std::move(cause));
  if (packets_) incident_->packets = packets_->freeze();
  if (settings_.after_ns == 0) end_incident();
}

void FlightRecorder::end_incident() {
  if (packets_) packets_->add_newer(*incident_->packets);
  (void)writer_.give(*std::exchange(incident_, std::nullopt));  // it says so if this one is lost
}

/// With its fields, if the journal takes them.
void FlightRecorder::tell(const std::string& text, const std::optional<LiveEvent>& event) const {
  if (!event || !journal_.send(*event)) say(text);
}

void FlightRecorder::on_signal(int /*number*/) {
  freeze_asked_ = ring_.empty();
  if (freeze_asked_) return;  // with the first tick
  if (incident_) {
    say("an incident is being recorded already; it is not frozen again");
    return;
  }
  const int64_t now_ns = ring_.newest_ns();
  trigger_.hold_off_from(now_ns);
  begin_incident({"", "", now_ns, now_ns, 0});
}

void FlightRecorder::on_event(std::string_view text) {
  if (!settings_.quiet) say(text);
  ring_.add_event(std::string(text));
  if (incident_) incident_->events.push_back({ring_.newest_ns(), std::string(text)});
}

void FlightRecorder::tell_messages() {
  for (const IncidentMessage& message : writer_.take_messages()) tell(message.text, message.event);
}

LiveFacts FlightRecorder::live_facts() const {
  LiveFacts facts;
  facts.incidents = writer_.stored();
  facts.incidents_lost = writer_.lost();
  facts.held_off = trigger_.held_off();
  return facts;
}

void FlightRecorder::close() {
  if (std::exchange(closed_, true)) return;
  if (started_) service_.stopping();
  if (incident_) end_incident();
  writer_.finish();
  tell_messages();
  if (started_ && !settings_.quiet) tell_summary();
}

void FlightRecorder::tell_summary() {
  std::string text = fmt::format("{} incident{} kept", writer_.stored(),
                                 writer_.stored() == 1 ? " was" : "s were");
  if (writer_.lost() > 0) text += fmt::format(", {} lost", writer_.lost());
  if (trigger_.held_off() > 0) {
    text += fmt::format("; rules were met {} more time{} during the hold-off", trigger_.held_off(),
                        trigger_.held_off() == 1 ? "" : "s");
  }
  say(text);
  for (size_t i = 0; i < settings_.rules.size(); ++i) {
    if (const auto why = rules_->never_judged(i))
      say(fmt::format("the rule \"{}\" could never be judged: {}", settings_.rules[i].text, *why));
  }
}

}  // namespace topspin
