// How much room runs take, on disk and in the log.
#include <random>

#include <gtest/gtest.h>

#include "store_testing.h"

namespace topspin {
namespace {

/// What a busy runtime's tick holds: histograms spread as latencies are, everything measured.
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

TEST(Size, TenMinutesOf15000LiveFlowsStayUnder50MB) {
  const TemporaryDirectory directory;
  std::mt19937_64 random(1);
  auto writer = create(directory.file());
  std::vector<Sample> prepared;  // drawing millions of random latencies is not what is tested
  for (int i = 0; i < 8; ++i) measure(prepared.emplace_back(), random, 15'000);
  uintmax_t log_bytes_max = 0;
  for (uint64_t tick = 1; tick <= 600; ++tick) {
    Sample sample = make_tick(tick, 15'000);
    const Sample& measured = prepared[tick % prepared.size()];
    sample.flows.lateness = measured.flows.lateness;
    sample.flows.reply_latency = measured.flows.reply_latency;
    sample.flows.tcp_handshake = measured.flows.tcp_handshake;
    sample.scheduler = measured.scheduler;
    sample.changed_threads = measured.changed_threads;
    ASSERT_TRUE(succeeded(writer->append(sample)));
    log_bytes_max = std::max(log_bytes_max, std::filesystem::file_size(directory.file() + "-wal"));
  }
  EXPECT_LT(log_bytes_max, 32u << 20) << "the log must not grow without bound";
  EXPECT_OK(writer->finish({}));
  const auto bytes = std::filesystem::file_size(directory.file());
  RecordProperty("database_bytes", static_cast<int>(bytes));
  RecordProperty("log_bytes_max", static_cast<int>(log_bytes_max));
  std::printf("database %.1f MB, log at most %.1f MB\n", static_cast<double>(bytes) / 1e6,
              static_cast<double>(log_bytes_max) / 1e6);
  EXPECT_LT(bytes, 50'000'000u);
}

}  // namespace
}  // namespace topspin
