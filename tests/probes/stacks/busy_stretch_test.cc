// The logic of the BPF programs: where a busy stretch begins and ends, and which are the longest.
#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "probes/stacks/busy_stretch.bpf.h"

namespace topspin {
namespace {

constexpr uint64_t kMs = 1'000'000;

TEST(BusyStretch, LastsFromASleepToTheNextWhateverPreemptsIt) {
  topspin_stretch_state state{};
  stretch_runs(&state, true, 100, 7);
  EXPECT_EQ(state.began_cpu_ns, 7u);
  stretch_is_preempted(&state);
  stretch_runs(&state, false, 300, 9);
  EXPECT_EQ(stretch_ends(&state, 500), 400u);
  EXPECT_EQ(state.began_cpu_ns, 7u);
  stretch_runs(&state, true, 1'000, 20);
  EXPECT_EQ(stretch_ends(&state, 1'010), 10u);
}

TEST(BusyStretch, ANewThreadsFirstOneIsKnownAndThatOfAThreadThatWasThereIsNot) {
  topspin_stretch_state born{};
  born.is_new = 1;
  stretch_runs(&born, false, 100, 0);
  EXPECT_EQ(stretch_ends(&born, 300), 200u);

  topspin_stretch_state was_there{};
  stretch_runs(&was_there, false, 100, 0);
  EXPECT_EQ(stretch_ends(&was_there, 300), 0u);
  topspin_stretch_state was_running{};
  EXPECT_EQ(stretch_ends(&was_running, 300), 0u);
}

TEST(BusyStretch, WhoseBeginningOrEndWasHiddenIsNotKnown) {
  topspin_stretch_state state{};
  stretch_runs(&state, true, 100, 0);
  EXPECT_EQ(stretch_ends(&state, 200), 100u);
  // The thread ran without being seen: the next event is that it sleeps again.
  EXPECT_EQ(stretch_ends(&state, 900), 0u);
  // The thread slept without being seen: the next event is that it runs, as it already seemed to.
  stretch_runs(&state, true, 1'000, 0);
  stretch_runs(&state, false, 5'000, 0);
  EXPECT_EQ(stretch_ends(&state, 5'100), 0u);
  stretch_runs(&state, true, 6'000, 0);
  EXPECT_EQ(stretch_ends(&state, 6'001), 1u) << "the next one is known";
}

TEST(BusyStretch, TheLongestOfAnEpochAreAmongThoseThatAreShown) {
  std::mt19937_64 random(1);
  topspin_stretch_state state{};
  for (uint64_t epoch = 1; epoch <= 50; ++epoch) {
    std::vector<uint64_t> all, shown;
    for (int i = 0; i < 2'000; ++i) {
      all.push_back(random() % (100 * kMs));
      if (is_long_stretch(&state, epoch, all.back())) shown.push_back(all.back());
    }
    std::ranges::sort(all, std::greater());
    std::ranges::sort(shown, std::greater());
    ASSERT_GE(shown.size(), TOPSPIN_STRETCHES_A_THREAD);
    for (size_t i = 0; i < TOPSPIN_STRETCHES_A_THREAD; ++i) ASSERT_EQ(shown[i], all[i]);
    // The eight longest, and about 8 ln(2,000 / 8) = 44 that were among the longest when they
    // ended.
    EXPECT_LT(shown.size(), 120u);
  }
}

TEST(BusyStretch, ShortOnesAreNeverShown) {
  topspin_stretch_state state{};
  EXPECT_FALSE(is_long_stretch(&state, 1, 0));
  EXPECT_FALSE(is_long_stretch(&state, 1, TOPSPIN_SHORT_STRETCH_NS));
  EXPECT_TRUE(is_long_stretch(&state, 1, TOPSPIN_SHORT_STRETCH_NS + 1));
}

}  // namespace
}  // namespace topspin
