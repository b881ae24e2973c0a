// The reason of a sleep that each system call stands for. Pure.
#pragma once

#include <cstdint>
#include <span>

namespace topspin {

/// Fills the table in which the BPF programs look up calls by number: for each call, a
/// TOPSPIN_BLOCKED_BY_ of scheduler_abi.h. REQUIRES: of_call.size() == TOPSPIN_CALLS.
void name_blocking_calls(std::span<uint8_t> of_call);

}  // namespace topspin
