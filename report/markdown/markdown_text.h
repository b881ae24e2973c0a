// Text that is safe in Markdown as GitHub renders it: plain text within a line, a table's cell or a
// code element.
#pragma once

#include <string>
#include <string_view>

#include "report/document/escaped.h"
#include "report/document/readable.h"

namespace topspin {

struct MarkdownWay {
  /// The result contains no markup, no link and no mention. The text is cut to `most_bytes` before
  /// it is escaped.
  static std::string escape(std::string_view text, size_t most_bytes = 200);
};
using Markdown = document::Escaped<MarkdownWay>;

inline std::string markdown_text(std::string_view text, size_t most_bytes = 200) {
  return MarkdownWay::escape(text, most_bytes);
}

}  // namespace topspin
