#include "report/export/csv_line.h"

#include <array>
#include <cstdint>

#include "report/export/export.h"

namespace topspin {
namespace {

bool starts_formula(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return false;
  text.remove_prefix(first);
  constexpr std::array<std::string_view, 11> kStarts = {
      "=", "+", "-", "@", "\t", "\r", "\n", "\uFF1D", "\uFF0B", "\uFF0D", "\uFF20"};
  for (const std::string_view start : kStarts) {
    if (text.starts_with(start)) return true;
  }
  return false;
}

/// Whether the text after a line end would be taken for a command. Log readers skip white space of
/// any script, so everything that is not ASCII is skipped here.
bool starts_command(std::string_view text) {
  while (!text.empty() && (text.front() <= ' ' || static_cast<uint8_t>(text.front()) >= 0x7f) &&
         text.front() != '\n')
    text.remove_prefix(1);
  return text.starts_with("::") || text.starts_with("##");
}

}  // namespace

void CsvLine::text(std::string_view raw) {
  separate();
  const std::string clean = replace_unprintable(raw);
  line_ += '"';
  if (starts_formula(clean)) line_ += '\'';
  for (size_t i = 0; i < clean.size(); ++i) {
    if (clean[i] == '"') line_ += '"';
    line_ += clean[i];
    const bool line_end = clean[i] == '\n' || clean[i] == '\r';
    if (line_end && starts_command(std::string_view(clean).substr(i + 1))) line_ += '\'';
  }
  line_ += '"';
}

}  // namespace topspin
