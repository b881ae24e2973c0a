// What `topspin load` prints: a line a second, and the result as text or JSON. Pure.
#pragma once

#include <string>

#include "load/load.h"

namespace topspin {

inline constexpr int kLoadSchemaVersion = 1;

/// One line, no newline.
std::string load_progress_line(const LoadProgress& progress);

/// For people: several lines. May quote hostile text, so print it line by line, sanitised.
std::string load_result_text(const LoadResult& result);

/// One JSON object, ASCII, with a newline. docs/load.md names the fields.
std::string load_result_json(const LoadResult& result);

}  // namespace topspin
