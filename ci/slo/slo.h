// Judges runs by SLO rules (ci/slo/slo_rule.h): whether a run kept each rule, and by how much.
//
// SloJudge is pure over Samples. A rule about a number that was not measured is neither kept nor
// broken; its result gives the reason.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ci/slo/slo_rule.h"
#include "core/base/result.h"
#include "core/run/load_result.h"
#include "core/run/run.h"
#include "core/tick/sample.h"
#include "store/run_store.h"

namespace topspin {

enum class SloVerdict : uint8_t { kKept, kBroken, kUnknown };
std::string_view slo_verdict_name(SloVerdict verdict);  // "kept", "broken", "unknown"

struct SloResult {
  std::string rule;
  SloVerdict verdict = SloVerdict::kUnknown;
  std::optional<double> value;  // for a gauge over several ticks: the decisive one
  std::optional<double> bound;
  std::string explanation;  // "5.20ms against 5.00ms", or why it cannot be judged
  bool lenient = false;     // from its rule
};

/// Judges one run by several rules in one pass over its ticks.
class SloJudge {
 public:
  SloJudge(std::span<const SloRule> rules, const RunInfo& run, std::vector<RunStage> stages,
           std::optional<LoadResult> load);
  SloJudge(const SloJudge&) = delete;
  SloJudge& operator=(const SloJudge&) = delete;
  ~SloJudge();

  void add(const Sample& tick);  // in order
  /// One result per rule, in the order of the rules.
  std::vector<SloResult> finish() const;

 private:
  struct Rule;
  RunInfo run_;
  std::vector<RunStage> stages_;
  std::optional<LoadResult> load_;
  std::vector<Rule> rules_;
};

/// The same for a stored run.
Result<std::vector<SloResult>> judge_slos(RunStore& store, const StoredRun& run,
                                          std::span<const SloRule> rules);

}  // namespace topspin
