// Reads a file of an older schema as one of the newest, without changing it. Private to store.
#pragma once

#include <cstdint>

#include "core/base/result.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

/// Creates a temporary view for each table that schema `version` lacks, or has with fewer columns.
/// An added column has its default (NULL or 0) in every row, and an added table has no rows. The
/// same is done for numbers that are newer than the file (tick_columns.h). On this connection, the
/// names of the newest schema then refer to those views. The file is not written to, and may be
/// read-only. REQUIRES: 1 <= version <= migrations().size().
Status read_as_newest_schema(Connection& connection, int64_t version);

}  // namespace topspin
