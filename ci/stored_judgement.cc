#include "ci/stored_judgement.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "ci/slo.h"
#include "ci/statistics.h"
#include "core/run_reasons.h"
#include "core/text.h"

namespace topspin {
namespace {

constexpr size_t kFewestCommitDigits = 7;

bool is_commit_prefix(std::string_view text) {
  return text.size() >= kFewestCommitDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string rung_of_scheduler(const MeasuredRun& run) {
  for (const ProbeStatus& probe : run.run.info.probes) {
    if (probe.name == "scheduler") return std::string(rung_name(probe.rung));
  }
  return "none";
}

/// The different values that `of` takes over the runs.
template <typename Of>
std::set<std::string> distinct(const std::vector<const MeasuredRun*>& runs, Of of) {
  std::set<std::string> values;
  for (const MeasuredRun* run : runs) values.insert(of(*run));
  return values;
}

std::string fingerprint(const MeasuredRun& run) { return run.run.info.host.fingerprint; }

/// What keeps runs from being compared in full, said in reasons: another scheduler rung. Its
/// metrics inform then.
bool same_rungs(const std::vector<const MeasuredRun*>& runs, Judgement& judgement) {
  const auto rungs = distinct(runs, rung_of_scheduler);
  if (rungs.size() <= 1) return true;
  std::string names;
  for (const std::string& rung : rungs)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", rung);
  judgement.not_comparable.push_back(fmt::format(
      "the scheduler probe stood on different rungs ({}), so its metrics do not gate", names));
  return false;
}

/// Conditions that differ between any of the runs. Commit, branch and labels are left out: they are
/// what a comparison is about.
void say_other_conditions(const std::vector<const MeasuredRun*>& runs, Judgement& judgement) {
  const auto say = [&](std::string_view what, auto of) {
    const std::set<std::string> values = distinct(runs, of);
    if (values.size() < 2) return;
    std::string names;
    for (const std::string& value : values) {
      constexpr size_t kMostShown = 60;
      std::string shown = value.empty() ? "none" : value.substr(0, kMostShown);
      if (value.size() > kMostShown) shown += "...";
      names += fmt::format("{}{}", names.empty() ? "" : " / ", shown);
    }
    judgement.not_comparable.push_back(fmt::format("the runs differ in {}: {}", what, names));
  };
  const auto number = [](const std::optional<int64_t>& ns) {
    return ns ? format_duration(*ns) : std::string();
  };
  using Run = const MeasuredRun&;
  if (runs.empty()) return;
  say("kernel", [](Run r) { return r.run.info.host.kernel; });
  // The subjects of one plan are what is compared, whatever their commands.
  const bool one_plan = distinct(
                            runs,
                            [](Run r) {
                              return r.run.info.plan ? r.run.info.plan->text : std::string();
                            }).size() == 1 &&
                        runs.front()->run.info.plan.has_value();
  say("command", [&](Run r) {
    std::string command;
    if (one_plan) return command;
    for (const std::string& word : r.run.info.command)
      command += fmt::format("{}{}", command.empty() ? "" : " ", word);
    return command;
  });
  say("capture filter", [](Run r) { return r.run.info.settings.filter; });
  say("interface", [](Run r) { return r.run.info.settings.interface; });
  say("declared period", [&](Run r) { return number(r.run.info.settings.period_ns); });
  say("window", [&](Run r) { return number(r.run.info.settings.window_ns); });
  say("tick interval", [&](Run r) { return number(r.run.info.settings.interval_ns); });
  const auto plan_name = [](Run r) {
    const auto plan = r.run.info.labels.find("plan");
    return plan == r.run.info.labels.end() ? std::string() : plan->second;
  };
  say("plan", plan_name);
  const auto plan_text = [](Run r) {
    return r.run.info.plan ? r.run.info.plan->text : std::string();
  };
  if (distinct(runs, plan_name).size() == 1 && distinct(runs, plan_text).size() > 1)
    judgement.not_comparable.emplace_back("the plan's text was changed between the runs");
  say("version of topspin", [](Run r) { return r.run.info.topspin_version; });
}

/// Sides that are named take runs from everywhere in the database.
void say_sessions(const std::vector<const MeasuredRun*>& runs, Judgement& judgement) {
  auto sessions = distinct(
      runs, [](const MeasuredRun& r) { return r.run.info.plan ? r.run.info.plan->session : ""; });
  const bool others = sessions.erase("") > 0;
  if (sessions.size() + (others ? 1 : 0) < 2) return;
  judgement.reasons.push_back(fmt::format(
      "the runs are of {} session{} of topspin run{}: all that the database has by these names; "
      "topspin gate without names takes the last session alone",
      sessions.size(), sessions.size() == 1 ? "" : "s", others ? " and of topspin record" : ""));
}

/// What kinds of latency both sides measured, laid over each other.
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

/// How many pairs would decide every gating metric that is not decided yet.
PairCount count_pairs(const Judgement& judgement, size_t judged) {
  PairCount count{judged, std::max(judged, kFewestPairs)};
  if (judged < kFewestPairs) return count;
  for (const Comparison& c : judgement.metrics) {
    if (!c.metric.gating || c.verdict != Verdict::kInconclusive) continue;
    // What cannot be foreseen may still be decided by as many as the gate takes.
    count.wanted = std::max(count.wanted, values_wanted(c).value_or(kMostPairs));
  }
  count.wanted = std::max(judged, std::min(count.wanted, kMostPairs));
  return count;
}

Judgement started(std::string mode, uint64_t seed) {
  Judgement judgement;
  judgement.mode = std::move(mode);
  judgement.seed = seed;
  return judgement;
}

void make_invalid(Judgement& judgement, int exit, std::string reason) {
  judgement.verdict = Verdict::kInvalid;
  judgement.exit_code = exit;
  judgement.reasons.insert(judgement.reasons.begin(), std::move(reason));
}

constexpr const char* kOtherHost =
    "the runs are of different hosts, and numbers of one say nothing of another; measure both "
    "sides "
    "on one host";

/// Gathers runs with the reasons for what became of them, and says them: many for one reason are
/// one sentence.
class Gathered {
 public:
  void add(const MeasuredRun& run, const std::vector<std::string>& reasons) {
    for (const std::string& reason : reasons) {
      const std::string kind = without_numbers(reason);
      auto group = std::find_if(groups_.begin(), groups_.end(),
                                [&](const Group& g) { return g.kind == kind; });
      if (group == groups_.end())
        group = groups_.insert(groups_.end(), {kind, reason, run.run.info.id, 0});
      ++group->runs;
    }
  }

  /// `done`: "is left out", "is not judged".
  void say(Judgement& judgement, std::string_view one, std::string_view many) const {
    for (const Group& g : groups_) {
      judgement.reasons.push_back(
          g.runs == 1
              ? fmt::format("run {} {}: {}", g.first_run, one, g.reason)
              : fmt::format("{} runs {}: in run {} {}", g.runs, many, g.first_run, g.reason));
    }
  }

 private:
  struct Group {
    std::string kind;
    std::string reason;  // of the first
    std::string first_run;
    size_t runs = 0;
  };

  static std::string without_numbers(const std::string& reason) {
    std::string kind;
    for (const char c : reason) {
      if ((c < '0' || c > '9') && c != '.') kind += c;
    }
    return kind;
  }

  std::vector<Group> groups_;
};

/// What a run is to a judgement.
enum class Fitness : uint8_t {
  kFit,      // its numbers are compared
  kFailed,   // by its subject's doing: it has no numbers to compare, and counts as failed
  kLeftOut,  // by topspin's or the host's doing: it says nothing of its subject
};

/// Looks at the runs of both sides, and remembers which failed and which are left out.
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

  /// Enters runs that look() did not leave out in what the sides are compared by.
  void count_a(Fitness fitness) { count(a_, fitness); }
  void count_b(Fitness fitness) { count(b_, fitness); }

  void say(Judgement& judgement, std::string_view one, std::string_view many) const {
    failed_.say(judgement, "failed by its subject's doing and counts as failed",
                "failed by their subject's doing and count as failed");
    left_out_.say(judgement, one, many);
  }

  /// Adds the metric kFailedRuns, judged, if a run failed.
  void add_failed_runs(Judgement& judgement) const {
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
    } else if (chance <= kFalseDiscoveryRate) {
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

  Gathered failed_;
  Gathered left_out_;
  Side a_;
  Side b_;
};

/// A subject that fails too often fails the judgement, however few runs are left to compare.
void fail_for_failed_runs(Judgement& judgement) {
  if (judgement.verdict == Verdict::kFail || judgement.exit_code == kExitOtherHost) return;
  for (const Comparison& c : judgement.metrics) {
    if (c.metric.name != kFailedRuns || c.verdict != Verdict::kFail) continue;
    judgement.verdict = Verdict::kFail;
    judgement.exit_code = kExitFail;
    std::erase(judgement.reasons, c.reason);
    judgement.reasons.insert(judgement.reasons.begin(), c.reason);
  }
}

/// Adds each metric that both sides have: all values, or of the pairs that have it on both sides.
void add_metrics(Judgement& judgement, const std::vector<const MeasuredRun*>& a,
                 const std::vector<const MeasuredRun*>& b, Layout layout, bool scheduler_gates,
                 std::span<const RunMetric> metrics) {
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
    judgement.metrics.push_back(measure(metric, values_a, values_b, layout, judgement.seed));
  }
}

}  // namespace

std::vector<std::string> reasons_not_to_judge(const MeasuredRun& run) {
  return standing_of(run.run.info, run.run.end, run.totals).reasons;
}

std::string fault_of_subject(const RunEnd& end) {
  if (end.status == RunStatus::kInterrupted || end.status == RunStatus::kRunning) return {};
  const std::string silence = std::string(kLoadReason) + std::string(kLoadSilence);
  for (const std::string& reason : end.invalid_reasons) {
    if (reason.starts_with(kSubjectReason) || reason.starts_with(silence)) return reason;
  }
  return {};
}

Status check_sides(const std::vector<StoredRun>& a, const std::vector<StoredRun>& b) {
  for (const StoredRun& run : a) {
    if (std::none_of(b.begin(), b.end(),
                     [&](const StoredRun& other) { return other.info.id == run.info.id; }))
      continue;
    return make_error(ErrorCode::kUsage,
                      fmt::format("run {} is on both sides; a run differs from itself in nothing, "
                                  "so name two different ones",
                                  run.info.id));
  }
  return {};
}

Result<std::vector<StoredRun>> select_runs(const std::vector<StoredRun>& runs,
                                           std::string_view selector) {
  std::vector<StoredRun> chosen;
  const auto take_if = [&](auto fits) {
    for (const StoredRun& run : runs) {
      if (fits(run)) chosen.push_back(run);
    }
  };
  if (const size_t equals = selector.find('='); equals != std::string_view::npos) {
    const std::string key(selector.substr(0, equals)), value(selector.substr(equals + 1));
    take_if([&](const StoredRun& run) {
      const auto label = run.info.labels.find(key);
      return label != run.info.labels.end() && label->second == value;
    });
  } else if (selector == "last") {
    if (!runs.empty()) chosen.push_back(runs.back());
  } else {
    constexpr std::string_view kWithChanges = "+changes";
    const bool with_changes = selector.ends_with(kWithChanges);
    const std::string_view commit =
        selector.substr(0, selector.size() - (with_changes ? kWithChanges.size() : 0));
    // A tree with changes is not its commit.
    if (is_commit_prefix(commit)) {
      take_if([&](const StoredRun& run) {
        return run.info.source.commit.starts_with(commit) &&
               (run.info.source.dirty != false) == with_changes;
      });
    }
    if (chosen.empty() && !selector.empty())
      take_if([&](const StoredRun& run) { return run.info.source.branch == selector; });
    if (chosen.empty()) {
      take_if([&](const StoredRun& run) { return run.info.id.starts_with(selector); });
      if (chosen.size() > 1) {
        return make_error(
            ErrorCode::kUsage,
            fmt::format("{} runs begin with \"{}\"; give more of the id", chosen.size(), selector));
      }
    }
  }
  if (chosen.empty() && is_commit_prefix(selector)) {
    const auto of_it = std::count_if(runs.begin(), runs.end(), [&](const StoredRun& run) {
      return run.info.source.commit.starts_with(selector);
    });
    if (of_it > 0) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("no run is known to be of commit {0} as it is: {1} had changes, or git could "
                      "not tell; name {0}+changes for them, an id, or a label KEY=VALUE",
                      selector, of_it));
    }
  }
  if (chosen.empty()) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("no run is \"{}\": give an id, last, a commit, a branch, or a label "
                    "KEY=VALUE; see topspin list",
                    selector));
  }
  return chosen;
}

