// Joins databases: the runs of one copied into another, exactly, under numbers of that one.
//
// A run is known by its id, so joining twice changes nothing. Every table goes along, those of
// later steps of the schema too: its columns say how a table hangs on a run.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"

namespace topspin {

struct MergeCounts {
  uint64_t runs = 0;       // copied
  uint64_t present = 0;    // were there already
  uint64_t recording = 0;  // left out: somebody is still writing them
};

/// Copies what `from` has and `into` has not, in one transaction: all of it or, on an error,
/// nothing. `into` is made if it is not there. `from` is only read. kUsage: they are one file.
Result<MergeCounts> merge_database(const std::string& into, const std::string& from);

}  // namespace topspin
