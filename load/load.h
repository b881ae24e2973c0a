// The public interface of load: sends traffic on a schedule and accounts for the answers.
//
// run_load() blocks its thread until the load is over. It opens real sockets, uses only that
// thread or LoadOptions::threads others, and has closed everything when it returns. Times in
// results are nanoseconds since the load began, except started_*.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/number/csv.h"
#include "core/number/histogram.h"
#include "core/run/load_result.h"
#include "load/engine/accounts.h"
#include "load/engine/schedule.h"
#include "load/wire/address_prefix.h"
#include "load/wire/target.h"

namespace topspin {

class ScheduleFeed;
struct CsvTable;

inline constexpr uint32_t kMaxLoadThreads = 64;

/// The format of a ping on the wire; see wire.h.
enum class WireProfile : uint8_t {
  kPing4,     // exactly 4 bytes, "PING"; the answer has 4 bytes
  kFixed32,   // 32 bytes that are always the same; the answer has 32 bytes
  kNumbered,  // 16 bytes or more with a number and a time stamp; the server must echo
};

/// How clients get their sockets.
enum class SocketMode : uint8_t {
  kAuto,    // own; shared if descriptors do not suffice and the target is in 127.0.0.0/8
  kOwn,     // a connected socket for each client
  kShared,  // few sockets; every client is a source address in 127.0.0.0/8 and a port
};

/// What clients of HTTP ask for, and what they expect.
struct HttpLoadOptions {
  std::string path = "/";            // unless the target is a URL with a path
  std::string method;                // empty: GET, or POST with a body
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  std::string body_file;      // instead; read_load_files() reads it
  std::string data_file;      // CSV, whose columns are {name} in path, headers and body; likewise
  bool cookies = false;       // each client keeps its own
  std::string expect_status;  // "200,3xx"; empty: 200 to 399
  std::vector<std::string> checks;       // load/http/http_checks.h
  uint32_t requests_per_connection = 0;  // 0: no limit; 1: a connection for each request
  bool insecure = false;                 // the server's certificate is not verified
  std::string ca_file;                   // empty: the system's certificates
  bool resumption = true;                // of TLS sessions
  bool http2 = false;
  uint32_t streams = 1;  // HTTP/2: requests of a client at once

  std::shared_ptr<const CsvTable> data;  // of data_file
};

/// A search for the most that the server can do (load/find).
struct LoadFindOptions {
  std::vector<std::string> rules;         // empty: nothing is searched
  std::optional<FindBy> by;               // set once the options were read together
  std::optional<double> from;             // the first level that is tried
  std::optional<double> most;             // the highest one
  uint32_t within_percent = 5;            // how near the two ends of the answer are
  int64_t hold_ns = 2 * kNanosPerSecond;  // each stage is measured for at least this time
  std::optional<uint32_t> clients;  // kRate: how many send; nullopt: as many as the rate needs
};

struct LoadOptions {
  WorkloadKind workload = WorkloadKind::kUdpPingpong;
  std::string target;             // "HOST:PORT", "[IPV6]:PORT"; http: also a URL
  std::vector<LoadStage> stages;  // not for udp-flood, whose one stage is duration_ns

  int64_t period_ns = kNanosPerSecond;          // each client is due once per period
  int64_t timeout_ns = kNanosPerSecond;         // after this a reply is late, a connection given up
  int64_t late_after_ns = 10 * kNanosPerMilli;  // own lateness above this counts as sent late
  // Clients are due at multiples of this, several at once; nullopt: a thousandth of the period.
  std::optional<int64_t> grid_ns;
  LoadFindOptions find;      // for find_load(); run_load() leaves it alone
  uint32_t threads = 0;      // that send; 0: as many as the rate needs
  bool closed_loop = false;  // udp-pingpong, http: wait for the answer, sleep a period, repeat

  // udp-pingpong.
  WireProfile wire = WireProfile::kPing4;
  uint32_t message_bytes = 16;  // kNumbered, udp-flood
  SocketMode sockets = SocketMode::kAuto;

  // udp-flood.
  uint32_t flows = 1;
  double packets_per_s = 0;  // over all flows; 0: as fast as possible
  int64_t duration_ns = 10 * kNanosPerSecond;
  bool gso = false;  // one flow: the kernel splits big buffers into the datagrams

  // tcp-connect: what to send once connected; empty: nothing.
  std::string request;
  std::optional<uint64_t> expect_bytes;  // an answer shorter than this is truncated

  HttpLoadOptions http;

  // script. Its files are read when the option is.
  std::string script_name;  // of the file, without its directories
  std::string script_text;
  std::map<std::string, CsvTable> script_data;  // by the names that were given
  std::vector<AddressPrefix> script_allowed;    // addresses beside the target; empty: none
  uint64_t script_seed = 1;
  // Of scripts of wrk: each client requests once in this time; nullopt: as soon as it is answered.
  std::optional<int64_t> script_period_ns;
  std::string script_arguments;  // for its init(), separated by spaces
  uint64_t script_memory_bytes = uint64_t{512} << 20;

  int64_t progress_ns = kNanosPerSecond;

  // Not an option: a worker's share of a load (load/engine/schedule_feed.h). Its schedule changes
  // while it runs. Only for workloads with WorkloadType::can_be_shared. Outlives the load.
  ScheduleFeed* feed = nullptr;
  // Not options: the part of the load that this is, of how many. Parts take turns at rows of data.
  uint32_t share = 0;
  uint32_t share_count = 1;
  // Not an option of a load: the only addresses that a worker sends to; empty: any.
  std::vector<AddressPrefix> allowed;
};

/// The progress of a load, once per second.
struct LoadProgress {
  int64_t elapsed_ns = 0;
  std::string_view stage;
  uint32_t clients = 0;
  LoadAccounts accounts;       // since the load began
  Histogram latency_intended;  // of this second's replies
  Histogram own_lateness;      // of this second's sends
};

using LoadProgressSink = std::function<void(const LoadProgress&)>;

/// Reads the files that the options name. run_load() does it if it was not done.
Status read_load_files(LoadOptions& options);

/// Checks that workload, target and path fit together. kUsage says what does not.
Status check_target(const TargetParts& target, const LoadOptions& options);

/// Whether the target has an address, and one of LoadOptions::allowed. run_load() checks it, too.
Status check_reach(const LoadOptions& options);

/// Runs a load until its schedule ends or `stop` is set. (It checks `stop` ten times per second and
/// after every signal.) After a stop nothing more is sent, outstanding replies are awaited for at
/// most the timeout, and the result covers what was done. kUsage for options that make no sense;
/// kPermission or kUnsupported, with the limit to raise, if the host does not allow the load.
Result<LoadResult> run_load(const LoadOptions& options, const std::atomic<bool>& stop,
                            const LoadProgressSink& progress);

}  // namespace topspin
