#include "report/markdown/markdown_text.h"

#include <cctype>

namespace topspin {
namespace {

/// Between a sign and what it would refer to: nothing to see, and no mention, issue or address.
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
      // A line of spaces and two spaces at a line's end have a meaning; one space has none.
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
        // GH-12 is an issue, and a mention may follow a hyphen.
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
        // Between letters it emphasises nothing.
        if (i + 1 < plain.size() && std::isalnum(static_cast<unsigned char>(before)) &&
            std::isalnum(static_cast<unsigned char>(plain[i + 1]))) {
          out += c;
        } else {
          entity(c);
        }
        break;
      case ':':
        // Neither a scheme, nor an emoji's name.
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
