// A line of CSV (RFC 4180): cells separated by commas, lines ended by CRLF.
//
// Texts are always quoted, numbers never. A text that a spreadsheet would take for a formula is
// prefixed with an apostrophe. Such a text has, as the first character that is not a space, one of
// = + - @ (or its full-width form), a tab, a carriage return or a line feed. A later line of a text
// gets an apostrophe too if it begins like a command to a CI system's log ("::" or "##"). Absent
// values are empty.
#pragma once

#include <iterator>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace topspin {

class CsvLine {
 public:
  void text(std::string_view raw);
  template <typename T>
  void number(T value) {
    separate();
    fmt::format_to(std::back_inserter(line_), "{}", value);
  }
  void absent() { separate(); }

  /// The complete line. Nothing can be added afterwards.
  std::string end() && {
    line_ += "\r\n";
    return std::move(line_);
  }

 private:
  void separate() {
    if (!first_) line_ += ',';
    first_ = false;
  }

  bool first_ = true;
  std::string line_;
};

}  // namespace topspin
