#include "core/base/proc_stat.h"

#include <algorithm>
#include <array>

namespace topspin {
std::optional<ProcStat> parse_proc_stat(std::string_view text) {
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return std::nullopt;
  ProcStat stat;
  const auto pid = parse_number<int32_t>(text.substr(0, open));
  if (!pid) return std::nullopt;
  stat.pid = *pid;
  stat.name = text.substr(open + 1, close - open - 1);

  // Fields 3 to 24 of proc(5); index 0 is field 3.
  std::string_view rest = text.substr(close + 1);
  std::array<std::string_view, 22> fields;
  for (std::string_view& field : fields) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    field = rest.substr(0, rest.find_first_of(" \n"));
    if (field.empty()) return std::nullopt;
    rest.remove_prefix(field.size());
  }
  stat.state = fields[0][0];
  const auto parent = parse_number<int32_t>(fields[1]);
  const auto minor = parse_number<uint64_t>(fields[7]);
  const auto reaped_minor = parse_number<uint64_t>(fields[8]);
  const auto major = parse_number<uint64_t>(fields[9]);
  const auto reaped_major = parse_number<uint64_t>(fields[10]);
  const auto user = parse_number<uint64_t>(fields[11]);
  const auto system = parse_number<uint64_t>(fields[12]);
  const auto threads = parse_number<int64_t>(fields[17]);
  const auto start = parse_number<uint64_t>(fields[19]);
  const auto rss = parse_number<int64_t>(fields[21]);
  if (!parent || !minor || !reaped_minor || !major || !reaped_major || !user || !system ||
      !threads || !start || !rss)
    return std::nullopt;
  stat.parent_pid = *parent;
  stat.minor_faults = *minor;
  stat.reaped_minor_faults = *reaped_minor;
  stat.major_faults = *major;
  stat.reaped_major_faults = *reaped_major;
  stat.cpu_ticks = *user + *system;
  stat.threads = *threads;
  stat.start_ticks = *start;
  stat.rss_pages = *rss;
  return stat;
}

}  // namespace topspin
