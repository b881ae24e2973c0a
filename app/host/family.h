// Family: all descendants of this process, including those that tried to leave it.
//
// A subreaper adopts descendants whose parent has died. So a subject that forks twice, starts its
// own session or leaves children behind stays within reach. Ending one child after another until
// none is left ends them all. This needs no privilege, and no signal can reach a stranger: a
// child's pid is not reused until we wait for the child.
#pragma once

#include <cstdint>
#include <vector>

#include <sys/types.h>

#include "core/base/result.h"

namespace topspin {

/// From now on, orphaned descendants become children of this process.
Status adopt_orphans();

/// The children of this process, including those that have ended but were not waited for.
std::vector<pid_t> list_children();

/// Waits for all children that have ended, except `keep` (0: none). Returns whether another child
/// still runs.
bool reap_adopted(pid_t keep);

/// Sends SIGTERM to every child and to those adopted meanwhile, and SIGKILL after `grace_ns`.
/// Returns when none is left; false if some could not be ended (another user's process, or one that
/// is stuck in the kernel). Leaves `keep` alone (0: none).
/// REQUIRES: no other code waits for children, but for `keep`.
bool end_family(int64_t grace_ns, pid_t keep = 0);

}  // namespace topspin
