#include "ci/judgement/aa_check.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <fmt/format.h>

#include "ci/statistics/random.h"
#include "ci/statistics/statistics.h"
#include "core/run/source_text.h"

namespace topspin {
namespace {

constexpr double kRateConfidence = 0.95;

/// A run's value of each gating metric.
using TrialValues = std::vector<std::optional<double>>;

struct Trial {
  std::vector<Comparison> comparisons;
  Verdict verdict = Verdict::kPass;
};

/// Draws `pairs` pairs of neighbours without replacement. A random bit decides the sides.
std::vector<std::pair<size_t, size_t>> draw_pairs(size_t runs, size_t pairs, Random& random) {
  const size_t offset = runs % 2 == 0 ? 0 : random.below(2);
  std::vector<size_t> firsts((runs - offset) / 2);
  for (size_t i = 0; i < firsts.size(); ++i) firsts[i] = offset + 2 * i;
  random.shuffle(std::span(firsts));
  firsts.resize(std::min(pairs, firsts.size()));
  std::vector<std::pair<size_t, size_t>> drawn;
  for (const size_t first : firsts) {
    if (random.coin())
      drawn.emplace_back(first, first + 1);
    else
      drawn.emplace_back(first + 1, first);
  }
  return drawn;
}

Trial judge_trial(const std::vector<TrialValues>& runs,
                  const std::vector<const RunMetric*>& metrics,
                  const std::vector<std::pair<size_t, size_t>>& pairs, uint64_t seed) {
  Trial trial;
  for (size_t m = 0; m < metrics.size(); ++m) {
    std::vector<double> a, b;
    for (const auto& [first, second] : pairs) {
      if (!runs[first][m] || !runs[second][m]) continue;
      a.push_back(*runs[first][m]);
      b.push_back(*runs[second][m]);
    }
    trial.comparisons.push_back(measure(metrics[m]->metric, a, b, Layout::kPaired, seed));
  }
  judge(trial.comparisons);
  for (const Comparison& c : trial.comparisons) {
    if (c.verdict == Verdict::kFail) trial.verdict = Verdict::kFail;
    if (c.verdict == Verdict::kInconclusive && trial.verdict == Verdict::kPass)
      trial.verdict = Verdict::kInconclusive;
  }
  return trial;
}

/// The runs that may be judged, in order. If there can be no check, sets a reason and an exit code.
std::vector<const MeasuredRun*> fit_runs(const std::vector<MeasuredRun>& runs, AaCheck& check) {
  std::vector<const MeasuredRun*> fit;
  std::set<std::string> hosts, commits;
  for (const MeasuredRun& run : runs) {
    const auto reasons = reasons_not_to_judge(run);
    for (const std::string& reason : reasons)
      check.reasons.push_back(fmt::format("run {} is left out: {}", run.run.info.id, reason));
    if (!reasons.empty()) continue;
    fit.push_back(&run);
    hosts.insert(run.run.info.host.fingerprint);
    commits.insert(short_commit(run.run.info.source, std::string::npos));
  }
  const auto refuse = [&](int exit, std::string reason) {
    check.exit_code = exit;
    check.reasons.insert(check.reasons.begin(), std::move(reason));
    fit.clear();
  };
  if (std::any_of(commits.begin(), commits.end(),
                  [](const auto& c) { return c.find('+') != c.npos; }))
    check.reasons.push_back(
        "trees had changes (or git could not tell), so their code need not be the same");
  if (commits.size() > 1) {
    refuse(::topspin::exit_code(ErrorCode::kUsage),
           fmt::format("the runs are of {} commits; name one, or another selector whose runs are "
                       "of the same code",
                       commits.size()));
  } else if (hosts.size() > 1) {
    refuse(kExitOtherHost, "the runs are of different hosts; the check is of one");
  } else if (fit.size() < 2 * kFewestPairs) {
    refuse(kExitNotJudged, fmt::format("{} runs may be judged; {} are needed for {} pairs",
                                       fit.size(), 2 * kFewestPairs, kFewestPairs));
  }
  return fit;
}

}  // namespace

AaCheck check_aa(const std::vector<MeasuredRun>& runs, size_t trials, uint64_t seed,
                 std::span<const RunMetric> all_metrics) {
  CHECK(trials > 0);
  AaCheck check;
  check.seed = seed;
  const auto fit = fit_runs(runs, check);
  if (fit.empty()) return check;
  std::vector<const RunMetric*> metrics;
  for (const RunMetric& m : all_metrics) {
    const bool seen = std::any_of(fit.begin(), fit.end(), [&](const MeasuredRun* run) {
      return m.take(run->totals).has_value();
    });
    if (m.metric.gating && seen) metrics.push_back(&m);
  }
  std::vector<TrialValues> values;
  for (const MeasuredRun* run : fit) {
    TrialValues& of_run = values.emplace_back();
    for (const RunMetric* m : metrics) of_run.push_back(m->take(run->totals));
  }
  check.trials = trials;
  check.pairs = std::min(fit.size() / 2, kMostPairs);
  std::vector<std::vector<double>> detectable(metrics.size());
  for (const RunMetric* m : metrics) check.metrics.push_back({m->metric, 0, 0, std::nullopt});
  Random random(seed);
  for (size_t i = 0; i < trials; ++i) {
    const auto pairs = draw_pairs(values.size(), check.pairs, random);
    const Trial trial = judge_trial(values, metrics, pairs, seed + i);
    check.alarms += trial.verdict == Verdict::kFail ? 1 : 0;
    check.passes += trial.verdict == Verdict::kPass ? 1 : 0;
    for (size_t m = 0; m < metrics.size(); ++m) {
      const Comparison& c = trial.comparisons[m];
      check.metrics[m].alarms += c.verdict == Verdict::kFail ? 1 : 0;
      check.metrics[m].passes += c.verdict == Verdict::kPass ? 1 : 0;
      if (c.minimum_detectable) detectable[m].push_back(*c.minimum_detectable);
    }
  }
  for (size_t m = 0; m < metrics.size(); ++m) {
    if (!detectable[m].empty())
      check.metrics[m].minimum_detectable = median(std::move(detectable[m]));
  }
  check.alarm_rate = static_cast<double>(check.alarms) / static_cast<double>(trials);
  check.alarm_rate_high = proportion_upper_bound(check.alarms, trials, kRateConfidence);
  return check;
}

}  // namespace topspin
