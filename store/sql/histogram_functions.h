// The functions of SQL on histograms and on the parts of a reply: percentile(), hist_count(),
// merge(), part(), ... docs/sql.md describes them. Private to store.
#pragma once

#include "core/base/result.h"
#include "store/sqlite/foreign_sql.h"

namespace topspin {

Status add_histogram_functions(ForeignSql& sql);

}  // namespace topspin
