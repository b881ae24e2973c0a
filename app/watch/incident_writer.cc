#include "app/watch/incident_writer.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <iterator>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <pthread.h>

#include "app/tick/judge_losses.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/run/run_fold.h"
#include "store/run_store.h"

namespace topspin {
namespace {

/// Ticks of one transaction. While they are stored they are unpacked, up to 0.5 MB each.
constexpr size_t kTicksPerTransaction = 16;
constexpr int64_t kLockPatienceNs = 10 * kNanosPerSecond;
constexpr auto kRetryEvery = std::chrono::milliseconds(200);

/// Tries again while another program has the database locked, or its disk is full.
Status patiently(const std::function<Status()>& store) {
  const int64_t end_ns = monotonic_now_ns() + kLockPatienceNs;
  while (true) {
    const Status stored = store();
    if (stored.ok() || !may_pass(stored.error()) || monotonic_now_ns() >= end_ns) return stored;
    std::this_thread::sleep_for(kRetryEvery);
  }
}

/// One incident is named by its rule in messages, cut to a line.
std::string name_of(const IncidentCause& cause) {
  return cause.rule.empty() ? "frozen by hand"
                            : fmt::format("\"{}\", {}", cause.rule, cause.measured);
}

/// What a log says of an incident. `fate`: why it was lost, or where it is.
LiveEvent event_of(const Incident& incident, LiveEvent::Severity severity,
                   const std::string& fate) {
  const IncidentCause& cause = incident.cause;
  const bool is_lost = severity == LiveEvent::Severity::kError;
  LiveEvent event;
  event.wall_ns = incident.recorder.started_wall_ns + cause.at_ns;
  event.observed_wall_ns = wall_now_ns();
  event.severity = severity;
  event.name = is_lost ? "topspin.incident_lost" : "topspin.incident";
  event.text = is_lost ? fmt::format("an incident was lost ({}): {}", name_of(cause), fate)
                       : fmt::format("{}: kept as {}", name_of(cause), fate);
  event.attributes = log_attributes(cause);
  return event;
}

LiveEvent stored_event(const Incident& incident, const StoredIncident& stored,
                       const std::string& database) {
  LiveEvent event = event_of(incident, LiveEvent::Severity::kWarning,
                             fmt::format("run {} in {}", stored.run, database));
  event.attributes.emplace_back("topspin.incident.run", stored.run);
  event.attributes.emplace_back("topspin.incident.database", database);
  if (!stored.packet_file.empty())
    event.attributes.emplace_back("topspin.incident.packets", stored.packet_file);
  return event;
}

std::string packets_lost(const Error& why) {
  return fmt::format("the packets of this incident are lost: {}", why.message);
}

}  // namespace

Result<StoredIncident> store_incident(const Incident& incident, const std::string& database,
                                      const PacketDirectory* directory) {
  RunInfo run =
      incident_run(incident, make_run_id(incident.recorder.started_wall_ns + incident.begin_ns()));
  StoredIncident stored{run.id, "", ""};
  // A file gets its name only once its run exists, by which it is removed again.
  std::optional<IncidentPackets> packets;
  if (incident.packets) {
    auto written = IncidentPackets::write(incident, run.id, *directory);
    if (written.ok()) {
      packets.emplace(std::move(written).value());
      stored.packet_file = packets->name();
      stored.packets = packets->sentence();
      if (!packets->name().empty()) run.labels[kIncidentPacketsLabel] = packets->name();
    } else {
      stored.packets = packets_lost(written.error());
    }
  }
  WriterOptions options;
  options.folds = std::make_shared<RunFolds>();
  std::unique_ptr<RunWriter> writer;
  TOPSPIN_TRY(patiently([&]() -> Status {
    TOPSPIN_ASSIGN(writer, RunWriter::create(database, run, options));
    return {};
  }));
  if (packets) {
    if (const Status placed = packets->put_in_place(); !placed.ok()) {
      stored.packet_file.clear();
      stored.packets = packets_lost(placed.error());
    }
  }
  if (incident.packets)
    TOPSPIN_TRY(patiently([&] { return writer->add_event(0, stored.packets); }));
  // Before the ticks, which are folded by stages.
  const std::vector<RunStage> stages = incident_stages(incident);
  for (size_t i = 0; i < stages.size(); ++i)
    TOPSPIN_TRY(patiently([&] { return writer->put_stage(i, stages[i]); }));
  IncidentRows rows(incident);
  std::vector<Sample> batch;
  for (size_t i = 0; i < incident.ticks.size(); ++i) {
    batch.push_back(rows.tick(i));
    if (batch.size() < kTicksPerTransaction && i + 1 < incident.ticks.size()) continue;
    TOPSPIN_TRY(patiently([&] { return writer->append(batch); }));
    batch.back().losses.merge(writer->take_losses());
    for (const Sample& sample : batch) options.folds->add(sample);
    batch.clear();
  }
  for (const IncidentEvent& event : incident_events(incident))
    TOPSPIN_TRY(patiently([&] { return writer->add_event(event.elapsed_ns, event.text); }));
  const RunFold& fold = options.folds->whole();
  RunEnd end;
  end.status = RunStatus::kIncident;
  end.duration_ns = incident.end_ns() - incident.begin_ns();
  end.invalid_reasons = judge_losses(fold.merged.losses, fold.merged.flows, fold.ticks);
  end.doubts = doubts_of(fold.merged.flows);
  TOPSPIN_TRY(patiently([&] { return writer->finish(end); }));
  return stored;
}

bool IncidentWriter::give(Incident incident) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() < kMostWaiting) {
      waiting_.push_back(std::move(incident));
      if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
      changed_.notify_all();
      return true;
    }
    ++lost_;
  }
  tell_lost(incident, "those before it are still being stored");
  return false;
}

