// Changes to stored runs: removing them, and changing their labels.
//
// A change is made in one transaction, or not at all. The file is opened for it and closed again;
// not thread-safe. What people type goes through ci/run_selection.h first: here runs are named by
// their whole ids.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "core/base/result.h"

namespace topspin {

struct RemovedRuns {
  uint64_t bytes_freed = 0;   // given back to the file system
  uint64_t bytes_unused = 0;  // stay in the file, for the next runs
};

/// Removes the runs with all that is stored of them; the gate's log stays. Then gives the freed
/// pages back to the file system; a database whose file cannot shrink (made by another program than
/// topspin) keeps them for later runs. A reader that is in the middle of such a run gets an error.
/// kUsage: a run is not there or is still being recorded, and nothing was removed.
Result<RemovedRuns> remove_runs(const std::string& path, std::span<const std::string> ids);

/// Labels by key; nullopt removes one.
using LabelChanges = std::map<std::string, std::optional<std::string>>;

/// Sets and removes labels of each of the runs. Removing one that is not there is fine. kUsage: a
/// run is not there, and nothing was changed.
Status change_labels(const std::string& path, std::span<const std::string> ids,
                     const LabelChanges& changes);

}  // namespace topspin
