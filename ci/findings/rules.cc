// The rules are in one table at the end of this file. A rule examines what was measured, and finds
// nothing unless it is certain enough to be the first sentence of a report.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ci/findings/findings.h"
#include "core/base/text.h"
#include "core/run/growth_text.h"
#include "core/run/headroom_watch.h"

namespace topspin {
namespace {

struct Found {
  double harm = 0;
  std::string sentence;
  std::vector<Proof> proofs;
};
using MaybeFound = std::optional<Found>;

/// Faster replies are never late.
constexpr double kLateNs = 2e6;
/// Threads that share a CPU wait for each other's turns: Linux's base slice is up to 3 ms. Only
/// longer waits are called starved.
constexpr double kOneTurnNs = 3e6;
/// The share of the tail, or of the waits, from which on a part is called the cause.
constexpr double kMostOf = 0.5;
/// Work that fails more rarely is not worth a finding.
constexpr double kFewestFailed = 0.001;

double share_of(double part, double whole) {
  return whole > 0 ? std::clamp(part / whole, 0.0, 1.0) : 0;
}

template <typename T>
double value_of(const std::optional<T>& number) {
  return number ? static_cast<double>(*number) : 0;
}

/// A sum of counts may be greater than the greatest count.
std::string count_text(double count) {
  return format_exact(count < 0x1p64 ? static_cast<uint64_t>(count) : UINT64_MAX);
}
std::string duration_text(double ns) { return format_duration(std::llround(ns)); }
std::string share_text(double share) {
  return fmt::format("{:.{}f}%", 100 * share, share < 0.0995 ? 1 : 0);
}
std::string plural(double count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count_text(count), count == 1 ? one : many);
}

/// The tails of the three parts that each reply is split into, all at one percentile.
struct Tails {
  std::string_view name;  // "p99"
  double socket = 0;
  double cpu_queue = 0;
  double runtime = 0;

  double all() const { return socket + cpu_queue + runtime; }
};

/// The tail is the highest of these percentiles that has ten samples above it.
constexpr std::array<std::pair<std::string_view, double>, 4> kTailShares = {
    {{"p99", 0.99}, {"p95", 0.95}, {"p90", 0.9}, {"p50", 0.5}}};

/// nullopt if too few replies were split.
std::optional<Tails> tails_of(const Evidence& e) {
  if (!e.fold.merged.sockets) return std::nullopt;
  const SocketInterval& s = *e.fold.merged.sockets;
  if (!s.reply_socket || !s.reply_cpu_queue || !s.reply_runtime) return std::nullopt;
  for (const auto& [name, share] : kTailShares) {
    const auto socket = s.reply_socket->percentile(share);
    if (!socket) continue;
    return Tails{name, value_of(socket), value_of(s.reply_cpu_queue->percentile(share)),
                 value_of(s.reply_runtime->percentile(share))};
  }
  return std::nullopt;
}

std::optional<TailBlame> blame_of(const Evidence& e) {
  if (!e.fold.merged.sockets) return std::nullopt;
  return tail_blame(e.fold.merged.sockets->reply, e.fold.merged.sockets->reply_parts);
}

/// The data that the rules examine.
struct Facts : Evidence {
  explicit Facts(const Evidence& e) : Evidence(e), tails(tails_of(e)), blame(blame_of(e)) {}

