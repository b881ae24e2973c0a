// Tests how much space runs take on disk, and that the log stays small.
#include <cstdlib>
#include <random>

#include <gtest/gtest.h>

#include "store_testing.h"
#include "tests/support/every_night.h"

namespace topspin {
namespace {

/// Fills a tick like that of a busy runtime: realistic distributions of latency, and 64 threads.
void measure(Sample& sample, std::mt19937_64& random, uint64_t values) {
  std::lognormal_distribution<double> latency(11.5, 1.2);  // median 100 us, p99.9 around 4 ms
  const auto fill = [&](auto& histogram) {
    for (uint64_t i = 0; i < values; ++i) histogram.record(static_cast<uint64_t>(latency(random)));
  };
  for (uint64_t i = 0; i < values; ++i) {
    sample.flows.lateness.record(static_cast<int64_t>(latency(random)) - 100'000);
  }
  fill(sample.flows.reply_latency);
  fill(sample.flows.tcp_handshake);
  sample.scheduler.emplace();
  fill(sample.scheduler->run_queue_latency.emplace());
  fill(sample.scheduler->wake_delivery.emplace());
  fill(sample.scheduler->queue_wait.emplace());
  fill(sample.scheduler->preemption_wait.emplace());
  for (uint64_t i = 0; i < 64; ++i) {
    ThreadRow& thread = sample.changed_threads.emplace_back();
    thread.tid = static_cast<int32_t>(i);
    thread.name = "worker";
    thread.cpu_ns = random() % 1'000'000'000'000;
    thread.run_queue_wait_ns = random() % 1'000'000'000;
  }
}

/// The bytes of a database with a run of `ticks` ticks of 15,000 flows.
uintmax_t stored_bytes(uint64_t ticks) {
  const TemporaryDirectory directory;
  std::mt19937_64 random(1);
  auto writer = create(directory.file());
  std::vector<Sample> prepared;  // drawing new random latencies for every tick would take too long
  for (int i = 0; i < 8; ++i) measure(prepared.emplace_back(), random, 15'000);
  uintmax_t log_bytes_max = 0;
  for (uint64_t tick = 1; tick <= ticks; ++tick) {
    Sample sample = make_tick(tick, 15'000);
    const Sample& measured = prepared[tick % prepared.size()];
    sample.flows.lateness = measured.flows.lateness;
    sample.flows.reply_latency = measured.flows.reply_latency;
    sample.flows.tcp_handshake = measured.flows.tcp_handshake;
    sample.scheduler = measured.scheduler;
    sample.changed_threads = measured.changed_threads;
    EXPECT_TRUE(succeeded(writer->append(sample)));
    log_bytes_max = std::max(log_bytes_max, std::filesystem::file_size(directory.file() + "-wal"));
  }
  EXPECT_LT(log_bytes_max, 32u << 20) << "the log must not grow without bound";
  EXPECT_OK(writer->finish({}));
  return std::filesystem::file_size(directory.file());
}

/// Every half minute takes as much as the second one, so one minute shows what ten minutes will
/// take. Every night all ten are stored.
TEST(Size, TenMinutesOf15000LiveFlowsStayUnder50MB) {
  uintmax_t bytes = 0;
  if (test::every_night()) {
    bytes = stored_bytes(600);
  } else {
    const uintmax_t half = stored_bytes(30), minute = stored_bytes(60);
    ASSERT_GT(minute, half);
    bytes = minute + 18 * (minute - half);
  }
  std::printf("database of ten minutes: %.1f MB\n", static_cast<double>(bytes) / 1e6);
  EXPECT_LT(bytes, 50'000'000u);
}

}  // namespace
}  // namespace topspin
