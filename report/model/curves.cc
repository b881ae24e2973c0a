#include "report/model/curves.h"

#include <algorithm>
#include <array>

#include "core/flow/periods.h"

namespace topspin {
namespace {

using document::Unit;
using Value = std::optional<double>;

template <typename T>
Value number(const std::optional<T>& value) {
  return value ? Value(static_cast<double>(*value)) : std::nullopt;
}
Value number(uint64_t value) { return static_cast<double>(value); }

Value rate(const TickNumbers& t, Value count) {
  if (!count || t.seconds <= 0) return std::nullopt;
  return *count / t.seconds;
}

/// A count that has a meaning only if some flow has a period.
Value of_periods(const TickNumbers& t, uint64_t count) {
  return t.has_lateness ? number(count) : std::nullopt;
}

/// The number of busy CPUs: CPU time divided by wall time.
Value cpus(const TickNumbers& t, Value cpu_ns) {
  const Value a_second = rate(t, cpu_ns);
  return a_second ? Value(*a_second / 1e9) : std::nullopt;
}

template <typename T>
Value scheduler(const TickNumbers& t, std::optional<T> SchedulerInterval::*field) {
  return t.sample.scheduler ? number((*t.sample.scheduler).*field) : std::nullopt;
}
Value resource(const TickNumbers& t, std::optional<int64_t> ResourceReading::*field) {
  return t.sample.resources ? number((*t.sample.resources).*field) : std::nullopt;
}

template <typename T>
Value sockets(const TickNumbers& t, std::optional<T> SocketInterval::*field) {
  return t.sample.sockets ? number((*t.sample.sockets).*field) : std::nullopt;
}
Value socket_mean(const TickNumbers& t, std::optional<Histogram> SocketInterval::*field) {
  if (!t.sample.sockets) return std::nullopt;
  const auto& histogram = (*t.sample.sockets).*field;
  if (!histogram || histogram->empty()) return std::nullopt;
  return static_cast<double>(histogram->sum()) / static_cast<double>(histogram->count());
}
Value host_stall(const TickNumbers& t, std::optional<uint64_t> StallInterval::*field) {
  return cpus(t, number(t.sample.pressure.host.*field));
}
Value instructions_per_cycle(const TickNumbers& t) {
  const auto& counters = t.sample.counters;
  if (!counters.instructions || !counters.cycles) return std::nullopt;
  const auto instructions = counters.instructions->scaled();
  const auto cycles = counters.cycles->scaled();
  if (!instructions || !cycles || *cycles == 0) return std::nullopt;
  return static_cast<double>(*instructions) / static_cast<double>(*cycles);
}

/// How much was not seen at all. The table of losses names the kinds.
Value losses(const TickNumbers& t) { return static_cast<double>(losses_total(t.sample.losses)); }

using enum Presence;

constexpr auto kCurves = std::to_array<CurveSpec>({
    {"active_flows", "flows", "active", "main", kAlways, true,
     [](const TickNumbers& t) { return number(t.sample.flows.active_flows); }},
    {"late_flows", "flows", "late", "tail", kAlways, true,
     [](const TickNumbers& t) { return of_periods(t, t.sample.flows.late_flows); }},
    {"new_flows", "flows", "new", "third", kOnlyIfItOccurs, false,
     [](const TickNumbers& t) { return number(t.sample.flows.new_flows); }},

    {"lateness_ns_p50", "lateness", "p50", "main", kAlways, true,
     [](const TickNumbers& t) { return number(t.lateness.p50); }},
    {"lateness_ns_p90", "lateness", "p90", "third", kAlways, true,
     [](const TickNumbers& t) { return number(t.lateness.p90); }},
    {"lateness_ns_p99", "lateness", "p99", "tail", kAlways, true,
     [](const TickNumbers& t) { return number(t.lateness.p99); }},
    {"lateness_ns_max", "lateness", "max", "extreme", kAlways, false,
     [](const TickNumbers& t) { return number(t.lateness.max); }},

    {"missed_ticks", "missed", "missed ticks", "tail", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return of_periods(t, t.sample.flows.missed_ticks); }},
    {"unanswered", "missed", "unanswered requests", "main", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return number(t.sample.flows.unanswered); }},
    {"late_replies", "missed", "replies after the timeout", "third", kOnlyIfItOccurs, false,
     [](const TickNumbers& t) { return number(t.sample.flows.late_replies); }},

