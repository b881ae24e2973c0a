#include "core/tick/host_usage.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fcntl.h>
#include <unistd.h>

#include "core/base/clock.h"

namespace topspin {
namespace {

using Beginning = std::array<char, 256>;

/// The beginning of a file of /proc, by one read; empty if it cannot be read.
std::string_view read_beginning(const UniqueFd& file, Beginning& buffer) {
  const ssize_t length = file ? ::pread(file.get(), buffer.data(), buffer.size(), 0) : -1;
  return {buffer.data(), static_cast<size_t>(std::max<ssize_t>(length, 0))};
}

/// Takes the next number of a line; nullopt if there is none.
std::optional<int64_t> next_number(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  int64_t number = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
  if (error != std::errc()) return std::nullopt;
  line.remove_prefix(static_cast<size_t>(end - line.data()));
  return number;
}

UniqueFd open_to_read(const char* path) { return UniqueFd(::open(path, O_RDONLY | O_CLOEXEC)); }
UniqueFd open_stat() { return open_to_read("/proc/stat"); }
UniqueFd open_statm() { return open_to_read("/proc/self/statm"); }

std::optional<HostCpuTime> host_cpu_time_in(const UniqueFd& stat) {
  Beginning buffer;
  return parse_host_cpu(read_beginning(stat, buffer), sysconf(_SC_CLK_TCK));
}

int64_t own_rss_bytes_in(const UniqueFd& file) {
  Beginning buffer;
  std::string_view statm = read_beginning(file, buffer);  // "TOTAL RESIDENT ...", in pages
  (void)next_number(statm);
  return next_number(statm).value_or(0) * sysconf(_SC_PAGESIZE);
}

}  // namespace

std::optional<HostCpuTime> parse_host_cpu(std::string_view stat, int64_t ticks_per_second) {
  // "cpu user nice system idle iowait irq softirq steal ...", in clock ticks.
  constexpr std::string_view kLabel = "cpu ";
  std::string_view line = stat.substr(0, stat.find('\n'));
  if (!line.starts_with(kLabel) || ticks_per_second <= 0) return std::nullopt;
  line.remove_prefix(kLabel.size());
  std::array<int64_t, 8> ticks{};
  for (int64_t& t : ticks) {
    const auto number = next_number(line);
    if (!number) return std::nullopt;
    t = *number;
  }
  const int64_t ns_per_tick = kNanosPerSecond / ticks_per_second;
  return HostCpuTime{(ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) * ns_per_tick,
                     ticks[7] * ns_per_tick};
}

std::optional<HostCpuTime> read_host_cpu_time() { return host_cpu_time_in(open_stat()); }
int64_t own_rss_bytes() { return own_rss_bytes_in(open_statm()); }

UsageReader::UsageReader() : stat_(open_stat()), statm_(open_statm()) {}

std::optional<HostCpuTime> UsageReader::host_cpu_time() const { return host_cpu_time_in(stat_); }
int64_t UsageReader::own_rss_bytes() const { return own_rss_bytes_in(statm_); }

}  // namespace topspin
