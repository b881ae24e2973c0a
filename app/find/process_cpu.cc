#include "app/find/process_cpu.h"

#include <charconv>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/proc_stat.h"
#include "core/base/read_file.h"

namespace topspin {
namespace {

/// 0: it is no number.
pid_t number_of(const std::string& name) {
  pid_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? number : 0;
}

/// The names of a folder of /proc that are numbers.
std::vector<pid_t> numbers_in(const std::string& folder) {
  std::vector<pid_t> found;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (const pid_t number = number_of(entry->path().filename().native()); number > 0)
      found.push_back(number);
  }
  return found;
}

std::optional<ProcStat> read_stat(const std::string& path) {
  const auto text = read_file(path, 4096);
  return text.ok() ? parse_proc_stat(*text) : std::nullopt;
}

}  // namespace

std::optional<SubjectCpu> read_process_cpu(pid_t root) {
  const int64_t tick_ns = kNanosPerSecond / sysconf(_SC_CLK_TCK);
  std::multimap<pid_t, ProcStat> by_parent;
  std::vector<ProcStat> family;
  for (const pid_t pid : numbers_in("/proc")) {
    auto stat = read_stat(fmt::format("/proc/{}/stat", pid));
    if (!stat || stat->ended()) continue;
    if (pid == root)
      family.push_back(std::move(*stat));
    else
      by_parent.emplace(stat->parent_pid, std::move(*stat));
  }
  if (family.empty()) return std::nullopt;
  SubjectCpu cpu;
  for (size_t i = 0; i < family.size(); ++i) {
    const pid_t pid = family[i].pid;
    cpu.all_ns += static_cast<int64_t>(family[i].cpu_ticks) * tick_ns;
    for (auto [child, end] = by_parent.equal_range(pid); child != end; ++child)
      family.push_back(child->second);
    for (const pid_t thread : numbers_in(fmt::format("/proc/{}/task", pid))) {
      if (const auto stat = read_stat(fmt::format("/proc/{}/task/{}/stat", pid, thread)))
        cpu.threads[thread] = {static_cast<int64_t>(stat->cpu_ticks) * tick_ns, stat->name};
    }
  }
  return cpu;
}

}  // namespace topspin
