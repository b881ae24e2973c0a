#include "ci/metrics/run_metrics.h"

#include <algorithm>
#include <array>

#include "core/flow/periods.h"
#include "core/number/saturating.h"
#include "core/tick/numbers.h"

namespace topspin {
namespace {

template <typename T, typename U>
void add_to(std::optional<T>& sum, const std::optional<U>& value) {
  if (value) sum = saturating_add(sum.value_or(T{}), static_cast<T>(*value));
}

template <typename T>
std::optional<double> number(const std::optional<T>& value) {
  if (!value) return std::nullopt;
  return static_cast<double>(*value);
}

std::optional<double> ratio(const std::optional<double>& amount, double by) {
  if (!amount || by <= 0) return std::nullopt;
  return *amount / by;
}

double seconds_of_packets(const RunTotals& t) {
  const int64_t ns = t.flows.length_ns() > 0 ? t.flows.length_ns() : t.interval_ns;
  return static_cast<double>(ns) / static_cast<double>(1'000'000'000);
}

template <typename AnyHistogram>
std::optional<double> percentile(const AnyHistogram& histogram, double share) {
  return number(histogram.percentile(share));
}

std::optional<double> run_queue_percentile(const RunTotals& t, double share) {
  return t.run_queue_latency ? percentile(*t.run_queue_latency, share) : std::nullopt;
}

/// A count on the wire. Without any packet it is not 0 but unknown, because perhaps nothing was
/// captured at all.
std::optional<double> if_captured(const RunTotals& t, uint64_t count) {
  if (t.flows.packets == 0) return std::nullopt;
  return static_cast<double>(count);
}

// CPU time is per packet and per flow, because a subject that got less traffic used less without
// being better.
// NOLINTNEXTLINE(readability-identifier-naming): a constant in all but type
const std::array kMetrics = {
    RunMetric{{"cpu_ns_per_flow", "ns", Better::kLower, kMarginOfCounts, true},
              true,
              [](const RunTotals& t) {
                return ratio(number(t.cpu_ns), static_cast<double>(t.flows.new_flows));
              }},
    RunMetric{{"cpu_ns_per_packet", "ns", Better::kLower, kMarginOfCounts, false},
              true,
              [](const RunTotals& t) {
                return ratio(number(t.cpu_ns), static_cast<double>(t.flows.packets));
              }},
    RunMetric{{"rss_bytes_max", "bytes", Better::kLower, kMarginOfCounts, true},
              false,
              [](const RunTotals& t) { return number(t.rss_bytes_max); }},
    // Even if everything else is better, work that is not done is no improvement.
    RunMetric{
        {"failed_share", std::string(kUnitOfShares), Better::kLower, kMarginOfFailures, true, true},
        false,
        failed_share},
    RunMetric{{"answers_per_second", "1/s", Better::kHigher, kMarginOfCounts, true},
              false,
              [](const RunTotals& t) -> std::optional<double> {
                // With a schedule, the rate is just the requested one. A closed loop sends as fast
                // as it is answered.
                if (!t.load || !t.load->closed_loop) return std::nullopt;
                return ratio(static_cast<double>(t.load->accounts.done()),
                             static_cast<double>(t.load->duration_ns) / 1e9);
              }},
    RunMetric{{"reply_latency_ns_p50", "ns", Better::kLower, kMarginOfMedians, true},
              false,
              [](const RunTotals& t) { return percentile(t.flows.reply_latency, 0.5); }},
    RunMetric{{"reply_latency_ns_p99", "ns", Better::kLower, kMarginOfTails, true},
              false,
              [](const RunTotals& t) { return percentile(t.flows.reply_latency, 0.99); }},
    RunMetric{{"lateness_ns_p99", "ns", Better::kLower, kMarginOfTails, false},
              false,
              [](const RunTotals& t) { return percentile(t.flows.lateness, 0.99); }},
    RunMetric{{"run_queue_latency_ns_p50", "ns", Better::kLower, kMarginOfMedians, false},
              true,
              [](const RunTotals& t) { return run_queue_percentile(t, 0.5); }},
    RunMetric{{"run_queue_latency_ns_p99", "ns", Better::kLower, kMarginOfTails, true},
              true,
              [](const RunTotals& t) { return run_queue_percentile(t, 0.99); }},
    RunMetric{{"context_switches_per_packet", "1", Better::kLower, kMarginOfCounts, false},
              true,
              [](const RunTotals& t) {
                return ratio(number(t.context_switches), static_cast<double>(t.flows.packets));
              }},
    RunMetric{{"packets_per_second", "1/s", Better::kHigher, kMarginOfCounts, false},
              false,
              [](const RunTotals& t) {
                return ratio(static_cast<double>(t.flows.packets), seconds_of_packets(t));
              }},
    RunMetric{{"unanswered", "1", Better::kLower, kMarginOfCounts, false},
              false,
              [](const RunTotals& t) { return if_captured(t, t.flows.unanswered); }},
    RunMetric{{"tcp_refused", "1", Better::kLower, kMarginOfCounts, false},
              false,
              [](const RunTotals& t) { return if_captured(t, t.flows.tcp_refused); }},
    RunMetric{{"tcp_resets", "1", Better::kLower, kMarginOfCounts, false},
              false,
              [](const RunTotals& t) { return if_captured(t, t.flows.tcp_resets); }},
    RunMetric{{"http_errors", "1", Better::kLower, kMarginOfCounts, false},
              false,
              [](const RunTotals& t) -> std::optional<double> {
                if (!t.load || !t.load->is_http) return std::nullopt;
                return static_cast<double>(t.load->accounts.http_errors);
              }},
    RunMetric{{"missed_ticks", "1", Better::kLower, kMarginOfCounts, false},
              false,
              [](const RunTotals& t) -> std::optional<double> {
                if (!t.had_period) return std::nullopt;
                return static_cast<double>(t.flows.missed_ticks);
              }},
    RunMetric{{"threads_max", "1", Better::kLower, kMarginOfCounts, false},
              false,
              [](const RunTotals& t) { return number(t.threads_max); }},
    RunMetric{{"fds_max", "1", Better::kLower, kMarginOfCounts, false},
              false,
              [](const RunTotals& t) { return number(t.fds_max); }},
};

}  // namespace

RunTotals::RunTotals(const RunFold& fold)
    : flows(fold.merged.flows),
      interval_ns(fold.merged.interval_ns),
      self_cpu_ns(fold.merged.self.cpu_ns),
      host_steal_ns(fold.merged.self.host_steal_ns),
      host_busy_ns(fold.merged.self.host_busy_ns),
      ticks(fold.ticks),
      capture_drops(fold.merged.losses.capture_kernel_drops +
                    fold.merged.losses.capture_interface_drops),
      had_period(has_lateness(fold.merged.flows, std::nullopt) ||
                 fold.greatest.flows.periodic_flows > 0),
      half_open_before(fold.half_open_before) {
  if (const auto& s = fold.merged.scheduler) {
    run_queue_latency = s->run_queue_latency;
    cpu_ns = s->cpu_ns;
    add_to(context_switches, s->voluntary_switches);
    add_to(context_switches, s->involuntary_switches);
  }
  if (const auto& r = fold.greatest.resources) {
    rss_bytes_max = r->rss_bytes;
    threads_max = r->threads;
    fds_max = r->fds;
  }
  if (const auto& s = fold.merged.sockets; s && s->socket_wait)
    socket_reads = s->socket_wait->count() + fold.merged.losses.socket_left_censored;
  if (const auto& s = fold.merged.sockets; s && s->reply && s->reply->count() > 0) {
    const auto replies = static_cast<double>(s->reply->count());
    reply_ns = static_cast<double>(s->reply->sum()) / replies;
    for (size_t i = 0; i < kReplyPartCount; ++i) {
      if (const auto& part = s->reply_parts[i].time; part)
        reply_part_ns[i] = static_cast<double>(part->sum()) / replies;
    }
  }
}

const std::vector<std::string_view>& RunTotals::distributions() {
  static const std::vector<std::string_view> kNames = [] {
    std::vector<std::string_view> names = {"run_queue_latency_ns", "socket_wait_ns", kReplyNumber};
    for (const ReplyPartNames& part : reply_part_names()) names.push_back(part.time);
    for (const RegisteredNumber& number : numbers()) {
      if (number.probe == "capture" && (number.histogram || number.signed_histogram))
        names.push_back(number.name);
    }
    return names;
  }();
  return kNames;
}

void RunTotals::set_load(const LoadResult& result) {
  load_is_one_way = !result.expects_replies;
  if (load_is_one_way) return;
  load =
      Load{result.total.accounts, result.http.has_value(), result.closed_loop, result.own.wall_ns};
}

uint64_t RunTotals::never_completed() const {
  return flows.tcp_never_completed.value_or(std::min(flows.tcp_half_open, half_open_before));
}

uint64_t RunTotals::failed_work() const {
  return saturating_add(flows.unanswered, saturating_add(flows.tcp_refused, never_completed()));
}

std::optional<double> failed_share(const RunTotals& totals) {
  if (totals.load) {
    const uint64_t asked = totals.load->accounts.asked();
    if (asked == 0) return std::nullopt;
    const uint64_t done = std::min(totals.load->accounts.done(), asked);
    return static_cast<double>(asked - done) / static_cast<double>(asked);
  }
  if (totals.load_is_one_way) return std::nullopt;  // a one-way load expects no replies
  const FlowInterval& f = totals.flows;
  // Overlapping requests are not followed, so they can never become unanswered. Older runs have no
  // count of requests.
  const uint64_t followed = f.requests == 0
                                ? f.reply_latency.count() + f.unanswered
                                : f.requests - std::min(f.overlapping_requests, f.requests);
  // Some requests were sent before the first tick that counts, and timed out after it.
  const uint64_t requests = std::max(followed, f.unanswered);
  // Resets do not count failures: they include refusals, a client may reset a connection when it
  // has all its answers, and a request that a reset cuts off already counts as unanswered.
  const uint64_t no_connection = saturating_add(f.tcp_refused, totals.never_completed());
  const uint64_t asked = saturating_add(requests, no_connection);
  if (asked == 0) return std::nullopt;
  return static_cast<double>(totals.failed_work()) / static_cast<double>(asked);
}

std::span<const RunMetric> run_metrics() { return kMetrics; }

}  // namespace topspin
