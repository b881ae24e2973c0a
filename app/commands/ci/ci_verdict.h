// The verdict of `topspin ci`: looks at the pairs made so far, and the last one with all its files.
//
// `topspin ci` itself runs foreign builds and keeps the privileges that recording needs, so it
// cannot give them up. Each verdict is made by a child process in the sandbox of `topspin gate`
// (docs/sandbox.md). That child alone reads the database and gate.toml.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace topspin {

struct CiJob {
  std::string directory;  // of the artifacts
  std::string marker;     // the first line of the comment
  bool strict = false;

  std::string database() const { return directory + "/topspin.db"; }
};

/// Creates the directory, as the user who called sudo, and checks gate.toml. Says why it failed,
/// and returns the exit code; 0 if it did not.
int prepare_verdicts(const CiJob& job);

/// Whether the `made` pairs are enough (ci/judgement/looks.h).
Result<bool> look_at_pairs(const CiJob& job, size_t made, const std::vector<size_t>& looks);

/// Judges all pairs, writes all files, and prints the verdict. `note` is a line for the comment. On
/// GitHub, also writes the step's summary, annotations and the output `verdict`. Returns the exit
/// code of the verdict, or of what went wrong.
int write_verdict(const CiJob& job, const std::string& note);

/// For a job that ends without a verdict: prints the reason as say() does, and on GitHub as an
/// annotation and in the summary. Returns `exit_code`.
int end_without_verdict(const std::vector<std::string>& lines, int exit_code);

}  // namespace topspin
