// How long a search by one of Lua's patterns may take. Lua's own matcher backtracks, in C, where no
// hook can end it: some patterns would take years. So a search is first tried here, with a limit of
// steps; only its cost matters, and the result is Lua's. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace topspin {

inline constexpr uint64_t kMostPatternSteps = 10'000'000;

/// Whether the search takes at most `most_steps` comparisons: the first match from `from` on (as
/// string.find), or `all` (as string.gsub). A back-reference counts as if it matched and then did
/// not, which is the most it can cost. A pattern that Lua refuses is cheap.
bool is_pattern_cheap(std::string_view subject, std::string_view pattern, size_t from, bool all,
                      uint64_t most_steps = kMostPatternSteps);

}  // namespace topspin
