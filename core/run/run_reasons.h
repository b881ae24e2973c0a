// How reasons for what is wrong with a run begin, where a program has to know them again: the gate
// tells by them what the subject did from what topspin or the host did.
#pragma once

#include <string_view>

namespace topspin {

/// The subject ended by itself, or never became ready.
inline constexpr std::string_view kSubjectReason = "the subject ";
/// A reason of the load's own.
inline constexpr std::string_view kLoadReason = "the load: ";
/// Of the load: replies were expected and none came at all.
inline constexpr std::string_view kLoadSilence = "nothing was answered";

}  // namespace topspin
