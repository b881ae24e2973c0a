// RuntimeFile: what topspin knows of a runtime (node, CPython, ...): how to recognise it in a
// process, and the points in its code at which spans begin and end. It is read from TOML
// (probes/runtime/runtimes, which the program has in itself, or a user's own file).
// docs/inside-runtimes.md describes the format. Pure, but for a user's own file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "probes/runtime/runtime_abi.h"

namespace topspin {

/// As in RuntimeInterval, in the same order.
inline constexpr std::array<std::string_view, TOPSPIN_RUNTIME_KINDS> kRuntimeKinds = {
    "gc", "gc_cycle", "stop", "loop_turn", "task_wait", "lock_wait"};

struct RuntimePoint {
  enum class Where : uint8_t { kEntry, kReturn, kUsdt };
  Where where = Where::kEntry;
  std::string name;  // a symbol, or its beginning and '*'; of a USDT probe "provider:name"
  topspin_runtime_point what{};
};

struct RuntimeSpan {
  size_t kind = 0;  // of kRuntimeKinds
  std::vector<RuntimePoint> points;
};

struct RuntimeFile {
  std::string name;
  bool is_automatic = true;          // "auto" includes it
  std::vector<std::string> objects;  // names of files without their folders; '*' at the end
  std::string section;               // that the object must have; empty: none
  std::string symbol;                // likewise, a function
  std::vector<RuntimeSpan> spans;    // of those of a kind, the first that an object has counts

  bool is_named(std::string_view object) const;
};

/// Whether `name` is `pattern`, or begins with what stands before its '*'.
bool matches_pattern(std::string_view pattern, std::string_view name);

/// kUsage with the file and line of what is wrong.
Result<RuntimeFile> parse_runtime_file(std::string_view text, const std::string& file);

/// The names of the runtimes that the program has in itself.
std::vector<std::string> built_in_runtimes();

/// `wanted`: "auto" (or "on") for all that are built in and automatic, or names and files (*.toml)
/// with commas between them. "none" and "": none.
Result<std::vector<RuntimeFile>> select_runtimes(const std::string& wanted);

}  // namespace topspin
