// How the rows of each table belong to a run. Merging and removing runs depend on it. Private to
// store.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

/// The greatest number within a packed key, (run << 32) | number (schema.sql).
inline constexpr int64_t kLastNumber = std::numeric_limits<uint32_t>::max();
/// The greatest number of a run within such a key.
inline constexpr int64_t kMostRuns = std::numeric_limits<int32_t>::max();

struct RunTable {
  /// How a row belongs to a run: by a column "run", by a key that packs the run and a number, or
  /// not at all, as in the gate's log, whose rows have just a position.
  enum class Tie : uint8_t { kRun, kRow, kNone };

  std::string name;
  Tie tie = Tie::kNone;
  std::vector<std::string> columns;  // without the tying column or position
};

/// A name, quoted for SQL. Names come from our own schema, which open_for_writing() has created or
/// checked.
std::string quoted_name(std::string_view name);

/// All of our tables; table run comes first.
Result<std::vector<RunTable>> run_tables(Connection& connection);

/// Deletes the rows of run number `run` from `tables`. Its row in table run is deleted last, so
/// that the run can still be found if the process is killed outside of a transaction.
Status delete_run_rows(Connection& connection, std::span<const RunTable> tables, int64_t run);

}  // namespace topspin
