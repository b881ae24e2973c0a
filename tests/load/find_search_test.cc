// The search for the most that rules allow: which levels it tries, and how often it is right, with
// a server whose border is known and noisy. And the plan of a stage, and the sum of stages.
#include "load/find/find_search.h"

#include <cmath>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "load/engine/accounts.h"
#include "load/find/find_load.h"

namespace topspin {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

FindSearchSettings rates() {
  FindSearchSettings settings;
  settings.from = 200;
  settings.most = 1e7;
  return settings;
}

/// Runs a search against `verdict`. Returns the levels that were tried.
template <typename Verdict>
std::vector<double> search(FindSearch& find, const Verdict& verdict) {
  std::vector<double> tried;
  while (const auto level = find.next()) {
    tried.push_back(*level);
    find.add(*level, verdict(*level));
  }
  return tried;
}

FindVerdict kept_if(bool kept) { return kept ? FindVerdict::kKept : FindVerdict::kBroken; }

TEST(FindSearch, DoublesThenHalvesTheGapThenMakesBothEndsCertain) {
  FindSearchSettings settings = rates();
  settings.by = FindBy::kClients;
  settings.from = 8;
  settings.within = 0.2;
  FindSearch find(settings);
  const auto tried = search(find, [](double level) { return kept_if(level <= 20); });
  EXPECT_THAT(tried, ElementsAre(8, 16, 32, 32, 23, 23, 19, 21, 21, 21, 19, 19));
  EXPECT_EQ(find.kept(), 19);
  EXPECT_EQ(find.failed(), 21);
  EXPECT_EQ(find.end(), FindEnd::kBorder);
}

TEST(FindSearch, GoesDownIfTheFirstLevelIsTooMuch) {
  FindSearch find(rates());
  const auto tried = search(find, [](double level) { return kept_if(level <= 30); });
  EXPECT_EQ(tried[2], 50);  // after two stages at 200
  EXPECT_LE(find.kept(), 30);
  EXPECT_GT(find.failed(), 30);
  EXPECT_LE(*find.failed() / *find.kept(), 1.051);
}

TEST(FindSearch, SaysThatNothingOrEverythingWasKept) {
  FindSearch none(rates());
  search(none, [](double) { return FindVerdict::kBroken; });
  EXPECT_EQ(none.end(), FindEnd::kNone);
  EXPECT_EQ(none.kept(), std::nullopt);
  EXPECT_EQ(none.failed(), 1);

  FindSearchSettings settings = rates();
  settings.most = 1000;
  FindSearch all(settings);
  const auto tried = search(all, [](double) { return FindVerdict::kKept; });
  EXPECT_THAT(tried, ElementsAre(200, 400, 800, 1000, 1000, 1000));
  EXPECT_EQ(all.end(), FindEnd::kMost);
  EXPECT_EQ(all.kept(), 1000);
}

TEST(FindSearch, OneClientIsTheLeast) {
  FindSearchSettings settings = rates();
  settings.by = FindBy::kClients;
  settings.from = 2;
  FindSearch find(settings);
  search(find, [](double level) { return kept_if(level < 2); });
  EXPECT_EQ(find.kept(), 1);
  EXPECT_EQ(find.failed(), 2);
}

TEST(FindSearch, TheGeneratorsLimitIsNotTheServers) {
  FindSearch find(rates());
  search(find,
         [](double level) { return level <= 5000 ? FindVerdict::kKept : FindVerdict::kGenerator; });
  EXPECT_EQ(find.end(), FindEnd::kGenerator);
  EXPECT_LE(find.kept(), 5000);
  EXPECT_GT(find.failed(), 5000);

  // The server's limit is below that of the generator: it is the server's.
  FindSearch lower(rates());
  search(lower, [](double level) {
    return level <= 5000    ? FindVerdict::kKept
           : level <= 10000 ? FindVerdict::kBroken
                            : FindVerdict::kGenerator;
  });
  EXPECT_EQ(lower.end(), FindEnd::kBorder);
}

TEST(FindSearch, ASingleBadStageDecidesNothing) {
  for (size_t bad = 0; bad < 16; ++bad) {
    FindSearch find(rates());
    size_t stage = 0;
    search(find, [&](double level) { return kept_if(level <= 9000 && stage++ != bad); });
    EXPECT_LE(find.kept(), 9000) << bad;
    EXPECT_GT(find.failed(), 9000) << bad;
    EXPECT_LE(*find.failed() / *find.kept(), 1.16) << bad;
  }
}

struct Tally {
  int inside = 0, runs = 0;
  double stages = 0, width = 0;
  size_t stages_max = 0;
};

/// Searches of servers with borders between 50 and 50,000. The border of each stage is off by
/// `noise` (standard deviation, as a share), and some stages break for no reason.
Tally simulate(double noise, double spurious) {
  Tally tally;
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> border_log(std::log(50), std::log(50'000)), one(0, 1);
  std::normal_distribution<double> off(0, 1);
  for (int i = 0; i < 2000; ++i) {
    const double border = std::exp(border_log(random));
    FindSearch find(rates());
    const auto tried = search(find, [&](double level) {
      return kept_if(level <= border * std::exp(noise * off(random)) && one(random) >= spurious);
    });
    EXPECT_EQ(find.end(), FindEnd::kBorder);
    ++tally.runs;
    tally.stages += static_cast<double>(tried.size()) / 2000;
    tally.stages_max = std::max(tally.stages_max, tried.size());
    tally.width += (*find.failed() / *find.kept() - 1) / 2000;
    if (*find.kept() <= border && border < *find.failed()) ++tally.inside;
  }
  return tally;
}

// docs/load.md has these numbers.
TEST(FindSearch, TheTrueBorderIsMostlyWithinTheInterval) {
  struct Case {
    double noise, spurious, least_inside;
  };
  for (const Case& c : {Case{0, 0, 1}, Case{0.01, 0, 0.96}, Case{0.02, 0, 0.94},
                        Case{0.05, 0, 0.86}, Case{0, 0.05, 0.99}, Case{0.02, 0.05, 0.93}}) {
    const Tally tally = simulate(c.noise, c.spurious);
    const double inside = tally.inside / static_cast<double>(tally.runs);
    EXPECT_GE(inside, c.least_inside) << "noise " << c.noise << " spurious " << c.spurious;
    EXPECT_LT(tally.stages, 25);
    RecordProperty(fmt::format("noise_{}_spurious_{}", c.noise, c.spurious),
                   fmt::format("inside {:.3f}, width {:.3f}, stages {:.1f}, at most {}", inside,
                               tally.width, tally.stages, tally.stages_max));
  }
}

FindRules latency_rules(double quantile, int64_t bound_ns) {
  FindRules rules;
  rules.quantile = quantile;
  rules.latency_bound_ns = bound_ns;
  return rules;
}

LoadOptions options_by(FindBy by) {
  LoadOptions options;
  options.workload = WorkloadKind::kHttp;
  options.find.by = by;
  options.find.rules = {"p99(reply_latency) < 5ms"};
  return options;
}

TEST(FindLoad, AStageIsLongEnoughForItsPercentile) {
  EXPECT_EQ(find_messages(0.99), 2000);
  EXPECT_EQ(find_messages(0.999), 20000);
  const LoadOptions options = options_by(FindBy::kRate);
  for (const double quantile : {0.5, 0.9, 0.99, 0.999}) {
    const FindRules rules = latency_rules(quantile, 5 * kNanosPerMilli);
    for (const double rate : {3.0, 200.0, 1234.0, 50000.0}) {
      const FindStagePlan plan = plan_find_stage(options, rules, rate, 0, "x");
      const double messages = rate * static_cast<double>(plan.measured_ns) / 1e9;
      const double least = 10 / (1 - quantile);
      EXPECT_GE(messages, least * 0.999) << quantile << " " << rate;
      EXPECT_GE(plan.measured_ns, 2 * kNanosPerSecond * 99 / 100);
      // The rate is what was asked for, and each client is due equally often.
      const LoadStage& measured = plan.options.stages.back();
      EXPECT_NEAR(measured.to * 1e9 / static_cast<double>(plan.options.period_ns), rate,
                  rate * 1e-4);
      EXPECT_EQ(plan.measured_ns % plan.options.period_ns, 0);
      auto schedule = make_schedule(plan.options.stages);
      ASSERT_TRUE(schedule.ok());
      // All have come, and had a period for their first message, before it is measured.
      EXPECT_EQ(schedule->stage_begin_ns.back(),
                plan.options.stages[0].duration_ns + plan.options.stages[1].duration_ns);
      EXPECT_GE(plan.options.stages[1].duration_ns, plan.options.period_ns);
    }
  }
}

TEST(FindLoad, ClientsAreFreeBeforeTheirNextMessageEvenIfRepliesAreAsSlowAsARuleAllows) {
  const LoadOptions options = options_by(FindBy::kRate);
  const auto slow =
      plan_find_stage(options, latency_rules(0.99, 200 * kNanosPerMilli), 100, 0, "x");
  EXPECT_GE(slow.options.period_ns, 2 * 200 * kNanosPerMilli);
  LoadOptions fixed = options;
  fixed.find.clients = 7;
  EXPECT_EQ(plan_find_stage(fixed, latency_rules(0.99, 0), 100, 0, "x").options.stages.back().to,
            7);
}

LoadPart part_of(uint64_t sent) {
  LoadPart part;
  part.accounts.scheduled = part.accounts.sent = part.accounts.replied = sent;
  return part;
}

TEST(FindLoad, NamesWhatTheGeneratorDidNotDo) {
  const FindRules rules = latency_rules(0.99, 5 * kNanosPerMilli);
  LoadResult result;
  result.own.wall_ns = kNanosPerSecond;
  LoadPart part = part_of(1000);
  EXPECT_EQ(find_generator_limit(result, part, 0.5, rules), "");
  EXPECT_THAT(find_generator_limit(result, part, 0.97, rules), HasSubstr("97% of its CPU"));
  LoadPart late = part;
  late.accounts.sent_late = 20;
  EXPECT_THAT(find_generator_limit(result, late, 0.5, rules),
              HasSubstr("2.0% of the messages late"));
  LoadPart blocked = part;  // the server's doing
  blocked.accounts.never_scheduled = blocked.accounts.blocked = 500;
  EXPECT_EQ(find_generator_limit(result, blocked, 0.5, rules), "");
  blocked.accounts.blocked = 490;
  EXPECT_THAT(find_generator_limit(result, blocked, 0.5, rules), HasSubstr("never sent"));
  // Late by less than counts as late, but by more than half of the bound.
  LoadPart slow = part;
  slow.own_lateness.record_n(3 * kNanosPerMilli, 2000);
  EXPECT_THAT(find_generator_limit(result, slow, 0.5, rules), HasSubstr("more than half"));
}

TEST(FindLoad, StagesAddUp) {
  LoadResult first;
  first.started_monotonic_ns = 100;
  first.total = part_of(10);
  first.total.end_ns = 50;
  first.stages = {part_of(10)};
  first.planned = 10;
  first.clients_max = 3;
  first.tcp.emplace().connected = 3;
  first.own.wall_ns = 60;
  LoadResult second = first;
  second.started_monotonic_ns = 300;
  second.total = second.stages[0] = part_of(7);
  second.stages[0].begin_ns = 5;
  second.stages[0].end_ns = second.total.end_ns = 40;
  second.planned = 7;
  second.clients_max = 2;
  add_find_stage(first, second);
  EXPECT_EQ(first.total.accounts.sent, 17u);
  EXPECT_EQ(first.planned, 17u);
  EXPECT_EQ(first.clients_max, 3u);
  EXPECT_EQ(first.tcp->connected, 6u);
  EXPECT_EQ(first.own.wall_ns, 120);
  ASSERT_EQ(first.stages.size(), 2u);
  EXPECT_EQ(first.stages[1].begin_ns, 205);
  EXPECT_EQ(first.total.end_ns, 240);
  AccountsContext context;
  context.planned = first.planned;
  EXPECT_THAT(find_imbalances(first.total.accounts, {}, context), ::testing::IsEmpty());
}

}  // namespace
}  // namespace topspin
