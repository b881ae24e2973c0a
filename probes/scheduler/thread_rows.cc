#include "probes/scheduler/thread_rows.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace topspin {

void RowQueue::push(ThreadRow row) {
  const Identity identity{row.tid, row.start_time_ns};
  if (rows_.size() >= kBacklog * limit_ && !places_.contains(identity)) {
    ++dropped_;
    return;
  }
  const auto [place, fresh] = places_.try_emplace(identity, rows_.size());
  if (fresh)
    rows_.push_back(std::move(row));
  else
    rows_[place->second] = std::move(row);
}

std::vector<ThreadRow> RowQueue::take() {
  if (rows_.size() <= limit_) {
    places_.clear();
    return std::exchange(rows_, {});
  }
  const auto end = rows_.begin() + static_cast<std::ptrdiff_t>(limit_);
  std::vector<ThreadRow> taken(std::make_move_iterator(rows_.begin()),
                               std::make_move_iterator(end));
  rows_.erase(rows_.begin(), end);
  places_.clear();
  for (size_t index = 0; index < rows_.size(); ++index)
    places_[{rows_[index].tid, rows_[index].start_time_ns}] = index;
  return taken;
}

ThreadRow make_row(const topspin_record& record, const topspin_times& times,
                   const topspin_thread_sleeps& sleeps) {
  ThreadRow row;
  row.pid = record.pid;
  row.tid = record.tid;
  row.start_time_ns = static_cast<int64_t>(record.start_boottime_ns);
  row.name.assign(record.comm, ::strnlen(record.comm, sizeof(record.comm)));
  row.exited = (record.flags & TOPSPIN_RECORD_EXITED) != 0;
  row.cpu_ns = record.since_joining.cpu_ns;
  row.run_queue_wait_ns = times.wait_ns;
  row.voluntary_switches = record.since_joining.voluntary_switches;
  row.involuntary_switches = record.since_joining.involuntary_switches;
  row.migrations = record.since_joining.migrations;
  row.run_queue_wait = CoarseHistogram::from_cells(times.waits, times.wait_ns, times.wait_ns_max);
  row.run_queue_waits = row.run_queue_wait->count();
  row.run_queue_wait_max_ns = times.wait_ns_max;
  row.on_cpu = CoarseHistogram::from_cells(times.slices, times.slice_ns, times.slice_ns_max);
  for (size_t by = 0; by < kPreemptorCount; ++by) row.preempted_by[by] = times.preempted[by];
  for (size_t reason = 0; reason < kBlockedByCount; ++reason)
    row.blocked_by[reason] = {sleeps.count[reason], sleeps.ns[reason]};
  row.busy_stretch_max_ns = uint64_t{record.busy_stretch_max} * TOPSPIN_STRETCH_NS;
  return row;
}

std::optional<ThreadRow> make_exit_row(const void* data, size_t size) {
  constexpr size_t kHead = offsetof(topspin_exit, entries);
  topspin_exit entry{};
  if (size < kHead) return std::nullopt;
  std::memcpy(&entry, data, std::min(size, sizeof(entry)));
  topspin_times times{};
  times.wait_ns = entry.wait_ns;
  times.wait_ns_max = entry.wait_ns_max;
  times.slice_ns = entry.slice_ns;
  times.slice_ns_max = entry.slice_ns_max;
  std::copy_n(entry.preempted, TOPSPIN_PREEMPTORS, times.preempted);
  const uint32_t used = std::min(entry.entries_used, TOPSPIN_EXIT_ENTRIES);
  for (uint32_t index = 0; index < used; ++index) {
    const auto cell = static_cast<uint32_t>(entry.entries[index] >> 32);
    const auto count = static_cast<uint32_t>(entry.entries[index]);
    if (cell < TOPSPIN_COARSE_CELLS)
      times.waits[cell] = count;
    else if (cell < 2 * TOPSPIN_COARSE_CELLS)
      times.slices[cell - TOPSPIN_COARSE_CELLS] = count;
  }
  return make_row(entry.record, times, entry.sleeps);
}

}  // namespace topspin
