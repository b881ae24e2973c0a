// The function in which most samples of some stacks are. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace topspin {

struct WeighedStack {
  std::string_view frames;  // as in StackRow
  uint64_t samples = 0;
};

struct HotFunction {
  std::string name;
  uint64_t samples = 0;  // in it, and in what it called
};

/// The innermost function that is in at least half of `all_samples`; `stacks` need not have all of
/// them. nullopt: there is none.
std::optional<HotFunction> hot_function(std::span<const WeighedStack> stacks, uint64_t all_samples);

}  // namespace topspin