  std::optional<Tails> tails;
  std::optional<TailBlame> blame;
};

double run_ns(const Facts& e) { return static_cast<double>(e.fold.merged.interval_ns); }

// ---- topspin itself ----

MaybeFound generator_was_late(const Facts& e) {
  if (!e.load || e.load->valid()) return std::nullopt;
  const LoadAccounts& a = e.load->total.accounts;
  const double missed = static_cast<double>(a.sent_late + (a.never_scheduled - a.blocked));
  return Found{
      share_of(missed, static_cast<double>(std::max<uint64_t>(a.scheduled, 1))),
      fmt::format("topspin's own load was the bottleneck: {}", e.load->invalid_reasons.front()),
      {{"sent_late", static_cast<double>(a.sent_late)},
       {"never_scheduled", static_cast<double>(a.never_scheduled)},
       {"scheduled", static_cast<double>(a.scheduled)}}};
}

MaybeFound capture_lost_packets(const Facts& e) {
  const auto dropped = static_cast<double>(e.totals.capture_drops);
  const double all = dropped + static_cast<double>(e.totals.flows.packets);
  if (share_of(dropped, all) < kFewestFailed) return std::nullopt;
  return Found{share_of(dropped, all),
               fmt::format("topspin did not see {} of the packets: the capture was the bottleneck",
                           share_text(share_of(dropped, all))),
               {{"loss_capture_kernel_drops", dropped},
                {"packets", static_cast<double>(e.totals.flows.packets)}}};
}

// ---- work that failed ----

/// The listening (or UDP) socket with the most drops; nullptr if none is known.
const SocketRow* most_drops(const Facts& e, uint8_t protocol) {
  const SocketRow* most = nullptr;
  for (const SocketRow& socket : e.sockets) {
    if (socket.protocol == protocol && socket.drops > (most ? most->drops : 0)) most = &socket;
  }
  return most;
}
std::string of_socket(const SocketRow* socket) {
  return socket ? " of " + format_endpoint(socket->local, socket->ip_version) : "";
}

/// "; 412 of 480 requests failed (86%)" for the whole run; empty if nothing failed.
std::string failed_text(const Facts& e) {
  const double share = failed_share(e.totals).value_or(0);
  return share > 0 ? fmt::format("; {} of the work failed", share_text(share)) : "";
}

MaybeFound accept_queue_overflow(const Facts& e) {
  if (!e.fold.merged.sockets) return std::nullopt;
  const SocketInterval& s = *e.fold.merged.sockets;
  const double refused = value_of(s.listen_overflows);
  if (refused == 0) return std::nullopt;
  const SocketRow* socket = most_drops(e, kProtocolTcp);
  const double limit = socket && socket->accept_queue_limit ? value_of(socket->accept_queue_limit)
                                                            : value_of(s.accept_queue_limit);
  const double most = value_of(s.accept_queue_max);
  const auto made = static_cast<double>(e.totals.flows.tcp_handshakes);
  return Found{
      std::max(share_of(refused, refused + made), failed_share(e.totals).value_or(0)),
      fmt::format("The accept queue{} was full: the kernel dropped {} (the queue holds {}, and "
                  "{} waited){}",
                  of_socket(socket), plural(refused, "connection attempt", "connection attempts"),
                  count_text(limit), count_text(most), failed_text(e)),
      {{"listen_overflows", refused}, {"accept_queue_max", most}, {"accept_queue_limit", limit}}};
}

/// A process that has as many descriptors open as it may; nullopt if none has.
std::optional<LimitUse> used_up_descriptors(const Facts& e) {
  if (!e.fold.greatest.resources) return std::nullopt;
  const LimitUse& fds = e.fold.greatest.resources->process_fds;
  const double used = value_of(fds.used), limit = value_of(fds.limit);
  return limit > 0 && used >= limit - 1 ? std::optional(fds) : std::nullopt;
}

MaybeFound descriptor_limit(const Facts& e) {
  const auto fds = used_up_descriptors(e);
  if (!fds) return std::nullopt;
  const double used = value_of(fds->used), limit = value_of(fds->limit);
  return Found{std::max(0.5, failed_share(e.totals).value_or(0)),
               fmt::format("A process used all of its file descriptors ({} of {}): accept() and "
                           "open() fail with EMFILE{}",
                           count_text(std::min(used, limit)), count_text(limit), failed_text(e)),
               {{"fds_used", used}, {"fds_limit", limit}}};
}

MaybeFound connections_refused(const Facts& e) {
  const FlowInterval& f = e.totals.flows;
  double refused = static_cast<double>(f.tcp_refused);
  if (e.load) refused = std::max(refused, static_cast<double>(e.load->port_unreachable));
  const bool udp = e.load && e.load->port_unreachable > f.tcp_refused;
  double asked = refused + static_cast<double>(udp ? f.requests : f.tcp_handshakes);
  if (share_of(refused, asked) < kFewestFailed) return std::nullopt;
  return Found{
      share_of(refused, asked),
      fmt::format("{} of {} {} refused: at that moment nobody {} the port", count_text(refused),
                  count_text(asked), udp ? "datagrams were" : "connections were",
                  udp ? "had opened" : "listened on"),
      {{udp ? "port_unreachable" : "tcp_refused", refused},
       {"tcp_handshakes", static_cast<double>(f.tcp_handshakes)}}};
}

/// Connections that were accepted and closed at once, as by a server with as many clients as it
/// allows. It ran accept(), so it is not out of descriptors, although it may allow itself no more
/// clients than that.
MaybeFound connections_turned_away(const Facts& e) {
  const FlowInterval& f = e.totals.flows;
  const double away = value_of(f.tcp_turned_away);
  const double opened = std::max(away, static_cast<double>(f.tcp_handshakes));
  const double open =
      e.fold.greatest.sockets ? value_of(e.fold.greatest.sockets->tcp_connections) : 0;
  constexpr double kManyOf = 0.01;  // a few may be timeouts
  if (share_of(away, opened) < kManyOf) return std::nullopt;
  // A server that does so with all connections means to. Above a limit, others stay.
  constexpr double kFewestOpen = 8;
  if (share_of(opened - away, opened) < kManyOf && open < kFewestOpen) return std::nullopt;
  Found found{
      std::max(share_of(away, opened), failed_share(e.totals).value_or(0)),
      fmt::format("The server turned away {} of {} connections: it accepted them and closed them "
                  "at once, without having read a request, as servers do above a limit on their "
                  "clients",
                  count_text(away), count_text(opened)),
      {{"tcp_turned_away", away}, {"tcp_handshakes", static_cast<double>(f.tcp_handshakes)}}};
  if (open > 0) {
    found.sentence += fmt::format("; at most {} of its connections were open at the end of a tick",
                                  count_text(open));
    found.proofs.push_back({"tcp_connections", open});
  }
  if (const auto fds = used_up_descriptors(e)) {
    const double used = std::min(value_of(fds->used), value_of(fds->limit));
    found.sentence += fmt::format("; it had {} of its {} file descriptors open", count_text(used),
                                  count_text(value_of(fds->limit)));
    found.proofs.push_back({"fds_used", value_of(fds->used)});
    found.proofs.push_back({"fds_limit", value_of(fds->limit)});
  }
  return found;
}

/// Connections that were open and then cut off.
MaybeFound connections_reset(const Facts& e) {
  const FlowInterval& f = e.totals.flows;
  const double reset = value_of(f.tcp_server_resets);
  const double opened = std::max(reset, static_cast<double>(f.tcp_handshakes));
  constexpr double kManyOf = 0.01;  // a few may be timeouts
  if (share_of(reset, opened) < kManyOf) return std::nullopt;
  return Found{
      share_of(reset, opened),
      fmt::format("The server cut off {} of {} connections with a reset (RST): a limit on "
                  "its clients, a timeout, or data that it did not want to read",
                  count_text(reset), count_text(opened)),
      {{"tcp_server_resets", reset}, {"tcp_handshakes", static_cast<double>(f.tcp_handshakes)}}};
}

std::string address_text(const CalledRow& row) {
  if (row.address.port == 0) return "further addresses";
  return format_endpoint(row.address, row.ip_version);
}

/// Whether another address with the same port answers. A client that tries ::1 and then 127.0.0.1
/// may fail at one of them although nothing is wrong.
bool has_other_way(const Facts& e, const CalledRow& failed) {
  return std::any_of(e.called.begin(), e.called.end(), [&](const CalledRow& row) {
    return row.number != failed.number && row.address.port == failed.address.port &&
           row.requests - std::min(row.requests, row.unanswered) >= failed.failures();
  });
}

MaybeFound downstream_fails(const Facts& e) {
  const CalledRow* worst = nullptr;
  for (const CalledRow& row : e.called) {
    const double share =
        share_of(static_cast<double>(row.failures()), static_cast<double>(row.tries()));
    if (row.failures() == 0 || share < kFewestFailed || has_other_way(e, row)) continue;
    if (worst == nullptr || row.failures() > worst->failures()) worst = &row;
  }
  if (worst == nullptr) return std::nullopt;
  const auto failed = static_cast<double>(worst->failures());
  const auto tries = static_cast<double>(worst->tries());
  struct Kind {
    uint64_t count;
    std::string_view proof, text;
  };
  const uint64_t no_reply = worst->unanswered - std::min(worst->resets, worst->unanswered);
  const std::array<Kind, 5> kinds = {
      {{worst->refused, "calls_refused", "connections were refused"},
       {worst->never_completed, "calls_never_completed", "connections were never completed"},
       {no_reply, "calls_unanswered", "calls were not answered"},
       {worst->resets, "calls_reset", "calls were cut off by a reset"},
       {worst->http_errors, "call_http_errors", "calls were answered with an HTTP error"}}};
  std::vector<std::string> texts;
  Found found{share_of(failed, tries), "", {}};
  for (const Kind& kind : kinds) {
    if (kind.count == 0) continue;
    const auto count = static_cast<double>(kind.count);
    texts.push_back(fmt::format("{} {}", count_text(count), kind.text));
    found.proofs.push_back({fmt::format("{} of it", kind.proof), count});
  }
  found.proofs.push_back({"calls and connections", tries});
  found.sentence = fmt::format("What the server calls at {} failed: of {} tries {}",
                               address_text(*worst), count_text(tries), fmt::join(texts, ", "));
  return found;
}

MaybeFound receive_buffer_overflow(const Facts& e) {
  if (!e.fold.merged.sockets) return std::nullopt;
  const double drops = value_of(e.fold.merged.sockets->udp_drops);
  if (drops == 0) return std::nullopt;
  const SocketRow* socket = most_drops(e, kProtocolUdp);
  const auto requests = static_cast<double>(e.totals.flows.udp.packets);
  std::string full;
  if (socket && socket->receive_queue_bytes_max && socket->receive_queue_bytes_limit) {
    full = fmt::format(" (at most {} of {} were in it at a tick)",
                       format_bytes(static_cast<int64_t>(*socket->receive_queue_bytes_max)),
                       format_bytes(static_cast<int64_t>(*socket->receive_queue_bytes_limit)));
  }
  return Found{
      std::max(share_of(drops, drops + requests), failed_share(e.totals).value_or(0)),
      fmt::format("The receive buffer{} overflowed: the kernel dropped {}{}{}", of_socket(socket),
                  plural(drops, "datagram", "datagrams"), full, failed_text(e)),
      {{"udp_drops", drops}, {"udp_packets", requests}}};
}

MaybeFound silent_flows(const Facts& e) {
  const FlowInterval& last = e.fold.merged.flows;
  const auto silent = static_cast<double>(last.silent_flows);
  const auto periodic =
      static_cast<double>(std::max(e.fold.greatest.flows.periodic_flows, last.silent_flows));
  if (silent == 0 || share_of(silent, periodic) < kFewestFailed) return std::nullopt;
  // The end of a load that is not topspin's is not known. If all flows are silent, it has ended.
  const bool load_is_known = e.fold.load_end_ns != std::numeric_limits<int64_t>::max();
  if (!load_is_known && share_of(silent, periodic) > 0.98) return std::nullopt;
  return Found{
      share_of(silent, periodic),
      fmt::format("{} of {} periodic flows went silent and had not come back at the end: "
                  "{} missed",
                  count_text(silent), count_text(periodic),
                  plural(static_cast<double>(last.missed_ticks), "tick was", "ticks were")),
      {{"silent_flows", silent},
       {"periodic_flows", periodic},
       {"missed_ticks", static_cast<double>(last.missed_ticks)}}};
}

MaybeFound error_replies(const Facts& e) {
  if (!e.load || !e.load->http) return std::nullopt;
  const auto errors = static_cast<double>(e.load->total.accounts.http_errors);
  const auto asked = static_cast<double>(e.load->total.accounts.asked());
  if (share_of(errors, asked) < kFewestFailed) return std::nullopt;
  return Found{share_of(errors, asked),
               fmt::format("{} of {} requests were answered with an error ({})", count_text(errors),
                           count_text(asked), http_statuses_text(*e.load->http)),
               {{"http_errors", errors}, {"requests", asked}}};
}

MaybeFound replies_lost(const Facts& e) {
  const double share = failed_share(e.totals).value_or(0);
  double lost = static_cast<double>(e.totals.flows.unanswered);
  std::vector<Proof> proofs = {{"unanswered", lost},
                               {"requests", static_cast<double>(e.totals.flows.requests)}};
  if (e.load && e.load->expects_replies) {
    const LoadAccounts& a = e.load->total.accounts;
    lost = static_cast<double>(a.lost + a.late_replies);
    proofs = {{"lost", static_cast<double>(a.lost)},
              {"late_replies", static_cast<double>(a.late_replies)},
              {"scheduled", static_cast<double>(a.scheduled)}};
  }
  if (lost == 0 || share < kFewestFailed) return std::nullopt;
  const double timeout = static_cast<double>(e.info.settings.reply_timeout_ns);
  return Found{share,
               fmt::format("{} {} not answered within {}: {} of the work failed", count_text(lost),
                           lost == 1 ? "request was" : "requests were", duration_text(timeout),
                           share_text(share)),
               std::move(proofs)};
}

// ---- replies that were late ----

/// The share of the tail that a part takes, if replies are late and the part is most of the tail.
std::optional<double> dominant(const Facts& e, double Tails::*part) {
  const std::optional<Tails>& t = e.tails;
  if (!t || t->all() < kLateNs) return std::nullopt;
  const double share = share_of((*t).*part, t->all());
  return share >= kMostOf ? std::optional(share) : std::nullopt;
}

Proof tail_proof(const Facts& e, std::string_view number, double Tails::*part) {
  const std::optional<Tails>& t = e.tails;
  return {fmt::format("{} of {}", t->name, number), (*t).*part};
}

/// The CPU use over the run, as a number of CPUs.
struct CpuUse {
  double subject = 0;
  double others = 0;
  double idle = 0;
  double cpus = 1;
};
std::optional<CpuUse> cpu_use(const Facts& e) {
  const RunTotals& t = e.totals;
  if (!t.cpu_ns || !t.host_busy_ns || !e.info.host.cpus_online || run_ns(e) <= 0)
    return std::nullopt;
  CpuUse use;
  use.cpus = value_of(e.info.host.cpus_online);
  use.subject = value_of(t.cpu_ns) / run_ns(e);
  const double self = static_cast<double>(t.self_cpu_ns) / run_ns(e);
  const double busy = value_of(t.host_busy_ns) / run_ns(e);
  use.others = std::max(0.0, busy - use.subject - self);
  use.idle = std::max(0.0, use.cpus - busy);
  return use;
}

std::string cpus_text(const std::vector<int32_t>& cpus) {
  return fmt::format("{} {}", cpus.size() == 1 ? "CPU" : "CPUs", fmt::join(cpus, ", "));
}

/// The shares of the threads' waiting time for which others, or the subject itself, had the CPU.
/// nullopt if that was not measured, as in older runs. Time in which none had it (idle, quota) is
/// in neither.
struct WaitedBehind {
  double others = 0, subject = 0;
};
std::optional<WaitedBehind> waited_behind(const Facts& e) {
  if (!e.fold.merged.scheduler) return std::nullopt;
  const auto& behind = e.fold.merged.scheduler->waited_behind;
  const auto of = [&](CpuHolder kind) { return value_of(behind[static_cast<size_t>(kind)]); };
  const double others = of(CpuHolder::kProcess) + of(CpuHolder::kKernelThread);
  const double subject = of(CpuHolder::kSubject);
  const double held = others + subject + of(CpuHolder::kInterrupts);
  if (held <= 0) return std::nullopt;
  return WaitedBehind{share_of(others, held), share_of(subject, held)};
}

/// The share of the tail that was waiting for a CPU, by dominant(), but only if such waits were
/// also a tenth of all replies' time. (A server that computes for milliseconds sometimes has two
/// requests at once.)
std::optional<double> starved(const Facts& e) {
  const auto part = dominant(e, &Tails::cpu_queue);
  if (!part || e.tails->cpu_queue < kOneTurnNs) return std::nullopt;
  const SocketInterval& s = *e.fold.merged.sockets;
  const auto sum = [](const auto& histogram) { return static_cast<double>(histogram->sum()); };
  const double all = sum(s.reply_socket) + sum(s.reply_cpu_queue) + sum(s.reply_runtime);
  constexpr double kMuchOfAll = 0.1;
  return share_of(sum(s.reply_cpu_queue), all) >= kMuchOfAll ? part : std::nullopt;
}

std::string waits_text(const Facts& e) {
  const std::optional<Tails>& t = e.tails;
  return fmt::format("replies waited {} for a CPU ({} of their time in the queue)",
                     duration_text(t->cpu_queue), t->name);
}

MaybeFound starved_by_quota(const Facts& e) {
  const PressureInterval& p = e.fold.merged.pressure;
  const double throttled = value_of(p.throttled_periods), periods = value_of(p.cpu_quota_periods);
  const auto part = dominant(e, &Tails::cpu_queue);
  if (!part || share_of(throttled, periods) < 0.05) return std::nullopt;
  return Found{*part,
               fmt::format("The cgroup's CPU quota was used up in {} of {} periods: {}",
                           count_text(throttled), count_text(periods), waits_text(e)),
               {{"throttled_periods", throttled},
                {"cpu_quota_periods", periods},
                {"throttled_ns", value_of(p.throttled_ns)},
                tail_proof(e, "reply_cpu_queue_ns", &Tails::cpu_queue)}};
}

/// "61% of that behind stress (process 4711, /system.slice/x) and 12% behind cc1 (31 processes)":
/// the first two others, if each had a tenth; empty if none is known.
std::string others_text(const Facts& e) {
  double all = 0;
  for (const auto& held_ns : e.fold.merged.scheduler->waited_behind) all += value_of(held_ns);
  std::vector<std::string> names;
  for (const CpuHolderRow& holder : e.cpu_holders) {
    const double share = share_of(static_cast<double>(holder.held_ns), all);
    if (holder.kind == CpuHolder::kSubject || holder.name.empty() || share < 0.1) continue;
    names.push_back(fmt::format(
        "{} behind {} ({}{}{})", share_text(share), holder.name,
        holder.processes == 1
            ? fmt::format("{} {}",
                          holder.kind == CpuHolder::kKernelThread ? "kernel thread" : "process",
                          holder.pid)
            : plural(static_cast<double>(holder.processes), "process", "processes"),
        holder.cgroup.size() > 1 ? ", cgroup " : "",
        holder.cgroup.size() > 1 ? holder.cgroup : ""));
    if (names.size() == 2) break;
  }
  return names.empty() ? "" : fmt::format(", {}", fmt::join(names, " and "));
}

MaybeFound starved_by_others(const Facts& e) {
  const auto part = starved(e);
  const auto use = cpu_use(e);
  if (!part || !use) return std::nullopt;
  const auto behind = waited_behind(e);
  if (behind ? behind->others < kMostOf : use->others < use->subject) return std::nullopt;
  const auto few = few_cpus(e.info, e.fold);
  Found found{
      *part,
      fmt::format("Other processes had the CPUs: {}{}, while others used {:.2f} CPUs and the "
                  "subject {:.2f}{}",
                  waits_text(e), behind ? others_text(e) : "", use->others, use->subject,
                  few.empty() ? "" : fmt::format("; the subject ran on {} only", cpus_text(few))),
      {tail_proof(e, "reply_cpu_queue_ns", &Tails::cpu_queue),
       {"host_busy_ns", value_of(e.totals.host_busy_ns)},
       {"cpu_ns", value_of(e.totals.cpu_ns)}}};
  if (behind) found.proofs.push_back({"waited_behind_others_share", behind->others});
  return found;
}

MaybeFound starved_by_affinity(const Facts& e) {
  const auto part = starved(e);
  const auto use = cpu_use(e);
  const auto few = few_cpus(e.info, e.fold);
  if (!part || !use || few.empty()) return std::nullopt;
  const double left = use->cpus - static_cast<double>(few.size());
  if (use->idle < 0.5 * left) return std::nullopt;
  return Found{
      *part,
      fmt::format("All threads of the subject ran on {} while {:.2f} other CPUs were idle: "
                  "{}",
                  cpus_text(few), use->idle, waits_text(e)),
      {tail_proof(e, "reply_cpu_queue_ns", &Tails::cpu_queue),
       {"cpu_ns", value_of(e.totals.cpu_ns)},
       {"host_busy_ns", value_of(e.totals.host_busy_ns)}}};
}

MaybeFound starved_by_itself(const Facts& e) {
  const auto part = starved(e);
  const auto use = cpu_use(e);
  if (!part || !use) return std::nullopt;
  const auto behind = waited_behind(e);
  if (behind ? behind->subject < kMostOf : use->subject < use->others) return std::nullopt;
  std::string who;
  if (!e.threads.empty() && e.threads.front().cpu_ns) {
    who = fmt::format("; its busiest thread is {} ({})", e.threads.front().name,
                      duration_text(value_of(e.threads.front().cpu_ns)));
  }
  return Found{*part,
               fmt::format("The subject's own threads had the CPUs: {}, while it used {:.2f} of {} "
                           "CPUs itself{}",
                           waits_text(e), use->subject, count_text(use->cpus), who),
               {tail_proof(e, "reply_cpu_queue_ns", &Tails::cpu_queue),
                {"cpu_ns", value_of(e.totals.cpu_ns)}}};
}

// ---- not read, although a CPU was available ----

/// "; 80% of its CPU samples are in checksum": of all samples of the run.
std::string hot_text(const Facts& e) {
  constexpr uint64_t kFewestSamples = 20;
  if (e.stack_samples < kFewestSamples) return "";
  std::vector<WeighedStack> stacks;
  for (const StackRow& stack : e.stacks) stacks.push_back({stack.frames, stack.samples});
  const auto hot = hot_function(stacks, e.stack_samples);
  if (!hot) return "";
  return fmt::format(
      "; {} of its CPU samples are in {}",
      share_text(share_of(static_cast<double>(hot->samples), static_cast<double>(e.stack_samples))),
      hot->name);
}

/// The share of the samples with a function of a garbage collector.
double collector_share(const Facts& e) {
  constexpr std::array<std::string_view, 8> kCollectors = {
      "gc_collect", "_PyObject_GC", "gc_alloc",   "GarbageCollect",
      "Scavenge",   "MarkCompact",  "runtime.gc", "gcBgMark"};
  uint64_t samples = 0;
  for (const StackRow& stack : e.stacks) {
    if (std::any_of(kCollectors.begin(), kCollectors.end(), [&](std::string_view name) {
          return stack.frames.find(name) != std::string::npos;
        }))
      samples += stack.samples;
  }
  return share_of(static_cast<double>(samples), static_cast<double>(e.stack_samples));
}

/// Threads that collect garbage, by their names in the JVM and .NET, and their share of the
/// subject's CPU time.
struct CollectorThreads {
  std::string name;  // of the busiest
  double share = 0;
};
CollectorThreads collector_threads(const Facts& e) {
  constexpr std::array<std::string_view, 6> kNames = {"GC Thread", "G1 ",        "VM Thread",
                                                      "ZWorker",   "Shenandoah", ".NET GC"};
  CollectorThreads found;
  double all = 0, collectors = 0;
  for (const ThreadRow& thread : e.threads) {
    all += value_of(thread.cpu_ns);
    if (std::none_of(kNames.begin(), kNames.end(), [&](std::string_view name) {
          return std::string_view(thread.name).starts_with(name);
        }))
      continue;
    if (found.name.empty()) found.name = thread.name;
    collectors += value_of(thread.cpu_ns);
  }
  found.share = share_of(collectors, all);
  return found;
}

/// The called address for which the subject waited longest.
struct SlowCalled {
  const CalledRow& row;
  std::string_view percentile;  // the highest that it has enough calls for
  double tail_ns = 0;

