// Text that is fit for HTML: an element's content or a quoted attribute. The one place where text
// from outside becomes that.
#pragma once

#include <string>
#include <string_view>

#include "report/document/escaped.h"
#include "report/document/readable.h"

namespace topspin {

struct HtmlWay {
  /// Controls and what is invisible or turns the reading direction are made visible, then
  /// & < > " ' are escaped. Cut to `most_bytes`.
  static std::string escape(std::string_view text, size_t most_bytes = document::kPageTextBytes);
};
using Html = document::Escaped<HtmlWay>;

/// Words of the program's own, and numbers: short enough never to be cut.
inline Html html_words(std::string_view text) { return Html::escaped(text, text.size()); }

}  // namespace topspin
