#include "store/schema/new_schema.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/check.h"
#include "store/schema/tick_columns.h"

namespace topspin {
namespace {

constexpr std::string_view kCreate = "CREATE TABLE ";
constexpr std::string_view kAlter = "ALTER TABLE ";
constexpr std::string_view kAdd = " ADD COLUMN ";

class NewSchema {
 public:
  void add(std::string_view step) {
    while (!step.empty()) {
      const size_t end = std::min(step.find('\n'), step.size());
      add_line(step.substr(0, end));
      step.remove_prefix(std::min(end + 1, step.size()));
    }
  }

  void add_column(std::string_view table, std::string_view column) {
    size_t at = begin_of(table);
    while (!ends_columns(lines_[at])) ++at;
    // Before the constraints, which are the last in a table, a comma follows each column.
    if (lines_[at].front() == ')') {
      size_t last = at - 1;
      while (is_no_column(lines_[last])) --last;
      separate(lines_[last]);
      lines_.insert(position(at), fmt::format("  {}", column));
    } else {
      lines_.insert(position(at), fmt::format("  {},", column));
    }
  }

  bool has_column(std::string_view table, std::string_view name) const {
    for (size_t at = begin_of(table); !ends_columns(lines_[at]); ++at)
      if (first_word(lines_[at]) == name) return true;
    return false;
  }

  std::string sql() const { return fmt::format("{}\n", fmt::join(lines_, "\n")); }

 private:
  void add_line(std::string_view line) {
    if (!line.starts_with(kAlter)) {
      lines_.emplace_back(line);
      return;
    }
    const size_t add = line.find(kAdd);
    const size_t end = line.find(';');
    CHECK(add != std::string_view::npos && end != std::string_view::npos);
    const size_t column = add + kAdd.size();
    add_column(line.substr(kAlter.size(), add - kAlter.size()), line.substr(column, end - column));
  }

  /// The line after the one that begins the table.
  size_t begin_of(std::string_view table) const {
    const std::string head = fmt::format("{}{} (", kCreate, table);
    const auto found = std::find_if(lines_.begin(), lines_.end(), [&](const std::string& line) {
      return line.starts_with(head);
    });
    CHECK(found != lines_.end());
    return static_cast<size_t>(found - lines_.begin()) + 1;
  }

  static std::string_view first_word(std::string_view line) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    return line.substr(0, line.find(' '));
  }
  /// Whether this is a table's first constraint, or its end.
  static bool ends_columns(std::string_view line) {
    const std::string_view word = first_word(line);
    return line.starts_with(')') || word == "PRIMARY" || word == "UNIQUE" || word == "CHECK" ||
           word == "FOREIGN";
  }
  static bool is_no_column(std::string_view line) {
    const std::string_view word = first_word(line);
    return word.empty() || word.starts_with("--");
  }
  /// Puts a comma behind the column, before the comment that may follow it.
  static void separate(std::string& line) {
    const size_t comment = std::min(line.find("--"), line.size());
    const size_t last = line.find_last_not_of(' ', comment - 1);
    CHECK(last != std::string::npos);
    line.insert(last + 1, ",");
  }
  std::vector<std::string>::iterator position(size_t at) {
    return lines_.begin() + static_cast<std::ptrdiff_t>(at);
  }

  std::vector<std::string> lines_;
};

}  // namespace

std::string schema_of_new_file(std::span<const char* const> steps) {
  NewSchema schema;
  for (const char* step : steps) schema.add(step);
  const std::vector<std::string_view> numbers = plain_numbers();
  for (const std::string_view table : kTablesOfNumbers) {
    for (const std::string_view name : numbers) {
      if (!schema.has_column(table, name))
        schema.add_column(table, fmt::format("{} INTEGER", name));
    }
  }
  return schema.sql();
}

}  // namespace topspin
