// SecondsSeen counts how many distinct flows were seen in each whole second of the epoch.
//
// It keeps one bit per flow for each of the kSecondsKept seconds that were used last, so packets
// stamped out of order still count once. The count is exact unless a second comes back after that
// many others; then it starts again at 0. 2 bytes per flow. Pure, one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace topspin {

class SecondsSeen {
 public:
  static constexpr size_t kSecondsKept = 16;

  /// Marks the flow in `slot` as seen in `second`; returns how many flows that second has now.
  uint64_t mark(int64_t second, uint32_t slot) {
    if (seconds_[current_].second != second) [[unlikely]]
      turn_to(second);
    Second& s = seconds_[current_];
    const size_t word = slot / 64;
    if (word >= s.bits.size()) [[unlikely]]
      s.bits.resize(std::max<size_t>(word + 1, s.bits.size() * 3 / 2));
    const uint64_t bit = uint64_t{1} << (slot % 64);
    if ((s.bits[word] & bit) == 0) {
      s.bits[word] |= bit;
      s.first_word = std::min(s.first_word, word);
      s.last_word = std::max(s.last_word, word);
      ++s.count;
    }
    return s.count;
  }

  /// The flow in `slot` has left, and the next one in that slot is a different flow.
  void forget(uint32_t slot) {
    const size_t word = slot / 64;
    for (Second& s : seconds_) {
      if (word < s.bits.size()) s.bits[word] &= ~(uint64_t{1} << (slot % 64));
    }
  }

 private:
  struct Second {
    int64_t second = INT64_MIN;
    uint64_t count = 0;
    uint64_t used = 0;             // value of uses_ when it was last turned to
    size_t first_word = SIZE_MAX;  // bits are set only from here to last_word: clears just those
    size_t last_word = 0;
    std::vector<uint64_t> bits;
  };

  void turn_to(int64_t second) {
    size_t oldest = 0;
    for (size_t i = 0; i < kSecondsKept; ++i) {
      if (seconds_[i].second == second) {
        current_ = i;
        seconds_[i].used = ++uses_;
        return;
      }
      if (seconds_[i].used < seconds_[oldest].used) oldest = i;
    }
    current_ = oldest;
    restart(seconds_[oldest], second);
    seconds_[oldest].used = ++uses_;
  }

  static void restart(Second& s, int64_t second) {
    if (s.first_word != SIZE_MAX) {
      std::fill(s.bits.begin() + static_cast<int64_t>(s.first_word),
                s.bits.begin() + static_cast<int64_t>(s.last_word) + 1, 0);
    }
    s.second = second;
    s.count = 0;
    s.first_word = SIZE_MAX;
    s.last_word = 0;
  }

  std::array<Second, kSecondsKept> seconds_;
  size_t current_ = 0;
  uint64_t uses_ = 0;
};

}  // namespace topspin
