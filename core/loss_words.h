// What each loss means, in a few words: one list for the screen, the reports and the exports.
#pragma once

#include <string_view>

#include "core/sample.h"

namespace topspin {

/// What the loss with this name (of LossInterval::for_each_field) counts; "": there is none.
std::string_view loss_meaning(std::string_view name);

/// Counted, but no number is wrong for it: waits and calls that were cut by an end of the run.
inline bool is_harmless_loss(std::string_view name) { return name.ends_with("_censored"); }

}  // namespace topspin
