// Whether a test that needs root may run. The reason of a skip is counted and printed by `./test`.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#define TOPSPIN_SKIP(reason) GTEST_SKIP() << (reason)

#define TOPSPIN_NEEDS_ROOT()                                                  \
  do {                                                                        \
    if (geteuid() != 0) TOPSPIN_SKIP("needs root, for live capture and BPF"); \
  } while (false)
