// What storing costs: CPU of one tick, bare and with 10,000 changed flow rows, checkpoints and the
// run's end included. Prints one line per case. bench/bars has a bar of 2% of one core, at one tick
// per second, for the cases in which all 10,000 flows change.
//
//   store_write [DIRECTORY]   default: the temporary directory
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "store/run_store.h"

namespace topspin {
namespace {

enum class Order { kSorted, kShuffled };

struct Case {
  const char* name;
  uint64_t flows_total;    // known to the run
  uint64_t flows_changed;  // per tick
  uint64_t stride;         // between changed flows; if large, each is in its own database page
  Order order;
  uint8_t ip_version;
};

constexpr uint64_t kTicks = 60;

Sample make_sample(uint64_t tick, const Case& c, std::mt19937_64& random) {
  Sample sample;
  sample.tick = tick;
  sample.elapsed_ns = static_cast<int64_t>(tick) * kNanosPerSecond;
  sample.interval_ns = kNanosPerSecond;
  std::lognormal_distribution<double> latency(11.5, 1.2);
  const auto fill = [&](auto& histogram) {
    for (int i = 0; i < 2000; ++i) histogram.record(static_cast<uint64_t>(latency(random)));
  };
  fill(sample.flows.reply_latency);
  for (int i = 0; i < 2000; ++i) {
    sample.flows.lateness.record(static_cast<int64_t>(latency(random)) - 100'000);
  }
  sample.scheduler.emplace();
  fill(sample.scheduler->run_queue_latency.emplace());
  fill(sample.scheduler->queue_wait.emplace());
  fill(sample.scheduler->wake_delivery.emplace());
  sample.resources.emplace();
  sample.resources->rss_bytes = 1 << 30;

  // The first tick stores all flows. Later ticks change some of them.
  const uint64_t stride = tick == 1 ? 1 : c.stride;
  const uint64_t count = tick == 1 ? c.flows_total : c.flows_changed;
  const uint64_t first = count == 0 ? 0 : random() % (c.flows_total - (count - 1) * stride);
  for (uint64_t n = 0; n < count; ++n) {
    const uint64_t i = first + n * stride;
    FlowRow& flow = sample.changed_flows.emplace_back();
    flow.id = i + 1;
    flow.key.ip_version = c.ip_version;
    flow.key.protocol = kProtocolUdp;
    flow.key.low = {{127, 0, 0, 1}, 8888};
    flow.key.high = {{127, 0, 0, 1}, static_cast<uint16_t>(i)};
    flow.key.high.address[3] = static_cast<uint8_t>(1 + (i >> 16));
    flow.initiator_is_low = false;
    flow.first_ns = 1'700'000'000'000'000'000 + static_cast<int64_t>(i);
    flow.last_ns = flow.first_ns + sample.elapsed_ns;
    flow.packets = {tick, tick};
    flow.bytes = {tick * 100, tick * 100};
    flow.period_ns = kNanosPerSecond;
    flow.lateness_last_ns = static_cast<int64_t>(random() % 1'000'000);
    flow.lateness_max_ns = 1'000'000;
    flow.replies = tick;
    flow.reply_latency_sum_ns = static_cast<int64_t>(tick * 54'321);
    flow.reply_latency_max_ns = 654'321;
    flow.reply_latency_last_ns = static_cast<int64_t>(random() % 500'000);
  }
  if (c.order == Order::kShuffled) {
    std::shuffle(sample.changed_flows.begin(), sample.changed_flows.end(), random);
  }
  return sample;
}

int run_case(const std::string& directory, const Case& c) {
  const std::string path = directory + "/bench.db";
  RunInfo run;
  run.id = make_run_id(wall_now_ns());
  run.started_wall_ns = wall_now_ns();
  auto writer = RunWriter::create(path, run, {});
  if (!writer.ok()) {
    std::fprintf(stderr, "%s\n", writer.error().message.c_str());
    return 1;
  }
  std::mt19937_64 random(1);
  std::vector<double> cpu_ms;
  double wall_ms_max = 0;
  for (uint64_t tick = 1; tick <= kTicks; ++tick) {
    const Sample sample = make_sample(tick, c, random);
    const int64_t cpu_begin_ns = process_cpu_now_ns();
    const int64_t begin_ns = monotonic_now_ns();
    const Status stored = (*writer)->append(sample);
    const int64_t cpu_ns = process_cpu_now_ns() - cpu_begin_ns;
    if (!stored.ok()) {
      std::fprintf(stderr, "%s\n", stored.error().message.c_str());
      return 1;
    }
    if (tick == 1) continue;  // it inserts rows; later ticks update them
    cpu_ms.push_back(static_cast<double>(cpu_ns) / 1e6);
    wall_ms_max = std::max(wall_ms_max, static_cast<double>(monotonic_now_ns() - begin_ns) / 1e6);
  }
  const int64_t finish_begin_ns = process_cpu_now_ns();
  const Status finished = (*writer)->finish({});
  const double finish_ms = static_cast<double>(process_cpu_now_ns() - finish_begin_ns) / 1e6;
  if (!finished.ok()) {
    std::fprintf(stderr, "%s\n", finished.error().message.c_str());
    return 1;
  }
  double sum = finish_ms;  // which writes the rows whose changes wait
  for (const double ms : cpu_ms) sum += ms;
  std::sort(cpu_ms.begin(), cpu_ms.end());
  const double mean = sum / static_cast<double>(cpu_ms.size());
  std::printf(
      "%-34s cpu_ms_per_tick mean %6.2f p50 %6.2f max %6.2f, wall_ms max %7.2f, finish cpu_ms "
      "%6.2f, "
      "%.2f%% of a core at 1 tick/s, %.1f MB\n",
      c.name, mean, cpu_ms[cpu_ms.size() / 2], cpu_ms.back(), wall_ms_max, finish_ms, mean / 10,
      static_cast<double>(std::filesystem::file_size(path)) / 1e6);
  std::filesystem::remove(path);
  return 0;
}

int run_all(const std::string& parent) {
  std::string directory = parent + "/topspin_store_bench_XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) {
    std::perror(directory.c_str());
    return 1;
  }
  int status = 0;
  for (const Case& c :
       {Case{"bare tick", 0, 0, 1, Order::kSorted, 4},
        Case{"10,000 of 10,000 flows, sorted", 10'000, 10'000, 1, Order::kSorted, 4},
        Case{"10,000 of 10,000 flows, shuffled", 10'000, 10'000, 1, Order::kShuffled, 4},
        Case{"10,000 of 10,000 flows, IPv6", 10'000, 10'000, 1, Order::kShuffled, 6},
        Case{"10,000 of 200,000, neighbours", 200'000, 10'000, 1, Order::kShuffled, 4},
        Case{"10,000 of 200,000, scattered", 200'000, 10'000, 19, Order::kShuffled, 4}}) {
    status |= run_case(directory, c);
  }
  std::filesystem::remove_all(directory);
  return status;
}

}  // namespace
}  // namespace topspin

int main(int argc, char** argv) {
  return topspin::run_all(argc > 1 ? argv[1] : std::filesystem::temp_directory_path().string());
}
