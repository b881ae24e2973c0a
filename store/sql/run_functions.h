// The functions of SQL that the views `runs`, `totals` and `measured` are made of: what a run is
// said to be, and its numbers. Private to store.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/result.h"
#include "store/run_store.h"
#include "store/sql/sql_reader.h"
#include "store/sqlite/foreign_sql.h"

namespace topspin {

/// Reads runs when a statement asks for them. A view asks for many columns of one run after the
/// other, so the last run is kept.
class RunFunctions {
 public:
  /// REQUIRES: `store` lives longer.
  RunFunctions(RunStore& store, DescribeRun describe)
      : store_(store), describe_(std::move(describe)) {}

  /// run_word(id, 'state') and number_of_run(id, part, name). REQUIRES: this outlives `sql`'s
  /// connection.
  Status add_to(ForeignSql& sql);

 private:
  Result<SqlValue> run_word(std::span<const SqlValue> arguments);
  Result<SqlValue> number_of_run(std::span<const SqlValue> arguments);

  RunStore& store_;
  DescribeRun describe_;
  StoredRun run_;
  std::optional<RunDescription> description_;
  std::string folded_id_;
  RunPart folded_part_ = RunPart::kWhole;
  RunFold fold_;
};

/// The end of the name of the greatest value of a gauge: "rss_bytes_greatest".
inline constexpr std::string_view kGreatestSuffix = "_greatest";

}  // namespace topspin
