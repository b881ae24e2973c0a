// Which system call stands for which reason of a sleep. Pure.
#pragma once

#include <cstdint>
#include <span>

namespace topspin {

/// Fills the table that the BPF programs look calls up in, by number: a TOPSPIN_BLOCKED_BY_ of
/// scheduler_abi.h for each. REQUIRES: of_call.size() == TOPSPIN_CALLS.
void name_blocking_calls(std::span<uint8_t> of_call);

}  // namespace topspin
