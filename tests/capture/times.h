// The units and the start time that tests of the capture share.
#pragma once

#include <cstdint>

#include "core/base/clock.h"

namespace topspin {

inline constexpr int64_t kMs = kNanosPerMilli;
inline constexpr int64_t kS = kNanosPerSecond;
inline constexpr int64_t kStart = 1'700'000'000 * kS;  // the first packet of a capture

}  // namespace topspin
