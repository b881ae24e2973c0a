#include "store/schema/tick_columns.h"

#include <functional>
#include <set>

#include <fmt/format.h>

#include "core/base/check.h"
#include "store/sqlite/columns.h"

namespace topspin {

std::vector<std::string_view> plain_numbers() {
  std::vector<std::string_view> names;
  for_each_number([&](const Number& number, auto at) {
    if constexpr (kIsPlainNumber<typename decltype(at)::Value>) names.push_back(number.name);
  });
  return names;
}

ColumnNames names_of_sample_columns() {
  ColumnNames columns;
  const Sample sample;
  for_each_tick_time_column(sample, [&](auto... column) { columns(column...); });
  for (const std::string_view name : plain_numbers()) columns.add(name);
  return columns;
}

void bind_sample(ParameterBinder& bind, const Sample& sample, const LossInterval& losses) {
  for_each_tick_time_column(sample, [&](auto, auto, const auto& value) { bind.bind(value); });
  Sample only_losses;
  only_losses.losses = losses;
  for_each_number([&](const Number& number, auto at) {
    if constexpr (kIsPlainNumber<typename decltype(at)::Value>) {
      if (const auto* value = at.find(is_loss_of_every_run(number) ? only_losses : sample))
        bind.bind(*value);
      else
        bind.bind_null();
    }
  });
}

void load_sample(ColumnLoader& load, Sample& sample) {
  for_each_tick_time_column(sample, [&](auto, auto, auto& value) { load.load_bounded(value); });
  for_each_number([&](const Number& number, auto at) {
    using Value = typename decltype(at)::Value;
    // A loss that did not exist when the run was recorded has a NULL column, and counts as 0.
    if constexpr (std::is_same_v<Value, uint64_t>) {
      if (is_loss_of_every_run(number)) {
        load.load_or_keep(at.make(sample));
        return;
      }
    }
    if constexpr (kIsPlainNumber<Value>) load.load_bounded(at.make(sample));
  });
  drop_unmeasured_parts(sample);
}

Status load_histogram(Sample& sample, std::string_view name, std::string_view encoded) {
  Status decoded;
  for_each_number([&](const Number& number, auto at) {
    if constexpr (kIsDistribution<typename decltype(at)::Value>) {
      if (number.name == name) decoded = decode_histogram(encoded, at.make(sample));
    }
  });
  return decoded;
}

std::string with_number_columns(std::string sql) {
  constexpr std::string_view kMark = "\n  @NUMBERS@\n";
  const size_t at = sql.find(kMark);
  CHECK(at != std::string::npos);
  std::string columns = "\n";
  for (const std::string_view name : plain_numbers())
    columns += fmt::format("  {} INTEGER,\n", name);
  return sql.replace(at, kMark.size(), columns);
}

Result<std::vector<std::string>> missing_number_columns(Connection& connection,
                                                        std::string_view table) {
  TOPSPIN_ASSIGN(Statement select,
                 connection.prepare("SELECT name FROM pragma_table_info(?1, 'main')"));
  select.bind_text(1, table);
  std::set<std::string, std::less<>> there;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) break;
    there.emplace(select.bytes_at(0));
  }
  std::vector<std::string> missing;
  if (there.empty()) return missing;  // an older schema, without that table
  for (const std::string_view name : plain_numbers())
    if (!there.contains(name)) missing.emplace_back(name);
  return missing;
}

Status add_missing_number_columns(Connection& connection) {
  bool all_there = true;
  for (const std::string_view table : kTablesOfNumbers) {
    TOPSPIN_ASSIGN(const auto missing, missing_number_columns(connection, table));
    all_there = all_there && missing.empty();
  }
  if (all_there) return {};
  TOPSPIN_ASSIGN(Transaction transaction, Transaction::begin(connection, "BEGIN IMMEDIATE"));
  for (const std::string_view table : kTablesOfNumbers) {
    // Check again, because another writer may have been faster.
    TOPSPIN_ASSIGN(const auto missing, missing_number_columns(connection, table));
    for (const std::string& name : missing)
      TOPSPIN_TRY(
          connection.execute(fmt::format("ALTER TABLE {} ADD COLUMN {} INTEGER", table, name)));
  }
  return transaction.commit();
}

}  // namespace topspin
