// LoadResult: what a load asked for, how it ended, and what the generator itself used.
//
// Plain values, made by load, stored by store and shown by app. Times are nanoseconds since the
// load began, except started_*. Pure; thread-agnostic.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/number/histogram.h"
#include "core/run/load_find.h"

namespace topspin {

enum class WorkloadKind : uint8_t {
  kUdpPingpong,
  kUdpFlood,
  kTcpConnect,
  kHttp,
  kAcceptQueue,
  kScript
};

/// "udp-pingpong", ...
std::string_view workload_name(WorkloadKind kind);
std::optional<WorkloadKind> parse_workload(std::string_view name);

/// Counts of messages. Each due moment of the schedule asks for one: a ping, a request or a
/// connection.
struct LoadAccounts {
  uint64_t scheduled = 0;    // moments of the schedule that came
  uint64_t sent = 0;         // handed to the kernel (for TCP: connection or request begun)
  uint64_t sent_late = 0;    // ... of them, later than LoadOptions::late_after_ns
  uint64_t send_errors = 0;  // refused by our own kernel: see LoadResult::errors
  // Moments at which nothing was sent, because the generator was more than a period late, or (these
  // count in `blocked` too) because the client was still busy with an earlier message, as in a
  // closed loop or on one HTTP connection.
  uint64_t never_scheduled = 0;
  uint64_t blocked = 0;

  uint64_t replied = 0;       // answered within the timeout
  uint64_t late_replies = 0;  // answered after it
  uint64_t lost = 0;          // never answered
  uint64_t duplicates = 0;    // answered again
  uint64_t unexpected = 0;    // replies to nothing that was sent: foreign, mangled or too old
  uint64_t dead_clients = 0;  // closed loop: waited forever, until they left or the load ended
  uint64_t http_errors = 0;   // included in `replied`: with an unexpected status, or failed a check

  /// What the server was asked for: all that was due, except what the generator failed to send.
  uint64_t asked() const;
  /// The part of it that was answered within the timeout and without an error.
  uint64_t done() const { return replied - std::min(http_errors, replied); }

  void merge(const LoadAccounts& other);
  bool operator==(const LoadAccounts&) const = default;

  /// Calls visit(name, member) for each field: one list for sums, store and rules.
  template <typename Visit>
  static void for_each_field(Visit visit) {
    visit("scheduled", &LoadAccounts::scheduled);
    visit("sent", &LoadAccounts::sent);
    visit("sent_late", &LoadAccounts::sent_late);
    visit("send_errors", &LoadAccounts::send_errors);
    visit("never_scheduled", &LoadAccounts::never_scheduled);
    visit("blocked", &LoadAccounts::blocked);
    visit("replied", &LoadAccounts::replied);
    visit("late_replies", &LoadAccounts::late_replies);
    visit("lost", &LoadAccounts::lost);
    visit("duplicates", &LoadAccounts::duplicates);
    visit("unexpected", &LoadAccounts::unexpected);
    visit("dead_clients", &LoadAccounts::dead_clients);
    visit("http_errors", &LoadAccounts::http_errors);
  }
};

struct TcpAccounts {
  uint64_t connected = 0;
  uint64_t refused = 0;
  uint64_t syn_retries = 0;         // SYNs sent again, over all connections
  uint64_t reset_before_bytes = 0;  // RST before any byte of the answer
  uint64_t reset_after_bytes = 0;
  uint64_t truncated = 0;       // FIN before the end of the answer
  uint64_t timeouts = 0;        // given up after the timeout, in whatever state
  uint64_t failed = 0;          // any other error, and connections that the end of the load cut off
  uint64_t closed_by_peer = 0;  // FIN received

  uint64_t lost() const {
    return refused + reset_before_bytes + reset_after_bytes + truncated + timeouts + failed;
  }
  void merge(const TcpAccounts& other);
  bool operator==(const TcpAccounts&) const = default;

