// Tests the registry of numbers, which describes every member of the structs of numbers exactly
// once, and what is derived from it.
#include "core/tick/numbers.h"

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "core/run/run_fold.h"

namespace topspin {
namespace {

TEST(Numbers, HaveNamesOfTheirOwnAndWords) {
  std::set<std::string_view> names;
  for (const RegisteredNumber& number : numbers()) {
    EXPECT_TRUE(names.insert(number.name).second) << number.name << " is there twice";
    EXPECT_FALSE(number.label.empty()) << number.name;
    EXPECT_FALSE(number.help.empty()) << number.name;
    EXPECT_FALSE(number.probe.empty()) << number.name;
    EXPECT_EQ(find_number(number.name), &number);
  }
}

/// How many bytes of a struct belong neither to its numbers nor to its other members, which take
/// `others` bytes. Only padding may remain.
template <typename Part>
size_t undescribed_bytes(size_t others) {
  size_t described = others;
  Part part;
  Part::for_each_number(
      [&](const Number&, auto path) { described += sizeof(std::invoke(path, part)); });
  return sizeof(Part) - described;
}

TEST(Numbers, EveryMemberIsDescribed) {
  EXPECT_LT(undescribed_bytes<FlowInterval>(2 * sizeof(int64_t)), sizeof(uint64_t));
  EXPECT_EQ(undescribed_bytes<LossInterval>(0), 0u);
  EXPECT_EQ(undescribed_bytes<SelfInterval>(0), 0u);
  EXPECT_EQ(undescribed_bytes<SchedulerInterval>(sizeof(std::vector<CpuScheduling>)), 0u);
  EXPECT_EQ(undescribed_bytes<ResourceReading>(0), 0u);
  EXPECT_EQ(undescribed_bytes<SocketInterval>(0), 0u);
  EXPECT_EQ(undescribed_bytes<PressureInterval>(0), 0u);
  EXPECT_EQ(undescribed_bytes<CounterInterval>(0), 0u);
  EXPECT_EQ(undescribed_bytes<InterruptInterval>(0), 0u);
  EXPECT_EQ(undescribed_bytes<RuntimeInterval>(0), 0u);
  EXPECT_EQ(undescribed_bytes<CallInterval>(0), 0u);
}

/// Only the losses in LossInterval decide whether a run is usable.
TEST(Numbers, ALossOfAProbesOwnMakesNoRunUnusable) {
  size_t losses = 0;
  for (const RegisteredNumber& number : numbers()) {
    if (!number.loss) continue;
    ++losses;
    EXPECT_TRUE(number.name.starts_with(LossInterval::kNumberPrefix)) << number.name;
    if (number.probe == "losses") continue;
    EXPECT_NE(number.loss, LossKind::kUnseen) << number.name;
    EXPECT_EQ(number.limit, LossLimit::kNone) << number.name;
  }
  Sample sample;
  size_t seen = 0;
  for_each_loss(sample, [&](const Number&, uint64_t) { ++seen; });
  EXPECT_EQ(seen, sizeof(LossInterval) / sizeof(uint64_t))
      << "a probe that did not run lost nothing";
  sample.sockets.emplace().tcp_reads_cut = 3;
  for_each_loss(sample, [&](const Number& number, uint64_t loss) {
    if (loss > 0) {
      EXPECT_EQ(number.name, "loss_tcp_reads_cut");
    }
    seen += loss;
  });
  EXPECT_EQ(seen, sizeof(LossInterval) / sizeof(uint64_t) + 3);
  EXPECT_LT(sizeof(LossInterval) / sizeof(uint64_t), losses);
}

TEST(Numbers, APartOfAProbesOwnFolderIsOneOfTheSample) {
  Sample one, later;
  EXPECT_EQ(find_number("softirq")->value(one), std::nullopt);
  EXPECT_EQ(find_number("softirq")->probe, "interrupts");
  one.part<InterruptInterval>().emplace().softirq_ns = 5;
  later.part<InterruptInterval>().emplace().softirq_ns = 7;
  merge_tick(one, later);
  EXPECT_EQ(find_number("softirq_ns")->value(one), 12.0);
  EXPECT_EQ(find_number("waited_softirq_ns")->value(one), std::nullopt);
}

TEST(Numbers, AreFoundWithoutTheirUnit) {
  ASSERT_NE(find_number("rss"), nullptr);
  EXPECT_EQ(find_number("rss")->name, "rss_bytes");
  ASSERT_NE(find_number("capture_gap"), nullptr);
  EXPECT_EQ(find_number("capture_gap")->name, "loss_capture_gap_ns");
  EXPECT_EQ(find_number("evicted_flows")->probe, "capture") << "a flow's number before a loss";
  EXPECT_EQ(find_number("no_such_number"), nullptr);
}

TEST(Numbers, OfAPartThatWasNotMeasuredAreAbsent) {
  Sample sample;
  EXPECT_EQ(find_number("cpu_ns")->value(sample), std::nullopt);
  EXPECT_EQ(find_number("accept_delay")->histogram(sample), nullptr);
  EXPECT_EQ(find_number("packets")->value(sample), 0.0);
  sample.scheduler.emplace().cpu_ns = 7;
  EXPECT_EQ(find_number("cpu_ns")->value(sample), 7.0);
  sample.counters.cycles = EventCount{100, 2, 1};
  EXPECT_EQ(find_number("counter_cycles")->value(sample), 200.0) << "scaled";
  // A database may hold any count. A product that does not fit is capped, since converting it would
  // be undefined behaviour.
  EXPECT_EQ((EventCount{INT64_MAX, INT64_MAX, 1}).scaled(), uint64_t{1} << 63);
}

TEST(Numbers, DropPartsOfWhichNothingWasMeasured) {
  Sample sample;
  sample.scheduler.emplace();
  sample.sockets.emplace().udp_drops = 0;
  drop_unmeasured_parts(sample);
  EXPECT_FALSE(sample.scheduler);
  EXPECT_TRUE(sample.sockets);
}

Sample tick(int64_t elapsed_ns, uint64_t packets, uint64_t active, int64_t rss) {
  Sample sample;
  sample.elapsed_ns = elapsed_ns;
  sample.interval_ns = 10;
  sample.flows.packets = packets;
  sample.flows.active_flows = active;
  sample.flows.active_flows_max = active + 1;
  sample.resources.emplace().rss_bytes = rss;
  sample.resources->processes = 1;
  return sample;
}

TEST(RunFold, MergesEachNumberByItsKind) {
  RunFold fold;
  fold.add(tick(10, 100, 7, 5000));
  fold.add(tick(20, 20, 3, 4000));
  EXPECT_EQ(fold.ticks, 2u);
  EXPECT_EQ(fold.merged.interval_ns, 20);
  EXPECT_EQ(fold.merged.flows.packets, 120u);
  EXPECT_EQ(fold.merged.flows.active_flows, 3u) << "a gauge: the last";
  EXPECT_EQ(fold.merged.flows.active_flows_max, 8u) << "a maximum";
  EXPECT_EQ(fold.merged.resources->rss_bytes, 4000);
  EXPECT_EQ(fold.greatest.resources->rss_bytes, 5000);
  EXPECT_EQ(fold.greatest.flows.packets, 100u);
  EXPECT_FALSE(fold.merged.scheduler) << "never measured";
}

TEST(RunFold, KeepsWhatASubjectHeldBeforeItEnded) {
  RunFold fold;
  fold.add(tick(10, 1, 1, 5000));
  Sample last = tick(20, 1, 1, 0);
  last.resources->processes = 0;
  fold.add(last);
  EXPECT_EQ(fold.merged.resources->rss_bytes, 5000);
  EXPECT_EQ(fold.merged.resources->processes, 1);
}

}  // namespace
}  // namespace topspin
