// Finds the runs of a database that the user named. The words are the same for every command.
//
//   last, last~1     the newest run, the one before it
//   12, #12          the run with this number in the database, as `topspin list` shows it
//   01a2217c         the run whose id begins with this, if it is the only one
//   branch=main      the runs of a branch; also just main
//   commit=1a2b3c4   the runs of a commit (at least 7 hex digits) whose tree is known to have had
//   no
//                    changes; also just 1a2b3c4. With "+changes" appended, the other runs
//   KEY=VALUE        the runs with that label
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "store/run_store.h"

namespace topspin {

/// The description of a RUN argument, for help texts.
inline constexpr const char* kRunHelp =
    "last, last~1, a number of topspin list, a prefix of an id, a commit, a branch, or a label "
    "KEY=VALUE";

/// The runs that `selector` names, oldest first; at least one. `runs` is a whole database in its
/// order. kUsage if `selector` names none, or is a prefix of several ids; the message says what can
/// be typed.
Result<std::vector<StoredRun>> select_runs(const std::vector<StoredRun>& runs,
                                           std::string_view selector);

/// The runs that `selectors` name, each once, in the order in which they are first named. Damaged
/// runs elsewhere in the database do not matter.
Result<std::vector<StoredRun>> select_runs(RunStore& store, std::span<const std::string> selectors);

/// At least the runs that `words` may name, in the order of the database; all, if none is named so.
Result<std::vector<StoredRun>> list_runs_named(RunStore& store, std::vector<std::string> words,
                                               std::vector<Error>* damaged = nullptr);

/// The run that `selector` names. kUsage if it names none or several.
Result<StoredRun> select_run(RunStore& store, const std::string& selector);

/// The runs that `topspin gate` judges if no side is named. If a plan made some of the runs, these
/// are the runs of the last such session, without earlier or later recordings; otherwise all runs.
/// REQUIRES: `runs` are in the order in which they were stored.
std::vector<StoredRun> newest_session(std::vector<StoredRun> runs);

}  // namespace topspin
