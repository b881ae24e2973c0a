// The beginnings of reasons that programs must recognise. From them the gate knows whether the
// subject caused a problem, or topspin or the host did.
#pragma once

#include <string_view>

namespace topspin {

/// The subject ended by itself, or never became ready.
inline constexpr std::string_view kSubjectReason = "the subject ";
/// A reason that the load gave.
inline constexpr std::string_view kLoadReason = "the load: ";
/// A reason of the load: replies were expected, and none came.
inline constexpr std::string_view kLoadSilence = "nothing was answered";

}  // namespace topspin
