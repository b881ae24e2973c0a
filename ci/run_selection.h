// Which runs of a database are meant by what somebody typed: the same words for every command.
//
//   last, last~1     the newest run, the one before it
//   12, #12          the run with this number in the database, as `topspin list` shows it
//   01a2217c         the run whose id begins so, if it is the only one
//   branch=main      the runs of a branch; also just main
//   commit=1a2b3c4   the runs of a commit, at least 7 hex digits, whose tree is known to have had
//                    no changes; also just 1a2b3c4. With "+changes" behind it the others
//   KEY=VALUE        the runs with that label
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "store/run_store.h"

namespace topspin {

/// What a RUN argument takes, for help texts.
inline constexpr const char* kRunHelp =
    "last, last~1, a number of topspin list, a prefix of an id, a commit, a branch, or a label "
    "KEY=VALUE";

/// Those of `runs` that `selector` names, oldest first; at least one. `runs` is a whole database,
/// in its order. kUsage: none is meant, or a prefix of several ids was given; the sentence says
/// what can be typed.
Result<std::vector<StoredRun>> select_runs(const std::vector<StoredRun>& runs,
                                           std::string_view selector);

/// The runs that `selectors` name, in the order in which they are named first, each once. A damaged
/// run elsewhere in the database is no obstacle.
Result<std::vector<StoredRun>> select_runs(RunStore& store, std::span<const std::string> selectors);

/// The one run that `selector` names. kUsage: none, or several.
Result<StoredRun> select_run(RunStore& store, const std::string& selector);

/// If some run was made by a plan: the runs of the last such run's session alone; else all. This is
/// what `topspin gate` judges if no side is named: the runs of the last plan, not earlier or later
/// recordings. REQUIRES: in the order in which the database got them.
std::vector<StoredRun> newest_session(std::vector<StoredRun> runs);

}  // namespace topspin