    {"silent_flows", "silent", "silent", "tail", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return of_periods(t, t.sample.flows.silent_flows); }},

    {"reply_latency_ns_p50", "reply", "p50", "main", kAlways, true,
     [](const TickNumbers& t) { return number(t.reply_latency.p50); }},
    {"reply_latency_ns_p90", "reply", "p90", "third", kAlways, true,
     [](const TickNumbers& t) { return number(t.reply_latency.p90); }},
    {"reply_latency_ns_p99", "reply", "p99", "tail", kAlways, true,
     [](const TickNumbers& t) { return number(t.reply_latency.p99); }},
    {"reply_latency_ns_max", "reply", "max", "extreme", kAlways, false,
     [](const TickNumbers& t) { return number(t.reply_latency.max); }},

    {"run_queue_latency_ns_p50", "run_queue", "p50", "main", kAlways, true,
     [](const TickNumbers& t) { return number(t.run_queue_latency.p50); }},
    {"run_queue_latency_ns_p90", "run_queue", "p90", "third", kAlways, true,
     [](const TickNumbers& t) { return number(t.run_queue_latency.p90); }},
    {"run_queue_latency_ns_p99", "run_queue", "p99", "tail", kAlways, true,
     [](const TickNumbers& t) { return number(t.run_queue_latency.p99); }},
    {"run_queue_latency_ns_max", "run_queue", "max", "extreme", kAlways, false,
     [](const TickNumbers& t) { return number(t.run_queue_latency.max); }},

    {"cpu", "cpu", "subject", "main", kAlways, true,
     [](const TickNumbers& t) { return cpus(t, scheduler(t, &SchedulerInterval::cpu_ns)); }},
    {"run_queue_wait", "cpu", "waiting for a CPU", "tail", kAlways, false,
     [](const TickNumbers& t) {
       return cpus(t, scheduler(t, &SchedulerInterval::run_queue_wait_ns));
     }},
    {"kernel_run_delay", "cpu", "waiting, by the kernel's run_delay", "tail", kAlways, false,
     [](const TickNumbers& t) {
       // Only if single waits were not measured, because it may count sleeping as waiting.
       if (scheduler(t, &SchedulerInterval::run_queue_wait_ns)) return Value();
       return cpus(t, scheduler(t, &SchedulerInterval::kernel_run_delay_ns));
     }},
    {"host_busy", "cpu", "whole host", "extreme", kAlways, false,
     [](const TickNumbers& t) { return cpus(t, number(t.sample.self.host_busy_ns)); }},
    {"host_steal", "cpu", "stolen by the hypervisor", "third", kOnlyIfItOccurs, false,
     [](const TickNumbers& t) { return cpus(t, number(t.sample.self.host_steal_ns)); }},

    {"rss_bytes", "memory", "resident", "main", kAlways, true,
     [](const TickNumbers& t) { return resource(t, &ResourceReading::rss_bytes); }},
    {"pss_bytes", "memory", "proportional", "third", kAlways, false,
     [](const TickNumbers& t) { return resource(t, &ResourceReading::pss_bytes); }},
    {"anonymous_bytes", "memory", "anonymous", "tail", kAlways, false,
     [](const TickNumbers& t) { return resource(t, &ResourceReading::anonymous_bytes); }},
    {"swap_bytes", "memory", "swapped", "extreme", kOnlyIfItOccurs, false,
     [](const TickNumbers& t) { return resource(t, &ResourceReading::swap_bytes); }},

    {"packets", "packets", "packets", "main", kAlways, true,
     [](const TickNumbers& t) { 
       const int64_t ns = t.sample.flow_interval_ns();
       return ns > 0 ? Value(static_cast<double>(t.sample.flows.packets) * 1e9 /
                             static_cast<double>(ns))
                     : std::nullopt;
     }},

