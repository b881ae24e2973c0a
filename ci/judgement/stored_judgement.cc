#include "ci/judgement/stored_judgement.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "ci/judgement/cause_changes.h"
#include "ci/judgement/run_conditions.h"
#include "ci/statistics/statistics.h"

namespace topspin {
namespace {

Judgement started(std::string mode, uint64_t seed) {
  Judgement judgement;
  judgement.mode = std::move(mode);
  judgement.seed = seed;
  return judgement;
}

/// The plan's subject, if all of the runs have the same one; else empty.
std::string subject_of(const std::vector<const MeasuredRun*>& side) {
  std::string name;
  for (const MeasuredRun* run : side) {
    const auto& plan = run->run.info.plan;
    if (!plan || (run != side.front() && plan->subject != name)) return {};
    name = plan->subject;
  }
  return name;
}

void name_sides(Judgement& judgement, const std::vector<const MeasuredRun*>& a,
                const std::vector<const MeasuredRun*>& b) {
  const std::string name_a = subject_of(a), name_b = subject_of(b);
  if (name_a.empty() || name_b.empty() || name_a == name_b) return;
  judgement.name_a = name_a;
  judgement.name_b = name_b;
}

/// Adds the overlaid distributions of all latencies that both sides measured.
void add_distributions(Judgement& judgement, const std::vector<const MeasuredRun*>& a,
                       const std::vector<const MeasuredRun*>& b) {
  const auto add = [&](const char* name, auto of) {
    std::remove_const_t<std::remove_reference_t<decltype(*of(*a.front()))>> on_a, on_b;
    for (const MeasuredRun* run : a) {
      if (const auto* part = of(*run)) on_a.merge(*part);
    }
    for (const MeasuredRun* run : b) {
      if (const auto* part = of(*run)) on_b.merge(*part);
    }
    if (!on_a.empty() && !on_b.empty())
      judgement.distributions.push_back(overlay(name, on_a, on_b));
  };
  if (a.empty() || b.empty()) return;
  add("reply_latency_ns", [](const MeasuredRun& r) { return &r.totals.flows.reply_latency; });
  add("lateness_ns", [](const MeasuredRun& r) { return &r.totals.flows.lateness; });
  add("tcp_handshake_ns", [](const MeasuredRun& r) { return &r.totals.flows.tcp_handshake; });
  add("run_queue_latency_ns", [](const MeasuredRun& r) -> const Histogram* {
    return r.totals.run_queue_latency ? &*r.totals.run_queue_latency : nullptr;
  });
}

/// Adds which parts of the replies' time, and which of the subject's costs, changed.
void add_causes(Judgement& judgement, const std::vector<const MeasuredRun*>& a,
                const std::vector<const MeasuredRun*>& b, Layout layout) {
  const auto totals = [](const std::vector<const MeasuredRun*>& side) {
    std::vector<const RunTotals*> of;
    of.reserve(side.size());
    for (const MeasuredRun* run : side) of.push_back(&run->totals);
    return of;
  };
  CauseChanges changes = cause_changes(totals(a), totals(b), layout, judgement.seed);
  judgement.why = why_changed(changes);
  judgement.causes = std::move(changes.parts);
  judgement.costs = std::move(changes.costs);
  judgement.costs_per_reply = changes.per_reply;
}

/// How many pairs would decide every gating metric that is not decided yet.
PairCount count_pairs(const Judgement& judgement, size_t judged) {
  PairCount count{judged, std::max(judged, kFewestPairs)};
  if (judged < kFewestPairs) return count;
  for (const Comparison& c : judgement.metrics) {
    if (!c.metric.gating || c.verdict != Verdict::kInconclusive) continue;
    // If the number is not known, assume the most that the gate takes.
    count.wanted = std::max(count.wanted, values_wanted(c).value_or(kMostPairs));
  }
  count.wanted = std::max(judged, std::min(count.wanted, kMostPairs));
  return count;
}

/// How a run is used in a judgement.
enum class Fitness : uint8_t {
  kFit,      // its numbers are compared
  kFailed,   // its subject failed: it has no numbers to compare, and counts as failed
  kLeftOut,  // topspin or the host failed, so it tells nothing about its subject
};

/// Checks the runs of both sides, and remembers which failed and which are left out.
class Sorter {
 public:
  Fitness look(const MeasuredRun& run) {
    if (std::string fault = fault_of_subject(run.run.end); !fault.empty()) {
      failed_.add(run, {std::move(fault)});
      return Fitness::kFailed;
    }
    const auto reasons = reasons_not_to_judge(run);
    left_out_.add(run, reasons);
    return reasons.empty() ? Fitness::kFit : Fitness::kLeftOut;
  }

