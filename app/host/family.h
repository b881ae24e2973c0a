// Family: the processes that descend from this one, also those that tried to leave it.
//
// A subreaper adopts descendants whose parent has died, so a subject that forks twice, starts a
// session of its own or leaves its children behind stays within reach: ending child after child
// until none is left ends them all, without privilege, and without ever sending a signal to a
// number that somebody else has got meanwhile (a child's number is its own until we wait for it).
#pragma once

#include <cstdint>
#include <vector>

#include <sys/types.h>

#include "core/base/result.h"

namespace topspin {

/// From now on orphaned descendants become this process's children.
Status adopt_orphans();

/// The children of this process, those that have ended and were not waited for among them.
std::vector<pid_t> list_children();

/// Waits for what has ended, except `keep` (0: none). True: some other child still lives.
bool reap_adopted(pid_t keep);

/// Sends SIGTERM to every child, and to those adopted meanwhile; after `grace_ns` SIGKILL. Returns
/// when none is left. False: some could not be ended (another user's; stuck in the kernel).
/// REQUIRES: nobody else waits for a child.
bool end_family(int64_t grace_ns);

}  // namespace topspin
