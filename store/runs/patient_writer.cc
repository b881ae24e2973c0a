#include "store/runs/patient_writer.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace topspin {
namespace {

/// Roughly the memory that a waiting tick takes.
uint64_t size_of(const Sample& sample) {
  constexpr uint64_t kHistogramBytes = 8u << 10;
  constexpr uint64_t kThreadBytes = sizeof(ThreadRow) + 2u * kCoarseCells * sizeof(uint64_t);
  return sizeof(Sample) + 16 * kHistogramBytes + sample.changed_flows.size() * sizeof(FlowRow) +
         sample.changed_threads.size() * kThreadBytes +
         sample.changed_owners.size() * 2 * sizeof(FlowOwner) +
         sample.changed_sockets.size() * sizeof(SocketRow) +
         sample.changed_syscalls.size() * (sizeof(SyscallRow) + kHistogramBytes) +
         sample.changed_cpu_holders.size() * (sizeof(CpuHolderRow) + 128) +
         sample.changed_stacks.size() * (sizeof(StackRow) + 256) +
         sample.changed_sleep_stacks.size() * (sizeof(SleepStackRow) + 512) +
         sample.long_stretches.size() *
             (sizeof(BusyStretch) + kStacksAStretch * sizeof(StretchStack)) +
         sample.changed_called.size() * (sizeof(CalledRow) + kHistogramBytes) +
         sample.slowest_replies.size() * sizeof(SlowReply);
}

}  // namespace

Status PatientWriter::store(const Item& item) {
  if (const auto* sample = std::get_if<Sample>(&item)) {
    if (given_up_.ticks_unstored == 0) return writer_->append(*sample);
    Sample with_losses = *sample;
    with_losses.losses.merge(given_up_);
    TOPSPIN_TRY(writer_->append(with_losses));
    given_up_ = {};
    return {};
  }
  if (const auto* event = std::get_if<Event>(&item))
    return writer_->add_event(event->elapsed_ns, event->text);
  if (const auto* stage = std::get_if<Stage>(&item))
    return writer_->put_stage(stage->position, stage->stage);
  return writer_->put_load(std::get<LoadResult>(item));
}

/// Stores the waiting ticks in order, until one cannot be stored. OK if all are stored, or if the
/// rest can still wait.
Status PatientWriter::flush() {
  while (!queue_.empty()) {
    Status stored = store(queue_.front());
    if (!stored.ok()) {
      if (!may_pass(stored.error())) return stored;
      last_error_ = stored.error();
      retry_at_ns_ = now_ns_() + kRetryNs;
      return {};
    }
    if (const auto* sample = std::get_if<Sample>(&queue_.front())) {
      waiting_bytes_ -= size_of(*sample);
      ++stored_late_;
    } else if (std::holds_alternative<Event>(queue_.front())) {
      --waiting_events_;
    }
    queue_.pop_front();
  }
  if (last_error_) {
    notice_ = fmt::format("the database can be written again: {} tick{} stored late, {} dropped",
                          stored_late_, stored_late_ == 1 ? "" : "s", given_up_in_spell_);
    last_error_.reset();
    stored_late_ = given_up_in_spell_ = 0;
  }
  return {};
}

void PatientWriter::give_up_oldest() {
  const auto oldest = std::find_if(queue_.begin(), queue_.end(), [](const Item& item) {
    return std::holds_alternative<Sample>(item);
  });
  if (oldest == queue_.end()) return;
  const Sample& sample = std::get<Sample>(*oldest);
  // Keep the losses of the dropped tick.
  given_up_.merge(sample.losses);
  LossInterval with_it;
  with_it.ticks_unstored = 1;
  with_it.flow_rows_unstored = sample.changed_flows.size();
  with_it.thread_rows_unstored = sample.changed_threads.size();
  with_it.socket_rows_unstored = sample.changed_sockets.size();
  given_up_.merge(with_it);
  untold_.merge(with_it);
  ++given_up_in_spell_;
  waiting_bytes_ -= size_of(sample);
  queue_.erase(oldest);
}

Status PatientWriter::put(Item item) {
  if (queue_.empty()) {
    Status stored = store(item);
    if (stored.ok() || !may_pass(stored.error())) return stored;
    last_error_ = stored.error();
    retry_at_ns_ = now_ns_() + kRetryNs;
    notice_ = fmt::format("ticks wait in memory: {}", stored.error().message);
  }
  if (const auto* sample = std::get_if<Sample>(&item)) {
    waiting_bytes_ += size_of(*sample);
  } else if (std::holds_alternative<Event>(item)) {
    if (waiting_events_ >= kMaxWaitingEvents) return {};
    ++waiting_events_;
  }
  queue_.push_back(std::move(item));
  while (waiting_bytes_ > max_waiting_bytes_) give_up_oldest();
  return retry();
}

Status PatientWriter::retry() {
  if (queue_.empty() || now_ns_() < retry_at_ns_) return {};
  return flush();
}

Status PatientWriter::append(const Sample& sample) {
  // The tick is copied only if it has to wait.
  if (queue_.empty() && given_up_.ticks_unstored == 0) {
    Status stored = writer_->append(sample);
    if (stored.ok() || !may_pass(stored.error())) return stored;
  }
  return put(sample);
}

Status PatientWriter::append(std::vector<Sample> samples) {
  for (Sample& sample : samples) TOPSPIN_TRY(put(std::move(sample)));
  return {};
}

LossInterval PatientWriter::take_losses() {
  LossInterval losses = writer_->take_losses();
  losses.merge(std::exchange(untold_, {}));
  return losses;
}

Status PatientWriter::add_event(int64_t elapsed_ns, std::string_view text) {
  return put(Event{elapsed_ns, std::string(text)});
}

Status PatientWriter::put_stage(uint64_t position, const RunStage& stage) {
  return put(Stage{position, stage});
}

Status PatientWriter::put_load(const LoadResult& load) { return put(load); }

Status PatientWriter::finish(const RunEnd& end) {
  const int64_t until_ns = now_ns_() + kFinishPatienceNs;
  const auto keep_trying = [&] { return now_ns_() < until_ns && wait_(); };
  Status status = flush();
  while (status.ok() && !queue_.empty() && keep_trying()) status = flush();
  RunEnd as_stored = end;
  const auto left =
      static_cast<uint64_t>(std::count_if(queue_.begin(), queue_.end(), [](const Item& item) {
        return std::holds_alternative<Sample>(item);
      }));
  const uint64_t missing = left + given_up_.ticks_unstored;
  if (missing > 0) {
    as_stored.status = RunStatus::kFailed;
    as_stored.invalid_reasons.push_back(
        fmt::format("the last {} ticks could not be stored in the database", missing));
  }
  Status finished = writer_->finish(as_stored);
  while (!finished.ok() && may_pass(finished.error()) && keep_trying())
    finished = writer_->finish(as_stored);
  if (!status.ok()) return status;
  if (missing > 0 || !queue_.empty()) {
    const std::string why = last_error_ ? last_error_->message : std::string("it was given up");
    return make_error(ErrorCode::kOutput,
                      fmt::format("{} ticks of the run could not be stored: {}", missing, why));
  }
  return finished;
}

}  // namespace topspin