  template <typename Visit>
  static void for_each_field(Visit visit) {
    visit("connected", &TcpAccounts::connected);
    visit("refused", &TcpAccounts::refused);
    visit("syn_retries", &TcpAccounts::syn_retries);
    visit("reset_before_bytes", &TcpAccounts::reset_before_bytes);
    visit("reset_after_bytes", &TcpAccounts::reset_after_bytes);
    visit("truncated", &TcpAccounts::truncated);
    visit("timeouts", &TcpAccounts::timeouts);
    visit("failed", &TcpAccounts::failed);
    visit("closed_by_peer", &TcpAccounts::closed_by_peer);
  }
};

/// One stage, or the whole load. A moment belongs to the stage in which it was due, and so do its
/// reply, its loss and their latency.
struct LoadPart {
  std::string name;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  uint32_t clients_from = 0;
  uint32_t clients_to = 0;
  LoadAccounts accounts;
  Histogram latency_intended;  // from the moment it was due; a lost reply counts as at least the
                               // timeout
  Histogram latency_actual;    // from the moment it was sent; likewise
  Histogram own_lateness;      // from due to sent

  void merge(const LoadPart& other);  // accounts and histograms
};

/// Counters of the whole host (this network namespace), as differences over the load. Absent if
/// /proc does not have them, or if the target is on another host.
struct KernelCounters {
  std::optional<uint64_t> udp_rcvbuf_errors;     // datagrams dropped at full receive buffers
  std::optional<uint64_t> udp_no_ports;          // datagrams to ports that were not open
  std::optional<uint64_t> tcp_passive_opens;     // connections accepted by servers here
  std::optional<uint64_t> tcp_listen_overflows;  // accept queue full
  std::optional<uint64_t> tcp_listen_drops;

  /// Adds what grew during a later load on the same host.
  void add_later(const KernelCounters& other);
};

/// What the generator itself used.
struct GeneratorCost {
  int64_t wall_ns = 0;
  int64_t cpu_ns = 0;                    // of the thread that ran the load
  std::optional<int64_t> host_busy_ns;   // all CPUs, all processes, ours included
  std::optional<int64_t> host_steal_ns;  // all CPUs
  int64_t cpus = 1;
  uint64_t receive_drops = 0;  // replies that our own full receive buffers dropped
  int64_t rss_bytes = 0;
  uint64_t descriptors_max = 0;
  bool shared_sockets = false;
  uint64_t sockets_opened = 0;

  /// Adds that of a generator that ran at the same time. What is of the host stays.
  void add_generator(const GeneratorCost& other);
  /// Adds what the same generator used later.
  void add_later(const GeneratorCost& other);

 private:
  void add_counts(const GeneratorCost& other);
};

/// Whether an answer with this status is a failure: anything that is neither 2xx nor 3xx.
constexpr bool is_http_error(int status) { return status < 200 || status > 399; }

struct HttpAccounts {
  std::map<int, uint64_t> statuses;  // of whole responses
  uint64_t body_bytes = 0;
  /// Replies that could not be read as HTTP. They are not responses and count in
  /// TcpAccounts::failed. `malformed_head` is the beginning of the first one, sanitised for a
  /// terminal.
  uint64_t malformed = 0;
  std::string malformed_head;
  /// How many answers failed each check; also those that none failed. By name. Such an answer is
  /// one of LoadAccounts::http_errors, once.
  std::map<std::string, uint64_t> checks;
  /// Why connections or requests failed, of TcpAccounts::failed: by reason, at most kMostReasons.
  std::map<std::string, uint64_t> failures;
  uint64_t sent_again = 0;       // requests that an HTTP/2 server said it had not touched
  uint64_t cookies_dropped = 0;  // found no room at their client

  static constexpr size_t kMostReasons = 16;
  /// Counts a reply that is not HTTP, and keeps how the first one began: `head` may be hostile.
  void count_malformed(std::string_view head);
  /// Counts a failure; under "other reasons" if there are too many.
  void count_failure(const std::string& reason, uint64_t times = 1);

