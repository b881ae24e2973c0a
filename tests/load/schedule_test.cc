// Parsing of stages, the stays of clients, and the moments of the timetable, over many random
// stages.
#include "load/engine/schedule.h"

#include <algorithm>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/clock.h"
#include "load/engine/timetable.h"

namespace topspin {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<LoadStage> parse(std::string_view text) {
  auto stages = parse_stages(text);
  EXPECT_TRUE(stages.ok()) << text << ": " << stages.error().message;
  return stages.ok() ? *stages : std::vector<LoadStage>{};
}

TEST(ParseStages, TheExampleOfTheDesign) {
  EXPECT_THAT(parse("0:15000 over 60s, hold 30s, 15000:0 over 60s"),
              ElementsAre(LoadStage{"ramp_up", 0, 15000, 60 * kNanosPerSecond},
                          LoadStage{"hold", 15000, 15000, 30 * kNanosPerSecond},
                          LoadStage{"ramp_down", 15000, 0, 60 * kNanosPerSecond}));
}

TEST(ParseStages, StairsJumpAndHold) {
  EXPECT_THAT(parse("stairs 0:25 by 10 every 2s"),
              ElementsAre(LoadStage{"stairs_jump", 0, 10, 0},
                          LoadStage{"stairs", 10, 10, 2 * kNanosPerSecond},
                          LoadStage{"stairs_jump_2", 10, 20, 0},
                          LoadStage{"stairs_2", 20, 20, 2 * kNanosPerSecond},
                          LoadStage{"stairs_jump_3", 20, 25, 0},
                          LoadStage{"stairs_3", 25, 25, 2 * kNanosPerSecond}));
  EXPECT_EQ(parse("5:5 over 1s, stairs 5:0 by 3 every 1s").back().to, 0u);
}

TEST(ParseStages, RepeatsNestAndNamesStayUnique) {
  const auto stages = parse("2x(warm=0:3 over 1s, 2x(hold 1s), 3:0 over 1s)");
  std::vector<std::string> names;
  for (const auto& stage : stages) names.push_back(stage.name);
  EXPECT_THAT(names, ElementsAre("warm", "hold", "hold_2", "ramp_down", "warm_2", "hold_3",
                                 "hold_4", "ramp_down_2"));
}

TEST(ParseStages, WrongTextIsRefusedWithTheItem) {
  for (const char* text : {"",
                           ",",
                           "0:10",
                           "0:10 over",
                           "0:10 over soon",
                           "hold",
                           "hold 1s",
                           "0:10 over 1s, 5:0 over 1s",
                           "0:10 over 1s,",
                           "-1:5 over 1s",
                           "0:99999999999 over 1s",
                           "0x(0:1 over 1s)",
                           "2x(0:1 over 1s",
                           "0:1 over 1s)",
                           "stairs 0:10 by 0 every 1s",
                           "stairs 0:10 by 1",
                           "a b=0:1 over 1s",
                           "0:1 over -1s",
                           "3x()",
                           "holdup 3s",
                           "1000x(1000x(0:1 over 1s, 1:0 over 1s))"}) {
    const auto stages = parse_stages(text);
    ASSERT_FALSE(stages.ok()) << text;
    EXPECT_EQ(stages.error().code, ErrorCode::kUsage);
    EXPECT_THAT(stages.error().message, HasSubstr("--stages")) << text;
  }
}

TEST(ParseStages, GarbageNeverDoesWorseThanAnError) {
  std::mt19937 random(3);
  const std::string alphabet = "0123456789:,x()= \tholdvestairsbymu.-";
  for (int i = 0; i < 20'000; ++i) {
    std::string text(random() % 40, ' ');
    for (char& c : text) c = alphabet[random() % alphabet.size()];
    const auto stages = parse_stages(text);
    if (stages.ok()) (void)make_schedule(*stages).ok();
  }
}

TEST(ParseRate, UnitsAndNonsense) {
  EXPECT_DOUBLE_EQ(*parse_rate("10/s"), 10);
  EXPECT_DOUBLE_EQ(*parse_rate("600/m"), 10);
  EXPECT_DOUBLE_EQ(*parse_rate("2.5"), 2.5);
  for (const char* text : {"", "/s", "0/s", "-1/s", "nan", "inf", "10/x", "10/s/s"}) {
    EXPECT_FALSE(parse_rate(text).ok()) << text;
  }
}

TEST(StagesFromRates, RampsTakeTheTimeOfTheirRate) {
  const auto stages = stages_from_rates(15000, 10, 30 * kNanosPerSecond, 100);
  ASSERT_TRUE(stages.ok());
  EXPECT_EQ((*stages)[0].duration_ns, 1500 * kNanosPerSecond);
  EXPECT_EQ((*stages)[2].duration_ns, 150 * kNanosPerSecond);
  EXPECT_FALSE(stages_from_rates(15000, 0.001, 0, 1).ok());
}

std::vector<LoadStage> random_stages(std::mt19937& random) {
  std::vector<LoadStage> stages;
  uint32_t level = random() % 3 == 0 ? static_cast<uint32_t>(random() % 50) : 0;
  const size_t n = 1 + random() % 6;
  for (size_t i = 0; i < n; ++i) {
    const uint32_t to = random() % 3 == 0 ? level : static_cast<uint32_t>(random() % 200);
    stages.push_back({"s", level, to, static_cast<int64_t>(random() % 3'000'000'000u)});
    if (random() % 5 == 0) stages.back().duration_ns = 0;
    level = to;
  }
  return stages;
}

/// Linear interpolation gives how many clients a stage asks for at each moment.
TEST(Schedule, AtEveryMomentAsManyClientsAsTheStagesSay) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const auto schedule = make_schedule(random_stages(random));
    ASSERT_TRUE(schedule.ok());
    for (size_t s = 0; s < schedule->stages.size(); ++s) {
      const LoadStage& stage = schedule->stages[s];
      for (int probe = 0; probe < 5 && stage.duration_ns > 0; ++probe) {
        const int64_t into = static_cast<int64_t>(random()) % stage.duration_ns;
        const int64_t at = schedule->stage_begin_ns[s] + into;
        const auto there =
            std::count_if(schedule->stays.begin(), schedule->stays.end(),
                          [&](const ClientStay& c) { return c.join_ns <= at && at < c.leave_ns; });
        const double exact =
            stage.from + (static_cast<double>(stage.to) - stage.from) *
                             (static_cast<double>(into) / static_cast<double>(stage.duration_ns));
        ASSERT_NEAR(static_cast<double>(there), exact, 1.0001) << round << " stage " << s;
      }
    }
    // A slot belongs to one client at a time, and stays are in the order of joining.
    std::map<uint32_t, int64_t> free_from;
    for (size_t i = 0; i < schedule->stays.size(); ++i) {
      const ClientStay& c = schedule->stays[i];
      ASSERT_LT(c.join_ns, c.leave_ns);
      ASSERT_LE(c.leave_ns, schedule->end_ns);
      ASSERT_LT(c.slot, schedule->clients_max);
      ASSERT_GE(c.join_ns, free_from[c.slot]);
      free_from[c.slot] = c.leave_ns;
      if (i > 0) {
        ASSERT_GE(c.join_ns, schedule->stays[i - 1].join_ns);
      }
    }
  }
}

TEST(Schedule, RefusesWhatIsTooMuch) {
  EXPECT_FALSE(make_schedule({}).ok());
  EXPECT_FALSE(make_schedule({{"a", 0, kMaxClients + 1, kNanosPerSecond}}).ok());
  EXPECT_FALSE(make_schedule({{"a", 0, 1, kMaxLoadNs}, {"b", 1, 1, 1}}).ok());
  EXPECT_FALSE(make_schedule({{"a", 0, 5, kNanosPerSecond}, {"b", 4, 0, kNanosPerSecond}}).ok());
  std::vector<LoadStage> many;
  for (int i = 0; i < 100; ++i) {
    many.push_back({"up", 0, 1'000'000, kNanosPerSecond});
    many.push_back({"down", 1'000'000, 0, kNanosPerSecond});
  }
  EXPECT_FALSE(make_schedule(many).ok());
}

TEST(Due, CountAgreesWithWalking) {
  std::mt19937 random(2);
  for (int i = 0; i < 2000; ++i) {
    const int64_t period = 1 + static_cast<int64_t>(random() % 50);
    const int64_t phase = static_cast<int64_t>(random()) % period;
    const int64_t from = static_cast<int64_t>(random() % 300);
    const int64_t to = from + static_cast<int64_t>(random() % 300) - 20;
    uint64_t walked = 0;
    int64_t first = -1;
    for (int64_t t = phase; t < 2000; t += period) {
      if (t >= from && first < 0) first = t;
      if (t >= from && t < to) ++walked;
    }
    ASSERT_EQ(count_due(phase, period, from, to), walked);
    ASSERT_EQ(first_due_ns(phase, period, from), first);
  }
}

TEST(Phase, SpreadEvenlyWhateverTheNumberOfClients) {
  for (const uint32_t n : {10u, 100u, 1000u, 15000u}) {
    std::vector<int64_t> phases;
    for (uint32_t slot = 0; slot < n; ++slot)
      phases.push_back(client_phase_ns(slot, {kNanosPerSecond, 0}));
    std::sort(phases.begin(), phases.end());
    EXPECT_GE(phases.front(), 0);
    EXPECT_LT(phases.back(), kNanosPerSecond);
    // By the three-gap theorem no gap is wider than phi^2 times the mean.
    for (size_t i = 1; i < phases.size(); ++i) {
      ASSERT_LE(phases[i] - phases[i - 1], 2.7 * static_cast<double>(kNanosPerSecond) / n);
    }
  }
}

TEST(Phase, OnAGridSomeAreDueTogether) {
  for (uint32_t slot = 0; slot < 1000; ++slot) {
    const int64_t phase = client_phase_ns(slot, {kNanosPerSecond, kNanosPerSecond / 10});
    EXPECT_EQ(phase % (kNanosPerSecond / 10), 0);
    EXPECT_LE(phase, client_phase_ns(slot, {kNanosPerSecond, 0}));
  }
}

TEST(Timetable, GivesEveryPlannedMomentOnceInOrderAndStopsWhereTold) {
  std::mt19937 random(4);
  for (int round = 0; round < 60; ++round) {
    const auto schedule = make_schedule(random_stages(random));
    ASSERT_TRUE(schedule.ok());
    const int64_t period = 1 + static_cast<int64_t>(random() % 700'000'000u);
    const bool stop_early = round % 2 == 1 && schedule->end_ns > 0;
    const int64_t stop_ns =
        stop_early ? static_cast<int64_t>(random()) % schedule->end_ns : schedule->end_ns;
    if (period < 1'000'000) continue;  // no need for millions of events
    const Rhythm rhythm{period, round % 3 == 0 ? period / 7 : 0};
    Timetable table(*schedule, rhythm, false);
    std::vector<int> joined(schedule->stays.size()), left(joined);
    uint64_t due = 0;
    int64_t last = 0;
    const auto take = [&](int64_t until) {
      while (const auto event = table.pop(until)) {
        ASSERT_GE(event->time_ns, last);
        ASSERT_LE(event->time_ns, until);
        last = event->time_ns;
        const ClientStay& c = schedule->stays[event->stay];
        switch (event->kind) {
          case TimetableEventKind::kJoin: ++joined[event->stay]; break;
          case TimetableEventKind::kLeave:
            ASSERT_EQ(joined[event->stay], 1);
            ++left[event->stay];
            break;
          case TimetableEventKind::kDue:
            ++due;
            ASSERT_EQ(joined[event->stay], 1);
            ASSERT_EQ(left[event->stay], 0);
            ASSERT_EQ(event->time_ns % period, client_phase_ns(c.slot, rhythm));
            break;
        }
      }
    };
    // In uneven steps, as a late generator would.
    for (int64_t now = 0; now < stop_ns; now += 1 + static_cast<int64_t>(random() % 90'000'000u)) {
      take(now);
    }
    take(stop_ns);
    if (stop_early) table.stop(stop_ns);
    take(stop_ns);
    ASSERT_FALSE(table.next_ns().has_value());
    ASSERT_EQ(joined, left);
    ASSERT_EQ(due, count_planned(*schedule, rhythm, stop_early ? stop_ns + 1 : stop_ns));
  }
}

TEST(Timetable, AClosedLoopHasOneMomentUntilMoreAreAdded) {
  const auto schedule = make_schedule({{"hold", 1, 1, 10 * kNanosPerSecond}});
  Timetable table(*schedule, {kNanosPerSecond, 0}, true);
  EXPECT_EQ(table.pop(0)->kind, TimetableEventKind::kJoin);
  EXPECT_EQ(table.pop(5 * kNanosPerSecond)->kind, TimetableEventKind::kDue);
  EXPECT_FALSE(table.pop(9 * kNanosPerSecond).has_value());
  table.add_due(0, 9 * kNanosPerSecond);
  EXPECT_EQ(table.pop(9 * kNanosPerSecond)->kind, TimetableEventKind::kDue);
  table.add_due(0, 10 * kNanosPerSecond);  // the client has left by then
  EXPECT_EQ(table.pop(10 * kNanosPerSecond)->kind, TimetableEventKind::kLeave);
  EXPECT_FALSE(table.pop(100 * kNanosPerSecond).has_value());
}

}  // namespace
}  // namespace topspin
