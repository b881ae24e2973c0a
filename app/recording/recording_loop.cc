#include <algorithm>
#include <csignal>
#include <utility>

#include <fmt/format.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "app/host/outlet.h"
#include "app/recording/recording_run.h"
#include "core/base/text.h"

namespace topspin {
namespace {

/// If a tick comes this late, the recorder (or its machine) was stopped.
constexpr int64_t kStandstillNs = 500 * kNanosPerMilli;
constexpr int64_t kPlaceCheckNs = kNanosPerSecond;

}  // namespace

/// kRunning: waits for a source, then does everything that is due.
void Recording::run_pass() {
  arm_timer(std::min(next_due_ns_, end_ns_));
  const int timeout_ms = onlooker_ != nullptr ? onlooker_->refresh_ms() : -1;
  if (const Status waited = sources_.wait(timeout_ms); !waited.ok())
    return ending_.fail(waited.error());
  tick_if_due();
  drain_ticks();
  look_after_store();
  follow_command();
  if (onlooker_ != nullptr) {
    serve_onlooker();
    onlooker_->on_pass();
    if (onlooker_->is_hung_up()) ending_.hang_up();
    if (onlooker_->wants_stop()) ending_.ask();
  }
  if (monotonic_now_ns() >= end_ns_) ending_.ask();
}

void Recording::arm_timer(int64_t monotonic_ns) const {
  itimerspec spec{};
  spec.it_value.tv_sec = monotonic_ns / kNanosPerSecond;
  spec.it_value.tv_nsec = monotonic_ns % kNanosPerSecond;
  CHECK(timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) == 0);
}

void Recording::tick(int64_t due_ns) {
  ProbeInterval probes = probes_->take_interval();
  baseline_.apply(probes);
  owners_->note_processes(probes_->processes());
  if (packet_file_)
    probes.losses.packets_unwritten = count_unwritten(packet_file_->unwritten_packets());
  const int64_t read_ns = probes.end_ns;
  const bool subject_gone =
      settings_.subject.kind == SubjectSpec::Kind::kProcessTree && !probes.subject_alive;
  joiner_->add_probes({std::move(probes), read_self(usage_), read_ns}, due_ns);
  for (const std::string& event : probes_->take_events()) tell_event(due_ns - start_ns_, event);
  if (subject_gone && !command_) subject_ended();  // waitpid reports the end of a command
}

/// How many of these unwritten packets were not counted in a tick yet.
uint64_t Recording::count_unwritten(uint64_t packets) {
  return packets - std::exchange(packets_unwritten_, packets);
}

/// Makes one tick for everything that is due, so a recorder that was stopped makes one long
/// interval. What is due at the very end belongs to the last tick.
void Recording::tick_if_due() {
  const int64_t now_ns = std::min(monotonic_now_ns(), end_ns_ - 1);
  if (next_due_ns_ > now_ns) return;
  const int64_t interval_ns = settings_.live.interval_ns;
  const int64_t due_ns = start_ns_ + (now_ns - start_ns_) / interval_ns * interval_ns;
  note_standstill(next_due_ns_);
  tick(due_ns);
  next_due_ns_ = due_ns + interval_ns;
}

/// REQUIRES: a tick was due at `due_ns` and has not been made.
void Recording::note_standstill(int64_t due_ns) {
  const int64_t now_ns = monotonic_now_ns();
  const int64_t late_ns = now_ns - due_ns;
  if (late_ns < kStandstillNs) return;
  tell_event(now_ns - start_ns_,
             fmt::format(
                 "topspin was stopped for at least {}; what happened meanwhile is in one long tick",
                 format_duration(late_ns)));
}

void Recording::take_flows() {
  CaptureThread::Delivery delivery = capture_->take();
  for (ClosedInterval& interval : delivery.intervals) {
    for (const std::string& event : interval.events)
      tell_event(interval.flows.end_ns - start_ns_, event);
    if (interval.interface && onlooker_ != nullptr) onlooker_->on_interface(*interval.interface);
    joiner_->add_flows(std::move(interval));
  }
  if (delivery.error) ending_.fail(*delivery.error);
  if (delivery.has_all_packets) ending_.ask();
}

/// Stores and shows the ticks of which both halves are complete.
void Recording::drain_ticks() {
  while (auto tick = joiner_->next()) {
    const Sample sample =
        ticks_->build(std::move(tick->flows), std::move(tick->reading), tick->last);
    if (!options_.quiet) {
      if (lines_++ % kTickLinesPerHeader == 0)
        error_outlet().write(fmt::format("{}\n", tick_line_header()));
      error_outlet().write(fmt::format("{}\n", tick_line(sample, memory_)));
    }
    if (onlooker_ != nullptr) onlooker_->on_sample(sample);
    if (conductor_ != nullptr) conductor_->on_tick(sample, info_);
    if (metrics_) update_metrics(sample);
    for (const std::string& warning : headroom_.observe(sample))
      tell_event(sample.elapsed_ns, warning);
  }
}

