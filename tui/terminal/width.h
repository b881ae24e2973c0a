// How many terminal cells a code point takes: 0 (combining), 1 or 2 (wide).
//
// An own table, so that the answer does not depend on the locale that topspin was started in.
// Control characters and other invisible ones never come here: sanitize_for_terminal() has made
// them visible. Pure.
#pragma once

#include <string_view>

namespace topspin {

int code_point_width(char32_t c);

/// Cells that `text` takes, which must be fit for a terminal (sanitize_for_terminal).
int text_width(std::string_view text);

}  // namespace topspin
