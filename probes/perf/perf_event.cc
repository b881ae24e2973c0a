#include "probes/perf/perf_event.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probes/bpf/capabilities.h"
#include "probes/proc/process_tree.h"

namespace topspin {
namespace {

/// kernel.perf_event_paranoid; 2, the kernel's default, if it cannot be read.
int paranoid_level(ProcReader& proc) {
  int level = 2;
  if (const auto text = proc.read(proc.root() + "/sys/kernel/perf_event_paranoid"))
    std::from_chars(text->data(), text->data() + text->size(), level);
  return level;
}

}  // namespace

Error perf_events_refused(int os_errno) {
  ProcReader proc("/proc");
  const int level = paranoid_level(proc);
  if (level <= 2 && has_effective_capability(CAP_PERFMON))
    return make_error(ErrorCode::kPermission, fmt::format("perf events are {}", kRefusedAnyway),
                      os_errno);
  return make_error(
      ErrorCode::kPermission,
      level > 2 ? fmt::format(
                      "perf events are refused: kernel.perf_event_paranoid is {}; above "
                      "2 it wants cap_perfmon, and on Debian's and Ubuntu's kernels cap_sys_admin",
                      level)
                : "perf events are refused: needs cap_perfmon, or "
                  "kernel.perf_event_paranoid at most 2 and a process of your own",
      os_errno);
}

Result<UniqueFd> open_perf_event(const perf_event_attr& attr, int32_t pid_or_cgroup_fd, int cpu,
                                 unsigned long flags) {
  perf_event_attr copy = attr;
  copy.size = sizeof copy;
  UniqueFd fd(static_cast<int>(::syscall(SYS_perf_event_open, &copy, pid_or_cgroup_fd, cpu, -1,
                                         flags | PERF_FLAG_FD_CLOEXEC)));
  if (fd) return fd;
  const int number = errno;
  if (number == EACCES || number == EPERM) return perf_events_refused(number);
  if (number == ENOENT || number == EOPNOTSUPP || number == ENODEV) {
    return make_error(ErrorCode::kUnsupported,
                      "this machine has no such counter (a virtual machine without a PMU, or a CPU "
                      "that the kernel has no driver for)",
                      number);
  }
  if (number == ENOSYS)
    return make_error(ErrorCode::kUnsupported, "this kernel has no perf events", number);
  if (number == EMFILE || number == ENFILE)
    return make_error(ErrorCode::kInternal, "too many open files for perf events: raise ulimit -n",
                      number);
  return make_error(ErrorCode::kInternal, fmt::format("perf_event_open: {}", std::strerror(number)),
                    number);
}

UniqueFd open_family_clock(int32_t pid) {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_TASK_CLOCK;
  attr.inherit = 1;
  attr.exclude_kernel = 1;  // needs less privilege; the clock runs in the kernel nevertheless
  attr.exclude_hv = 1;
  auto opened = open_perf_event(attr, pid, -1);
  return opened.ok() ? std::move(opened).value() : UniqueFd();
}

bool perf_may_see_kernel(ProcReader& proc) {
  if (has_effective_capability(CAP_PERFMON) || has_effective_capability(CAP_SYS_ADMIN)) return true;
  return paranoid_level(proc) < 2;
}

RungReport refused_perf(const std::string& probe, const Error& error) {
  std::string remedy;
  if (error.message.find(kRefusedAnyway) != std::string::npos) {
    remedy = kAllowAnyway;
  } else if (error.code == ErrorCode::kPermission) {
    remedy = "sudo sysctl kernel.perf_event_paranoid=1";
    ProcReader proc("/proc");
    if (paranoid_level(proc) <= 2)
      remedy += ", or sudo setcap cap_perfmon+ep \"$(command -v topspin)\"";
  }
  return {probe, Rung::kPerf, false, error.message, remedy};
}

std::vector<ThreadOf> subject_threads(const Subject& subject, ProcReader& proc) {
  ProcessTree tree(subject, proc);
  tree.update();
  std::vector<ThreadOf> threads;
  for (const int32_t pid : tree.processes()) {
    for (const int32_t tid : proc.threads(pid)) threads.push_back({pid, tid});
  }
  return threads;
}

Result<UniqueFd> open_cgroup_for_perf(const Subject& subject) {
  UniqueFd fd(::open(subject.cgroup_directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return make_error(ErrorCode::kPermission, "cannot open the cgroup's directory", errno);
  return fd;
}

std::vector<int> online_cpus() {
  // "0-3,8": ranges of /sys/devices/system/cpu/online.
  std::ifstream file("/sys/devices/system/cpu/online");
  std::string text;
  std::getline(file, text);
  std::vector<int> cpus;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    int first = 0;
    auto parsed = std::from_chars(at, end, first);
    if (parsed.ec != std::errc{}) break;
    int last = first;
    if (parsed.ptr < end && *parsed.ptr == '-') parsed = std::from_chars(parsed.ptr + 1, end, last);
    if (parsed.ec != std::errc{} || last < first || last - first > 8192) break;
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    at = parsed.ptr + 1;
  }
  if (cpus.empty()) {
    for (int cpu = 0; cpu < static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)); ++cpu)
      cpus.push_back(cpu);
  }
  return cpus;
}

}  // namespace topspin
