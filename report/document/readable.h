// Formats numbers for people and cuts text to a length. Numbers have two forms: plain for a
// terminal ("1.25us", "9.2%"), and typeset for pages and Markdown ("1.25 µs" with a narrow space).
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace topspin::document {

enum class Unit : uint8_t { kCount, kPerSecond, kNanoseconds, kBytes, kCpus, kShare };

/// Text longer than this many bytes is cut, with an ellipsis, to keep pages small.
inline constexpr size_t kPageTextBytes = 400;

/// Hostile text, cut to `most_bytes`. Control characters, invisible characters and those that
/// change the reading direction are made visible. It is not escaped for any markup.
std::string plain_text(std::string_view text, size_t most_bytes = kPageTextBytes);

/// "Active flows" for "active flows".
std::string capitalized(std::string_view label);

// "1,234,567", "2.16 ms", "108 MiB", "9.2 %", with a narrow no-break space.
std::string page_count(uint64_t count);
std::string page_duration(int64_t ns);
std::string page_bytes(int64_t bytes);
std::string page_percent(double share);
std::string page_number(Unit unit, double value);

/// The same for a terminal: "1,234,567", "2.16ms", "108 MiB", "9.2%".
std::string plain_number(Unit unit, double value);

/// "2026-11-20 21:14 UTC".
std::string page_time(int64_t wall_ns);

}  // namespace topspin::document
