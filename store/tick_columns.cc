#include "store/tick_columns.h"

#include <set>

#include <fmt/format.h>

#include "core/numbers.h"
#include "store/columns.h"

namespace topspin {

ColumnNames names_of_tick_columns() {
  ColumnNames columns;
  const Sample sample;
  for_each_tick_time_column(sample, [&](auto... column) { columns(column...); });
  for_each_number([&](const Number& number, auto at) {
    if constexpr (kIsPlainNumber<typename decltype(at)::Value>) columns.add(number.name);
  });
  return columns;
}

Result<std::vector<std::string>> missing_tick_columns(Connection& connection) {
  TOPSPIN_ASSIGN(Statement select,
                 connection.prepare("SELECT name FROM pragma_table_info('tick', 'main')"));
  std::set<std::string, std::less<>> there;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) break;
    there.emplace(select.bytes_at(0));
  }
  std::vector<std::string> missing;
  for_each_number([&](const Number& number, auto at) {
    if constexpr (kIsPlainNumber<typename decltype(at)::Value>) {
      if (!there.contains(number.name)) missing.emplace_back(number.name);
    }
  });
  return missing;
}

Status add_missing_tick_columns(Connection& connection) {
  TOPSPIN_ASSIGN(const auto seen, missing_tick_columns(connection));
  if (seen.empty()) return {};
  TOPSPIN_ASSIGN(Transaction transaction, Transaction::begin(connection, "BEGIN IMMEDIATE"));
  // Another writer may have been quicker.
  TOPSPIN_ASSIGN(const auto missing, missing_tick_columns(connection));
  for (const std::string& name : missing)
    TOPSPIN_TRY(connection.execute(fmt::format("ALTER TABLE tick ADD COLUMN {} INTEGER", name)));
  return transaction.commit();
}

}  // namespace topspin