  /// How many had a status of this class: 2 is 200 to 299.
  uint64_t of_class(int hundreds) const;
  /// How many had a status that is an error by itself. What a load expects may differ.
  uint64_t error_statuses() const;
  /// Keeps the `malformed_head` that came first.
  void merge(const HttpAccounts& other);

  /// Calls visit(name, count) for "http_2xx" to "http_5xx", and "http_other" for any other status.
  template <typename Visit>
  void for_each_class(Visit visit) const {
    visit("http_2xx", of_class(2));
    visit("http_3xx", of_class(3));
    visit("http_4xx", of_class(4));
    visit("http_5xx", of_class(5));
    uint64_t all = 0;
    for (const auto& [status, count] : statuses) all += count;
    visit("http_other", all - of_class(2) - of_class(3) - of_class(4) - of_class(5));
  }
};

/// The connections of a load that speaks TLS.
struct TlsAccounts {
  uint64_t handshakes = 0;                   // that were completed
  uint64_t resumed = 0;                      // of them: a session went on
  uint64_t failed = 0;                       // HttpAccounts::failures has the reasons
  std::map<std::string, uint64_t> versions;  // "TLSv1.3" -> handshakes
  Histogram handshake_latency;               // from TCP's to TLS's connection

  void merge(const TlsAccounts& other);
};

/// "200: 98, 404: 2"; "no answer" if there was none.
std::string http_statuses_text(const HttpAccounts& http);

/// "status: 3, json /id: 0"; empty without checks.
std::string http_checks_text(const HttpAccounts& http);
/// "2 TLS: self-signed certificate"; empty if nothing failed.
std::string http_failures_text(const HttpAccounts& http);

/// "20 replies were not HTTP, the first began "+OK""; empty if all were HTTP.
std::string http_malformed_text(const HttpAccounts& http);

/// A check of a script: a condition that it named.
struct ScriptCheck {
  std::string name;
  uint64_t passed = 0;
  uint64_t failed = 0;

  bool operator==(const ScriptCheck&) const = default;
};

/// What a load by a script has in addition (docs/scenarios.md). A message of LoadAccounts is a turn
/// of client:every, or a step outside of one. One whose check failed is replied, and counts in
/// http_errors.
struct ScriptAccounts {
  // In the order of their first use. A message of a step is one run of it; a step has no stages.
  std::vector<LoadPart> steps;
  std::vector<ScriptCheck> checks;
  std::map<std::string, uint64_t>
      failures;  // why messages were lost: the sum is LoadAccounts::lost
  // Failed sends and receives that belong to no turn and no step, as before the first turn.
  std::map<std::string, uint64_t> outside_failures;
  std::map<std::string, uint64_t> errors;  // "FILE:LINE: ...": clients that it ended
  uint64_t clients_returned = 0;           // their script came to its end
  uint64_t clients_failed = 0;             // the sum of `errors`
  uint64_t clients_left = 0;               // their time was over
  uint64_t messages_sent = 0;              // of sockets: sends and receives that the script made
  uint64_t messages_received = 0;
  uint64_t bytes_sent = 0;
  uint64_t local_errors = 0;  // sends and sockets that the local kernel refused
  uint64_t script_late = 0;   // messages that the script's own code delayed by more than late_after
  Histogram script_delay;     // of each message, by how much at most the script's code delayed it
  int64_t script_ns = 0;      // the time inside the script, of all clients
  uint64_t memory_max_bytes = 0;  // of the script's objects, of all clients

  void merge(const ScriptAccounts& other);

