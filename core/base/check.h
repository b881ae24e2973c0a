// CHECK: a condition that only a bug can break. Aborts in every build, release included.
#pragma once

namespace topspin {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}  // namespace topspin

#define CHECK(condition)                                       \
  do {                                                         \
    if (!(condition)) [[unlikely]] {                           \
      ::topspin::check_failed(#condition, __FILE__, __LINE__); \
    }                                                          \
  } while (false)
