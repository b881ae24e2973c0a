#include "store/team/team_text.h"

#include "core/base/text.h"

namespace topspin {
namespace {

constexpr char32_t kFirst = 0xF700;

/// U+F700 + byte, in UTF-8.
void append_byte(std::string& out, unsigned char byte) {
  const char32_t code = kFirst + byte;
  out += static_cast<char>(0xE0 | (code >> 12));
  out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
  out += static_cast<char>(0x80 | (code & 0x3F));
}

bool stands_for_byte(std::optional<char32_t> code) {
  return code && *code >= kFirst && *code <= kFirst + 0xFF;
}

}  // namespace

std::string to_team_text(std::string_view text) {
  std::string out;
  for (size_t position = 0; position < text.size();) {
    const size_t begin = position;
    const auto code = next_code_point(text, position);
    // A surrogate in UTF-8 is refused by PostgreSQL.
    const bool surrogate = code && *code >= 0xD800 && *code <= 0xDFFF;
    const std::string_view bytes = text.substr(begin, position - begin);
    if (code && *code != 0 && !surrogate && !stands_for_byte(code)) {
      out += bytes;
      continue;
    }
    for (const char byte : bytes) append_byte(out, static_cast<unsigned char>(byte));
  }
  return out;
}

std::string from_team_text(std::string_view stored) {
  std::string out;
  for (size_t position = 0; position < stored.size();) {
    const size_t begin = position;
    const auto code = next_code_point(stored, position);
    if (stands_for_byte(code))
      out += static_cast<char>(*code - kFirst);
    else
      out += stored.substr(begin, position - begin);
  }
  return out;
}

}  // namespace topspin