  /// Counts a run for its side, unless it was left out.
  void count_a(Fitness fitness) { count(a_, fitness); }
  void count_b(Fitness fitness) { count(b_, fitness); }

  void say(Judgement& judgement, std::string_view one, std::string_view many) const {
    failed_.say(judgement, "failed because of its subject and counts as failed",
                "failed because of their subject and count as failed");
    left_out_.say(judgement, one, many);
  }

  /// Adds the metric kFailedRuns, judged, if a run failed.
  void add_failed_runs(Judgement& judgement, double level = kFalseDiscoveryRate) const {
    if (a_.failed + b_.failed == 0 || a_.runs == 0 || b_.runs == 0) return;
    Comparison c;
    c.metric.name = kFailedRuns;
    c.metric.unit = kUnitOfShares;
    c.metric.margin = 0;
    c.metric.absolute = c.absolute = true;
    c.n = std::min(a_.runs, b_.runs);
    c.a = static_cast<double>(a_.failed) / static_cast<double>(a_.runs);
    c.b = static_cast<double>(b_.failed) / static_cast<double>(b_.runs);
    c.change = *c.b - *c.a;
    const double chance = more_hits_p(a_.failed, a_.runs, b_.failed, b_.runs);
    const std::string counts = fmt::format(
        "{}: the candidate's subject failed in {} of {} runs, the baseline's in {} of {}",
        kFailedRuns, b_.failed, b_.runs, a_.failed, a_.runs);
    if (*c.b <= *c.a) {
      c.verdict = Verdict::kPass;
    } else if (chance <= level) {
      c.verdict = Verdict::kFail;
      c.reason = counts;
    } else {
      c.verdict = Verdict::kInconclusive;
      c.reason = fmt::format("{}; so many more could be chance (p = {:.2g})", counts, chance);
    }
    judgement.metrics.push_back(std::move(c));
  }

 private:
  struct Side {
    size_t runs = 0;
    size_t failed = 0;
  };
  static void count(Side& side, Fitness fitness) {
    ++side.runs;
    if (fitness == Fitness::kFailed) ++side.failed;
  }