  /// "p50 60.8ms, p99 75.5ms"
  std::string text() const {
    const double median = value_of(row.latency.percentile(0.5));
    return fmt::format(
        "p50 {}{}", duration_text(median),
        percentile == "p50" ? "" : fmt::format(", {} {}", percentile, duration_text(tail_ns)));
  }
  Proof proof() const { return {fmt::format("{} of call_latency_ns", percentile), tail_ns}; }
};
/// nullopt if there were no calls, or too few to judge.
std::optional<SlowCalled> slowest_called(const Facts& e) {
  const auto worst = std::max_element(
      e.called.begin(), e.called.end(),
      [](const CalledRow& a, const CalledRow& b) { return a.latency.sum() < b.latency.sum(); });
  if (worst == e.called.end()) return std::nullopt;
  for (const auto& [name, share] : kTailShares) {
    if (const auto tail = worst->latency.percentile(share))
      return SlowCalled{*worst, name, value_of(tail)};
  }
  return std::nullopt;
}

/// The tail of whole replies, if it is late and one part was the longest in half of it. A view of
/// the facts.
struct PartOfTail {
  const TailBlame& tail;
  const TailBlame::Part& part;
  double share = 0;
};
std::optional<PartOfTail> mostly(const Facts& e, ReplyPart wanted) {
  if (!e.blame || static_cast<double>(e.blame->percentile_ns) < kLateNs) return std::nullopt;
  const TailBlame::Part* part = e.blame->find(wanted);
  if (!part) return std::nullopt;
  const double share =
      share_of(static_cast<double>(part->mostly), static_cast<double>(e.blame->replies));
  return share >= kMostOf ? std::optional<PartOfTail>({*e.blame, *part, share}) : std::nullopt;
}

/// Where the longest sleeps of a reason were, and who ended them. Empty without --stacks.
std::string slept_text(const Facts& e, BlockedBy reason) {
  for (const SleepStackRow& stack : e.sleep_stacks) {
    if (stack.reason != reason) continue;
    // Find the innermost frame in user space that has a name.
    std::string_view frames = stack.frames;
    while (!frames.empty()) {
      const size_t begin = frames.rfind(';') + 1;  // 0 if there is none
      const std::string_view frame = frames.substr(begin);
      if (!frame.ends_with("_[k]") && !frame.starts_with('['))
        return fmt::format("; the longest of these sleeps ({} in all) were in {}{}",
                           duration_text(static_cast<double>(stack.slept_ns)), frame,
                           stack.woken_by.empty() ? "" : ", woken by " + stack.woken_by);
      frames = frames.substr(0, begin > 0 ? begin - 1 : 0);
    }
  }
  return "";
}

/// The share of the tail in which requests were unread in the socket, although no thread that would
/// read them waited for a CPU. nullopt if that is not most of the tail.
std::optional<double> unread(const Facts& e) { return dominant(e, &Tails::socket); }

std::string unread_text(const Facts& e) {
  const std::optional<Tails>& t = e.tails;
  return fmt::format("requests lay unread in the socket for {} ({})", duration_text(t->socket),
                     t->name);
}

/// The longest measured stop of the subject's runtime (`--runtime`). nullopt if its stops cannot be
/// measured.
struct RuntimeStop {
  double longest = 0;  // ns
  const Histogram* all = nullptr;
  bool is_collection = false;
};
std::optional<RuntimeStop> runtime_stop(const Facts& e) {
  const auto& runtime = e.fold.merged.part<RuntimeInterval>();
  if (!runtime || (!runtime->gc && !runtime->stop)) return std::nullopt;
  RuntimeStop stop;
  for (const auto* spans : {&runtime->gc, &runtime->stop}) {
    const double longest = *spans ? value_of((*spans)->max()) : 0;
    if (longest > stop.longest) stop = {longest, &**spans, spans == &runtime->gc};
  }
  return stop;
}

/// A stop of the world explains the tail if it is long enough to be late, and a large part of the
/// tail.
MaybeFound measured_stop(const Facts& e, double part, const RuntimeStop& stop) {
  const std::optional<Tails>& t = e.tails;
  if (stop.longest < kLateNs || stop.longest < t->socket / 4) return std::nullopt;
  return Found{
      part,
      fmt::format("{} stopped the server {}, for up to {}: {}",
                  stop.is_collection ? "Garbage collection" : "Its runtime",
                  plural(static_cast<double>(stop.all->count()), "time", "times"),
                  duration_text(stop.longest), unread_text(e)),
      {tail_proof(e, "reply_socket_ns", &Tails::socket),
       {stop.is_collection ? "max of runtime_gc_ns" : "max of runtime_stop_ns", stop.longest}}};
}

MaybeFound stop_the_world(const Facts& e) {
  const auto part = unread(e);
  // If it was measured, nothing needs to be concluded from CPU time.
  const auto measured = runtime_stop(e);
  if (part && measured) return measured_stop(e, *part, *measured);
  const CollectorThreads threads = collector_threads(e);
  const double sampled = collector_share(e);
  constexpr double kMuch = 0.15;
  if (!part || (threads.share < kMuch && sampled < kMuch)) return std::nullopt;
  Found found{*part, "", {tail_proof(e, "reply_socket_ns", &Tails::socket)}};
  if (threads.share >= kMuch) {
    found.sentence = fmt::format(
        "Garbage collection stopped the server: {} while {} and its like "
        "took {} of its CPU time",
        unread_text(e), threads.name, share_text(threads.share));
    found.proofs.push_back({"collector_threads_cpu_share", threads.share});
  } else {
    found.sentence = fmt::format(
        "Garbage collection stopped the server: {} while {} of its CPU "
        "samples were in the collector",
        unread_text(e), share_text(sampled));
    found.proofs.push_back({"collector_samples_share", sampled});
  }
  return found;
}

MaybeFound stopped(const Facts& e) {
  const auto part = unread(e);
  if (!part || !e.fold.merged.scheduler) return std::nullopt;
  const auto& stops = e.fold.merged.scheduler->blocked_by[static_cast<size_t>(BlockedBy::kStopped)];
  if (!stops || stops->count() == 0) return std::nullopt;
  const double longest = value_of(stops->max());
  const std::optional<Tails>& t = e.tails;
  if (longest < kLateNs || longest < t->socket / 4) return std::nullopt;
  return Found{
      *part,
      fmt::format("Something stopped the server {}, for up to {} (SIGSTOP, a debugger, a frozen "
                  "cgroup): {}",
                  plural(static_cast<double>(stops->count()), "time", "times"),
                  duration_text(longest), unread_text(e)),
      {tail_proof(e, "reply_socket_ns", &Tails::socket),
       {"max of blocked_by_stopped_ns", longest},
       {"stops", static_cast<double>(stops->count())}}};
}

/// The busy stretches, of `least_ns` and more, of the threads that read the slowest of the requests
/// that lay unread while their thread was busy. Those that ended before the first of these requests
/// are left out: a thread starts and warms up in long stretches.
StretchSum readers_stretches(const Facts& e, double least_ns) {
  std::set<int32_t> readers;
  int64_t from_ns = std::numeric_limits<int64_t>::max();
  for (const SlowReply& reply :
       e.slow_replies.first(std::min(e.slow_replies.size(), kEvidenceSlowReplies))) {
    if (reply.mostly() != ReplyPart::kUnreadBusy) continue;
    readers.insert(reply.reader_tid);
    from_ns = std::min(from_ns, reply.ready_ns);
  }
  std::vector<const BusyStretch*> of_readers;
  for (const BusyStretch& stretch : e.stretches->longest) {
    if (static_cast<double>(stretch.length_ns) < least_ns) break;
    if (readers.contains(stretch.tid) && stretch.end_ns() > from_ns &&
        stretch.began_ns - e.info.started_monotonic_ns >= e.measured_from_ns)
      of_readers.push_back(&stretch);
  }
  return sum_of(*e.stretches, of_readers);
}

/// What ran in them. Without them, what ran in the whole run.
std::string stretches_text(const Facts& e, const StretchSum& sum) {
  if (sum.stretches == 0) return hot_text(e);
  const std::string which = fmt::format(
      "{} of {}{}", plural(static_cast<double>(sum.stretches), "stretch", "stretches"),
      duration_text(static_cast<double>(sum.shortest_ns)), sum.stretches == 1 ? "" : " and more");
  const auto samples = static_cast<double>(sum.samples);
  const std::string_view at_least = sum.samples_cut ? "at least " : "";
  if (sum.samples == 0)
    return fmt::format("; no CPU sample was taken in {}{}", which,
                       sum.samples_cut ? " of which any were kept" : ", so they name no function");
  if (!sum.most)
    return fmt::format("; no function is in half of the {}{} in {}", at_least,
                       plural(samples, "CPU sample", "CPU samples"), which);
  return fmt::format("; {} of the {}{} in {} are in {}",
                     count_text(static_cast<double>(sum.most->samples)), at_least,
                     plural(samples, "CPU sample", "CPU samples"), which, sum.most->name);
}

MaybeFound event_loop_blocked(const Facts& e) {
  const auto part = unread(e);
  if (!part || !e.fold.merged.scheduler || mostly(e, ReplyPart::kUnreadAsleep)) return std::nullopt;
  // If others want the CPU, a stretch consists of several slices. Older runs have only slices.
  const SchedulerInterval& s = *e.fold.merged.scheduler;
  const bool has_stretches = s.busy_stretch.has_value();
  const auto& stretches = has_stretches ? s.busy_stretch : s.on_cpu;
  if (!stretches) return std::nullopt;
  const double longest = value_of(stretches->max());
  const std::optional<Tails>& t = e.tails;
  if (longest < kLateNs || longest < t->socket / 4) return std::nullopt;
  const StretchSum stretches_of_readers =
      e.stretches ? readers_stretches(e, std::max(kLateNs, t->socket / 4)) : StretchSum{};
  Found found{
      *part,
      fmt::format("The server was busy with other work instead of reading: {} while a "
                  "thread worked for up to {} without a pause{}",
                  unread_text(e), duration_text(longest), stretches_text(e, stretches_of_readers)),
      {tail_proof(e, "reply_socket_ns", &Tails::socket),
       {has_stretches ? "max of busy_stretch_ns" : "max of on_cpu_ns", longest}}};
  if (stretches_of_readers.stretches > 0) {
    found.proofs.push_back(
        {"long stretches of readers", static_cast<double>(stretches_of_readers.stretches)});
    found.proofs.push_back({"samples in them", static_cast<double>(stretches_of_readers.samples)});
  }
  const auto& runtime = e.fold.merged.part<RuntimeInterval>();
  if (runtime && runtime->loop_turn && !runtime->loop_turn->empty()) {
    const double turn = value_of(runtime->loop_turn->max());
    found.sentence +=
        fmt::format("; the longest turn of its event loop took {}", duration_text(turn));
    found.proofs.push_back({"max of runtime_loop_turn_ns", turn});
  }
  return found;
}

/// The sleeps, by BlockedBy, of the threads that read the slowest requests, if those were unread
/// because the thread slept. All 0 if no such thread is known.
std::array<double, kBlockedByCount> readers_slept_ns(const Facts& e) {
  std::set<int32_t> readers;
  for (const SlowReply& reply :
       e.slow_replies.first(std::min(e.slow_replies.size(), kEvidenceSlowReplies)))
    if (reply.mostly() == ReplyPart::kUnreadAsleep) readers.insert(reply.reader_tid);
  std::array<double, kBlockedByCount> slept{};
  for (const ThreadRow& thread : e.threads) {
    if (!readers.contains(thread.tid)) continue;
    for (size_t i = 0; i < kBlockedByCount; ++i) slept[i] += value_of(thread.blocked_by[i].ns);
  }
  return slept;
}

/// The reading thread was neither busy nor waiting for a CPU: it slept, in a call that it should
/// not have made there. It normally sleeps in polls and sockets, so these come last.
MaybeFound reader_asleep(const Facts& e) {
  const auto part = unread(e);
  const auto found = mostly(e, ReplyPart::kUnreadAsleep);
  if (!part || !found || !e.fold.merged.scheduler) return std::nullopt;
  const auto slept_ns = readers_slept_ns(e);
  const double all_ns = std::accumulate(slept_ns.begin(), slept_ns.end(), 0.0);
  const auto longest_ns = [&](BlockedBy reason) {
    const auto& sleeps = e.fold.merged.scheduler->blocked_by[static_cast<size_t>(reason)];
    return sleeps ? value_of(sleeps->max()) : 0;
  };
  // Either one sleep is long enough, or there are so many that requests queue up behind them.
  const auto delays = [&](BlockedBy reason) {
    const double ns = slept_ns[static_cast<size_t>(reason)], longest = longest_ns(reason);
    return ns > 0 && longest >= kLateNs &&
           (longest >= e.tails->socket / 4 || share_of(ns, all_ns) >= kMostOf);
  };
  Found slept{found->share * *part, "", {tail_proof(e, "reply_socket_ns", &Tails::socket)}};
  const auto say = [&](std::string_view what) {
    slept.sentence = fmt::format(
        "The thread that reads slept: {}; {} of the slowest replies waited for that: {}", what,
        share_text(found->share), unread_text(e));
    return slept;
  };

  const auto called = slowest_called(e);
  if (called && called->tail_ns >= kLateNs && delays(BlockedBy::kSocket)) {
    slept.proofs.push_back(called->proof());
    return say(
        fmt::format("it waited for calls to {} ({})", address_text(called->row), called->text()));
  }
  struct Kind {
    BlockedBy reason;
    std::string_view text;
  };
  constexpr std::array<Kind, 9> kKinds = {
      {{BlockedBy::kSleep, "in a sleep of its own"},
       {BlockedBy::kDisk, "in calls on files"},
       {BlockedBy::kFutex, "on a futex, which is a lock or a condition variable"},
       {BlockedBy::kPipe, "on a pipe"},
       {BlockedBy::kWait, "for a child process"},
       {BlockedBy::kPageFault, "on a page that had to be read or freed"},
       {BlockedBy::kOther, "in calls of another kind"},
       {BlockedBy::kSocket, "on another socket"},
       {BlockedBy::kPoll, "in epoll, poll or the like, for something else"}}};
  const Kind* most = nullptr;
  for (const Kind& kind : kKinds) {
    const bool is_idle = kind.reason == BlockedBy::kSocket || kind.reason == BlockedBy::kPoll;
    if (!delays(kind.reason) || (most && is_idle)) continue;
    const auto ns = [&](const Kind& one) { return slept_ns[static_cast<size_t>(one.reason)]; };
    if (!most || ns(kind) > ns(*most)) most = &kind;
  }
  if (!most) return std::nullopt;
  slept.proofs.push_back({fmt::format("max of blocked_by_{}_ns", blocked_by_name(most->reason)),
                          longest_ns(most->reason)});
  slept.proofs.push_back(
      {"sum of the reading threads' blocked_ns", slept_ns[static_cast<size_t>(most->reason)]});
  return say(fmt::format("{}, for up to {} at once{}", most->text,
                         duration_text(longest_ns(most->reason)), slept_text(e, most->reason)));
}

// ---- inside the runtime ----

/// The share of its replies' time for which the subject waited for calls. It is taken from lone
/// replies if there are enough of them, else from the time in which any reply was pending.
struct CallingShare {
  double share = 0;
  bool is_upper_bound = false;
  std::vector<Proof> proofs = {};
};
std::optional<CallingShare> calling_share(const CallInterval& calls) {
  constexpr uint64_t kEnough = 50;
  const auto& lone = calls.lone_reply_calling;
  if (lone && lone->count() >= kEnough) {
    const auto calling = static_cast<double>(lone->sum());
    const double replies = value_of(calls.lone_reply_ns);
    return CallingShare{share_of(calling, replies),
                        false,
                        {{"sum of lone_reply_calling_ns", calling}, {"lone_reply_ns", replies}}};
  }
  const double serving = value_of(calls.serving_ns);
  if (serving == 0) return std::nullopt;
  const double calling = value_of(calls.serving_and_calling_ns);
  return CallingShare{share_of(calling, serving),
                      true,
                      {{"serving_and_calling_ns", calling}, {"serving_ns", serving}}};
}

MaybeFound slow_downstream(const Facts& e) {
  const auto part = dominant(e, &Tails::runtime);
  const auto& calls = e.fold.merged.part<CallInterval>();
  if (!part || !calls) return std::nullopt;
  const auto waiting = calling_share(*calls);
  const auto called = slowest_called(e);
  const std::optional<Tails>& t = e.tails;
  if (!waiting || waiting->share < kMostOf || !called) return std::nullopt;
  if (called->tail_ns < kLateNs || called->tail_ns < kMostOf * t->runtime) return std::nullopt;
  Found found{*part * waiting->share,
              fmt::format("The server waited for {}: it called it {} times ({}), and a call "
                          "was pending in {}{} of its replies' time",
                          address_text(called->row),
                          count_text(static_cast<double>(called->row.requests)), called->text(),
                          waiting->is_upper_bound ? "up to " : "", share_text(waiting->share)),
              waiting->proofs};
  found.proofs.push_back(called->proof());
  found.proofs.push_back(tail_proof(e, "reply_runtime_ns", &Tails::runtime));
  return found;
}

MaybeFound disk(const Facts& e) {
  const auto part = dominant(e, &Tails::runtime);
  if (!part || !e.fold.merged.scheduler) return std::nullopt;
  const auto& sleeps = e.fold.merged.scheduler->blocked_by[static_cast<size_t>(BlockedBy::kDisk)];
  if (!sleeps || sleeps->count() < 20) return std::nullopt;
  const auto slept = static_cast<double>(sleeps->sum());
  const auto inside = static_cast<double>(e.fold.merged.sockets->reply_runtime->sum());
  if (share_of(slept, inside) < kMostOf) return std::nullopt;
  return Found{
      *part,
      fmt::format("The server waited for a disk: it slept {} times in calls on files, for "
                  "{} in all, while its replies spent {} inside the runtime ({}){}",
                  count_text(static_cast<double>(sleeps->count())), duration_text(slept),
                  duration_text(e.tails->runtime), e.tails->name, slept_text(e, BlockedBy::kDisk)),
      {tail_proof(e, "reply_runtime_ns", &Tails::runtime),
       {"sum of blocked_by_disk_ns", slept},
       {"sum of reply_runtime_ns", inside}}};
}

/// Threads that share an interpreter wait for its lock a little in each burst of requests, in
/// healthy servers too. A lock is to blame only if the tail would be much shorter without it.
MaybeFound lock(const Facts& e) {
  const auto found = mostly(e, ReplyPart::kFutex);
  if (!found) return std::nullopt;
  const auto& [tail, part, share] = *found;
  if (static_cast<double>(part.without_ns) > kMostOf * static_cast<double>(tail.percentile_ns))
    return std::nullopt;
  const auto ns = [](uint64_t value) { return duration_text(static_cast<double>(value)); };
  return Found{
      share,
      fmt::format("Threads waited for each other: {} of the slowest replies ({} and more) were "
                  "mostly asleep on a futex, which is a lock or a condition variable; without "
                  "that, {} would be {} instead of {}{}",
                  share_text(share), ns(tail.limit_ns), tail.percentile, ns(part.without_ns),
                  ns(tail.percentile_ns), slept_text(e, BlockedBy::kFutex)),
      {{fmt::format("{} of reply_ns", tail.percentile), static_cast<double>(tail.percentile_ns)},
       {"replies in the tail", static_cast<double>(tail.replies)},
       {"of them mostly asleep on a futex", static_cast<double>(part.mostly)}}};
}

/// For what no other rule explains: replies wait for something within the server, and sometimes
/// much longer than at other times. (A server that waits on purpose always waits equally long.)
MaybeFound waited_inside(const Facts& e) {
  struct Kind {
    ReplyPart part;
    std::string_view text;
  };
  constexpr std::array<Kind, 7> kKinds = {
      {{ReplyPart::kBetweenThreads,
        "in no thread: handed from one to another, as runtimes with threads of their own (Go, "
        "tokio) do with all that waits"},
       {ReplyPart::kPoll, "with their thread asleep in epoll, poll or the like"},
       {ReplyPart::kPipe, "with their thread asleep on a pipe"},
       {ReplyPart::kSleep, "with their thread in a sleep of its own"},
       {ReplyPart::kChild, "with their thread waiting for a child process"},
       {ReplyPart::kPageFault,
        "with their thread waiting for pages of memory, which had to be read"},
       {ReplyPart::kOtherCall, "with their thread asleep in a call of another kind"}}};
  constexpr double kTimesTheFastest = 4;
  for (const auto& [part, text] : kKinds) {
    const auto found = mostly(e, part);
    if (!found) continue;
    const SocketInterval& s = *e.fold.merged.sockets;
    const auto fastest = s.reply->percentile(0.1);
    const auto& time = s.reply_parts[static_cast<size_t>(part)].time;
    const auto slow = static_cast<double>(found->tail.percentile_ns);
    if (!fastest || !time || slow < kTimesTheFastest * value_of(fastest) ||
        share_of(static_cast<double>(time->sum()), static_cast<double>(s.reply->sum())) < kMostOf)
      return std::nullopt;
    return Found{
        found->share,
        fmt::format("Replies waited inside the server, some much longer than others ({} {}, the "
                    "fastest tenth {}): {} of the slowest spent most of that {}. It can be a lock, "
                    "a pool, a queue, or a call that was not captured",
                    found->tail.percentile, duration_text(slow), duration_text(value_of(fastest)),
                    share_text(found->share), text),
        {{fmt::format("{} of reply_ns", found->tail.percentile), slow},
         {"p10 of reply_ns", value_of(fastest)},
         {fmt::format("sum of {}", names_of(part).time), static_cast<double>(time->sum())},
         {"sum of reply_ns", static_cast<double>(s.reply->sum())}}};
  }
  return std::nullopt;
}

MaybeFound timer_slack(const Facts& e) {
  if (!e.fold.merged.scheduler || !e.fold.merged.scheduler->timer_slack) return std::nullopt;
  const SchedulerInterval& s = *e.fold.merged.scheduler;
  if (s.timer_slack->count() < 20 || !s.timer_oversleep) return std::nullopt;
  const auto timers = static_cast<double>(s.timer_slack->count());
  const double slack = static_cast<double>(s.timer_slack->sum()) / timers;
  const double late = static_cast<double>(s.timer_oversleep->sum()) / timers;
  if (slack < kLateNs || share_of(slack, late) < kMostOf) return std::nullopt;
  return Found{share_of(slack, late),
               fmt::format("Timers fired late because the kernel was allowed to delay them: by {} "
                           "on average, of {} by which threads overslept",
                           duration_text(slack), duration_text(late)),
               {{"mean of timer_slack_ns", slack},
                {"mean of timer_oversleep_ns", late},
                {"timers", timers}}};
}

// ---- on the connection ----

/// Nagle's algorithm held back sends for longer than a network takes, until the peer's delayed ACK
/// for the previous segment. The split of replies does not include this, because a reply ends with
/// its first segment.
MaybeFound delayed_ack(const Facts& e) {
  if (!e.fold.merged.sockets || !e.fold.merged.sockets->nagle_held) return std::nullopt;
  const SocketInterval& s = *e.fold.merged.sockets;
  const Histogram& held = *s.nagle_held;
  const auto median = held.percentile(0.5);
  constexpr double kDelayedNs = 30e6;  // Linux delays ACKs by 40 ms and more
  constexpr double kManyOf = 0.1;
  if (!median || value_of(median) < kDelayedNs) return std::nullopt;
  const auto sends = static_cast<double>(held.count());
  const double replies = std::max(s.reply ? static_cast<double>(s.reply->count()) : 0.0,
                                  static_cast<double>(e.totals.flows.requests));
  const double share = replies > 0 ? share_of(sends, replies) : 1;
  if (share < kManyOf) return std::nullopt;
  return Found{
      share,
      fmt::format("Nagle's algorithm held {} back for {} (p50): each waited in the kernel "
                  "until the peer acknowledged the small one before it, and peers delay "
                  "such ACKs",
                  plural(sends, "small send", "small sends"), duration_text(value_of(median))),
      {{"p50 of nagle_held_ns", value_of(median)},
       {"sends held", sends},
       {"requests", static_cast<double>(e.totals.flows.requests)}}};
}

/// A fast server fills the window of any peer for a round trip. A peer that reads slowly closes its
/// window for milliseconds.
MaybeFound slow_peer(const Facts& e) {
  if (!e.fold.merged.sockets || !e.fold.greatest.sockets) return std::nullopt;
  const SocketInterval& s = *e.fold.merged.sockets;
  const double busy = value_of(s.tcp_busy_ns), limited = value_of(s.tcp_rwnd_limited_ns);
  const double most = value_of(s.tcp_rwnd_limited_max);
  const double connections = std::max(most, value_of(e.fold.greatest.sockets->tcp_connections));
  const double zero_windows = value_of(e.totals.flows.tcp_zero_windows);
  constexpr double kManyOf = 0.1;
  if (share_of(limited, busy) < kMostOf || share_of(most, connections) < kManyOf ||
      zero_windows == 0 || limited / zero_windows < kLateNs)
    return std::nullopt;
  return Found{share_of(most, connections),
               fmt::format("Peers read slowly: for {} of the {} that connections had data to send "
                           "the peer's receive window was full, on {} of {} at once",
                           share_text(share_of(limited, busy)), duration_text(busy),
                           count_text(most), plural(connections, "connection", "connections")),
               {{"tcp_rwnd_limited_ns", limited},
                {"tcp_busy_ns", busy},
                {"tcp_rwnd_limited_max", most},
                {"tcp_zero_windows", zero_windows}}};
}

// ---- ahead ----

MaybeFound leak_under_load(const Facts& e) {
  if (e.growth.steady.empty() || e.growth.leak.verdict == LeakVerdict::kNone) return std::nullopt;
  std::vector<std::string> what;
  Found found{0.4, "", {}};
  for (const SteadyGrowth& one : e.growth.steady) {
    const bool bytes = one.name.ends_with("_bytes");
    what.push_back(fmt::format("{} by {}", one.name, format_amount(one.grown, bytes)));
    found.proofs.push_back({fmt::format("growth of {}", one.name), one.grown});
  }
  const SteadyGrowth& first = e.growth.steady.front();
  found.proofs.push_back({"readings", static_cast<double>(first.slope_per_s.points)});
  found.sentence = fmt::format(
      "While the load stayed the same, this grew steadily for the last {}, and had not levelled "
      "off: {}",
      duration_text(first.seconds * 1e9), fmt::join(what, ", "));
  return found;
}

MaybeFound leak(const Facts& e) {
  if (e.growth.leak.verdict != LeakVerdict::kLeak) return std::nullopt;
  Found found{0.5, "After the load had gone, this did not come back: ", {}};
  std::vector<std::string> what;
  for (const LeakMetric& metric : e.growth.leak.metrics) {
    if (metric.verdict != LeakVerdict::kLeak || !metric.residue) continue;
    const bool bytes = metric.name.ends_with("_bytes");
    what.push_back(fmt::format("{} of {}", format_amount(*metric.residue, bytes), metric.name));
    found.proofs.push_back({fmt::format("residue of {}", metric.name), *metric.residue});
  }
  found.sentence += fmt::format("{}", fmt::join(what, ", "));
  return found;
}

MaybeFound limit_ahead(const Facts& e) {
  for (const Headroom& h : e.growth.headroom) {
    const double used = static_cast<double>(h.used), limit = static_cast<double>(h.limit_value);
    if (limit <= 0 || used / limit < kMostOf) continue;
    return Found{
        used / limit,
        fmt::format("A limit is near: {}; {} of it is used", headroom_sentence(h),
                    share_text(used / limit)),
        {{fmt::format("{} used", h.limit), used}, {fmt::format("{} limit", h.limit), limit}}};
  }
  return std::nullopt;
}

// ---- the table ----

struct Rule {
  std::string_view key;
  FindingKind kind;
  MaybeFound (*look)(const Facts&);
  std::string_view refuted_by;
  std::string_view next_step;
  /// Left out if one of these earlier rules applies, because it is a symptom of theirs, or because
  /// they describe the same thing more precisely.
  std::array<std::string_view, 7> unless = {};
};

constexpr std::array kRules = {
    Rule{"generator_bottleneck", FindingKind::kMeasurement, generator_was_late,
         "the same load from another host, or at half its rate, finds the same latency",
         "give the load CPUs of its own, or lower its rate; `topspin report` shows what it kept"},
    Rule{"capture_bottleneck", FindingKind::kMeasurement, capture_lost_packets,
         "a recording with a narrower filter counts the same flows and replies",
         "record again with a filter, or with a larger --buffer-size"},
    Rule{"connections_turned_away", FindingKind::kFailedWork, connections_turned_away,
         "the server means to: it only greets, or its own counter of rejected connections stands "
         "still",
         "raise its limit on clients (maxclients of redis, -c of memcached, max_connections) and "
         "with it RLIMIT_NOFILE, or have clients keep fewer connections: look for pools that are "
         "too large"},
    Rule{"descriptor_limit",
         FindingKind::kFailedWork,
         descriptor_limit,
         "`strace -e accept4,openat` of the process shows no EMFILE",
         "raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=), or look for descriptors that are not "
         "closed",
         {"connections_turned_away"}},
    Rule{"accept_queue_overflow",
         FindingKind::kFailedWork,
         accept_queue_overflow,
         "the counter did not grow while connections failed (the plot of refused connections)",
         "raise the backlog of listen() and net.core.somaxconn, or accept more often: `topspin "
         "report` has the accept delay",
         {"descriptor_limit"}},
    Rule{"connections_refused",
         FindingKind::kFailedWork,
         connections_refused,
         "the refusals came before the server was ready, or after it had ended",
         "see in \"Over time\" when it was, and whether the server restarted then",
         {"descriptor_limit"}},
    Rule{"connections_reset",
         FindingKind::kFailedWork,
         connections_reset,
         "the clients closed first, and the server only answered what still came",
         "look into the server's log, and at its limits (maxclients, max_connections, "
         "worker_connections) and timeouts",
         {"descriptor_limit", "accept_queue_overflow", "connections_turned_away"}},
    Rule{"downstream_fails", FindingKind::kFailedWork, downstream_fails,
         "the server tries another address after that, and means to",
         "see who listens at that address (`ss -ltnp`), and its own log at the moments that \"Over "
         "time\" shows"},
    Rule{"receive_buffer_overflow", FindingKind::kFailedWork, receive_buffer_overflow,
         "the socket's drops in /proc/net/udp did not grow",
         "read the socket more often or from more threads, or raise SO_RCVBUF and "
         "net.core.rmem_max"},
    Rule{"silent_flows",
         FindingKind::kFailedWork,
         silent_flows,
         "the clients meant to stop: their own log says so",
         "look at the flows with `topspin replay`, where silent ones are at the top, and at the "
         "clients behind them",
         {"receive_buffer_overflow", "accept_queue_overflow"}},
    Rule{"error_replies", FindingKind::kFailedWork, error_replies, "the statuses were asked for",
         "look into the server's log at the moments that \"Over time\" shows"},
    Rule{"replies_lost",
         FindingKind::kFailedWork,
         replies_lost,
         "replies came by a way that was not captured, or the client asks for none",
         "compare the server's log with the number of requests: did it read them?",
         {"receive_buffer_overflow", "accept_queue_overflow", "descriptor_limit",
          "connections_refused", "connections_reset", "silent_flows", "connections_turned_away"}},
    Rule{"starved_by_quota", FindingKind::kLateReplies, starved_by_quota,
         "the same run without the quota is as late",
         "raise cpu.max of the cgroup, or use fewer threads than the quota has CPUs"},
    Rule{"starved_by_others",
         FindingKind::kLateReplies,
         starved_by_others,
         "the same run is as late without the other processes",
         "give the subject CPUs of its own, or the others less weight (nice, cpu.weight)",
         {"starved_by_quota"}},
    Rule{"starved_by_affinity",
         FindingKind::kLateReplies,
         starved_by_affinity,
         "the same run on all CPUs is as late",
         "let the subject use more CPUs (taskset, cpuset.cpus, worker count)",
         {"starved_by_quota", "starved_by_others"}},
    Rule{"starved_by_itself",
         FindingKind::kLateReplies,
         starved_by_itself,
         "the same run with fewer threads is as late",
         "move the work of the busiest threads elsewhere, or give it a lower priority: `topspin "
         "record --stacks 99` says what it is",
         {"starved_by_quota", "starved_by_others", "starved_by_affinity"}},
    Rule{
        "stop_the_world", FindingKind::kLateReplies, stop_the_world,
        "the collector's own log (-Xlog:gc, --trace-gc, gc.callbacks) has no pauses of that length",
        "let it collect less at a time: a larger young generation, fewer objects, or another "
        "collector"},
    Rule{"stopped", FindingKind::kLateReplies, stopped,
         "the threads that were stopped are not those that serve",
         "find out who sent the signal: `bpftrace -e 'tracepoint:signal:signal_generate /args->sig "
         "== 19/ { printf(\"%s\\n\", comm) }'`"},
    Rule{"event_loop_blocked",
         FindingKind::kLateReplies,
         event_loop_blocked,
         "the long stretches on a CPU are of threads that read no requests",
         "`topspin record --stacks 99` names the function; move it off the loop, or cut it up",
         {"stop_the_world", "stopped"}},
    Rule{"reader_asleep",
         FindingKind::kLateReplies,
         reader_asleep,
         "those sleeps are of other threads, or are where it waits for requests",
         "`topspin record --stacks 99` names the call: make it in another thread, or without "
         "blocking",
         {"stop_the_world", "stopped"}},
    Rule{"slow_downstream", FindingKind::kLateReplies, slow_downstream,
         "a direct request to that address is faster: then the time is lost on the way, or in the "
         "server's own queue for connections",
         "record the process behind that address in the same way; or call it less often, and not "
         "one call after the other"},
    Rule{"disk", FindingKind::kLateReplies, disk,
         "the threads that sleep on files are not those that serve: see the threads' system calls",
         "`topspin record --syscalls` names the call (fsync?); write in the background, in larger "
         "pieces, or to a faster disk"},
    Rule{
        "lock", FindingKind::kLateReplies, lock,
        "the threads wait for work of their own that others do, and not for a lock: the stacks of "
        "those that sleep say which",
        "hold the lock for less: do no I/O and no sleep under it, or split it; \"Slowest replies\" "
        "names the threads"},
    Rule{"timer_slack", FindingKind::kLateReplies, timer_slack,
         "with a slack of 50 us (PR_SET_TIMERSLACK) the timers are as late",
         "lower the timer slack of the process: prctl(PR_SET_TIMERSLACK), or its service's "
         "TimerSlackNSec="},
    Rule{"delayed_ack", FindingKind::kLateReplies, delayed_ack,
         "with TCP_NODELAY on its sockets the client waits as long",
         "set TCP_NODELAY, or send a reply with one call (writev, a buffer) and not in pieces"},
    Rule{"slow_peer", FindingKind::kLateReplies, slow_peer,
         "`ss -ti` shows no rwnd_limited on the connections, or a client on this host is as slow",
         "look at the peers: what do they do between reads, and how large is their receive "
         "buffer? The server can only send less, or wait for less"},
    Rule{"waited_inside",
         FindingKind::kLateReplies,
         waited_inside,
         "the server's own metrics have no lock, pool or queue that was waited for",
         "ask the runtime: a mutex or block profile (Go), tokio-console, pg_stat_activity's "
         "wait_event; or record all connections of the server, with a wider filter",
         {"slow_downstream", "disk", "timer_slack", "stopped", "slow_peer"}},
    Rule{"leak", FindingKind::kAhead, leak, "a longer rest after the load brings it back",
         "run the load in several waves (--stages of `topspin load`) and see whether it grows with "
         "each"},
    Rule{"leak_under_load",
         FindingKind::kAhead,
         leak_under_load,
         "a longer recording sees it level off: a cache or a collector's heap that was filling",
         "record until it has grown twice as much, then end the load: what does not come back is "
         "the leak",
         {"leak"}},
    Rule{"limit_ahead", FindingKind::kAhead, limit_ahead,
         "more flows do not take more of it: the slope in \"Resources and limits\"",
         "raise the limit, or close what is not needed, before there are so many flows"},
};

bool is_better_first(const Finding& a, const Finding& b) {
  if (a.kind != b.kind) return a.kind < b.kind;
  return a.harm > b.harm;
}

/// Without split replies, causes inside a server cannot be told.
void say_why_no_cause_inside(const Facts& e, Finding& none) {
  const auto& sockets = e.fold.merged.sockets;
  if (!sockets || !sockets->reply_socket) {
    none.sentence +=
        "; no replies of a subject were split, so causes inside a server were not looked for";
    none.next_step = "record with --pid, --cgroup or a command, as root, for what happens inside";
    return;
  }
  const uint64_t replies = sockets->reply_socket->count();
  if (replies == 0) {
    none.sentence +=
        "; the subject answered no request that topspin could tell, as when a server speaks first, "
        "so causes inside it were not looked for";
    none.next_step =
        "see what its threads did: CPU time, waits and accept delay in `topspin report`, and "
        "system "
        "calls with --syscalls";
    return;
  }
  none.sentence += fmt::format(
      "; only {} of the subject {} split, too few to look for causes inside it",
      plural(static_cast<double>(replies), "reply", "replies"), replies == 1 ? "was" : "were");
  none.next_step = "record for longer, or with more load";
}

Finding nothing(const Facts& e) {
  Finding none{kNothing, FindingKind::kAhead, 0, "", {}, "", ""};
  const FlowInterval& f = e.totals.flows;
  none.sentence = "Nothing stands out";
  if (f.packets == 0) {
    none.sentence += ": no packet was captured";
  } else if (const auto p99 = f.reply_latency.percentile(0.99); p99) {
    none.sentence += fmt::format(": p99 of the reply latency is {}", duration_text(value_of(p99)));
    none.proofs.push_back({"p99 of reply_latency_ns", value_of(p99)});
  }
  for (const CalledRow& row : e.called) {
    if (row.hidden_connections == 0) continue;
    none.sentence += fmt::format(
        "; {} of the subject to {} {} not captured, so whether it waits there was not looked for",
        plural(static_cast<double>(row.hidden_connections), "connection", "connections"),
        address_text(row), row.hidden_connections == 1 ? "is" : "are");
    break;
  }
  if (!e.tails) say_why_no_cause_inside(e, none);
  return none;
}

}  // namespace

