#include "store/runs/run_tables.h"

#include <algorithm>

#include <fmt/format.h>

namespace topspin {
namespace {

Result<std::vector<std::string>> texts(Connection& connection, const std::string& sql,
                                       const std::string& parameter = {}) {
  TOPSPIN_ASSIGN(Statement select, connection.prepare(sql));
  if (!parameter.empty()) select.bind_text(1, parameter);
  std::vector<std::string> all;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return all;
    all.emplace_back(select.bytes_at(0));
  }
}

}  // namespace

std::string quoted_name(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

Result<std::vector<RunTable>> run_tables(Connection& connection) {
  TOPSPIN_ASSIGN(const auto names,
                 texts(connection,
                       "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE "
                       "'sqlite_%' ORDER BY name <> 'run', name"));
  std::vector<RunTable> tables;
  for (const std::string& name : names) {
    // table_info leaves out generated columns, so the run of a packed key is not listed twice.
    TOPSPIN_ASSIGN(auto columns, texts(connection, "SELECT name FROM pragma_table_info(?1)", name));
    RunTable& table = tables.emplace_back();
    table.name = name;
    const auto has = [&](std::string_view column) {
      return std::find(columns.begin(), columns.end(), column) != columns.end();
    };
    table.tie = has("run")   ? RunTable::Tie::kRun
                : has("row") ? RunTable::Tie::kRow
                             : RunTable::Tie::kNone;
    const std::string_view key = table.tie == RunTable::Tie::kRun   ? "run"
                                 : table.tie == RunTable::Tie::kRow ? "row"
                                                                    : "position";
    std::erase(columns, key);
    table.columns = std::move(columns);
  }
  return tables;
}

Status delete_run_rows(Connection& connection, std::span<const RunTable> tables, int64_t run) {
  for (auto table = tables.rbegin(); table != tables.rend(); ++table) {
    if (table->tie == RunTable::Tie::kNone) continue;
    const bool packed = table->tie == RunTable::Tie::kRow;
    TOPSPIN_TRY(connection.execute(fmt::format("DELETE FROM {} WHERE {} BETWEEN {} AND {}",
                                               quoted_name(table->name), packed ? "row" : "run",
                                               packed ? run << 32 : run,
                                               packed ? (run << 32) | kLastNumber : run)));
  }
  return {};
}

}  // namespace topspin
