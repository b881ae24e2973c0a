// What the BPF rungs share that know threads by their numbers: naming the subject's threads, and
// for kernels without BTF where tracefs says that fields of tracepoints stand. One thread.
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

/// Tracefs' directory of events, readable; kUnsupported or kPermission with what to do.
Result<std::string> tracepoint_events();

/// The offset of a field of `size` bytes in the records of an event such as "sched/sched_switch".
Result<uint32_t> tracepoint_field(const std::string& events, const std::string& event,
                                  const std::string& field, uint32_t size);

/// The fields of sched_switch, sched_wakeup and sched_process_fork.
Result<topspin_tracepoint_offsets> scheduler_fields(const std::string& events);

/// Only there are threads' numbers those that tracepoints show.
bool in_initial_pid_namespace();

/// Tracepoints know threads by their numbers in the initial pid namespace, and no cgroups.
Status can_follow_by_tracepoints(const Subject& subject);

/// The subject's threads that one scan of /proc found.
struct NamedThreads {
  std::set<int32_t> present;
  size_t fresh = 0;      // had no element in the map
  uint64_t refused = 0;  // found no room
};

/// Puts element_of(pid, tid) under the number of each of the subject's threads that has no element
/// in the map yet.
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

/// The same, until no new thread is found. REQUIRES: the programs are attached and follow forks.
/// How many found no room.
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