  /// The plain counts, for store and JSON.
  template <typename Visit>
  static void for_each_field(Visit visit) {
    visit("clients_returned", &ScriptAccounts::clients_returned);
    visit("clients_failed", &ScriptAccounts::clients_failed);
    visit("clients_left", &ScriptAccounts::clients_left);
    visit("messages_sent", &ScriptAccounts::messages_sent);
    visit("messages_received", &ScriptAccounts::messages_received);
    visit("bytes_sent", &ScriptAccounts::bytes_sent);
    visit("local_errors", &ScriptAccounts::local_errors);
    visit("script_late", &ScriptAccounts::script_late);
    visit("memory_max_bytes", &ScriptAccounts::memory_max_bytes);
  }
};

/// How a worker's part of a load ended.
enum class WorkerEnd : uint8_t {
  kDone,    // it was there until the load ended
  kLeft,    // it handed over and left
  kDied,    // it was not heard of any more
  kFailed,  // it could not do its part
};

/// "done", "left", "died", "failed".
std::string_view worker_end_name(WorkerEnd end);

/// One worker of a load that several share.
struct WorkerPart {
  std::string id;
  std::string host;    // texts may be hostile
  std::string labels;  // "zone=a role=b"
  std::string addresses;
  WorkerEnd end = WorkerEnd::kDone;
  LoadAccounts accounts;
  Histogram latency_intended;
  Histogram own_lateness;
  uint64_t planned = 0;  // what its shares asked for
  // Of never_scheduled: that nobody sent, because it had died, and of these how many it may have
  // sent without saying so before it died; and that it did not send for lack of word from the
  // store.
  uint64_t orphaned = 0;
  uint64_t perhaps_sent = 0;
  uint64_t store_away = 0;
  std::optional<int64_t> cpu_ns;  // of the thread that ran its load; absent: it did not say
  std::optional<int64_t> wall_ns;
  int64_t cores = 0;
  int64_t clock_offset_ns = 0;  // its clock minus the store's, which was corrected
  int64_t clock_error_ns = 0;   // by how much the correction may be wrong
  std::vector<std::string> invalid_reasons;
};

struct LoadResult {
  WorkloadKind workload = WorkloadKind::kUdpPingpong;
  std::string target;  // as given; a name is followed by the address that was used
  bool expects_replies = true;
  int64_t started_wall_ns = 0;
  int64_t started_monotonic_ns = 0;
  bool stopped_early = false;
  uint32_t clients_max = 0;  // the most at the same time
  uint64_t clients_joined = 0;

  std::vector<LoadPart> stages;
  LoadPart total;
  uint64_t planned = 0;  // what the schedule asked for until the load ended
  bool has_plan = true;  // false: flat out
  bool closed_loop = false;

  std::optional<TcpAccounts> tcp;
  std::optional<HttpAccounts> http;
  std::optional<ScriptAccounts> script;
  std::optional<TlsAccounts> tls;
  Histogram connect_latency;  // TCP: connect() to established
  uint64_t bytes_received = 0;
  uint64_t port_unreachable = 0;           // UDP: ICMP replies that the port is closed
  std::map<std::string, uint64_t> errors;  // errno by name -> send errors
  KernelCounters kernel;
  GeneratorCost own;
  bool gso = false;

  std::vector<WorkerPart> workers;  // empty: one generator, this one
  bool are_threads = false;         // the workers are threads of this process
  // Of never_scheduled, by reason: "a worker died", ...; what is left over is a slow generator's.
  std::map<std::string, uint64_t> never_scheduled_reasons;

  std::optional<LoadFind> find;  // the load searched for the most that its rules allow

  std::vector<std::string> invalid_reasons;  // empty: valid
  bool valid() const { return invalid_reasons.empty(); }

  /// Adds what another load counted: messages, connections, bytes, errors, and their latencies.
  /// Whether the two ran at the same time or one after the other decides about the rest, which the
  /// caller joins: times, clients_max, stages, kernel, own, workers and reasons of invalidity.
  void add_counts(const LoadResult& more);
};

/// Adds accounts that a load may not have.
template <typename Accounts>
void merge_accounts(std::optional<Accounts>& sum, const std::optional<Accounts>& more) {
  if (!more) return;
  if (!sum) sum.emplace();
  sum->merge(*more);
}

/// Merges the loads of several generators that were started together. Counts are added, histograms
/// are merged, and stages are joined if their position and name agree. clients_max is the sum,
/// because each generator has its own clients. Counters of the whole host are absent, because
/// several generators on one host would have counted the same. kUsage if there is none, or if they
/// are of different workloads.
Result<LoadResult> merge_loads(std::span<const LoadResult> loads);

}  // namespace topspin
