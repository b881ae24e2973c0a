#include "app/commands/ci/host_use.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include <fmt/format.h>
#include <unistd.h>

#include "ci/metrics/standing.h"
#include "core/base/check.h"
#include "core/base/proc_stat.h"

namespace topspin {
namespace {

namespace fs = std::filesystem;

constexpr int kReadings = 11;
constexpr useconds_t kBetweenUs = 500'000;
constexpr size_t kMostNamed = 6;
constexpr double kLeastNamed = 0.01;  // of all CPUs

std::optional<ProcStat> read_process(const fs::path& directory) {
  std::ifstream file(directory / "stat");
  std::string text;
  if (!std::getline(file, text, '\0')) return std::nullopt;
  return parse_proc_stat(text);
}

/// The share of `part` in `all`, which has passed between two readings.
double share_of(uint64_t part, uint64_t all) {
  return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
}

}  // namespace

Result<HostReading> read_host(const std::string& root) {
  HostReading reading;
  std::ifstream file(root + "/stat");
  std::string word;
  // "cpu user nice system idle iowait irq softirq steal ..."; guests are in user.
  std::array<uint64_t, 8> times{};
  file >> word;
  for (uint64_t& time : times) file >> time;
  if (!file || word != "cpu")
    return make_error(ErrorCode::kUnsupported, "cannot read how busy the host is from /proc/stat");
  for (const uint64_t time : times) reading.all += time;
  reading.steal = times[7];
  reading.busy = reading.all - times[3] - times[4] - times[7];
  std::error_code error;
  for (fs::directory_iterator entry(root, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (const auto stat = read_process(entry->path()))
      reading.processes[{stat->pid, stat->start_ticks}] = {stat->name, stat->cpu_ticks};
  }
  return reading;
}

HostUse use_of(const std::vector<HostReading>& readings, pid_t self) {
  CHECK(readings.size() >= 2);
  std::map<std::string, std::pair<std::map<pid_t, bool>, uint64_t>> by_name;
  for (size_t i = 1; i < readings.size(); ++i) {
    for (const auto& [key, process] : readings[i].processes) {
      if (key.first == self) continue;
      const auto before = readings[i - 1].processes.find(key);
      const uint64_t had = before == readings[i - 1].processes.end() ? 0 : before->second.second;
      if (process.second <= had) continue;
      auto& [pids, ticks] = by_name[process.first];
      pids[key.first] = true;
      ticks += process.second - had;
    }
  }
  const HostReading& first = readings.front();
  const HostReading& last = readings.back();
  const uint64_t all = last.all - first.all;
  HostUse use;
  use.share = share_of(last.busy - first.busy, all);
  use.steal = share_of(last.steal - first.steal, all);
  for (const auto& [name, sum] : by_name)
    use.busiest.push_back({name, sum.first.size(), share_of(sum.second, all)});
  std::stable_sort(use.busiest.begin(), use.busiest.end(),
                   [](const BusyPrograms& a, const BusyPrograms& b) { return a.share > b.share; });
  return use;
}

Result<HostUse> watch_host() {
  std::vector<HostReading> readings;
  for (int i = 0; i < kReadings; ++i) {
    if (i > 0) usleep(kBetweenUs);
    TOPSPIN_ASSIGN(HostReading reading, read_host("/proc"));
    readings.push_back(std::move(reading));
  }
  return use_of(readings, getpid());
}

std::vector<std::string> why_too_busy(const HostUse& use) {
  std::vector<std::string> lines;
  if (use.steal > kMostStealShare) {
    lines.push_back(fmt::format(
        "the hypervisor took {:.0f}% of the CPUs in the last 5 s; a run is judged up to {:.0f}%",
        100 * use.steal, 100 * kMostStealShare));
  }
  if (use.share <= kMostForeignShare) return lines;
  lines.push_back(fmt::format(
      "other programs used {:.0f}% of the CPUs in the last 5 s; a run is judged up to {:.0f}%",
      100 * use.share, 100 * kMostForeignShare));
  double named = 0;
  for (const BusyPrograms& program : use.busiest) {
    if (lines.size() > kMostNamed || program.share < kLeastNamed) break;
    lines.push_back(fmt::format(
        "  {:>3.0f}%  {}{}", 100 * program.share, program.name,
        program.processes > 1 ? fmt::format(" ({} processes)", program.processes) : std::string()));
    named += program.share;
  }
  if (use.share - named > kMostStealShare) {
    lines.push_back(fmt::format(
        "  {:>3.0f}%  others, or programs that cannot be seen from here (of another container)",
        100 * (use.share - named)));
  }
  return lines;
}

}  // namespace topspin
