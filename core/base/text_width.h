// How many terminal cells a code point takes: 0 (combining), 1 or 2 (wide).
//
// The table is our own, so that the result does not depend on the locale. Control characters and
// other invisible ones do not occur, because sanitize_for_terminal() has made them visible. Pure.
#pragma once

#include <string_view>

namespace topspin {

int code_point_width(char32_t c);

/// The number of cells that `text` takes. REQUIRES: it went through sanitize_for_terminal().
int text_width(std::string_view text);

}  // namespace topspin