std::vector<StoredRun> newest_session(std::vector<StoredRun> runs) {
  // By their order: a clock may have gone back since.
  const auto newest = std::find_if(runs.rbegin(), runs.rend(),
                                   [](const StoredRun& run) { return run.info.plan.has_value(); });
  if (newest == runs.rend()) return runs;
  const std::string session = newest->info.plan->session;
  std::erase_if(runs, [&](const StoredRun& run) {
    return !run.info.plan || run.info.plan->session != session;
  });
  return runs;
}

Result<std::vector<MeasuredRun>> measure_runs(RunStore& store, const std::vector<StoredRun>& runs) {
  std::vector<MeasuredRun> measured;
  for (const StoredRun& run : runs) {
    TOPSPIN_ASSIGN(const RunFold fold, store.fold(run.info.id, RunPart::kMeasured));
    MeasuredRun one{run, RunTotals(fold)};
    TOPSPIN_ASSIGN(const auto load, store.load_load(run.info.id));
    if (load) one.totals.set_load(*load);
    measured.push_back(std::move(one));
  }
  return measured;
}

Result<std::vector<RunPair>> pair_runs(std::vector<MeasuredRun> a, std::vector<MeasuredRun> b) {
  const auto label = [](const MeasuredRun& run) -> std::optional<std::string> {
    const auto found = run.run.info.labels.find("pair");
    return found == run.run.info.labels.end() ? std::nullopt : std::optional(found->second);
  };
  const auto labelled = [&](const std::vector<MeasuredRun>& side) {
    return std::all_of(side.begin(), side.end(), [&](const auto& run) { return label(run); });
  };
  std::vector<RunPair> pairs;
  if (labelled(a) && labelled(b)) {
    std::map<std::string, MeasuredRun> waiting;
    for (MeasuredRun& run : b) {
      const std::string name = *label(run);
      if (!waiting.emplace(name, std::move(run)).second)
        return make_error(ErrorCode::kUsage, fmt::format("two runs of B have pair={}", name));
    }
    for (MeasuredRun& run : a) {
      const std::string name = *label(run);
      const auto partner = waiting.find(name);
      if (partner == waiting.end()) {
        return make_error(ErrorCode::kUsage,
                          fmt::format("pair={} has one run of A and none of B, or two of A", name));
      }
      pairs.push_back({std::move(run), std::move(partner->second)});
      waiting.erase(partner);
    }
    if (!waiting.empty()) {
      return make_error(ErrorCode::kUsage, fmt::format("pair={} has a run of B and none of A",
                                                       waiting.begin()->first));
    }
    return pairs;
  }
  const auto start = [](const MeasuredRun& run) { return run.run.info.started_wall_ns; };
  bool in_turn = a.size() == b.size();
  for (size_t i = 0; in_turn && i + 1 < a.size(); ++i)
    in_turn = std::max(start(a[i]), start(b[i])) < std::min(start(a[i + 1]), start(b[i + 1]));
  if (!in_turn) {
    return make_error(
        ErrorCode::kUsage,
        "the runs of A and B were not recorded in turn and have no label pair=N; record "
        "them in turn, or see the difference with topspin compare");
  }
  for (size_t i = 0; i < a.size(); ++i) pairs.push_back({std::move(a[i]), std::move(b[i])});
  return pairs;
}

