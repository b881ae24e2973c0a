#include "core/tick/host_usage.h"

#include <array>
#include <fstream>
#include <sstream>

#include <unistd.h>

#include "core/base/clock.h"

namespace topspin {

std::optional<HostCpuTime> parse_host_cpu(const std::string& stat, int64_t ticks_per_second) {
  // "cpu user nice system idle iowait irq softirq steal ...", in clock ticks.
  std::istringstream line(stat.substr(0, stat.find('\n')));
  std::string label;
  std::array<int64_t, 8> ticks{};
  line >> label;
  for (auto& t : ticks) line >> t;
  if (!line || label != "cpu" || ticks_per_second <= 0) return std::nullopt;
  const int64_t ns_per_tick = kNanosPerSecond / ticks_per_second;
  return HostCpuTime{(ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) * ns_per_tick,
                     ticks[7] * ns_per_tick};
}

std::optional<HostCpuTime> read_host_cpu_time() {
  std::ifstream file("/proc/stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return parse_host_cpu(line, sysconf(_SC_CLK_TCK));
}

int64_t own_rss_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total_pages = 0, resident_pages = 0;
  file >> total_pages >> resident_pages;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

}  // namespace topspin
