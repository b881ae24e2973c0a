// Reads TOML. The only file that includes toml++: plans, gate configurations and the runtimes'
// files (probes/runtime) share it.
//
// For some texts ("[[[", "[." and others) toml++ ends the program with assert(), or with NDEBUG
// continues with a broken invariant. Here, a failed assertion becomes an error of the text instead.
// All code must use toml++ through this header: its functions are inline, and the linker keeps one
// copy of each. A text is hostile input; one that nests too deeply is refused before it is parsed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace topspin {

/// Thrown by toml++ in place of assert(), and caught by parse_toml().
struct TomlAssertion {};
[[noreturn]] inline void throw_toml_assertion() { throw TomlAssertion(); }

}  // namespace topspin

#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expr) \
  (static_cast<bool>(expr) ? static_cast<void>(0) : ::topspin::throw_toml_assertion())
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace topspin {

/// Either `table`, or the error and its place.
struct TomlDocument {
  std::optional<toml::table> table;
  uint32_t line = 0;
  std::string error;
};

/// Limits far above those of any real plan. The second bounds the nesting of tables ("a.a.a.a =
/// 1"), because toml++ visits them recursively, also when it destroys them.
inline constexpr size_t kMostTomlBytes = size_t{4} << 20;
inline constexpr size_t kMostTomlDots = 4'096;

namespace toml_detail {

inline TomlDocument parse_unguarded(std::string_view text, std::string_view name) {
  TomlDocument document;
  toml::parse_result parsed = toml::parse(text, name);
  if (parsed) {
    document.table = std::move(parsed).table();
  } else {
    document.line = parsed.error().source().begin.line;
    document.error = parsed.error().description();
  }
  return document;
}

inline bool fails_an_assertion(std::string_view text) {
  try {
    (void)parse_unguarded(text, "");
    return false;
  } catch (const TomlAssertion&) {
    return true;
  }
}

/// The first line at which toml++ fails an assertion.
inline uint32_t line_of_assertion(std::string_view text) {
  std::vector<size_t> ends;  // of each line, its newline included
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' || i + 1 == text.size()) ends.push_back(i + 1);
  }
  const auto fails = [&](size_t end) { return fails_an_assertion(text.substr(0, end)); };
  const auto first =
      std::partition_point(ends.begin(), ends.end(), [&](size_t end) { return !fails(end); });
  return static_cast<uint32_t>(first - ends.begin()) + 1;
}

}  // namespace toml_detail

inline TomlDocument parse_toml(std::string_view text, std::string_view name) {
  const auto refuse = [](std::string why) {
    TomlDocument refused;
    refused.line = 1;
    refused.error = std::move(why);
    return refused;
  };
  if (text.size() > kMostTomlBytes)
    return refuse(fmt::format("the text is longer than {} MiB", kMostTomlBytes >> 20));
  if (static_cast<size_t>(std::count(text.begin(), text.end(), '.')) > kMostTomlDots)
    return refuse(fmt::format("the text has more than {} dots", kMostTomlDots));
  try {
    return toml_detail::parse_unguarded(text, name);
  } catch (const TomlAssertion&) {
    TomlDocument document;
    document.line = toml_detail::line_of_assertion(text);
    document.error = "expected a key, a value or a table's name in brackets";
    return document;
  }
}

}  // namespace topspin
