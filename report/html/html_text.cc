#include "report/html/html_text.h"

namespace topspin {

std::string HtmlWay::escape(std::string_view text, size_t most_bytes) {
  std::string escaped;
  for (const char c : document::plain_text(text, most_bytes)) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

}  // namespace topspin
