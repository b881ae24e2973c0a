#include "ci/metrics/hot_function.h"

#include <algorithm>
#include <map>
#include <set>

namespace topspin {

std::optional<HotFunction> hot_function(std::span<const WeighedStack> stacks,
                                        uint64_t all_samples) {
  struct Seen {
    uint64_t samples = 0;
    size_t depth = 0;
  };
  std::map<std::string_view, Seen> seen;
  for (const WeighedStack& stack : stacks) {
    std::set<std::string_view> in_this;
    size_t depth = 0;
    for (size_t at = 0; at <= stack.frames.size(); ++depth) {
      const size_t end = std::min(stack.frames.find(';', at), stack.frames.size());
      const std::string_view frame = stack.frames.substr(at, end - at);
      at = end + 1;
      if (frame.empty() || frame == "[unknown]" || !in_this.insert(frame).second) continue;
      Seen& function = seen[frame];
      function.samples += stack.samples;
      function.depth = std::max(function.depth, depth);
    }
  }
  std::optional<HotFunction> hot;
  size_t deepest = 0;
  for (const auto& [name, function] : seen) {
    if (function.samples == 0 || function.samples < all_samples - function.samples) continue;
    if (hot && function.depth < deepest) continue;
    deepest = function.depth;
    hot = HotFunction{std::string(name), function.samples};
  }
  return hot;
}

}  // namespace topspin
