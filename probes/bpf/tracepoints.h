// What the rungs on tracefs tracepoints share: where tracefs says that fields stand, and naming
// the subject's threads by number. For kernels without BTF. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/result.h"
#include "probes/proc/proc_reader.h"
#include "probes/proc/subject.h"
#include "probes/scheduler/scheduler_abi.h"

namespace topspin {

/// Tracefs' directory of events, readable; kUnsupported or kPermission with what to do.
Result<std::string> tracepoint_events();

/// The offset of a field of `size` bytes in the records of an event such as "sched/sched_switch".
Result<uint32_t> tracepoint_field(const std::string& events, const std::string& event,
                                  const std::string& field, uint32_t size);

/// The fields of sched_switch, sched_wakeup and sched_process_fork.
Result<topspin_tracepoint_offsets> scheduler_fields(const std::string& events);

/// Tracepoints know threads by their numbers in the initial pid namespace, and no cgroups.
Status can_follow_by_tracepoints(const Subject& subject);

/// Puts a copy of `thread` for each of the subject's threads into the map, by number, until nobody
/// new is found. REQUIRES: the programs are attached and follow forks. How many found no room.
uint64_t name_threads(const Subject& subject, ProcReader& proc, int map_fd,
                      std::span<const std::byte> thread);

}  // namespace topspin