  GatheredReasons failed_;
  GatheredReasons left_out_;
  Side a_;
  Side b_;
};

/// Whether it shows that the subject fails too often, or that it fails at its work in every run.
bool shows_failures(const Comparison& c) {
  const bool counts = c.metric.name == kFailedRuns || (c.apart && c.metric.gating);
  return counts && c.verdict == Verdict::kFail;
}

/// Such failures fail the judgement, however few runs are left to compare.
void fail_for_failures(Judgement& judgement) {
  if (judgement.verdict == Verdict::kFail || judgement.exit_code == kExitOtherHost) return;
  for (const Comparison& c : judgement.metrics) {
    if (!shows_failures(c)) continue;
    judgement.verdict = Verdict::kFail;
    judgement.exit_code = kExitFail;
    std::erase(judgement.reasons, c.reason);
    judgement.reasons.insert(judgement.reasons.begin(), c.reason);
  }
}

/// Adds each metric that both sides have, with all values, or for pairs with those that have it on
/// both sides.
void add_metrics(Judgement& judgement, const std::vector<const MeasuredRun*>& a,
                 const std::vector<const MeasuredRun*>& b, Layout layout, bool scheduler_gates,
                 std::span<const RunMetric> metrics, double level = kFalseDiscoveryRate) {
  for (const RunMetric& m : metrics) {
    std::vector<double> values_a, values_b;
    bool seen = false;
    if (layout == Layout::kPaired) {
      for (size_t i = 0; i < a.size(); ++i) {
        const auto x = m.take(a[i]->totals), y = m.take(b[i]->totals);
        seen = seen || x || y;
        if (!x || !y) continue;
        values_a.push_back(*x);
        values_b.push_back(*y);
      }
    } else {
      for (const MeasuredRun* run : a) {
        if (const auto x = m.take(run->totals)) values_a.push_back(*x);
      }
      for (const MeasuredRun* run : b) {
        if (const auto y = m.take(run->totals)) values_b.push_back(*y);
      }
      seen = !values_a.empty() || !values_b.empty();
    }
    if (!seen) continue;
    Metric metric = m.metric;
    if (m.from_scheduler && !scheduler_gates) metric.gating = false;
    judgement.metrics.push_back(measure(metric, values_a, values_b, layout, judgement.seed, level));
  }
}

}  // namespace

namespace {

/// The runs of both sides that are compared, and their layout.
struct Sides {
  std::vector<const MeasuredRun*> a;
  std::vector<const MeasuredRun*> b;
  Layout layout = Layout::kUnpaired;
};

/// The runs that `sorter` accepts; all runs without a sorter.
Sides choose_sides(const std::vector<MeasuredRun>& a, const std::vector<MeasuredRun>& b,
                   const std::vector<RunPair>& pairs, Sorter* sorter) {
  const auto look = [&](const MeasuredRun& run) {
    return sorter == nullptr ? Fitness::kFit : sorter->look(run);
  };
  Sides sides;
  if (!pairs.empty()) {
    sides.layout = Layout::kPaired;
    for (const RunPair& pair : pairs) {
      const Fitness fit_a = look(pair.a), fit_b = look(pair.b);
      if (fit_a == Fitness::kLeftOut || fit_b == Fitness::kLeftOut) continue;
      if (sorter != nullptr) {
        sorter->count_a(fit_a);
        sorter->count_b(fit_b);
      }
      if (fit_a == Fitness::kFailed || fit_b == Fitness::kFailed) continue;
      sides.a.push_back(&pair.a);
      sides.b.push_back(&pair.b);
    }
    return sides;
  }
  for (const MeasuredRun& run : a) {
    const Fitness fitness = look(run);
    if (sorter != nullptr && fitness != Fitness::kLeftOut) sorter->count_a(fitness);
    if (fitness == Fitness::kFit) sides.a.push_back(&run);
  }
  for (const MeasuredRun& run : b) {
    const Fitness fitness = look(run);
    if (sorter != nullptr && fitness != Fitness::kLeftOut) sorter->count_b(fitness);
    if (fitness == Fitness::kFit) sides.b.push_back(&run);
  }
  return sides;
}

}  // namespace

Judgement compare_runs(const std::vector<MeasuredRun>& a, const std::vector<MeasuredRun>& b,
                       uint64_t seed, bool strict, std::span<const RunMetric> metrics) {
  Judgement judgement = started("compare", seed);
  std::vector<RunPair> pairs;
  // A single run per side always seems to be a pair, so that does not count.
  if (auto found = pair_runs(a, b); found.ok() && found->size() > 1) pairs = std::move(*found);
  Sorter sorter;
  Sides sides = choose_sides(a, b, pairs, &sorter);
  const bool judged = !sides.a.empty() && !sides.b.empty();
  if (!judged) sides = choose_sides(a, b, pairs, nullptr);
  judgement.paired = sides.layout == Layout::kPaired;
  std::vector<const MeasuredRun*> all = sides.a;
  all.insert(all.end(), sides.b.begin(), sides.b.end());
  say_other_conditions(all, judgement);
  const bool scheduler_gates = same_rungs(all, judgement);
  add_metrics(judgement, sides.a, sides.b, sides.layout, scheduler_gates, metrics);
  sorter.add_failed_runs(judgement);
  add_distributions(judgement, sides.a, sides.b);
  add_causes(judgement, sides.a, sides.b, sides.layout);
  name_sides(judgement, sides.a, sides.b);
  conclude(judgement, strict);
  if (judged) {
    sorter.say(judgement, "is left out", "are left out");
  } else {
    judgement.reasons.clear();  // these verdicts do not count
    sorter.say(judgement, "is not judged", "are not judged");
    make_invalid(judgement, kExitNotJudged,
                 "not judged: one side has no run that may be judged, so the numbers below are of "
                 "all runs and decide nothing");
  }
  say_sessions(all, judgement);
  if (of_several_hosts(all)) make_invalid(judgement, kExitOtherHost, kOtherHost);
  fail_for_failures(judgement);
  return judgement;
}

Judgement judge_sides(const std::vector<MeasuredRun>& a, const std::vector<MeasuredRun>& b,
                      uint64_t seed, bool strict, std::span<const RunMetric> metrics) {
  const auto labelled = [](const std::vector<MeasuredRun>& side) {
    return std::all_of(side.begin(), side.end(),
                       [](const MeasuredRun& run) { return run.run.info.labels.contains("pair"); });
  };
  if (labelled(a) && labelled(b)) {
    if (const auto pairs = pair_runs(a, b); pairs.ok())
      return judge_pairs(*pairs, seed, strict, metrics);
  }
  return compare_runs(a, b, seed, strict, metrics);
}

Judgement judge_pairs(const std::vector<RunPair>& pairs, uint64_t seed, bool strict,
                      std::span<const RunMetric> metrics, double level) {
  Judgement judgement = started("ab", seed);
  judgement.paired = true;
  Sorter sorter;
  const Sides sides = choose_sides({}, {}, pairs, &sorter);
  const std::vector<const MeasuredRun*>& a = sides.a;
  const std::vector<const MeasuredRun*>& b = sides.b;
  sorter.say(judgement, "is left out", "are left out");
  std::vector<const MeasuredRun*> all;
  all.insert(all.end(), a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  say_other_conditions(all, judgement);
  const bool scheduler_gates = same_rungs(all, judgement);
  add_metrics(judgement, a, b, Layout::kPaired, scheduler_gates, metrics, level);
  sorter.add_failed_runs(judgement, level);
  add_distributions(judgement, a, b);
  add_causes(judgement, a, b, Layout::kPaired);
  name_sides(judgement, a, b);
  conclude(judgement, strict, level);
  judgement.pairs = count_pairs(judgement, a.size());
  if (of_several_hosts(all)) {
    make_invalid(judgement, kExitOtherHost, kOtherHost);
  } else if (std::any_of(judgement.metrics.begin(), judgement.metrics.end(), shows_failures)) {
    // However few pairs are left, they are enough for that.
  } else if (a.size() < kFewestPairs && a.size() < pairs.size()) {
    make_invalid(judgement, kExitNotJudged,
                 fmt::format("{} of {} pairs may be judged; at least {} are needed", a.size(),
                             pairs.size(), kFewestPairs));
  } else if (a.size() < kFewestPairs) {
    judgement.verdict = Verdict::kInconclusive;
    judgement.exit_code = exit_code(judgement.verdict, strict);
    judgement.reasons.insert(judgement.reasons.begin(),
                             fmt::format("{} pairs are too few; the gate judges {} to {}", a.size(),
                                         kFewestPairs, kMostPairs));
  } else if (judgement.verdict == Verdict::kInconclusive) {
    const PairCount& count = *judgement.pairs;
    judgement.reasons.push_back(
        count.wanted > count.judged
            ? fmt::format("run {} more pairs: {} were judged, {} may decide",
                          count.wanted - count.judged, count.judged, count.wanted)
            : fmt::format("{} pairs did not decide, and the gate does not ask for more than {}",
                          count.judged, kMostPairs));
  }
  say_sessions(all, judgement);
  fail_for_failures(judgement);
  return judgement;
}

}  // namespace topspin
