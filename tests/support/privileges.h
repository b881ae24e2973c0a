// Whether a test that needs root may run, and the one way to say that it may not.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

// `./test` collects these lines and counts them by reason.
#define TOPSPIN_SKIP(reason)                     \
  do {                                           \
    GTEST_SKIP() << "SKIP REASON: " << (reason); \
  } while (false)

#define TOPSPIN_NEEDS_ROOT()                                                  \
  do {                                                                        \
    if (geteuid() != 0) TOPSPIN_SKIP("needs root, for live capture and BPF"); \
  } while (false)