namespace {

/// The runs of both sides that are compared, and how they belong together.
struct Sides {
  std::vector<const MeasuredRun*> a;
  std::vector<const MeasuredRun*> b;
  Layout layout = Layout::kUnpaired;
};

/// What `sorter` lets through; all runs where there is none.
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
  // One run a side is no pair: whichever came first, it is the two of them.
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
  conclude(judgement, strict);
  if (judged) {
    sorter.say(judgement, "is left out", "are left out");
  } else {
    judgement.reasons.clear();  // of verdicts that are none
    sorter.say(judgement, "is not judged", "are not judged");
    make_invalid(judgement, kExitNotJudged,
                 "not judged: no run that may be judged is left on one side, so the numbers below "
                 "are of all runs and decide nothing");
  }
  say_sessions(all, judgement);
  if (distinct(all, fingerprint).size() > 1) make_invalid(judgement, kExitOtherHost, kOtherHost);
  fail_for_failed_runs(judgement);
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
                      std::span<const RunMetric> metrics) {
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
  add_metrics(judgement, a, b, Layout::kPaired, scheduler_gates, metrics);
  sorter.add_failed_runs(judgement);
  add_distributions(judgement, a, b);
  conclude(judgement, strict);
  judgement.pairs = count_pairs(judgement, a.size());
  if (distinct(all, fingerprint).size() > 1) {
    make_invalid(judgement, kExitOtherHost, kOtherHost);
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
            ? fmt::format("{} more pairs are asked for: {} were judged, {} may decide",
                          count.wanted - count.judged, count.judged, count.wanted)
            : fmt::format("{} pairs did not decide, and the gate asks for no more than {}",
                          count.judged, kMostPairs));
  }
  say_sessions(all, judgement);
  fail_for_failed_runs(judgement);
  return judgement;
}

namespace {

/// What of one metric's history was accepted, by the places of the runs in it.
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
  Judgement judgement = started("history", seed);
  std::vector<const MeasuredRun*> fit_runs;
  Gathered left_out;
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
  if (distinct(fit_runs, fingerprint).size() > 1) {
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
