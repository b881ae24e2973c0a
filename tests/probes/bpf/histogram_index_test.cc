// BPF programs compute a histogram's index in another way than C++ code. Both must always agree.
#include <cstdint>
#include <random>

#include <gtest/gtest.h>

#include "probes/bpf/histogram_index.bpf.h"

namespace topspin {
namespace {

TEST(HistogramIndex, agrees_with_the_shared_layout_at_every_edge) {
  for (uint64_t value = 0; value < 100'000; ++value)
    ASSERT_EQ(histogram_index(value), topspin_histogram_index(value)) << value;
  for (int bit = 0; bit < 64; ++bit) {
    for (int64_t offset = -2; offset <= 2; ++offset) {
      const uint64_t value = (uint64_t{1} << bit) + static_cast<uint64_t>(offset);
      ASSERT_EQ(histogram_index(value), topspin_histogram_index(value)) << value;
    }
  }
  std::mt19937_64 random(1);
  for (int count = 0; count < 1'000'000; ++count) {
    const uint64_t value = random() >> (random() % 64);
    ASSERT_EQ(histogram_index(value), topspin_histogram_index(value)) << value;
  }
}

}  // namespace
}  // namespace topspin
