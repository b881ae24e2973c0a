#include "report/export/sql_rows.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "report/export/csv_line.h"
#include "report/json/json_object.h"

namespace topspin {
namespace {

constexpr size_t kMostCellBytes = 1000;

std::string hex(const std::string& bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string digits;
  digits.reserve(2 * bytes.size());
  for (const char byte : bytes) {
    const auto value = static_cast<uint8_t>(byte);
    digits += kDigits[value >> 4];
    digits += kDigits[value & 0xf];
  }
  return digits;
}

struct CsvCell {
  CsvLine& line;
  void operator()(std::monostate) const { line.absent(); }
  void operator()(int64_t value) const { line.number(value); }
  void operator()(double value) const { line.number(value); }
  void operator()(const std::string& text) const { line.text(text); }
  void operator()(const SqlBlob& blob) const { line.text(hex(blob.bytes)); }
};

struct JsonValue {
  std::string operator()(std::monostate) const { return "null"; }
  std::string operator()(int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(double value) const { return json_line(json_or_null(value)); }
  std::string operator()(const std::string& text) const { return json_line(text); }
  std::string operator()(const SqlBlob& blob) const { return json_line(hex(blob.bytes)); }
};

/// The names as JSON texts, each of them once.
std::vector<std::string> distinct_names(const std::vector<std::string>& columns) {
  std::set<std::string> taken;
  std::vector<std::string> names;
  for (const std::string& column : columns) {
    std::string name = json_line(column);
    for (int number = 2; !taken.insert(name).second; ++number)
      name = json_line(fmt::format("{}_{}", column, number));
    names.push_back(std::move(name));
  }
  return names;
}

struct TableCell {
  document::Span operator()(std::monostate) const { return document::absent(); }
  document::Span operator()(int64_t value) const {
    return document::words(fmt::format("{}", value));
  }
  document::Span operator()(double value) const {
    return document::words(fmt::format("{}", value));
  }
  document::Span operator()(const std::string& text) const {
    return document::words(text, kMostCellBytes);
  }
  document::Span operator()(const SqlBlob& blob) const {
    return document::words(fmt::format("<{} bytes>", blob.bytes.size()));
  }
};

bool is_text(const SqlValue& value) {
  return std::holds_alternative<std::string>(value) || std::holds_alternative<SqlBlob>(value);
}

}  // namespace

Status export_sql_csv(SqlRows& rows, ExportOutput& output) {
  CsvLine header;
  for (const std::string& name : rows.columns()) header.text(name);
  output.write(std::move(header).end());
  std::vector<SqlValue> row;
  while (output.status().ok()) {
    TOPSPIN_ASSIGN(const bool more, rows.next(row));
    if (!more) break;
    CsvLine line;
    for (const SqlValue& value : row) std::visit(CsvCell{line}, value);
    output.write(std::move(line).end());
  }
  return output.finish();
}

Status export_sql_json(SqlRows& rows, ExportOutput& output) {
  const std::vector<std::string> names = distinct_names(rows.columns());
  output.write(fmt::format("{{\"schema_version\":{},\"columns\":{},\"rows\":[", kSchemaVersion,
                           json_array(names, [](const std::string& name) { return name; })));
  std::vector<SqlValue> row;
  for (bool is_first = true; output.status().ok(); is_first = false) {
    TOPSPIN_ASSIGN(const bool more, rows.next(row));
    if (!more) break;
    std::string line = is_first ? "\n{" : ",\n{";
    for (size_t i = 0; i < row.size(); ++i) {
      line += fmt::format("{}{}:{}", i == 0 ? "" : ",", names[i], std::visit(JsonValue{}, row[i]));
    }
    output.write(line + "}");
  }
  output.write("\n]}\n");
  return output.finish();
}

Result<SqlTable> sql_table(SqlRows& rows) {
  document::Table table;
  for (const std::string& name : rows.columns()) table.columns.push_back({name});
  SqlTable all;
  size_t bytes = 0;
  std::vector<SqlValue> row;
  while (true) {
    TOPSPIN_ASSIGN(const bool more, rows.next(row));
    if (!more) break;
    if (table.rows.size() == kMostSqlTableRows || bytes >= kMostSqlTableBytes) {
      all.is_cut = true;
      break;
    }
    document::Row cells;
    for (size_t i = 0; i < row.size(); ++i) {
      document::Span cell = std::visit(TableCell{}, row[i]);
      bytes += sizeof(document::Cell) + cell.text.size();
      if (is_text(row[i])) table.columns[i].is_number = false;
      cells.cells.emplace_back(std::move(cell));
    }
    table.rows.push_back(std::move(cells));
  }
  all.is_empty = table.rows.empty();
  all.document.sections.push_back({"rows", "", {std::move(table)}});
  return all;
}

}  // namespace topspin