void Recording::resolve_owners(Sample& sample) {
  owners_->resolve(sample);
  if (!hidden_) return;
  const std::vector<OpenedConnection> opened = owners_->take_opened();
  for (const std::string& sentence : hidden_->add(opened, sample))
    tell_event(sample.elapsed_ns, sentence);
}

LossInterval Recording::store(const Sample& sample) {
  if (const Status stored = writer_->append(sample); !stored.ok()) ending_.fail(stored.error());
  return writer_->take_losses();
}

/// Stores what waits, reports problems, and checks whether the file still exists.
void Recording::look_after_store() {
  if (!writer_) return;
  if (const Status stored = writer_->retry(); !stored.ok()) ending_.fail(stored.error());
  const int64_t now_ns = monotonic_now_ns();
  if (auto notice = writer_->take_notice()) tell_event(now_ns - start_ns_, *notice);
  if (place_told_ || now_ns < next_place_check_ns_) return;
  next_place_check_ns_ = now_ns + kPlaceCheckNs;
  if (const Status place = writer_->check_place(); !place.ok()) {
    place_told_ = true;
    tell_event(now_ns - start_ns_, place.error().message);
  }
}

/// Follows the command and the conductor.
void Recording::follow_command() {
  const std::optional<int> exit_status = command_ ? command_->exit_status() : std::nullopt;
  if (conductor_ == nullptr) {
    if (exit_status) subject_ended();
    return;
  }
  if (ending_.state() != RecordingState::kRunning) return;
  if (exit_status && !subject_end_told_) {
    subject_end_told_ = true;
    conductor_->on_command_end(*exit_status);
  }
  conductor_->on_pass(monotonic_now_ns());
  if (conductor_->wants_stop()) ending_.ask();
}

/// The end of the command or subject ends the recording, unless the onlooker stays.
void Recording::subject_ended() {
  if (onlooker_ == nullptr || !onlooker_->stays()) {
    ending_.ask();
  } else if (!subject_end_told_) {
    subject_end_told_ = true;
    if (command_)
      onlooker_->on_command_end(*command_->exit_status());
    else
      onlooker_->on_subject_gone();
  }
}

/// Handles the onlooker's requests to the capture. They do not change what is counted, except the
/// move to another interface, which is refused if the run is stored.
void Recording::serve_onlooker() {
  if (const auto flow = onlooker_->watched_flow(); flow != watched_) {
    watched_ = flow;
    capture_->watch_packets(flow);
  }
  if (watched_) onlooker_->on_packets(capture_->take_packets());
  if (const auto name = onlooker_->take_interface_wish()) {
    if (writer_) {
      onlooker_->on_event("a run has one interface; start topspin again to record another");
    } else {
      capture_->switch_interface(*name);
    }
  }
}

LiveFacts Recording::live_facts() const {
  return onlooker_ != nullptr ? onlooker_->live_facts() : LiveFacts();
}

void Recording::update_metrics(const Sample& sample) {
  metrics_->update(sample.monotonic_ns, folds_->whole(), live_facts());
  if (onlooker_ != nullptr) metrics_->log(onlooker_->take_live_events());
  for (const std::string& problem : metrics_->take_problems())
    tell_event(sample.elapsed_ns, problem);
}

void Recording::tell_event(int64_t elapsed_ns, const std::string& text) {
  if (!options_.quiet) say(text);
  if (onlooker_ != nullptr) onlooker_->on_event(text);
  if (writer_) (void)writer_->add_event(elapsed_ns, text).ok();
}

void Recording::handle_signals() {
  signalfd_siginfo info{};
  while (read(signal_fd_.get(), &info, sizeof info) == sizeof info) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD) continue;  // each pass checks the command
    const std::span<const int> wanted =
        onlooker_ != nullptr ? onlooker_->signals() : std::span<const int>();
    if (std::find(wanted.begin(), wanted.end(), number) != wanted.end())
      onlooker_->on_signal(number);
    else
      handle_stop_signal(number, info.ssi_code == SI_KERNEL);
  }
}

void Recording::handle_stop_signal(int number, bool from_terminal) {
  if (!ending_.stop_by(number)) {  // the second one ends it at once, without saving more
    if (command_) command_->kill_now();
    if (onlooker_ != nullptr) onlooker_->abandon();
    _exit(128 + number);
  }
  // With a conductor, the load must end before the command.
  if (conductor_ != nullptr || !command_) return;
  if (from_terminal)
    command_->was_asked_to_end();
  else
    command_->ask_to_end(number);
}

}  // namespace topspin
