// Text that is safe at a terminal and in the log of a CI system.
#pragma once

#include <string>
#include <string_view>

#include "report/document/escaped.h"

namespace topspin {

struct TextWay {
  static std::string escape(std::string_view text, size_t most_bytes);
};
using Text = document::Escaped<TextWay>;

/// The line with a newline at its end. No CI system takes it for a command.
std::string ended_line(const Text& line);

}  // namespace topspin
