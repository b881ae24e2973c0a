// Text that is fit for a terminal, and for the log of a CI system.
#pragma once

#include <string>
#include <string_view>

#include "report/document/escaped.h"

namespace topspin {

struct TextWay {
  static std::string escape(std::string_view text, size_t most_bytes);
};
using Text = document::Escaped<TextWay>;

/// A line, ended: no command to a CI system.
std::string ended_line(const Text& line);

}  // namespace topspin
