#include "ci/judgement/run_history.h"

#include <algorithm>

#include <fmt/format.h>

#include "ci/judgement/run_conditions.h"
#include "core/base/text.h"

namespace topspin {
namespace {

/// The accepted changes in one metric's history, by the index of the run.
OnPurpose on_purpose_of(const History& history, const std::vector<std::string>& acknowledged,
                        std::span<const Acceptance> accepted) {
  OnPurpose on_purpose;
  const std::vector<std::string>& ids = history.run_ids;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (std::find(acknowledged.begin(), acknowledged.end(), ids[i]) != acknowledged.end())
      on_purpose.changes[i];
  }
  for (const Acceptance& acceptance : accepted) {
    if (acceptance.run_id.empty() ||
        (!acceptance.metric.empty() && acceptance.metric != history.metric.name))
      continue;
    const auto at = static_cast<size_t>(
        std::find_if(ids.begin(), ids.end(),
                     [&](const std::string& id) { return id >= acceptance.run_id; }) -
        ids.begin());
    if (acceptance.kind == Acceptance::Kind::kChange) {
      if (at < ids.size()) on_purpose.changes[at] = acceptance.because;
    } else if (!on_purpose.baseline || on_purpose.baseline->first <= at) {
      on_purpose.baseline.emplace(at, acceptance.because);
    }
  }
  return on_purpose;
}

}  // namespace

Judgement judge_run_history(const std::vector<MeasuredRun>& runs,
                            const std::vector<std::string>& acknowledged, uint64_t seed,
                            bool strict, std::span<const RunMetric> metrics,
                            std::span<const Acceptance> accepted) {
  Judgement judgement;
  judgement.mode = "history";
  judgement.seed = seed;
  std::vector<const MeasuredRun*> fit_runs;
  GatheredReasons left_out;
  for (const MeasuredRun& run : runs) {
    const auto reasons = reasons_not_to_judge(run);
    left_out.add(run, reasons);
    if (reasons.empty()) fit_runs.push_back(&run);
  }
  left_out.say(judgement, "is left out", "are left out");
  if (runs.empty() || fit_runs.empty() || fit_runs.back() != &runs.back()) {
    make_invalid(judgement, kExitNotJudged, "the newest run must not be judged");
    return judgement;
  }
  if (of_several_hosts(fit_runs)) {
    make_invalid(judgement, kExitOtherHost, kOtherHost);
    return judgement;
  }
  say_other_conditions(fit_runs, judgement);
  const bool scheduler_gates = same_rungs(fit_runs, judgement);
  for (const RunMetric& m : metrics) {
    if (!m.metric.gating || (m.from_scheduler && !scheduler_gates)) continue;
    History history;
    history.metric = m.metric;
    for (const MeasuredRun* run : fit_runs) {
      const auto value = m.take(run->totals);
      if (!value) continue;
      history.values.push_back(*value);
      history.run_ids.push_back(run->run.info.id);
      history.times.push_back(
          fmt::format("{} run {}", format_utc(run->run.info.started_wall_ns), run->run.info.id));
    }
    if (!history.values.empty())
      judge_history(judgement, history, on_purpose_of(history, acknowledged, accepted));
  }
  conclude_history(judgement, strict);
  return judgement;
}

}  // namespace topspin
