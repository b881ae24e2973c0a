// Judgements over the numbers in CSV files: two files are compared, or the history in one is
// judged. It reads files and stores nothing.
#pragma once

#include <string>

#include "app/commands/gate/gate_options.h"
#include "ci/judgement/judgement.h"
#include "core/base/result.h"

namespace topspin {

/// `compare --samples A.csv B.csv`.
Result<Judgement> compare_samples(const GateOptions& options);

/// A series' judgement, and its name in the gate's log. The name is that of the file, without its
/// directory, and of the column.
struct JudgedSeries {
  std::string name;
  Judgement judgement;
};
/// `gate --history --series FILE.csv`.
Result<JudgedSeries> judge_series(const GateOptions& options);

}  // namespace topspin
