// Text that is safe in HTML, as the content of an element or in a quoted attribute. All text from
// outside becomes HTML here.
#pragma once

#include <string>
#include <string_view>

#include "report/document/escaped.h"
#include "report/document/readable.h"

namespace topspin {

struct HtmlWay {
  /// Cuts the text to `most_bytes`. Makes control characters, invisible characters and those that
  /// change the reading direction visible. Then escapes & < > " '.
  static std::string escape(std::string_view text, size_t most_bytes = document::kPageTextBytes);
};
using Html = document::Escaped<HtmlWay>;

/// The program's own words, and numbers. They are short and never cut.
inline Html html_words(std::string_view text) { return Html::escaped(text, text.size()); }

}  // namespace topspin
