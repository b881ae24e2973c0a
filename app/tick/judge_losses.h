// Judges from the losses and the clock of a run whether it is usable. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/flow/flow.h"
#include "core/tick/sample.h"

namespace topspin {

/// Why a run with these losses is not usable; empty if it is. docs/losses.md has the limits.
std::vector<std::string> judge_losses(const LossInterval& losses, const FlowInterval& flows,
                                      uint64_t ticks);

/// Which numbers of a run may be wrong although nothing was lost. Such a run is usable, but may not
/// be judged.
std::vector<std::string> doubts_of(const FlowInterval& flows);
/// The doubt if this many flows entered a number while their initiator was a guess.
std::optional<std::string> doubt_of_guessed_ends(int64_t flows);

}  // namespace topspin
