// Changes stored runs: removes them or changes their labels.
//
// A change is made in one transaction, or not at all. The file is opened for it and then closed;
// not thread-safe. Runs are given by their complete ids; ci/run_selection.h finds them for what
// users type.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace topspin {

struct RemovedRuns {
  uint64_t bytes_freed = 0;      // given back to the file system
  uint64_t bytes_unused = 0;     // stay in the file, for the next runs
  size_t packet_files_left = 0;  // could not be removed
};

/// Removes the runs and everything that belongs to them, except for the gate's log; also the files
/// of packets beside the database (store/sqlite/packet_files.h). Then returns
/// the freed pages to the file system. A database whose file cannot shrink (because another program
/// created it) keeps them for later runs. A program that is reading such a run gets an error.
/// kUsage if a run does not exist or is still being recorded; nothing is removed then.
Result<RemovedRuns> remove_runs(const std::string& path, std::span<const std::string> ids);

/// The ids of the runs that started before `before_wall_ns`, oldest first: those that may be
/// removed for their age. A run that is still being recorded is not among them, nor one that cannot
/// be read, nor, unless `baselines_too`, one that the gate's history has accepted as a baseline.
Result<std::vector<std::string>> runs_before(const std::string& path, int64_t before_wall_ns,
                                             bool baselines_too);

/// Labels by key; nullopt removes one.
using LabelChanges = std::map<std::string, std::optional<std::string>>;

/// Sets and removes labels of each of the runs. Removing a label that does not exist is no error.
/// kUsage if a run does not exist; nothing is changed then.
Status change_labels(const std::string& path, std::span<const std::string> ids,
                     const LabelChanges& changes);

}  // namespace topspin