    {"tcp_retransmissions", "tcp", "retransmitted", "tail", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return number(t.sample.flows.tcp_retransmissions); }},
    {"tcp_out_of_order", "tcp", "out of order", "third", kOnlyIfItOccurs, false,
     [](const TickNumbers& t) { return number(t.sample.flows.tcp_out_of_order); }},
    {"tcp_resets", "tcp", "resets", "main", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return number(t.sample.flows.tcp_resets); }},
    {"tcp_refused", "tcp", "refused", "extreme", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return number(t.sample.flows.tcp_refused); }},

    {"voluntary_switches", "switches", "voluntary", "main", kAlways, true,
     [](const TickNumbers& t) {
       return rate(t, scheduler(t, &SchedulerInterval::voluntary_switches));
     }},
    {"involuntary_switches", "switches", "involuntary", "tail", kAlways, true,
     [](const TickNumbers& t) {
       return rate(t, scheduler(t, &SchedulerInterval::involuntary_switches));
     }},
    {"migrations", "switches", "migrations", "third", kOnlyIfItOccurs, false,
     [](const TickNumbers& t) { return rate(t, scheduler(t, &SchedulerInterval::migrations)); }},

    {"threads", "threads", "threads", "main", kAlways, true,
     [](const TickNumbers& t) { return resource(t, &ResourceReading::threads); }},
    {"fds", "fds", "descriptors", "main", kAlways, true,
     [](const TickNumbers& t) { return resource(t, &ResourceReading::fds); }},

    {"reply_socket_ns_mean", "reply_parts", "in the socket", "main", kAlways, false,
     [](const TickNumbers& t) { return socket_mean(t, &SocketInterval::reply_socket); }},
    {"reply_cpu_queue_ns_mean", "reply_parts", "waiting for a CPU", "tail", kAlways, false,
     [](const TickNumbers& t) { return socket_mean(t, &SocketInterval::reply_cpu_queue); }},
    {"reply_runtime_ns_mean", "reply_parts", "in the runtime", "third", kAlways, false,
     [](const TickNumbers& t) { return socket_mean(t, &SocketInterval::reply_runtime); }},

    {"accept_queue_max", "accept_queue", "connections", "main", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return sockets(t, &SocketInterval::accept_queue_max); }},
    {"accept_queue_limit", "accept_queue", "limit", "extreme", kOnlyIfItOccurs, false,
     [](const TickNumbers& t) { return sockets(t, &SocketInterval::accept_queue_limit); }},
    {"udp_drops", "socket_drops", "datagrams", "tail", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return sockets(t, &SocketInterval::udp_drops); }},
    {"listen_overflows", "socket_drops", "connections", "main", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return sockets(t, &SocketInterval::listen_overflows); }},

    {"host_cpu_some", "pressure", "CPU", "main", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return host_stall(t, &StallInterval::cpu_some_ns); }},
    {"host_memory_some", "pressure", "memory", "tail", kOnlyIfItOccurs, false,
     [](const TickNumbers& t) { return host_stall(t, &StallInterval::memory_some_ns); }},
    {"host_io_some", "pressure", "I/O", "third", kOnlyIfItOccurs, false,
     [](const TickNumbers& t) { return host_stall(t, &StallInterval::io_some_ns); }},
    {"throttled", "pressure", "throttled by quota", "extreme", kOnlyIfItOccurs, true,
     [](const TickNumbers& t) { return cpus(t, number(t.sample.pressure.throttled_ns)); }},

    {"instructions_per_cycle", "ipc", "subject", "main", kAlways, true, instructions_per_cycle},

    {"losses", "losses", "lost or late", "tail", kOnlyIfItOccurs, true, losses},
});

