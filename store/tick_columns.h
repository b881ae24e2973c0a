// The columns of table tick: those of the time, and one per plain number of the registry
// (core/numbers.h). A number that is younger than a file has no column there: a writer adds it,
// a reader reads NULL. Private to store.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "store/row_values.h"
#include "store/sqlite.h"

namespace topspin {

/// All but the run, in the order in which rows are bound and loaded.
ColumnNames names_of_tick_columns();

/// The plain numbers for which table tick of the main database has no column.
Result<std::vector<std::string>> missing_tick_columns(Connection& connection);
/// Gives table tick a column for each. Old rows have NULL there.
Status add_missing_tick_columns(Connection& connection);

}  // namespace topspin
