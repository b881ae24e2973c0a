#include "ci/slo/slo_gate.h"

#include <algorithm>

#include <fmt/format.h>

namespace topspin {
namespace {

void add_result(std::vector<SloOutcome>& outcomes, const SloResult& result,
                const std::string& run_id) {
  auto outcome = std::find_if(outcomes.begin(), outcomes.end(),
                              [&](const SloOutcome& o) { return o.rule == result.rule; });
  if (outcome == outcomes.end()) {
    outcomes.push_back({result.rule, 0, 0, 0, {}, {}, result.lenient});
    outcome = outcomes.end() - 1;
  }
  size_t& count = result.verdict == SloVerdict::kKept     ? outcome->kept
                  : result.verdict == SloVerdict::kBroken ? outcome->broken
                                                          : outcome->unknown;
  // The example is the first run that broke the rule, or else the first that could not be judged.
  const bool first_broken = result.verdict == SloVerdict::kBroken && outcome->broken == 0;
  const bool first_unknown =
      result.verdict == SloVerdict::kUnknown && outcome->broken == 0 && outcome->unknown == 0;
  ++count;
  if (!first_broken && !first_unknown) return;
  outcome->run_id = run_id;
  outcome->explanation = result.explanation;
}

}  // namespace

Result<std::vector<SloOutcome>> judge_candidates(RunStore& store,
                                                 std::span<const MeasuredRun> candidates,
                                                 const RulesOfRun& rules_of) {
  std::vector<SloOutcome> outcomes;
  for (const MeasuredRun& run : candidates) {
    if (!reasons_not_to_judge(run).empty()) continue;
    TOPSPIN_ASSIGN(const std::vector<SloRule> rules, rules_of(run.run));
    if (rules.empty()) continue;
    TOPSPIN_ASSIGN(const auto results, judge_slos(store, run.run, rules));
    for (const SloResult& result : results) add_result(outcomes, result, run.run.info.id);
  }
  return outcomes;
}

void apply_slos(Judgement& judgement, std::vector<SloOutcome> outcomes, bool strict) {
  judgement.slos = std::move(outcomes);
  if (judgement.verdict == Verdict::kInvalid) return;
  std::vector<std::string> broken, unknown;
  bool must_be_judged = false;
  for (const SloOutcome& o : judgement.slos) {
    const size_t runs = o.kept + o.broken + o.unknown;
    if (o.broken > 0) {
      broken.push_back(fmt::format("SLO broken in {} of {} runs: {} ({} in run {})", o.broken, runs,
                                   o.rule, o.explanation, o.run_id));
    } else if (o.kept == 0) {
      unknown.push_back(fmt::format("SLO cannot be judged: {} ({})", o.rule, o.explanation));
      must_be_judged = must_be_judged || !o.lenient;
    }
  }
  judgement.reasons.insert(judgement.reasons.begin(), broken.begin(), broken.end());
  judgement.reasons.insert(judgement.reasons.end(), unknown.begin(), unknown.end());
  if (!broken.empty()) {
    judgement.verdict = Verdict::kFail;
  } else if (!unknown.empty() && judgement.verdict == Verdict::kPass) {
    judgement.verdict = Verdict::kInconclusive;
  }
  judgement.exit_code = exit_code(judgement.verdict, strict);
  // If it is not known whether a rule was kept, that is not a pass, unless the plan allows it.
  if (must_be_judged && judgement.verdict != Verdict::kFail) judgement.exit_code = kExitNotJudged;
}

}  // namespace topspin
