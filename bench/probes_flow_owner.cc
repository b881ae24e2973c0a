// What it costs, on each rung, to find the owners of N flows: in a tick in which all are new (a
// walk through the open files, and N lookups), and in one in which none is (N lookups alone).
#include <algorithm>
#include <cstdlib>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/owners/flow_owner.h"

namespace {

using namespace topspin;

constexpr int kTicks = 9;

int64_t median(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void measure(Rung rung, const std::vector<FlowRow>& rows) {
  ProbeOptions options;
  options.forced["owners"] = rung;
  FlowOwnerLimits limits;
  limits.walk_ns_per_resolve = 10 * kNanosPerSecond;
  limits.walk_share = 0;
  const auto owners = FlowOwners::open({}, options, limits);
  if (owners->status().rung != rung) {
    fmt::print("{:<8} {}\n", rung_name(rung), owners->status().reason);
    return;
  }
  std::vector<int64_t> fresh_ns;
  std::vector<int64_t> known_ns;
  uint64_t id = 0;
  long found = 0;
  for (int tick = 0; tick < kTicks; ++tick) {
    Sample sample;
    sample.changed_flows = rows;
    for (FlowRow& row : sample.changed_flows) row.id = ++id;
    for (std::vector<int64_t>* into : {&fresh_ns, &known_ns}) {
      const int64_t begin_ns = process_cpu_now_ns();
      owners->resolve(sample);
      into->push_back(process_cpu_now_ns() - begin_ns);
    }
    found = std::count_if(sample.changed_flows.begin(), sample.changed_flows.end(),
                          [](const FlowRow& row) { return row.owners[0].has_value(); });
  }
  const auto flows = static_cast<int64_t>(rows.size());
  fmt::print(
      "{:<8} {:>8} flows, {:>8} found: {:>6} ns a new flow ({:.1f} ms), {:>4} ns a known one\n",
      rung_name(rung), flows, found, median(fresh_ns) / flows,
      static_cast<double>(median(fresh_ns)) / kNanosPerMilli, median(known_ns) / flows);
}

}  // namespace

int main() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  for (const size_t flows : {size_t{1'000}, size_t{15'000}}) {
    std::vector<UniqueFd> sockets;
    std::vector<FlowRow> rows;
    for (size_t i = 0; i < flows; ++i) {
      UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      address.sin_port = htons(9);
      socklen_t length = sizeof(address);
      auto* raw = reinterpret_cast<sockaddr*>(&address);
      if (!fd || ::connect(fd.get(), raw, length) != 0 ||
          ::getsockname(fd.get(), raw, &length) != 0) {
        fmt::print(stderr, "cannot open {} sockets\n", flows);
        return EXIT_FAILURE;
      }
      FlowRow& row = rows.emplace_back();
      row.key.protocol = kProtocolUdp;
      row.key.low = {{127, 0, 0, 1}, 9};
      row.key.high = {{127, 0, 0, 1}, ntohs(address.sin_port)};
      row.initiator_is_low = false;
      sockets.push_back(std::move(fd));
    }
    for (const Rung rung : {Rung::kTpBtf, Rung::kProc}) measure(rung, rows);
  }
}
