// Judgements over numbers from anywhere: two CSV files compared, and the history in one. Reads
// files; keeps nothing.
#pragma once

#include <string>

#include "app/commands/gate/gate_options.h"
#include "ci/judgement/judgement.h"
#include "core/base/result.h"

namespace topspin {

/// `compare --samples A.csv B.csv`.
Result<Judgement> compare_samples(const GateOptions& options);

/// A series' judgement, and its name in the gate's log: the file's, without its directory, and the
/// column's.
struct JudgedSeries {
  std::string name;
  Judgement judgement;
};
/// `gate --history --series FILE.csv`.
Result<JudgedSeries> judge_series(const GateOptions& options);

}  // namespace topspin
