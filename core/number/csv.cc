#include "core/number/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/read_file.h"

namespace topspin {
namespace {

constexpr size_t kMaxFileBytes = size_t{64} << 20;

/// Walks the text once, cell by cell.
class Parser {
 public:
  Parser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  bool at_end() const { return position_ == text_.size(); }
  size_t line() const { return line_; }

  /// The cells of one line. REQUIRES: !at_end().
  Result<std::vector<std::string>> next_row() {
    std::vector<std::string> cells;
    for (;;) {
      TOPSPIN_ASSIGN(std::string cell, next_cell(cells.size() + 1));
      cells.push_back(std::move(cell));
      if (at_end()) return cells;
      if (text_[position_] == ',') {
        ++position_;
        continue;
      }
      end_line();
      return cells;
    }
  }

 private:
  bool at_line_end() const {
    return text_[position_] == '\n' || text_.substr(position_, 2) == "\r\n";
  }
  void end_line() {
    position_ += text_[position_] == '\r' ? 2 : 1;
    ++line_;
  }
  Error wrong(size_t cell, std::string_view what) const {
    return make_error(ErrorCode::kInput,
                      fmt::format("{}, line {}, cell {}: {}", name_, line_, cell, what));
  }

  Result<std::string> next_cell(size_t number) {
    std::string cell;
    if (!at_end() && text_[position_] == '"') {
      ++position_;
      for (;;) {
        if (at_end()) return wrong(number, "a quoted cell does not end; close it with \"");
        const char c = text_[position_++];
        if (c == '\n') ++line_;
        if (c != '"') {
          cell += c;
        } else if (!at_end() && text_[position_] == '"') {
          cell += '"';
          ++position_;
        } else {
          break;
        }
      }
      if (!at_end() && text_[position_] != ',' && !at_line_end())
        return wrong(number, "text follows a quoted cell; separate cells with a comma");
      return cell;
    }
    while (!at_end() && text_[position_] != ',' && !at_line_end()) {
      const char c = text_[position_++];
      if (c == '"') return wrong(number, "a quote inside a cell that is not quoted");
      if (c == '\0') return wrong(number, "a zero byte; this is not a text file");
      cell += c;
    }
    return cell;
  }

  std::string_view text_;
  const std::string& name_;
  size_t position_ = 0;
  size_t line_ = 1;
};

bool is_blank(const std::vector<std::string>& cells) {
  return cells.size() == 1 && cells.front().empty();
}

std::optional<double> parse_number(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

/// Shortens a cell that is quoted in a message.
std::string shortened(const std::string& text) {
  constexpr size_t kMax = 40;
  return text.size() <= kMax ? text : text.substr(0, kMax) + "...";
}

}  // namespace

Result<CsvTable> parse_csv(std::string_view text, std::string name) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  CsvTable table;
  table.name = std::move(name);
  Parser parser(text, table.name);
  if (parser.at_end()) {
    return make_error(
        ErrorCode::kInput,
        fmt::format("{} is empty; its first line should name its columns", table.name));
  }
  TOPSPIN_ASSIGN(table.columns, parser.next_row());
  for (size_t i = 0; i < table.columns.size(); ++i) {
    const std::string& column = table.columns[i];
    const auto fault = [&](std::string_view what) {
      return make_error(ErrorCode::kInput,
                        fmt::format("{}, line 1, column {}: {}", table.name, i + 1, what));
    };
    if (column.empty()) return fault("a column without a name");
    if (parse_number(column))
      return fault(fmt::format("\"{}\" is a number; the first line should name the columns",
                               shortened(column)));
    if (std::count(table.columns.begin(), table.columns.end(), column) > 1)
      return fault(fmt::format("\"{}\" names two columns", shortened(column)));
  }
  while (!parser.at_end()) {
    const size_t line = parser.line();
    TOPSPIN_ASSIGN(std::vector<std::string> cells, parser.next_row());
    if (is_blank(cells) && parser.at_end() && table.columns.size() != 1) break;
    if (cells.size() != table.columns.size()) {
      return make_error(ErrorCode::kInput,
                        fmt::format("{}, line {}: {} cells where the first line names {} columns",
                                    table.name, line, cells.size(), table.columns.size()));
    }
    table.rows.push_back(std::move(cells));
    table.lines.push_back(line);
  }
  if (table.columns.size() == 1 && !table.rows.empty() && is_blank(table.rows.back())) {
    table.rows.pop_back();
    table.lines.pop_back();
  }
  return table;
}

Result<CsvTable> read_csv_file(const std::string& path) {
  const auto bytes = read_file(path, kMaxFileBytes);
  if (!bytes.ok()) {
    return make_error(ErrorCode::kInput,
                      fmt::format("cannot read {}: {}", path, bytes.error().message),
                      bytes.error().os_errno);
  }
  return parse_csv(*bytes, path);
}

Result<size_t> find_column(const CsvTable& table, std::string_view column) {
  const auto found = std::find(table.columns.begin(), table.columns.end(), column);
  if (found != table.columns.end()) return static_cast<size_t>(found - table.columns.begin());
  return make_error(ErrorCode::kUsage, fmt::format("{} has no column {}; it has {}", table.name,
                                                   column, fmt::join(table.columns, ", ")));
}

Result<size_t> only_column(const CsvTable& table) {
  if (table.columns.size() == 1) return size_t{0};
  return make_error(ErrorCode::kUsage,
                    fmt::format("{} has several columns; choose one with --column: {}", table.name,
                                fmt::join(table.columns, ", ")));
}

Result<std::vector<double>> column_numbers(const CsvTable& table, size_t column) {
  CHECK(column < table.columns.size());
  std::vector<double> numbers;
  numbers.reserve(table.rows.size());
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const std::string& cell = table.rows[i][column];
    const auto number = parse_number(cell);
    if (!number) {
      return make_error(
          ErrorCode::kInput,
          fmt::format("{}, line {}, column {}: \"{}\" is not a finite number", table.name,
                      table.lines[i], table.columns[column], shortened(cell)));
    }
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace topspin
