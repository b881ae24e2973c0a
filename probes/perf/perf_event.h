// Shared by the users of perf_event_open: the call, with a reason if it fails, and the threads to
// open events on. Private to probes; one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <linux/perf_event.h>

#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "probes/probe.h"
#include "probes/proc/proc_reader.h"
#include "probes/proc/subject.h"

namespace topspin {

/// kPermission, kUnsupported (no such counter on this machine), or kInternal. `cpu` -1: any.
Result<UniqueFd> open_perf_event(const perf_event_attr& attr, int32_t pid_or_cgroup_fd, int cpu,
                                 unsigned long flags = 0);

/// The error for EACCES and EPERM of perf_event_open.
Error perf_events_refused(int os_errno);

/// Whether the kernel's own work may be observed: CAP_PERFMON, or perf_event_paranoid below 2.
bool perf_may_see_kernel(ProcReader& proc);

/// Opens a counter of the CPU time of a process and of everything that it starts from now on, even
/// if nothing waits for these. read() returns 8 bytes of nanoseconds. Invalid if the kernel refuses
/// it.
UniqueFd open_family_clock(int32_t pid);

/// For examine(): a probe on perf events that does not open, with the remedy.
RungReport refused_perf(const std::string& probe, const Error& error);

struct ThreadOf {
  int32_t pid = 0;
  int32_t tid = 0;
};
/// The current threads of the subject's process tree, or of the processes in its cgroup.
std::vector<ThreadOf> subject_threads(const Subject& subject, ProcReader& proc);

/// The subject's cgroup, for PERF_FLAG_PID_CGROUP. REQUIRES: the subject is a cgroup.
Result<UniqueFd> open_cgroup_for_perf(const Subject& subject);

/// CPUs that are online, ascending.
std::vector<int> online_cpus();

}  // namespace topspin
