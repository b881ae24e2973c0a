// Reads a file of an older schema as one of the newest, without changing it. Private to store.
#pragma once

#include <cstdint>

#include "core/base/result.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

/// Lays a temporary view over each table of `connection`'s file that schema `version` lacks or has
/// with fewer columns: an added column has its default (NULL or 0) in every row, and an added table
/// has no row. The same for a number that is younger than the file (tick_columns.h). The names of
/// the newest schema then mean those views, on this connection alone. The file is not written, and
/// may be read-only.
/// REQUIRES: 1 <= version <= migrations().size().
Status read_as_newest_schema(Connection& connection, int64_t version);

}  // namespace topspin
