// The plan of `topspin ci`: which two commits are compared, and the plan with both filled in.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "app/plan/plan.h"
#include "core/base/result.h"

namespace topspin {

struct CiCommits {
  std::string base;  // the merge base of what was named and the head
  std::string head;
};

/// Asks git, in the folder of the plan, as the user who owns it or who called sudo. kUsage if one
/// is unknown, or if they have no common ancestor.
Result<CiCommits> find_ci_commits(const std::string& plan_file, const std::string& base,
                                  const std::string& head);

struct CiPlan {
  Plan plan;         // two subjects: of the base, and of the head
  std::string text;  // of the file, with the commits in place of @BASE@ and @HEAD@
};

/// The plan of a file for these commits. It has two subjects, of commit "@BASE@" and "@HEAD@", or
/// one subject without a commit, which is then taken of both. kUsage, if it is neither.
Result<CiPlan> ci_plan(const std::string& text, const std::string& file, const CiCommits& commits);

/// The line in a comment by which the next job finds it. Names of plans are hostile text.
std::string comment_marker(const Plan& plan);

/// What `topspin ci --dry` prints: commits, steps, runs and minutes.
std::string ci_outline(const CiPlan& plan, const CiCommits& commits,
                       const std::vector<size_t>& looks, const std::string& directory);

/// "40 s", "about 5 min".
std::string rough_time(int64_t ns);

}  // namespace topspin
