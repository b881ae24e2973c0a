#include "report/markdown/markdown_text.h"

#include <cctype>

namespace topspin {
namespace {

/// Invisible. After a character such as @ or #, it prevents a mention, an issue or an address.
constexpr std::string_view kWordJoiner = "\u2060";

}  // namespace

std::string MarkdownWay::escape(std::string_view text, size_t most_bytes) {
  const std::string plain = document::plain_text(text, most_bytes);
  std::string out;
  const auto entity = [&](char c) { out += fmt::format("&#{};", static_cast<int>(c)); };
  for (size_t i = 0; i < plain.size(); ++i) {
    const char c = plain[i];
    const char before = i > 0 ? plain[i - 1] : '\n';
    const bool is_ascii = static_cast<unsigned char>(c) < 0x80;
    if (!is_ascii || std::isalnum(static_cast<unsigned char>(c)) || c == ' ') {
      // Several spaces at a line's beginning or end have a meaning; one space has none.
      if (c != ' ' || before != ' ') out += c;
      continue;
    }
    switch (c) {
      case '@':
      case '#':
        entity(c);
        out += kWordJoiner;
        break;
      case '-':
        out += c;
        // GH-12 is a link to an issue, and a mention may follow a hyphen.
        if (before == 'H' || before == 'h') out += kWordJoiner;
        break;
      case '.':
        // www.example.org becomes a link.
        if (before == 'w' || before == 'W')
          entity(c);
        else
          out += c;
        break;
      case ',':
      case ';':
      case '%':
      case '+':
      case '=':
      case '/':
      case '\'':
      case '?': out += c; break;
      case '_':
        // Between letters and digits it does not mark emphasis.
        if (i + 1 < plain.size() && std::isalnum(static_cast<unsigned char>(before)) &&
            std::isalnum(static_cast<unsigned char>(plain[i + 1]))) {
          out += c;
        } else {
          entity(c);
        }
        break;
      case ':':
        // Prevents a URL's scheme and the name of an emoji.
        if (i + 1 < plain.size() && plain[i + 1] != ' ') {
          entity(c);
        } else {
          out += c;
        }
        break;
      default: entity(c);
    }
  }
  return out;
}

}  // namespace topspin
