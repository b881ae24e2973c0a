// Compares the conditions of the runs of a judgement, and adds to it what differs and which runs
// are left out. Private to ci.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ci/judgement/judgement.h"
#include "ci/metrics/measured_run.h"

namespace topspin {

using RunPointers = std::vector<const MeasuredRun*>;

/// Whether the scheduler probe used the same rung in all runs; if not, the judgement says so, and
/// its metrics do not gate.
bool same_rungs(const RunPointers& runs, Judgement& judgement);

/// Adds each condition that differs between any of the runs. Commit, branch and labels do not
/// count, because they are the reason for the comparison.
void say_other_conditions(const RunPointers& runs, Judgement& judgement);

/// Adds a note if the runs are from several sessions. Sides that are named take runs from anywhere
/// in the database.
void say_sessions(const RunPointers& runs, Judgement& judgement);

/// Whether the runs are from different hosts.
bool of_several_hosts(const RunPointers& runs);

/// Makes the judgement invalid, with exit code `exit`.
void make_invalid(Judgement& judgement, int exit, std::string reason);

inline constexpr const char* kOtherHost =
    "the runs are of different hosts, and numbers of one say nothing of another; measure both "
    "sides "
    "on one host";

/// Collects runs with the reasons why they were left out or failed, and makes one sentence for each
/// reason.
class GatheredReasons {
 public:
  void add(const MeasuredRun& run, const std::vector<std::string>& reasons);

  /// `one` is like "is left out", `many` like "are left out".
  void say(Judgement& judgement, std::string_view one, std::string_view many) const;

 private:
  struct Group {
    std::string kind;
    std::string reason;  // of the first run
    std::string first_run;
    size_t runs = 0;
  };
  std::vector<Group> groups_;
};

}  // namespace topspin
