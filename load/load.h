// The public face of load: traffic on a schedule, and what came back of it.
//
// run_load() blocks its thread until the load is over; it opens real sockets and lives on that one
// thread. Everything it started is closed when it returns. Times in results are nanoseconds since
// the load began, except started_*.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/histogram.h"
#include "core/result.h"
#include "load/accounts.h"
#include "load/schedule.h"

namespace topspin {

enum class WorkloadKind : uint8_t { kUdpPingpong, kUdpFlood, kTcpConnect, kHttp, kAcceptQueue };

/// "udp-pingpong", ...
std::string_view workload_name(WorkloadKind kind);

/// What a ping looks like on the wire. See wire.h.
enum class WireProfile : uint8_t {
  kPing4,     // exactly 4 bytes, "PING"; the answer has 4 bytes
  kFixed32,   // 32 bytes that are always the same; the answer has 32 bytes
  kNumbered,  // 16 bytes or more with a number and a time stamp; the server must echo
};

/// How clients come by sockets.
enum class SocketMode : uint8_t {
  kAuto,    // own, or shared where descriptors do not suffice and the target is in 127.0.0.0/8
  kOwn,     // a connected socket for each client
  kShared,  // few sockets; every client is a source address in 127.0.0.0/8 and a port
};

struct LoadOptions {
  WorkloadKind workload = WorkloadKind::kUdpPingpong;
  std::string target;             // "HOST:PORT", "[IPV6]:PORT"
  std::vector<LoadStage> stages;  // all but udp-flood, which has one, given by duration_ns

  int64_t period_ns = kNanosPerSecond;          // each client is due once a period
  int64_t timeout_ns = kNanosPerSecond;         // then a reply is late, a connection given up
  int64_t late_after_ns = 10 * kNanosPerMilli;  // a send later than this counts as sent late
  // Clients are due at multiples of this, some at a time; nullopt: a thousandth of the period.
  std::optional<int64_t> grid_ns;
  bool closed_loop = false;  // udp-pingpong: send, wait without end, sleep a period, again

  // udp-pingpong.
  WireProfile wire = WireProfile::kPing4;
  uint32_t message_bytes = 16;  // kNumbered, udp-flood
  SocketMode sockets = SocketMode::kAuto;

  // udp-flood.
  uint32_t flows = 1;
  double packets_per_s = 0;  // over all flows; 0: flat out
  int64_t duration_ns = 10 * kNanosPerSecond;
  bool gso = false;  // one flow: the kernel cuts big buffers into the datagrams

  // tcp-connect: what to say once connected; empty: nothing.
  std::string request;
  std::optional<uint64_t> expect_bytes;  // an answer shorter than this is truncated

  // http.
  std::string http_path = "/";
  bool http_keep_alive = true;  // false: a connection for each request

  int64_t progress_ns = kNanosPerSecond;
};

/// One stage, or the whole load. A moment belongs to the stage that it was due in, and so do its
/// reply, its loss and their latency.
struct LoadPart {
  std::string name;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  uint32_t clients_from = 0;
  uint32_t clients_to = 0;
  LoadAccounts accounts;
  Histogram latency_intended;  // from the moment it was due; a lost reply enters as the timeout
                               // at least
  Histogram latency_actual;    // from the moment it was sent; likewise
  Histogram own_lateness;      // from due to sent

  void merge(const LoadPart& other);  // accounts and histograms
};

/// Counters of the whole host (this network namespace), as differences over the load. Absent where
/// /proc does not tell, or where the target is elsewhere.
struct KernelCounters {
  std::optional<uint64_t> udp_rcvbuf_errors;     // datagrams dropped at full receive buffers
  std::optional<uint64_t> udp_no_ports;          // datagrams to ports that nobody had open
  std::optional<uint64_t> tcp_passive_opens;     // connections that servers here took on
  std::optional<uint64_t> tcp_listen_overflows;  // accept queue full
  std::optional<uint64_t> tcp_listen_drops;
};

/// The generator's own part in the numbers.
struct GeneratorCost {
  int64_t wall_ns = 0;
  int64_t cpu_ns = 0;                    // of the thread that ran the load
  std::optional<int64_t> host_busy_ns;   // all CPUs, everybody's, ours too
  std::optional<int64_t> host_steal_ns;  // all CPUs
  int64_t cpus = 1;
  uint64_t receive_drops = 0;  // replies that our own full receive buffers dropped
  int64_t rss_bytes = 0;
  uint64_t descriptors_max = 0;
  bool shared_sockets = false;
  uint64_t sockets_opened = 0;
};

struct HttpAccounts {
  std::map<int, uint64_t> statuses;  // of whole responses
  uint64_t body_bytes = 0;
};

struct LoadResult {
  WorkloadKind workload = WorkloadKind::kUdpPingpong;
  std::string target;
  bool expects_replies = true;
  int64_t started_wall_ns = 0;
  int64_t started_monotonic_ns = 0;
  bool stopped_early = false;
  uint32_t clients_max = 0;  // that were there at once
  uint64_t clients_joined = 0;

  std::vector<LoadPart> stages;
  LoadPart total;
  uint64_t planned = 0;  // what the schedule asked for until the load ended
  bool has_plan = true;  // false: flat out
  bool closed_loop = false;

  std::optional<TcpAccounts> tcp;
  std::optional<HttpAccounts> http;
  Histogram connect_latency;  // TCP: connect() to established
  uint64_t bytes_received = 0;
  uint64_t port_unreachable = 0;           // UDP: ICMP said that nobody listens
  std::map<std::string, uint64_t> errors;  // errno by name -> send errors
  KernelCounters kernel;
  GeneratorCost own;
  bool gso = false;

  std::vector<std::string> invalid_reasons;  // empty: valid
  bool valid() const { return invalid_reasons.empty(); }
};

/// One line a second.
struct LoadProgress {
  int64_t elapsed_ns = 0;
  std::string_view stage;
  uint32_t clients = 0;
  LoadAccounts accounts;       // since the load began
  Histogram latency_intended;  // of this second's replies
  Histogram own_lateness;      // of this second's sends
};

/// Runs a load until its schedule ends, or until `stop` is set (looked at ten times a second, and
/// after every signal): then nobody sends any more, the outstanding replies are awaited for at most
/// the timeout, and the result is of what was done. kUsage for options that make no sense,
/// kPermission or kUnsupported for what the host does not allow, with what to raise.
Result<LoadResult> run_load(const LoadOptions& options, const std::atomic<bool>& stop,
                            const std::function<void(const LoadProgress&)>& progress);

}  // namespace topspin
