// Judges whether the generator kept up, so that a load's numbers can be trusted. Pure.
#pragma once

#include <string>
#include <vector>

#include "load/load.h"

namespace topspin {

/// The limits. Above them, the numbers say more about the generator or the host than about the
/// server.
struct ValidityLimits {
  double sent_late_share = 0.01;         // of what was sent
  double never_scheduled_share = 0.001;  // of what was scheduled; `blocked` moments do not count
  double send_error_share = 0.01;
  double receive_drop_share = 0.001;  // replies dropped at our own buffers, of what was sent
  double own_cpu_share = 0.95;        // of one core: the generator has one thread
  double steal_share = 0.05;          // of all CPUs
  double script_late_share = 0.01;    // messages that a script's own code delayed, of what was sent
  double script_failed_share = 0.01;  // clients that an error in the script ended
};

/// A sentence if replies were expected and none came; else empty. Such a load says nothing about a
/// server's speed, so it is invalid.
std::string load_silence(const LoadResult& result);

/// All reasons why the load is invalid, one sentence each with the numbers; empty if it is valid.
std::vector<std::string> judge_load(const LoadResult& result, const ValidityLimits& limits = {});

}  // namespace topspin