constexpr auto kFigures = std::to_array<FigureSpec>({
    {"flows", "Active flows", Unit::kCount, "linear",
     "Flows with a packet within the window, at the end of each tick."},
    {"lateness", "Lateness", Unit::kNanoseconds, "signed_log",
     "How far each packet of an initiator came after its period was over; early is below 0."},
    {"missed", "Missed and unanswered", Unit::kCount, "linear",
     "Periods without a packet, and requests without a reply within the timeout, a tick."},
    {"silent", "Silent flows", Unit::kCount, "linear",
     "Flows with a period that missed at least their last two ticks, at the end of each tick."},
    {"reply", "Reply latency", Unit::kNanoseconds, "log", "From a request to its reply."},
    {"run_queue", "Run-queue latency", Unit::kNanoseconds, "log",
     "From runnable to running, of every thread of the subject."},
    {"reply_parts", "Inside a reply", Unit::kNanoseconds, "linear",
     "Mean of each tick's replies, from data ready at the subject's socket to the reply sent."},
    {"cpu", "CPU", Unit::kCpus, "linear", "CPU time by wall time: 100% is one CPU kept busy."},
    {"memory", "Memory", Unit::kBytes, "linear", "Sums over the subject's processes."},
    {"packets", "Packets", Unit::kPerSecond, "linear", "Captured packets per second.", true},
    {"tcp", "TCP", Unit::kCount, "linear",
     "Segments sent again or out of order, resets and refused connections, a tick.", true},
    {"switches", "Context switches", Unit::kPerSecond, "linear",
     "A second, of all threads of the subject.", true},
    {"threads", "Threads", Unit::kCount, "linear", "Of the subject, at the end of each tick.",
     true},
    {"fds", "Descriptors", Unit::kCount, "linear",
     "Open in the subject's processes at the end of each tick.", true},
    {"accept_queue", "Accept queue", Unit::kCount, "linear",
     "Connections that wait to be accepted, in the fullest of the subject's queues.", true},
    {"socket_drops", "Dropped at the subject's sockets", Unit::kCount, "linear",
     "Datagrams and connection attempts that did not fit, per tick.", true},
    {"pressure", "Pressure on the host", Unit::kCpus, "linear",
     "Share of the time in which some task was stalled for lack of it (the kernel's PSI).", true},
    {"ipc", "Instructions per cycle", Unit::kCount, "linear", "Of the subject's threads.", true},
    {"wire", "Also on the wire", Unit::kCount, "linear",
     "Other counts of the packets of each tick.", true},
    {"losses", "Losses", Unit::kCount, "linear",
     "Everything that was seen too late or not at all, per tick.", true},
});

/// Parts of all packets and bytes, and counts that belong to another figure.
bool is_part_of_traffic(std::string_view name) {
  for (const std::string_view end : {"packets", "bytes", "_flows", "requests", "_handshakes"})
    if (name.ends_with(end)) return true;
  return false;
}

/// The table, plus each count of the wire that is not in it.
std::vector<CurveSpec> with_other_counts() {
  std::vector<CurveSpec> all(kCurves.begin(), kCurves.end());
  constexpr std::string_view kLooks[] = {"main", "tail", "third", "extreme"};
  size_t next = 0;
  for (const RegisteredNumber& number : numbers()) {
    if (number.probe != "capture" || number.kind != NumberKind::kCount ||
        is_part_of_traffic(number.name))
      continue;
    const bool drawn = std::any_of(kCurves.begin(), kCurves.end(),
                                   [&](const CurveSpec& c) { return c.name == number.name; });
    if (drawn) continue;
    const std::string_view figure = number.name.starts_with("tcp_") ? "tcp" : "wire";
    all.push_back({number.name, figure, number.label, kLooks[next++ % std::size(kLooks)],
                   kOnlyIfItOccurs, false, nullptr, &number});
  }
  return all;
}

}  // namespace

std::string_view unit_name(Unit unit) {
  switch (unit) {
    case Unit::kCount: return "count";
    case Unit::kPerSecond: return "per_second";
    case Unit::kNanoseconds: return "ns";
    case Unit::kBytes: return "bytes";
    case Unit::kCpus:
    case Unit::kShare: return "cpus";
  }
  return "count";
}

TickNumbers::TickNumbers(const Sample& from, const std::optional<int64_t>& declared_period_ns)
    : sample(from),
      reply_latency(from.flows.reply_latency.summary()),
      seconds(from.interval_ns > 0 ? static_cast<double>(from.interval_ns) / 1e9 : 0),
      has_lateness(topspin::has_lateness(from.flows, declared_period_ns)) {
  if (has_lateness) lateness = from.flows.lateness.summary();
  if (from.scheduler && from.scheduler->run_queue_latency)
    run_queue_latency = from.scheduler->run_queue_latency->summary();
}

std::span<const CurveSpec> curve_specs() {
  static const std::vector<CurveSpec> kAll = with_other_counts();
  return kAll;
}
std::span<const FigureSpec> figure_specs() { return kFigures; }

std::vector<std::optional<double>> curve_values(const Sample& sample,
                                                const std::optional<int64_t>& declared_period_ns) {
  const TickNumbers numbers(sample, declared_period_ns);
  std::vector<std::optional<double>> values;
  values.reserve(curve_specs().size());
  for (const CurveSpec& curve : curve_specs()) {
    values.push_back(curve.take != nullptr ? curve.take(numbers) : curve.number->value(sample));
  }
  return values;
}

}  // namespace topspin
