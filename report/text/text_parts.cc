#include "report/text/text_parts.h"

namespace topspin {

std::string unanswered_text(const FlowInterval& flows, int64_t timeout_ns) {
  // Runs of older schemas did not count requests.
  std::string text = grouped(flows.unanswered);
  if (flows.requests > 0) text += " of " + grouped(flows.requests);
  text += " requests not answered";
  if (timeout_ns > 0) text += " within " + format_duration(timeout_ns);
  if (flows.late_replies > 0)
    text += fmt::format(", {} of them answered later", grouped(flows.late_replies));
  if (flows.overlapping_requests > 0) {
    text += fmt::format("; {} not measured, sent while others were open on their flow",
                        grouped(flows.overlapping_requests));
  }
  return text;
}

std::string reply_latency_rows(const FlowInterval& flows, int64_t timeout_ns) {
  const HistogramSummary s = flows.reply_latency.summary();
  const uint64_t never = never_answered(flows);
  const auto cell = [&](const std::optional<int64_t>& ns) {
    if (!ns) return std::string("-");
    return (is_at_least(*ns, never, timeout_ns) ? ">=" : "") + format_duration(*ns);
  };
  std::string out = fmt::format(fmt::runtime(kLatencyLayout), "reply latency", s.count, cell(s.min),
                                cell(s.p50), cell(s.p90), cell(s.p99), cell(s.p999), cell(s.max));
  if (s.count > 0 || flows.unanswered > 0 || flows.requests > 0)
    out += fmt::format("    {}\n", unanswered_text(flows, timeout_ns));
  return out;
}

std::string traffic_notes_text(const FlowInterval& flows, std::string_view indent) {
  std::string out;
  if (flows.tcp_handshakes + flows.tcp_retransmissions + flows.tcp_out_of_order + flows.tcp_resets +
          flows.tcp_refused + flows.tcp_half_open >
      0) {
    out += fmt::format(
        "{}tcp       {} handshakes, {} retransmitted, {} out of order, {} resets, {} refused{}\n",
        indent, flows.tcp_handshakes, flows.tcp_retransmissions, flows.tcp_out_of_order,
        flows.tcp_resets, flows.tcp_refused,
        flows.tcp_half_open > 0 ? fmt::format(", {} never completed", flows.tcp_half_open) : "");
  }
  if (flows.handshake_turns + flows.multiplexed_turns > 0) {
    out += fmt::format(
        "{}turns     {} of TLS handshakes and {} of multiplexed connections are no replies\n",
        indent, flows.handshake_turns, flows.multiplexed_turns);
  }
  if (flows.duplicate_packets > 0) {
    out += fmt::format(
        "{}twice     {} packets were seen again on another interface, and are counted once\n",
        indent, flows.duplicate_packets);
  }
  if (flows.time_steps + flows.time_went_backwards > 0) {
    out += fmt::format("{}clock     {} packets stamped before one that came earlier, {} steps\n",
                       indent, flows.time_went_backwards, flows.time_steps);
  }
  return out;
}

std::string silence_text(uint64_t periodic_max, uint64_t silent_max, const FlowInterval& flows) {
  // Runs of older schemas did not count flows with a period.
  if (periodic_max == 0) return grouped(flows.missed_ticks) + " ticks missed";
  return fmt::format(
      "{} flows with a period at most, {} ticks missed; silent at most {} of them, {} of {} at the "
      "end",
      grouped(periodic_max), grouped(flows.missed_ticks), grouped(silent_max),
      grouped(flows.silent_flows), grouped(flows.periodic_flows));
}

}  // namespace topspin
