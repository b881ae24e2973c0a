// The views that a question can read, as SQL. They are temporary, so a file has none of them; where
// its schema is older, they read as NULL what it lacks. Private to store.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "store/sql/sql_reader.h"

namespace topspin {

struct ViewDefinition {
  SqlView view;
  std::vector<std::string> all_columns;
  std::string create;  // CREATE TEMP VIEW
};
/// In the order of the documents. Columns for numbers and tables are made from their lists
/// (core/tick/numbers.h, store/sqlite/columns.h).
std::vector<ViewDefinition> view_definitions();

}  // namespace topspin
