// Text of runs, as PostgreSQL can keep it. Texts from outside (labels, commands, names) may hold
// any bytes; PostgreSQL's text holds only valid UTF-8 without NUL. Each byte that does not fit
// becomes one character of the private use area, U+F700 to U+F7FF, and comes back as it was. All
// other text is kept as it is, so queries find it. Pure.
#pragma once

#include <string>
#include <string_view>

namespace topspin {

std::string to_team_text(std::string_view text);
std::string from_team_text(std::string_view stored);

}  // namespace topspin
