// Merges databases: copies the runs of one into another, which gives them new numbers.
//
// Runs are identified by their ids, so merging twice changes nothing. Every table is copied,
// including those of later schemas: the columns of a table tell how its rows belong to a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace topspin {

struct MergeCounts {
  uint64_t runs = 0;                 // copied
  uint64_t present = 0;              // existed already
  uint64_t recording = 0;            // left out because they are still being written
  std::vector<std::string> damaged;  // left out because they cannot be read; one sentence each
};

/// Copies the runs that `from` has and `into` does not. Creates `into` if it does not exist. `from`
/// is only read, may be of an older schema, and is hostile: a run is copied only if all of its rows
/// can be read as ours. kUsage if both are the same file.
///
/// Another program may record into `into` at the same time: rows are copied in many short
/// transactions, with pauses. Readers do not see a run before it is complete. They do not see the
/// rest of a killed merge either, which the next merge removes.
Result<MergeCounts> merge_database(const std::string& into, const std::string& from);

}  // namespace topspin