std::vector<IncidentMessage> IncidentWriter::take_messages() {
  const std::lock_guard lock(mutex_);
  return std::exchange(messages_, {});
}

void IncidentWriter::finish() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

size_t IncidentWriter::stored() const {
  const std::lock_guard lock(mutex_);
  return stored_;
}
size_t IncidentWriter::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

std::vector<LiveEvent> IncidentWriter::take_events() {
  const std::lock_guard lock(mutex_);
  std::vector<LiveEvent> events(std::make_move_iterator(events_.begin()),
                                std::make_move_iterator(events_.end()));
  events_.clear();
  return events;
}

void IncidentWriter::tell(std::string text, std::optional<LiveEvent> event) {
  const std::lock_guard lock(mutex_);
  if (event) {
    events_.push_back(*event);
    if (events_.size() > kMostEvents) events_.pop_front();
  }
  messages_.push_back({std::move(text), std::move(event)});
}

void IncidentWriter::tell_lost(const Incident& incident, const std::string& why) {
  LiveEvent event = event_of(incident, LiveEvent::Severity::kError, why);
  std::string text = event.text;
  tell(std::move(text), std::move(event));
}

void IncidentWriter::run() {
  pthread_setname_np(pthread_self(), "topspin-freeze");
  while (true) {
    std::optional<Incident> incident;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      incident = std::move(waiting_.front());
      waiting_.pop_front();
    }
    const auto stored = store_incident(*incident, database_, directory_ ? &*directory_ : nullptr);
    {
      const std::lock_guard lock(mutex_);
      ++(stored.ok() ? stored_ : lost_);
    }
    if (!stored.ok()) {
      tell_lost(*incident, stored.error().message);
      continue;
    }
    tell(fmt::format("incident kept in {} as run {}: {}, {} ticks, {}{}{}", database_, stored->run,
                     name_of(incident->cause), incident->ticks.size(),
                     format_duration(incident->end_ns() - incident->begin_ns()),
                     stored->packets.empty() ? "" : "; ", stored->packets),
         stored_event(*incident, *stored, database_));
    const auto kept = retain_runs(database_, limits_, wall_now_ns());
    if (!kept.ok()) {
      tell(fmt::format("old incidents were not removed: {}", kept.error().message));
      continue;
    }
    for (std::string& sentence : retention_sentences(*kept, limits_)) tell(std::move(sentence));
  }
}

}  // namespace topspin
