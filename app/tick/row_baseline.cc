#include "app/tick/row_baseline.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace topspin {
namespace {

/// Whether `now` is a later reading of the same account as `before`. If its number was reused for
/// another account, that account starts at 0, and nothing is subtracted.
template <typename AnyHistogram>
bool grew_from(const AnyHistogram& before, const AnyHistogram& now, uint32_t cells) {
  if (before.empty()) return true;
  if (now.count() < before.count() || now.sum() < before.sum()) return false;
  for (uint32_t i = 0; i < cells; ++i) {
    if (now.cell(i) < before.cell(i)) return false;
  }
  return true;
}

template <typename T>
bool grew_from(const std::optional<T>& before, const std::optional<T>& now) {
  return !before || !now || *now >= *before;
}

template <typename T>
void take_away(std::optional<T>& now, const std::optional<T>& before) {
  if (now && before) *now -= *before;
}

bool grew_from(const ThreadRow& before, const ThreadRow& now) {
  bool grew = grew_from(before.cpu_ns, now.cpu_ns) &&
              grew_from(before.run_queue_wait_ns, now.run_queue_wait_ns) &&
              grew_from(before.run_queue_waits, now.run_queue_waits) &&
              grew_from(before.voluntary_switches, now.voluntary_switches) &&
              grew_from(before.involuntary_switches, now.involuntary_switches) &&
              grew_from(before.migrations, now.migrations);
  for (size_t i = 0; i < kPreemptorCount; ++i)
    grew = grew && grew_from(before.preempted_by[i], now.preempted_by[i]);
  const auto histogram_grew = [](const auto& from, const auto& to) {
    return !from || !to || grew_from(*from, *to, kCoarseCells);
  };
  for (size_t i = 0; i < kBlockedByCount; ++i)
    grew = grew && grew_from(before.blocked_by[i].ns, now.blocked_by[i].ns) &&
           grew_from(before.blocked_by[i].count, now.blocked_by[i].count);
  return grew && histogram_grew(before.run_queue_wait, now.run_queue_wait) &&
         histogram_grew(before.on_cpu, now.on_cpu);
}

void take_away(ThreadRow& now, const ThreadRow& before) {
  if (!grew_from(before, now)) return;
  take_away(now.cpu_ns, before.cpu_ns);
  take_away(now.run_queue_wait_ns, before.run_queue_wait_ns);
  take_away(now.run_queue_waits, before.run_queue_waits);
  take_away(now.voluntary_switches, before.voluntary_switches);
  take_away(now.involuntary_switches, before.involuntary_switches);
  take_away(now.migrations, before.migrations);
  for (size_t i = 0; i < kPreemptorCount; ++i)
    take_away(now.preempted_by[i], before.preempted_by[i]);
  for (size_t i = 0; i < kBlockedByCount; ++i) {
    take_away(now.blocked_by[i].ns, before.blocked_by[i].ns);
    take_away(now.blocked_by[i].count, before.blocked_by[i].count);
  }
  // If the longest stretch did not grow, it was before the start, and the longest one since is not
  // known.
  if (now.busy_stretch_max_ns && before.busy_stretch_max_ns &&
      *now.busy_stretch_max_ns <= *before.busy_stretch_max_ns && *before.busy_stretch_max_ns > 0)
    now.busy_stretch_max_ns.reset();
  if (now.run_queue_wait && before.run_queue_wait)
    now.run_queue_wait->subtract(*before.run_queue_wait);
  if (now.on_cpu && before.on_cpu) now.on_cpu->subtract(*before.on_cpu);
  // If the greatest wait did not grow, it was before the start. The histogram still shows the
  // greatest one since; without a histogram it is not known.
  if (now.run_queue_wait_max_ns && before.run_queue_wait_max_ns &&
      *now.run_queue_wait_max_ns <= *before.run_queue_wait_max_ns &&
      *before.run_queue_wait_max_ns > 0) {
    now.run_queue_wait_max_ns =
        now.run_queue_wait ? now.run_queue_wait->max() : std::optional<uint64_t>();
  }
}

}  // namespace

void RowBaseline::take(const Sample& before_start) {
  for (const ThreadRow& row : before_start.changed_threads) {
    if (row.exited)
      threads_.erase(key(row));  // it did not exist during the run
    else
      threads_[key(row)] = row;
  }
  for (const SyscallRow& row : before_start.changed_syscalls) syscalls_[row.number] = row;
  for (const StackRow& row : before_start.changed_stacks) stack_samples_[row.number] = row.samples;
  for (const SleepStackRow& row : before_start.changed_sleep_stacks)
    slept_[row.number] = {row.sleeps, row.slept_ns};
  for (const CpuHolderRow& row : before_start.changed_cpu_holders)
    held_ns_[row.number] = row.held_ns;
  for (const SocketRow& row : before_start.changed_sockets) {
    if (row.closed)
      sockets_.erase(row.cookie);
    else
      sockets_[row.cookie] = row;
  }
}

void RowBaseline::apply(Sample& interval) {
  std::set<ThreadKey> changed;
  for (ThreadRow& row : interval.changed_threads) {
    if (first_) changed.insert(key(row));
    const auto before = threads_.find(key(row));
    if (before == threads_.end()) continue;
    take_away(row, before->second);
    if (row.exited) threads_.erase(before);
  }
  for (SyscallRow& row : interval.changed_syscalls) {
    const auto before = syscalls_.find(row.number);
    if (before == syscalls_.end()) continue;
    const SyscallRow& was = before->second;
    if (row.count < was.count || !grew_from(was.latency, row.latency, kHistogramBuckets)) continue;
    row.count -= was.count;
    row.errors -= std::min(was.errors, row.errors);
    row.latency.subtract(was.latency);
    row.blocked_ns -= std::min(was.blocked_ns, row.blocked_ns);
  }
  std::erase_if(interval.changed_stacks, [&](StackRow& row) {
    const auto before = stack_samples_.find(row.number);
    if (before == stack_samples_.end()) return false;
    row.samples -= std::min(before->second, row.samples);
    return row.samples == 0;
  });
  std::erase_if(interval.changed_sleep_stacks, [&](SleepStackRow& row) {
    const auto before = slept_.find(row.number);
    if (before == slept_.end()) return false;
    row.sleeps -= std::min(before->second.first, row.sleeps);
    row.slept_ns -= std::min(before->second.second, row.slept_ns);
    return row.sleeps == 0;
  });
  std::erase_if(interval.changed_cpu_holders, [&](CpuHolderRow& row) {
    const auto before = held_ns_.find(row.number);
    if (before == held_ns_.end()) return false;
    row.held_ns -= std::min(before->second, row.held_ns);
    return row.held_ns == 0;
  });
  if (!std::exchange(first_, false)) return;
  for (const auto& [identity, before] : threads_) {
    if (changed.contains(identity)) continue;
    ThreadRow row = before;
    take_away(row, before);
    interval.changed_threads.push_back(std::move(row));
  }
  for (const SocketRow& row : interval.changed_sockets) sockets_.erase(row.cookie);
  for (auto& [cookie, row] : sockets_) interval.changed_sockets.push_back(std::move(row));
  sockets_.clear();
}

}  // namespace topspin
