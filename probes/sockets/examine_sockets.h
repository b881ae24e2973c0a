// For `doctor`: the socket and system call probes, each opened for real on topspin itself and made
// to see a conversation of its own on 127.0.0.1. Private to probes.
#pragma once

#include <vector>

#include "core/result.h"
#include "probes/probes.h"
#include "probes/proc/subject.h"

namespace topspin {

/// What mends the refusal of a rung; empty: nothing does. In examine.cc.
std::string rung_remedy(Rung rung, const Error& error);

/// A row each for sockets, accepts, replies and syscalls. `self`: this process.
std::vector<RungReport> examine_sockets(const Subject& self);

}  // namespace topspin