std::vector<Finding> find_causes(const Evidence& evidence) {
  const Facts facts(evidence);
  std::vector<Finding> findings;
  const auto has = [&](std::string_view key) {
    return std::any_of(findings.begin(), findings.end(),
                       [&](const Finding& f) { return f.key == key; });
  };
  for (const Rule& rule : kRules) {
    if (std::any_of(rule.unless.begin(), rule.unless.end(), has)) continue;
    auto found = rule.look(facts);
    if (!found) continue;
    findings.push_back({rule.key, rule.kind, found->harm, std::move(found->sentence),
                        std::move(found->proofs), std::string(rule.refuted_by),
                        std::string(rule.next_step)});
  }
  // Requests that waited longer than the timeout are late and not lost.
  const auto timeout_ns = static_cast<double>(facts.info.settings.reply_timeout_ns);
  const bool has_late_cause = std::any_of(findings.begin(), findings.end(), [](const Finding& f) {
    return f.kind == FindingKind::kLateReplies && f.harm >= kMostOf;
  });
  if (has_late_cause && facts.tails && facts.tails->all() > timeout_ns / 4)
    std::erase_if(findings, [](const Finding& f) { return f.key == "replies_lost"; });
  std::stable_sort(findings.begin(), findings.end(), is_better_first);
  if (findings.size() > kMostFindings) findings.resize(kMostFindings);
  if (findings.empty()) findings.push_back(nothing(facts));
  return findings;
}

