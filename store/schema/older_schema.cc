#include "store/schema/older_schema.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "store/schema/database.h"
#include "store/schema/tick_columns.h"

namespace topspin {
namespace {

struct Column {
  std::string name;
  std::string default_value;  // as SQL
};

struct Table {
  std::string name;
  std::vector<Column> columns;  // includes generated columns
};

/// The tables of a schema that was created from the program's own text, not from a file.
Result<std::vector<Table>> tables_of(Connection& schema) {
  TOPSPIN_ASSIGN(Statement select,
                 schema.prepare("SELECT t.name, c.name, coalesce(c.dflt_value, 'NULL')"
                                " FROM sqlite_schema AS t, pragma_table_xinfo(t.name) AS c"
                                " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
                                " ORDER BY t.name, c.cid"));
  std::vector<Table> tables;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return tables;
    const std::string name(select.bytes_at(0));
    if (tables.empty() || tables.back().name != name) tables.push_back({name, {}});
    tables.back().columns.push_back(
        {std::string(select.bytes_at(1)), std::string(select.bytes_at(2))});
  }
}

std::string view_over(const Table& newest, const Table* stored) {
  std::string columns;
  for (const Column& column : newest.columns) {
    const bool there =
        stored != nullptr &&
        std::any_of(stored->columns.begin(), stored->columns.end(),
                    [&](const Column& candidate) { return candidate.name == column.name; });
    columns +=
        fmt::format("{}{} AS \"{}\"", columns.empty() ? "" : ", ",
                    there ? fmt::format("\"{}\"", column.name) : column.default_value, column.name);
  }
  return fmt::format(
      "CREATE TEMP VIEW \"{}\" AS SELECT {}{}", newest.name, columns,
      stored != nullptr ? fmt::format(" FROM main.\"{}\"", newest.name) : std::string(" WHERE 0"));
}

}  // namespace

Status read_as_newest_schema(Connection& connection, int64_t version) {
  TOPSPIN_ASSIGN(const auto schema, Connection::open_in_memory());
  TOPSPIN_TRY(migrate(*schema, migrations().first(static_cast<size_t>(version))));
  TOPSPIN_TRY(add_missing_number_columns(*schema));
  TOPSPIN_ASSIGN(std::vector<Table> stored, tables_of(*schema));
  for (Table& table : stored) {
    TOPSPIN_ASSIGN(const auto missing, missing_number_columns(connection, table.name));
    std::erase_if(table.columns, [&](const Column& column) {
      return std::find(missing.begin(), missing.end(), column.name) != missing.end();
    });
  }
  TOPSPIN_ASSIGN(const auto newest_schema, Connection::open_in_memory());
  TOPSPIN_TRY(migrate(*newest_schema, migrations()));
  TOPSPIN_TRY(add_missing_number_columns(*newest_schema));
  TOPSPIN_ASSIGN(const std::vector<Table> newest, tables_of(*newest_schema));
  for (const Table& table : newest) {
    const auto found = std::find_if(stored.begin(), stored.end(),
                                    [&](const Table& t) { return t.name == table.name; });
    const Table* old = found == stored.end() ? nullptr : &*found;
    if (old != nullptr && old->columns.size() == table.columns.size()) continue;
    TOPSPIN_TRY(connection.execute(view_over(table, old)));
  }
  return {};
}

}  // namespace topspin
