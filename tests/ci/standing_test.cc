// What a run may be used for: complete, usable, may be judged; and how two sides of runs are
// judged.
#include "ci/metrics/standing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ci/judgement/run_history.h"
#include "ci/judgement/stored_judgement.h"
#include "ci/run_selection.h"

namespace topspin {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

MeasuredRun quiet_run(std::string id = "run", int64_t started_ns = 0) {
  MeasuredRun run;
  run.run.info.id = std::move(id);
  run.run.info.started_wall_ns = started_ns;
  run.run.info.host.fingerprint = "here";
  run.run.info.host.cpus_online = 2;
  run.run.end.status = RunStatus::kComplete;
  run.totals.ticks = 10;
  run.totals.interval_ns = 10'000'000'000;
  run.totals.cpu_ns = 1'000'000'000;
  run.totals.host_busy_ns = 2'000'000'000;
  run.totals.host_steal_ns = 0;
  run.totals.flows.new_flows = 100;
  run.totals.flows.packets = 1000;
  return run;
}

RunStanding standing(const MeasuredRun& run) {
  return standing_of(run.run.info, run.run.end, run.totals);
}

TEST(Standing, AQuietWholeRunMayBeJudged) {
  const RunStanding s = standing(quiet_run());
  EXPECT_TRUE(s.complete && s.usable && s.may_be_judged);
  EXPECT_THAT(s.reasons, IsEmpty());
  EXPECT_EQ(standing_text(s, RunStatus::kComplete), "complete, usable, may be judged");
}

TEST(Standing, ABusyHostTakesOnlyTheJudgementAway) {
  MeasuredRun run = quiet_run();
  run.totals.host_busy_ns = 16'000'000'000;
  RunStanding s = standing(run);
  EXPECT_TRUE(s.complete && s.usable);
  EXPECT_FALSE(s.may_be_judged);
  EXPECT_THAT(s.reasons, ElementsAre(HasSubstr("other programs used 75%")));
  EXPECT_EQ(standing_text(s, RunStatus::kComplete), "complete, usable, may not be judged");
  run = quiet_run();
  run.totals.host_steal_ns = 2'000'000'000;
  EXPECT_THAT(standing(run).reasons, ElementsAre(HasSubstr("hypervisor took 10.0%")));
}

TEST(Standing, WithoutASubjectABusyHostIsNotTakenForQuiet) {
  MeasuredRun run = quiet_run();
  run.totals.cpu_ns.reset();
  EXPECT_TRUE(standing(run).may_be_judged);
  run.totals.host_busy_ns = 16'000'000'000;
  EXPECT_THAT(standing(run).reasons,
              ElementsAre(HasSubstr("programs other than topspin used 80% of the CPUs")));
  run.totals.self_cpu_ns = 14'000'000'000;  // topspin's own, including its load
  EXPECT_TRUE(standing(run).may_be_judged);
}

TEST(Standing, ADoubtTakesTheJudgementAwayAndIsSaid) {
  MeasuredRun run = quiet_run();
  run.run.end.doubts = {"the clock was set back"};
  const RunStanding s = standing(run);
  EXPECT_TRUE(s.complete && s.usable);
  EXPECT_FALSE(s.may_be_judged);
  EXPECT_THAT(s.reasons, ElementsAre(HasSubstr("the clock was set back")));
}

/// The numbers of the wire and of the load are not affected.
TEST(Standing, ADoubtAboutTheSplitTouchesTheSplitAlone) {
  for (const char* doubt :
       {"the split of replies has 0 of the 60 that the wire saw (0%)",
        "the parts of 60 replies add up to 1.00ms, where the wire saw 2.00ms"}) {
    MeasuredRun run = quiet_run();
    run.run.end.doubts = {doubt};
    const RunStanding s = standing(run);
    EXPECT_TRUE(s.may_be_judged);
    EXPECT_THAT(s.reasons, IsEmpty());
    EXPECT_THAT(s.notes, ElementsAre(testing::AllOf(HasSubstr("reply_socket"), HasSubstr(doubt))));
    EXPECT_THAT(doubts_of_all(run.run.end), IsEmpty());
    run.run.end.doubts.push_back("the clock was set back");
    EXPECT_FALSE(standing(run).may_be_judged);
    EXPECT_EQ(standing(run).notes.size(), 1u);
  }
}

TEST(Standing, LossesMakeARunUnusableAndAnEarlyEndIncomplete) {
  MeasuredRun run = quiet_run();
  run.run.end.invalid_reasons = {"the capture lost 10%"};
  RunStanding s = standing(run);
  EXPECT_TRUE(s.complete);
  EXPECT_FALSE(s.usable || s.may_be_judged);
  EXPECT_EQ(standing_text(s, RunStatus::kComplete), "complete, not usable");
  run = quiet_run();
  run.run.end.status = RunStatus::kInterrupted;
  s = standing(run);
  EXPECT_TRUE(s.usable);
  EXPECT_FALSE(s.complete || s.may_be_judged);
  run = quiet_run();
  run.totals.ticks = kFewestTicks - 1;
  EXPECT_THAT(standing(run).reasons, ElementsAre(HasSubstr("2 ticks")));
}

struct TwoSides {
  std::vector<MeasuredRun> a, b;
};

/// Pairs that drift together, in which B is 20% more expensive. Only paired runs show that clearly.
TwoSides drifting(bool labelled) {
  TwoSides sides;
  for (int i = 0; i < 12; ++i) {
    for (const bool is_b : {false, true}) {
      MeasuredRun run = quiet_run((is_b ? "b" : "a") + std::to_string(i), 2 * i + (is_b ? 1 : 0));
      if (labelled) run.run.info.labels["pair"] = std::to_string(i);
      const double level = (1 + 0.3 * i) * (is_b ? 1.2 : 1) * (1 + 0.002 * (i % 3));
      run.totals.cpu_ns = static_cast<uint64_t>(1e7 * level);
      (is_b ? sides.b : sides.a).push_back(std::move(run));
    }
  }
  return sides;
}

const Comparison& cpu(const Judgement& judgement) {
  for (const Comparison& c : judgement.metrics) {
    if (c.metric.name == "cpu_ns_per_flow") return c;
  }
  ADD_FAILURE() << "no cpu_ns_per_flow";
  return judgement.metrics.front();
}

TEST(Sides, GateCompareAndReportSayTheSameOfTheSameRuns) {
  for (const bool labelled : {true, false}) {
    const TwoSides sides = drifting(labelled);
    const Judgement gate = judge_pairs(*pair_runs(sides.a, sides.b), 1, false);
    EXPECT_EQ(gate.verdict, Verdict::kFail);
    for (const Judgement& other :
         {compare_runs(sides.a, sides.b, 1, false), judge_sides(sides.a, sides.b, 1, false)}) {
      EXPECT_TRUE(other.paired);
      EXPECT_EQ(other.verdict, gate.verdict);
      EXPECT_EQ(*cpu(other).a, *cpu(gate).a);
      EXPECT_EQ(*cpu(other).b, *cpu(gate).b);
      EXPECT_EQ(*cpu(other).change, *cpu(gate).change);
      EXPECT_EQ(*cpu(other).ci_low, *cpu(gate).ci_low);
      EXPECT_EQ(*cpu(other).ci_high, *cpu(gate).ci_high);
    }
  }
}

TEST(Sides, NumbersOfRunsThatMayNotBeJudgedAreShownAndDecideNothing) {
  TwoSides sides = drifting(true);
  for (MeasuredRun& run : sides.b) run.totals.host_busy_ns = 19'000'000'000;
  const Judgement judgement = compare_runs(sides.a, sides.b, 1, false);
  EXPECT_EQ(judgement.verdict, Verdict::kInvalid);
  EXPECT_EQ(judgement.exit_code, 3);
  EXPECT_THAT(judgement.reasons.at(0), HasSubstr("not judged:"));
  EXPECT_THAT(judgement.reasons, Contains(HasSubstr("12 runs are not judged: in run b0 other")));
  EXPECT_EQ(judgement.reasons.size(), 2u) << "one sentence for one reason";
  EXPECT_NEAR(*cpu(judgement).change, 0.2, 0.01);
}

TEST(Sides, ADoubtfulRunDoesNotGate) {
  TwoSides sides = drifting(true);
  sides.b[0].run.end.doubts = {"the clock was set back"};
  const Judgement judgement = judge_pairs(*pair_runs(sides.a, sides.b), 1, false);
  EXPECT_EQ(cpu(judgement).n, 11u);
  EXPECT_THAT(judgement.reasons,
              Contains(HasSubstr("run b0 is left out: a number of it is doubtful")));
}

MeasuredRun planned_run(std::string id, std::string session, int64_t started_ns) {
  MeasuredRun run = quiet_run(std::move(id), started_ns);
  run.run.info.plan.emplace();
  run.run.info.plan->session = std::move(session);
  return run;
}

/// The ids of the runs that the gate takes if no side is named.
std::vector<std::string> of_newest_session(std::vector<MeasuredRun> runs) {
  std::vector<StoredRun> stored;
  for (MeasuredRun& run : runs) stored.push_back(std::move(run.run));
  std::vector<std::string> ids;
  for (const StoredRun& run : newest_session(std::move(stored))) ids.push_back(run.info.id);
  return ids;
}

TEST(Sides, AHistorysNewestRunOfWhichHalfIsNotDoneFails) {
  std::vector<MeasuredRun> runs;
  for (int i = 0; i < 40; ++i) {
    MeasuredRun run = quiet_run(std::to_string(100 + i), i);
    run.totals.flows.requests = 1000;
    if (i == 39) run.totals.flows.unanswered = run.totals.flows.tcp_resets = 500;
    runs.push_back(std::move(run));
  }
  const std::vector<MeasuredRun> good(runs.begin(), runs.end() - 1);
  EXPECT_EQ(judge_run_history(good, {}, 1, true).exit_code, 0);
  const Judgement judgement = judge_run_history(runs, {}, 1, true);
  EXPECT_EQ(judgement.exit_code, 1);
  EXPECT_THAT(judgement.reasons.at(0), HasSubstr("failed_share of the newest run is 0.5"));
  EXPECT_EQ(judge_run_history(runs, {"139"}, 1, true).exit_code, 0) << "on purpose";
}

TEST(Sides, WithoutANameTheLastSessionIsJudgedWhateverTheClockSays) {
  const MeasuredRun old = planned_run("old", "s1", 100), a = planned_run("a", "s2", 200),
                    b = planned_run("b", "s2", 300), recorded = quiet_run("recorded", 400);
  EXPECT_THAT(of_newest_session({old, a, b}), ElementsAre("a", "b"));
  EXPECT_THAT(of_newest_session({old, a, b, recorded}), ElementsAre("a", "b"))
      << "a later recording adds no older session";
  EXPECT_THAT(of_newest_session({a, b, old}), ElementsAre("old")) << "the clock was set back";
  EXPECT_THAT(of_newest_session({recorded, quiet_run("x", 1)}), ElementsAre("recorded", "x"));
}

TEST(Sides, NamesThatSpanSessionsAreSaid) {
  TwoSides sides = drifting(true);
  const auto reasons = [&] { return compare_runs(sides.a, sides.b, 1, false).reasons; };
  EXPECT_THAT(reasons(), Not(Contains(HasSubstr("session"))));
  for (std::vector<MeasuredRun>* side : {&sides.a, &sides.b}) {
    for (size_t i = 0; i < side->size(); ++i)
      (*side)[i].run.info.plan.emplace().session = i < 6 ? "s1" : "s2";
  }
  EXPECT_THAT(reasons(), Contains(HasSubstr("of 2 sessions of topspin run:")));
  EXPECT_THAT(judge_pairs(*pair_runs(sides.a, sides.b), 1, false).reasons,
              Contains(HasSubstr("of 2 sessions of topspin run:")));
  for (std::vector<MeasuredRun>* side : {&sides.a, &sides.b}) {
    for (size_t i = 0; i < 6; ++i) (*side)[i].run.info.plan.reset();
  }
  EXPECT_THAT(reasons(), Contains(HasSubstr("of 1 session of topspin run and of topspin record")));
}

TEST(Sides, ARunIsNotComparedWithItself) {
  const StoredRun x = quiet_run("x").run, y = quiet_run("y").run;
  EXPECT_TRUE(check_sides({x}, {y}).ok());
  EXPECT_THAT(check_sides({x, y}, {y}).error().message, HasSubstr("run y is on both sides"));
}

/// Pairs in which the candidate drops every second request, and the baseline that share of them.
TwoSides dropping(int pairs, double share_of_baseline) {
  TwoSides sides;
  for (int i = 0; i < pairs; ++i) {
    for (const bool is_b : {false, true}) {
      MeasuredRun run = quiet_run((is_b ? "b" : "a") + std::to_string(i), 2 * i + (is_b ? 1 : 0));
      LoadResult load;
      load.total.accounts.scheduled = load.total.accounts.sent = 2000;
      load.total.accounts.lost = static_cast<uint64_t>(2000 * (is_b ? 0.5 : share_of_baseline));
      load.total.accounts.replied = 2000 - load.total.accounts.lost;
      run.totals.set_load(load);
      (is_b ? sides.b : sides.a).push_back(std::move(run));
    }
  }
  return sides;
}

TEST(Sides, SixPairsAreEnoughForWorkThatFailsInEveryRun) {
  const auto judged = [](const TwoSides& sides) {
    return judge_pairs(*pair_runs(sides.a, sides.b), 1, false);
  };
  for (const double baseline : {0.0, 0.4}) {
    const Judgement six = judged(dropping(6, baseline));
    EXPECT_EQ(six.exit_code, 1) << baseline;
    EXPECT_THAT(six.reasons.at(0), HasSubstr("failed_share")) << baseline;
    EXPECT_EQ(judged(dropping(5, baseline)).verdict, Verdict::kInconclusive) << baseline;
  }
  TwoSides one_is_good = dropping(6, 0);
  one_is_good.b[3].totals.load->accounts.lost = 0;
  one_is_good.b[3].totals.load->accounts.replied = 2000;
  EXPECT_EQ(judged(one_is_good).verdict, Verdict::kInconclusive);
  const TwoSides same = dropping(6, 0.4995);  // within the margin
  EXPECT_EQ(judged(same).verdict, Verdict::kInconclusive);
  TwoSides one_is_left_out = dropping(7, 0);
  one_is_left_out.a[2].run.end.doubts = {"the clock was set back"};
  EXPECT_EQ(judged(one_is_left_out).exit_code, 1) << "six are left";
}

/// A server that drops every second request answers the rest faster, and is not better for it.
TEST(Sides, LessWorkFailsWhateverTheLatencyAndTheSplit) {
  TwoSides sides;
  for (int i = 0; i < 10; ++i) {
    for (const bool is_b : {false, true}) {
      MeasuredRun run = quiet_run((is_b ? "b" : "a") + std::to_string(i), 2 * i + (is_b ? 1 : 0));
      LoadResult load;
      load.total.accounts.scheduled = load.total.accounts.sent = 2000;
      load.total.accounts.replied = is_b ? 1000 : 2000;
      load.total.accounts.lost = is_b ? 1000 : 0;
      run.totals.set_load(load);
      // Its split is doubtful as well, which must not save it.
      if (is_b)
        run.run.end.doubts = {"the split of replies has 1 of the 60 that the wire saw (2%)"};
      run.totals.flows.reply_latency.record_n(is_b ? 100'000 : 200'000, 2000);
      (is_b ? sides.b : sides.a).push_back(std::move(run));
    }
  }
  const Judgement judgement = judge_pairs(*pair_runs(sides.a, sides.b), 1, false);
  EXPECT_EQ(judgement.exit_code, 1);
  EXPECT_THAT(judgement.reasons.at(0), HasSubstr("failed_share"));
  // The other way round it is an improvement, apart from the slower replies, which are left out.
  TwoSides back{sides.b, sides.a};
  for (size_t i = 0; i < back.a.size(); ++i) {
    back.a[i].totals.flows.reply_latency = {};
    back.b[i].totals.flows.reply_latency = {};
  }
  EXPECT_EQ(judge_pairs(*pair_runs(back.a, back.b), 1, false).exit_code, 0);
}

}  // namespace
}  // namespace topspin
