#include "report/model/process_sleeps.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace topspin {
namespace {

void add_to(std::optional<uint64_t>& sum, const std::optional<uint64_t>& part) {
  if (part) sum = sum.value_or(0) + *part;
}

}  // namespace

uint64_t ProcessSleeps::blocked_ns() const {
  uint64_t sum = 0;
  for (const OffCpuTime& sleeps : blocked_by) sum += sleeps.ns.value_or(0);
  return sum;
}

void ProcessSums::add(const ThreadRow& thread) {
  ProcessSleeps& process = processes_[thread.pid];
  process.pid = thread.pid;
  if (process.name.empty() || thread.tid == thread.pid) process.name = thread.name;
  ++process.threads;
  for (size_t i = 0; i < kBlockedByCount; ++i) {
    add_to(process.blocked_by[i].count, thread.blocked_by[i].count);
    add_to(process.blocked_by[i].ns, thread.blocked_by[i].ns);
  }
  if (thread.busy_stretch_max_ns)
    process.busy_stretch_max_ns =
        std::max(process.busy_stretch_max_ns.value_or(0), *thread.busy_stretch_max_ns);
}

std::vector<ProcessSleeps> ProcessSums::take() {
  std::vector<ProcessSleeps> rows;
  for (auto& [pid, process] : std::exchange(processes_, {})) {
    if (process.blocked_by.front().ns) rows.push_back(std::move(process));
  }
  std::ranges::stable_sort(rows, std::ranges::greater(), &ProcessSleeps::blocked_ns);
  return rows;
}

std::vector<std::pair<BlockedBy, OffCpuTime>> longest_sleeps(
    const std::array<OffCpuTime, kBlockedByCount>& blocked_by, size_t most) {
  std::vector<std::pair<BlockedBy, OffCpuTime>> longest;
  for (size_t i = 0; i < kBlockedByCount; ++i) {
    if (blocked_by[i].count.value_or(0) > 0)
      longest.emplace_back(static_cast<BlockedBy>(i), blocked_by[i]);
  }
  std::ranges::stable_sort(longest, std::ranges::greater(),
                           [](const auto& entry) { return entry.second.ns.value_or(0); });
  if (longest.size() > most) longest.resize(most);
  return longest;
}

}  // namespace topspin
