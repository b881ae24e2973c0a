#include "core/run/load_result.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/base/check.h"
#include "core/base/text.h"

namespace topspin {

namespace {

// In the order of WorkloadKind.
constexpr std::array<std::string_view, 6> kWorkloadNames = {
    "udp-pingpong", "udp-flood", "tcp-connect", "http", "accept-queue", "script",
};

template <typename T>
void add_if_known(std::optional<T>& sum, const std::optional<T>& more) {
  if (more) sum = sum.value_or(0) + *more;
}

}  // namespace

std::string_view worker_end_name(WorkerEnd end) {
  switch (end) {
    case WorkerEnd::kDone: return "done";
    case WorkerEnd::kLeft: return "left";
    case WorkerEnd::kDied: return "died";
    case WorkerEnd::kFailed: return "failed";
  }
  return "";
}

std::string_view workload_name(WorkloadKind kind) {
  const auto index = static_cast<size_t>(kind);
  CHECK(index < kWorkloadNames.size());
  return kWorkloadNames[index];
}

std::optional<WorkloadKind> parse_workload(std::string_view name) {
  const auto at = std::find(kWorkloadNames.begin(), kWorkloadNames.end(), name);
  if (at == kWorkloadNames.end()) return std::nullopt;
  return static_cast<WorkloadKind>(at - kWorkloadNames.begin());
}

void LoadAccounts::merge(const LoadAccounts& other) {
  for_each_field([&](std::string_view, auto field) { this->*field += other.*field; });
}

uint64_t LoadAccounts::asked() const {
  const uint64_t own_fault = send_errors + (never_scheduled - std::min(blocked, never_scheduled));
  return scheduled - std::min(scheduled, own_fault);
}

uint64_t HttpAccounts::of_class(int hundreds) const {
  uint64_t sum = 0;
  for (const auto& [status, count] : statuses) {
    if (status / 100 == hundreds) sum += count;
  }
  return sum;
}

uint64_t HttpAccounts::error_statuses() const {
  uint64_t sum = 0;
  for (const auto& [status, count] : statuses) {
    if (is_http_error(status)) sum += count;
  }
  return sum;
}

std::string http_statuses_text(const HttpAccounts& http) {
  std::string text;
  for (const auto& [status, count] : http.statuses)
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", status, count);
  return text.empty() ? "no answer" : text;
}

std::string http_checks_text(const HttpAccounts& http) {
  std::string text;
  for (const auto& [name, failed] : http.checks)
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", name, failed);
  return text;
}

std::string http_failures_text(const HttpAccounts& http) {
  std::string text;
  for (const auto& [reason, count] : http.failures)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, reason);
  return text;
}

std::string http_malformed_text(const HttpAccounts& http) {
  if (http.malformed == 0) return {};
  return fmt::format("{} {} not HTTP, the first began \"{}\"", http.malformed,
                     http.malformed == 1 ? "reply was" : "replies were", http.malformed_head);
}

void TcpAccounts::merge(const TcpAccounts& other) {
  for_each_field([&](std::string_view, auto field) { this->*field += other.*field; });
}

void GeneratorCost::add_counts(const GeneratorCost& other) {
  cpu_ns += other.cpu_ns;
  receive_drops += other.receive_drops;
  sockets_opened += other.sockets_opened;
  shared_sockets = shared_sockets || other.shared_sockets;
}

void GeneratorCost::add_generator(const GeneratorCost& other) {
  add_counts(other);
  wall_ns = std::max(wall_ns, other.wall_ns);
  rss_bytes += other.rss_bytes;
  descriptors_max += other.descriptors_max;
}

void GeneratorCost::add_later(const GeneratorCost& other) {
  add_counts(other);
  wall_ns += other.wall_ns;
  add_if_known(host_busy_ns, other.host_busy_ns);
  add_if_known(host_steal_ns, other.host_steal_ns);
  rss_bytes = std::max(rss_bytes, other.rss_bytes);
  descriptors_max = std::max(descriptors_max, other.descriptors_max);
}

void KernelCounters::add_later(const KernelCounters& other) {
  add_if_known(udp_rcvbuf_errors, other.udp_rcvbuf_errors);
  add_if_known(udp_no_ports, other.udp_no_ports);
  add_if_known(tcp_passive_opens, other.tcp_passive_opens);
  add_if_known(tcp_listen_overflows, other.tcp_listen_overflows);
  add_if_known(tcp_listen_drops, other.tcp_listen_drops);
}

void HttpAccounts::merge(const HttpAccounts& other) {
  for (const auto& [status, count] : other.statuses) statuses[status] += count;
  body_bytes += other.body_bytes;
  if (malformed == 0) malformed_head = other.malformed_head;
  malformed += other.malformed;
  for (const auto& [name, count] : other.checks) checks[name] += count;
  for (const auto& [reason, count] : other.failures) count_failure(reason, count);
  sent_again += other.sent_again;
  cookies_dropped += other.cookies_dropped;
}

