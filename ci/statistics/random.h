// Random: numbers that are the same for the same seed on every machine and with every library.
//
// The standard specifies the sequence of mt19937_64, but not the results of its distributions.
// Therefore we map it to indexes ourselves. A plain value; not thread-safe.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <utility>

#include "core/base/check.h"

namespace topspin {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  /// Uniform on [0, bound), without bias. REQUIRES: bound > 0.
  /// Takes as many low bits as bound - 1 has, and draws again until they are below bound. This
  /// needs no division, and fewer than two draws on average.
  uint64_t below(uint64_t bound) {
    CHECK(bound > 0);
    const uint64_t mask = bound == 1 ? 0 : UINT64_MAX >> std::countl_zero(bound - 1);
    for (;;) {
      const uint64_t draw = engine_() & mask;
      if (draw < bound) return draw;
    }
  }

  bool coin() { return (engine_() >> 63) != 0; }

  /// Shuffles by Fisher-Yates.
  template <typename T>
  void shuffle(std::span<T> values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace topspin
