// Joins databases: copies the runs of one exactly into another, which gives them new numbers.
//
// A run is known by its id, so joining twice changes nothing. Every table is copied, including
// those of later schemas: the columns of a table say how its rows belong to a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace topspin {

struct MergeCounts {
  uint64_t runs = 0;                 // copied
  uint64_t present = 0;              // were there already
  uint64_t recording = 0;            // left out: somebody is still writing them
  std::vector<std::string> damaged;  // left out, a sentence each: their rows cannot be read
};

/// Copies what `from` has and `into` has not. `into` is made if it is not there. `from` is only
/// read, may be of an older schema, and is hostile: a run is copied if all of it reads as rows of
/// ours. kUsage: they are one file.
///
/// `into` may be recorded into meanwhile: rows are copied in many short transactions, with pauses.
/// A run is not seen there before it is whole. What a merge that was killed leaves behind is not
/// seen either, and the next merge removes it.
Result<MergeCounts> merge_database(const std::string& into, const std::string& from);

}  // namespace topspin
