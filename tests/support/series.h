// Where the labelled performance series are on this machine.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace topspin::test {

inline std::string series_directory() {
  const char* named = std::getenv("TOPSPIN_SERIES");
  return named != nullptr ? named : std::string(TOPSPIN_SHARED_DIR) + "/series";
}

}  // namespace topspin::test

#define TOPSPIN_NEEDS_SERIES()                                                                 \
  do {                                                                                         \
    if (!std::filesystem::is_directory(::topspin::test::series_directory()))                   \
      GTEST_SKIP() << "SKIP REASON: no labelled series; set TOPSPIN_SERIES to where they are"; \
  } while (false)
