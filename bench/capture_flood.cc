// Sends 20 million distinct SYNs into a flow table that holds at most a million flows. Prints ns
// per SYN, evictions, and how much memory has grown after half of the SYNs and after all. The two
// must be about equal, because the table is full long before the half.
#include <cstring>
#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "capture/flows/flow_table.h"
#include "core/base/clock.h"

int main() {
  using namespace topspin;
  const auto rss_bytes = [] {
    std::ifstream in("/proc/self/statm");
    int64_t size = 0, resident = 0;
    in >> size >> resident;
    return resident * sysconf(_SC_PAGESIZE);
  };
  FlowTableOptions options;
  options.idle_timeout_ns = 60 * kNanosPerSecond;
  auto table = FlowTable::create(options, 20'000, HashSeed::random());
  if (!table.ok()) return exit_code(table.error().code);
  const int64_t before_bytes = rss_bytes();
  constexpr uint32_t kSyns = 20'000'000;
  constexpr uint32_t kBatch = 64;
  std::vector<ParsedPacket> batch(kBatch);
  std::vector<FlowRow> rows;
  int64_t half_bytes = 0;
  const int64_t begin_ns = process_cpu_now_ns();
  for (uint32_t i = 0; i < kSyns; i += kBatch) {
    for (uint32_t j = 0; j < kBatch; ++j) {
      ParsedPacket p;
      p.stamp_ns = kNanosPerSecond + int64_t{i + j} * 500;  // two million per second
      const uint32_t from = i + j;
      std::memcpy(p.key.low.data(), &from, 4);
      p.key.high[0] = 0xff;
      p.key.high_port = 80;
      p.key.kind = kProtocolTcp;
      p.wire_bytes = 60;
      p.has_tcp_header = true;
      p.tcp_flags = kTcpSyn;
      p.from_low = true;
      p.ip_version = 4;
      p.skip = SkipReason::kCount;
      batch[j] = p;
    }
    (*table)->observe(batch);
    if (i % (kBatch * 31'250) == 0) (*table)->take_changed(rows);  // once per second of packet time
    if (i == kSyns / 2) half_bytes = rss_bytes();
  }
  const int64_t cpu_ns = process_cpu_now_ns() - begin_ns;
  const FlowInterval all = (*table)->take_interval((*table)->now_ns());
  fmt::print(
      "{{\"syns\": {}, \"ns_per_syn\": {:.0f}, \"evicted\": {}, \"in_table\": {}, "
      "\"active_is_lower_bound\": {}, \"rss_grown_bytes_at_half\": {}, "
      "\"rss_grown_bytes\": {}}}\n",
      kSyns, static_cast<double>(cpu_ns) / kSyns, all.evicted_flows, (*table)->flow_count(),
      all.active_is_lower_bound, half_bytes - before_bytes, rss_bytes() - before_bytes);
  return 0;
}
