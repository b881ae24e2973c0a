// Pieces of the page's text: escaping, and numbers as people read them. The one place where text
// from outside becomes fit for HTML.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "report/model/curves.h"

namespace topspin {

/// Text longer than this many bytes is cut, with an ellipsis: a page stays a page.
inline constexpr size_t kPageTextBytes = 400;

/// Hostile text for an element's content or a quoted attribute: controls and what is invisible or
/// turns the reading direction are made visible, then & < > " ' are escaped. Cut to `most_bytes`.
std::string html_text(std::string_view text, size_t most_bytes = kPageTextBytes);

/// The same cut and made visible, not escaped: for JSON, which has its own escaping.
std::string plain_text(std::string_view text, size_t most_bytes = kPageTextBytes);

/// JSON that may stand inside a script element: `<`, `>` and `&` only occur within strings, and
/// leave as \u escapes. REQUIRES: `json` is JSON.
std::string json_for_script(std::string_view json);

/// A JSON number, whole if it is whole; null if it is not finite.
std::string json_number(double value);

// "1,234,567", "2.16 ms", "108 MiB", "9.2 %": with a narrow space that does not break.
std::string page_count(uint64_t count);
std::string page_duration(int64_t ns);
std::string page_bytes(int64_t bytes);
std::string page_percent(double share);
std::string page_number(Unit unit, double value);

/// "–" for what was not measured.
inline constexpr std::string_view kNotMeasured = "–";

/// "2026-11-20 21:14 UTC".
std::string page_time(int64_t wall_ns);

}  // namespace topspin
