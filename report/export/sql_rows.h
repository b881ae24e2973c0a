// The rows of a question in SQL (`topspin sql`): as CSV, as JSON, and as a table for people.
//
// Names and values may be hostile, and are escaped as in exports. A blob is written as hexadecimal
// digits; in a table its size is shown. Pure except for the rows.
#pragma once

#include "core/base/result.h"
#include "report/document/document.h"
#include "report/export/export.h"
#include "store/sql/sql_reader.h"

namespace topspin {

/// Both stream. NULL is an empty cell, and an empty text a quoted one.
Status export_sql_csv(SqlRows& rows, ExportOutput& output);
/// {"schema_version", "columns": [...], "rows": [{...}, ...]}. Of columns with the same name, the
/// later ones get a number.
Status export_sql_json(SqlRows& rows, ExportOutput& output);

/// A table is laid out as a whole, so it has a limit.
struct SqlTable {
  document::Document document;
  bool is_cut = false;  // there are more rows
  bool is_empty = true;
};
inline constexpr size_t kMostSqlTableRows = 10'000;
inline constexpr size_t kMostSqlTableBytes = 16 << 20;
Result<SqlTable> sql_table(SqlRows& rows);

}  // namespace topspin