std::string proof_text(const Proof& proof) {
  const std::string_view name = proof.name;
  if (name.ends_with("_ns")) return fmt::format("{} {}", name, duration_text(proof.value));
  if (name.ends_with("_bytes"))
    return fmt::format("{} {}", name, format_bytes(std::llround(proof.value)));
  if (name.ends_with("_share")) return fmt::format("{} {}", name, share_text(proof.value));
  return fmt::format("{} {}", name, count_text(proof.value));
}

std::vector<int32_t> few_cpus(const RunInfo& info, const RunFold& fold) {
  std::vector<int32_t> used;
  if (!fold.merged.scheduler || !info.host.cpus_online) return used;
  uint64_t all = 0;
  for (const CpuScheduling& cpu : fold.merged.scheduler->cpus) all += cpu.switches;
  for (const CpuScheduling& cpu : fold.merged.scheduler->cpus) {
    if (cpu.switches * 1000 > all) used.push_back(cpu.cpu);
  }
  if (static_cast<int64_t>(used.size()) >= *info.host.cpus_online) used.clear();
  return used;
}

std::vector<std::string_view> finding_keys() {
  std::vector<std::string_view> keys;
  keys.reserve(std::size(kRules));
  for (const Rule& rule : kRules) keys.push_back(rule.key);
  return keys;
}

}  // namespace topspin
