// The columns of tables tick and total that hold a Sample: those of its time, and one per plain
// number of the registry (core/tick/numbers.h). For a number that is newer than the file there is
// no column; a writer adds it, and a reader reads NULL. Private to store.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/tick/numbers.h"
#include "store/sqlite/row_values.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

inline constexpr std::string_view kTablesOfNumbers[] = {"tick", "total"};

/// The names of the numbers that have a column in those tables.
std::vector<std::string_view> plain_numbers();

/// In the order of bind_sample() and load_sample().
ColumnNames names_of_sample_columns();

/// Binds the columns. `losses` replace those of the sample, because a writer adds its own.
void bind_sample(ParameterBinder& bind, const Sample& sample, const LossInterval& losses);
/// Loads the columns. Parts in which nothing was measured are absent.
void load_sample(ColumnLoader& load, Sample& sample);

/// Calls store(name, encoded) -> Status for each histogram that is stored: those that have a value,
/// and those that could be absent but are only empty ("no waits" differs from "not measured").
template <typename Store>
Status for_each_stored_histogram(const Sample& sample, Store store) {
  Status status;
  for_each_number([&](const Number& number, auto at) {
    using Value = typename decltype(at)::Value;
    if constexpr (kIsDistribution<Value>) {
      const Value* histogram = at.find(sample);
      if (!status.ok() || histogram == nullptr) return;
      if constexpr (requires { histogram->has_value(); }) {
        if (*histogram) status = store(number.name, (*histogram)->encode());
      } else {
        if (!histogram->empty()) status = store(number.name, histogram->encode());
      }
    }
  });
  return status;
}
/// Decodes the histogram of that name. An unknown name is ignored.
Status load_histogram(Sample& sample, std::string_view name, std::string_view encoded);

/// Returns `sql` with @NUMBERS@ replaced by a declaration of each plain number.
std::string with_number_columns(std::string sql);

/// The plain numbers for which a table of the main database has no column.
Result<std::vector<std::string>> missing_number_columns(Connection& connection,
                                                        std::string_view table);
/// Adds a column for each to tables tick and total. Old rows have NULL in it.
Status add_missing_number_columns(Connection& connection);

}  // namespace topspin
