#include "app/screen/process_reader.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/proc_stat.h"
#include "core/base/read_file.h"

namespace topspin {
namespace {

constexpr size_t kMostBytes = 64 << 10;

/// The sum of the second word of schedstat over the threads. `budget` is how many threads may still
/// be read.
std::optional<uint64_t> read_wait(const std::string& folder, size_t& budget) {
  uint64_t sum = 0;
  bool any = false;
  std::error_code error;
  std::filesystem::directory_iterator task(folder + "/task", error), end;
  for (; !error && task != end; task.increment(error)) {
    if (budget == 0) return std::nullopt;
    --budget;
    const auto text = read_file(task->path().string() + "/schedstat", kMostBytes);
    if (!text.ok()) continue;
    unsigned long long cpu_ns = 0, wait_ns = 0;
    if (std::sscanf(text->c_str(), "%llu %llu", &cpu_ns, &wait_ns) != 2) continue;
    sum += wait_ns;
    any = true;
  }
  return any ? std::optional(sum) : std::nullopt;
}

std::optional<ProcessReading> read_process(const std::string& folder, size_t& thread_budget) {
  const auto text = read_file(folder + "/stat", kMostBytes);
  if (!text.ok()) return std::nullopt;
  auto stat = parse_proc_stat(*text);
  if (!stat || stat->ended()) return std::nullopt;
  const auto tick_ns = static_cast<uint64_t>(kNanosPerSecond / sysconf(_SC_CLK_TCK));
  return ProcessReading{stat->start_ticks, std::move(stat->name), stat->cpu_ticks * tick_ns,
                        read_wait(folder, thread_budget), stat->rss_pages * sysconf(_SC_PAGESIZE)};
}

std::vector<int32_t> pids_of_host(const std::string& proc_root) {
  std::vector<int32_t> pids;
  std::error_code error;
  std::filesystem::directory_iterator entry(proc_root, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    if (const int pid = std::atoi(entry->path().filename().c_str()); pid > 0) pids.push_back(pid);
  }
  return pids;
}

std::vector<int32_t> pids_of_model(const Model& model) {
  std::vector<int32_t> pids;
  for (const ThreadEntry& thread : model.threads()) pids.push_back(thread.row.pid);
  for (const FlowEntry& flow : model.flows()) {
    for (const auto& number : flow.row.owners) {
      if (const FlowOwner* owner = model.owners().find(number)) pids.push_back(owner->pid);
    }
  }
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

}  // namespace

ProcessReadings read_processes(const Model& model, const ProcessLimits& limits,
                               const std::string& proc_root) {
  ProcessReadings readings;
  readings.read_ns = monotonic_now_ns();
  size_t thread_budget = limits.threads;
  for (const int32_t pid :
       model.scene.subject.empty() ? pids_of_host(proc_root) : pids_of_model(model)) {
    if (readings.processes.size() >= limits.processes) {
      ++readings.left_out;
    } else if (auto one = read_process(fmt::format("{}/{}", proc_root, pid), thread_budget)) {
      readings.processes[pid] = std::move(*one);
    }
  }
  return readings;
}

}  // namespace topspin
