// Makes text from outside safe for a terminal, and has other small functions on text.
//
// Packets, process names, file names, labels and databases are hostile input: an escape sequence in
// a process name must not reach a terminal. JSON has its own escaping (ASCII only) in report.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace topspin {

/// `text` with everything that could control or confuse a terminal made visible. C0 and C1 controls
/// (including newline and tab), DEL and invalid UTF-8 bytes become \xNN. Bidirectional controls,
/// zero-width and other invisible characters, line and paragraph separators, surrogates and
/// non-characters become \u{NNNN}. The result is valid UTF-8 on one line.
std::string sanitize_for_terminal(std::string_view text);

/// Changes a line that a CI system would take for a command when it reads the log ("::error::" of
/// GitHub, "##[error]" of Azure; both may follow spaces).
std::string no_command(std::string line);

/// The next code point of `text` from `position`, which moves past it; nullopt (and one byte on) if
/// the bytes there are not valid UTF-8. REQUIRES: position < text.size().
std::optional<char32_t> next_code_point(std::string_view text, size_t& position);

/// `text` without the `blanks` at its ends.
std::string_view trimmed(std::string_view text, std::string_view blanks = " \t\n");

/// ASCII letters in lower case; other bytes stay.
std::string lower_case(std::string_view text);

/// "1s", "250ms", "1.5 s", "2m", "500us", "100ns", "1h"; a bare number is seconds. Nanoseconds.
std::optional<int64_t> parse_duration(std::string_view text);

/// "64MiB", "2GB", "1.5 kB", "512B"; a bare number is bytes.
std::optional<uint64_t> parse_bytes(std::string_view text);

/// A duration to three significant digits with its unit: "0", "812ns", "1.25ms", "-3.00s".
std::string format_duration(int64_t ns);

/// "1,234,567".
std::string format_exact(uint64_t count);

/// A byte count to three significant digits in powers of 1024: "812 B", "1.25 KiB", "3.00 GiB".
std::string format_bytes(int64_t bytes);

/// ISO 8601 in UTC with milliseconds: "2026-11-20T21:14:54.123Z".
std::string format_utc(int64_t wall_ns);

/// The word in `words` that is nearest to `word`: the one with the fewest letters to add, remove,
/// replace or swap with the next. nullopt if none is near (a third of its letters).
std::optional<std::string_view> nearest_word(std::string_view word,
                                             std::span<const std::string_view> words);

/// The end of a message that refuses `word`: "; did you mean NEAR?", or nothing if none is near.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> words);

}  // namespace topspin
