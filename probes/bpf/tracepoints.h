// Shared by the BPF rungs that identify threads by number. Tells them the subject's threads and,
// for kernels without BTF, the offsets of fields in tracepoints, which tracefs has. One thread.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include <bpf/bpf.h>

#include "core/base/result.h"
#include "probes/bpf/tracepoints_abi.h"
#include "probes/proc/proc_reader.h"
#include "probes/proc/process_tree.h"
#include "probes/proc/subject.h"

namespace topspin {

/// The directory of events in tracefs. Fails with kUnsupported or kPermission and what to do.
Result<std::string> tracepoint_events();

/// The offset of a field of `size` bytes in the records of an event such as "sched/sched_switch".
Result<uint32_t> tracepoint_field(const std::string& events, const std::string& event,
                                  const std::string& field, uint32_t size);

/// The fields of sched_switch, sched_wakeup and sched_process_fork.
Result<topspin_tracepoint_offsets> scheduler_fields(const std::string& events);

/// Only in the initial pid namespace are thread numbers the same as in tracepoints.
bool in_initial_pid_namespace();

/// Tracepoints know threads by their numbers in the initial pid namespace, and no cgroups.
Status can_follow_by_tracepoints(const Subject& subject);

/// The subject's threads that one scan of /proc found.
struct NamedThreads {
  std::set<int32_t> present;
  size_t fresh = 0;      // had no element in the map
  uint64_t refused = 0;  // found no room
};

/// Inserts element_of(pid, tid) for each of the subject's threads that has no element in the map
/// yet. The key is the thread's number.
template <typename ElementOf>
NamedThreads name_newcomers(ProcessTree& tree, ProcReader& proc, int map_fd, ElementOf element_of) {
  NamedThreads named;
  tree.update();
  for (const int32_t pid : tree.processes()) {
    for (const int32_t tid : proc.threads(pid)) {
      named.present.insert(tid);
      const auto element = element_of(pid, tid);
      if (bpf_map_update_elem(map_fd, &tid, &element, BPF_NOEXIST) == 0)
        ++named.fresh;
      else if (errno == E2BIG || errno == ENOMEM)
        ++named.refused;
    }
  }
  return named;
}

/// Repeats this until no new thread is found. Returns how many found no room. REQUIRES: the
/// programs are attached and follow forks.
template <typename ElementOf>
uint64_t name_threads(ProcessTree& tree, ProcReader& proc, int map_fd, ElementOf element_of) {
  constexpr int kMaxRounds = 32;
  uint64_t refused = 0;
  for (int round = 0; round < kMaxRounds; ++round) {
    const NamedThreads named = name_newcomers(tree, proc, map_fd, element_of);
    refused += named.refused;
    if (named.fresh == 0) break;
  }
  return refused;
}

}  // namespace topspin
