#pragma once

#include <cstdlib>

namespace topspin::test {

/// Whether the tests have time for everything, as ci/nightly gives them (TOPSPIN_SLOW_TESTS=1).
inline bool every_night() { return std::getenv("TOPSPIN_SLOW_TESTS") != nullptr; }

/// How often a test repeats something: `few` times for each change, `many` times every night.
inline int repeats(int few, int many) { return every_night() ? many : few; }

}  // namespace topspin::test

#define TOPSPIN_ONLY_EVERY_NIGHT() \
  if (!topspin::test::every_night()) GTEST_SKIP() << "takes long: set TOPSPIN_SLOW_TESTS=1"
