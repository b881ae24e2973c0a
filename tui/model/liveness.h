// Liveness: whether a flow sent on time in each of the last kLivenessTicks ticks.
//
// It takes 48 bytes per flow: three bit planes of 128 ticks. Plain values; pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace topspin {

inline constexpr int kLivenessTicks = 128;

/// In order of severity.
enum class Liveness : uint8_t {
  kNone,    // no flow: not begun, ended, or too long ago
  kQuiet,   // nothing due, or no period known
  kOnTime,  // sent, within a tenth of its period
  kLate,    // sent late, or overdue by more than a tenth of its period
  kMissed,  // a whole tick of its period passed without a packet
  kDead,    // silent for kDeadPeriods of its periods
};
inline constexpr int kLivenessStates = 6;
inline constexpr int64_t kDeadPeriods = 5;

class LivenessHistory {
 public:
  void push(Liveness state) {
    const auto bits = static_cast<uint64_t>(state);
    for (size_t plane = 0; plane < planes_.size(); ++plane) {
      auto& [low, high] = planes_[plane];
      high = (high << 1) | (low >> 63);
      low = (low << 1) | ((bits >> plane) & 1);
    }
  }
  /// 0 is the newest tick. REQUIRES: 0 <= ago < kLivenessTicks.
  Liveness at(int ago) const {
    uint64_t bits = 0;
    for (size_t plane = 0; plane < planes_.size(); ++plane) {
      const auto& [low, high] = planes_[plane];
      const uint64_t word = ago < 64 ? low : high;
      bits |= ((word >> (ago & 63)) & 1) << plane;
    }
    return static_cast<Liveness>(bits);
  }

  /// The ticks in one state, as bits: bit `ago` of the 128, the first 64 in [0].
  std::array<uint64_t, 2> ticks_in(Liveness state) const {
    const auto bits = static_cast<uint64_t>(state);
    std::array<uint64_t, 2> result = {~uint64_t{0}, ~uint64_t{0}};
    for (size_t plane = 0; plane < planes_.size(); ++plane) {
      const bool one = ((bits >> plane) & 1) != 0;
      result[0] &= one ? planes_[plane].low : ~planes_[plane].low;
      result[1] &= one ? planes_[plane].high : ~planes_[plane].high;
    }
    return result;
  }

 private:
  struct Plane {
    uint64_t low = 0, high = 0;
  };
  std::array<Plane, 3> planes_;
};

/// What happened to one flow in one tick.
struct LivenessFacts {
  bool ended = false;
  bool sent = false;                    // the initiator sent in this tick
  bool missed = false;                  // the count of missed ticks grew
  std::optional<int64_t> late_ns = {};  // the worst lateness known of this tick's gaps
  std::optional<int64_t> period_ns = {};
  int64_t silent_ns = 0;  // since the last packet, at the tick's end
};
Liveness judge_liveness(const LivenessFacts& facts);

}  // namespace topspin