void HttpAccounts::count_malformed(std::string_view head) {
  if (malformed++ == 0) malformed_head = sanitize_for_terminal(head);
}

void HttpAccounts::count_failure(const std::string& reason, uint64_t times) {
  const bool has_room = failures.size() < kMostReasons - 1 || failures.contains(reason);
  failures[has_room ? reason : "other reasons"] += times;
}

void TlsAccounts::merge(const TlsAccounts& other) {
  handshakes += other.handshakes;
  resumed += other.resumed;
  failed += other.failed;
  for (const auto& [version, count] : other.versions) versions[version] += count;
  handshake_latency.merge(other.handshake_latency);
}

void ScriptAccounts::merge(const ScriptAccounts& other) {
  for (const LoadPart& step : other.steps) {
    const auto mine = std::find_if(steps.begin(), steps.end(),
                                   [&](const LoadPart& s) { return s.name == step.name; });
    if (mine == steps.end())
      steps.push_back(step);
    else
      mine->merge(step);
  }
  for (const ScriptCheck& check : other.checks) {
    const auto mine = std::find_if(checks.begin(), checks.end(),
                                   [&](const ScriptCheck& c) { return c.name == check.name; });
    if (mine == checks.end()) {
      checks.push_back(check);
    } else {
      mine->passed += check.passed;
      mine->failed += check.failed;
    }
  }
  for (const auto& [reason, count] : other.failures) failures[reason] += count;
  for (const auto& [reason, count] : other.outside_failures) outside_failures[reason] += count;
  for (const auto& [reason, count] : other.errors) errors[reason] += count;
  for_each_field([&](std::string_view, auto field) { this->*field += other.*field; });
  script_delay.merge(other.script_delay);
  script_ns += other.script_ns;
}

void LoadPart::merge(const LoadPart& other) {
  accounts.merge(other.accounts);
  latency_intended.merge(other.latency_intended);
  latency_actual.merge(other.latency_actual);
  own_lateness.merge(other.own_lateness);
}

void LoadResult::add_counts(const LoadResult& more) {
  clients_joined += more.clients_joined;
  planned += more.planned;
  total.merge(more.total);
  merge_accounts(tcp, more.tcp);
  merge_accounts(http, more.http);
  merge_accounts(script, more.script);
  merge_accounts(tls, more.tls);
  connect_latency.merge(more.connect_latency);
  bytes_received += more.bytes_received;
  port_unreachable += more.port_unreachable;
  for (const auto& [name, count] : more.errors) errors[name] += count;
  for (const auto& [reason, count] : more.never_scheduled_reasons)
    never_scheduled_reasons[reason] += count;
}

Result<LoadResult> merge_loads(std::span<const LoadResult> loads) {
  if (loads.empty()) return make_error(ErrorCode::kUsage, "there is no load to show");
  LoadResult whole = loads.front();
  if (loads.size() == 1) return whole;
  whole.kernel = {};
  whole.own.host_busy_ns.reset();
  whole.own.host_steal_ns.reset();
  for (const LoadResult& load : loads.subspan(1)) {
    if (load.workload != whole.workload || load.expects_replies != whole.expects_replies) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("loads of {} and of {} cannot be shown as one; choose runs of "
                                    "one workload",
                                    workload_name(whole.workload), workload_name(load.workload)));
    }
    if (load.target != whole.target && whole.target.find(load.target) == std::string::npos)
      whole.target += ", " + load.target;
    whole.started_wall_ns = std::min(whole.started_wall_ns, load.started_wall_ns);
    whole.stopped_early = whole.stopped_early || load.stopped_early;
    whole.has_plan = whole.has_plan && load.has_plan;
    whole.closed_loop = whole.closed_loop || load.closed_loop;
    whole.gso = whole.gso || load.gso;
    whole.clients_max += load.clients_max;
    whole.add_counts(load);
    whole.total.end_ns = std::max(whole.total.end_ns, load.total.end_ns);
    for (size_t i = 0; i < load.stages.size(); ++i) {
      if (i >= whole.stages.size() || whole.stages[i].name != load.stages[i].name) {
        whole.stages.resize(std::min(i, whole.stages.size()));
        break;
      }
      LoadPart& stage = whole.stages[i];
      stage.merge(load.stages[i]);
      stage.begin_ns = std::min(stage.begin_ns, load.stages[i].begin_ns);
      stage.end_ns = std::max(stage.end_ns, load.stages[i].end_ns);
      stage.clients_from += load.stages[i].clients_from;
      stage.clients_to += load.stages[i].clients_to;
    }
    whole.stages.resize(std::min(whole.stages.size(), load.stages.size()));
    whole.own.add_generator(load.own);
    whole.invalid_reasons.insert(whole.invalid_reasons.end(), load.invalid_reasons.begin(),
                                 load.invalid_reasons.end());
  }
  return whole;
}

}  // namespace topspin
