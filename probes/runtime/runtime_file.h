// RuntimeFile describes a runtime (node, CPython, ...): how to recognise it in a process, and the
// points in its code at which spans begin and end. It is read from TOML: a file of
// probes/runtime/runtimes, which are built into the program, or a file of the user.
// docs/inside-runtimes.md describes the format. Pure, except for files of the user.
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
  std::string name;  // a symbol, or its beginning and '*'; for a USDT probe "provider:name"
  topspin_runtime_point what{};
};

struct RuntimeSpan {
  size_t kind = 0;  // index in kRuntimeKinds
  std::vector<RuntimePoint> points;
};

struct RuntimeFile {
  std::string name;
  bool is_automatic = true;          // "auto" includes it
  std::vector<std::string> objects;  // file names without folders; may end with '*'
  std::string section;               // a section that the object must have; empty: none
  std::string symbol;                // a function that it must have; empty: none
  std::vector<RuntimeSpan> spans;    // for each kind, the first that an object has is used

  bool is_named(std::string_view object) const;
};

/// Whether `name` equals `pattern`, or begins with the part of it before '*'.
bool matches_pattern(std::string_view pattern, std::string_view name);

/// Fails with kUsage and the file and line of the mistake.
Result<RuntimeFile> parse_runtime_file(std::string_view text, const std::string& file);

/// The names of the runtimes that are built in.
std::vector<std::string> built_in_runtimes();

/// `wanted` is "auto" (or "on") for all built-in automatic ones, or a list of names and files
/// (*.toml) separated by commas. "none" and "" select none.
Result<std::vector<RuntimeFile>> select_runtimes(const std::string& wanted);

}  // namespace topspin
