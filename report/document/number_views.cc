#include "report/document/number_views.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "core/numbers.h"
#include "core/text.h"
#include "report/document/readable.h"

namespace topspin {
namespace {

/// What lines of the text report say already: layout, so that nothing stands there twice.
constexpr std::string_view kInLines[] = {
    "packets", "bytes", "new_flows", "missed_ticks", "requests", "unanswered", "late_replies",
    "overlapping_requests", "handshake_turns", "multiplexed_turns", "tcp_packets", "udp_packets",
    "tcp_handshakes", "tcp_retransmissions", "tcp_out_of_order", "tcp_resets", "tcp_refused",
    "time_went_backwards", "time_steps", "duplicate_packets", "super_packets",
    "super_packet_segments", "run_queue_wait_ns", "kernel_run_delay_ns", "cpu_ns",
    "voluntary_switches", "involuntary_switches", "migrations", "replies_multiplexed",
    "listen_overflows", "syn_drops", "udp_drops", "host_listen_overflows", "host_listen_drops",
    "self_cpu_ns", "self_bpf_ns", "host_steal_ns", "host_busy_ns",
    // Parts of `packets` and `bytes`, of no interest of their own.
    "tcp_flows", "tcp_bytes", "udp_flows", "udp_bytes", "ipv4_packets", "ipv6_packets",
    "initiator_packets", "initiator_bytes", "responder_packets", "responder_bytes", "ended_flows"};

bool is_in_lines(const Number& number) {
  return number.loss || number.probe == "counters" || number.probe == "pressure" ||
         number.name.starts_with("preempted_by_") || number.name.starts_with("off_cpu_") ||
         std::find(std::begin(kInLines), std::end(kInLines), number.name) != std::end(kInLines);
}

std::string value_text(const Number& number, double value) {
  if (number.kind == NumberKind::kState) return value != 0 ? "yes" : "no";
  switch (number_unit(number.name)) {
    case NumberUnit::kNanoseconds: return format_duration(static_cast<int64_t>(value));
    case NumberUnit::kBytes: return format_bytes(static_cast<int64_t>(value));
    case NumberUnit::kOne: return fmt::format("{}", static_cast<uint64_t>(value));
  }
  return {};
}

/// "p50 1.2 ms, p99 3.4 ms, max 5.6 ms of 1,234".
std::string distribution_text(const HistogramSummary& summary) {
  if (summary.count == 0) return "none";
  std::string text;
  const auto add = [&](std::string_view what, const std::optional<int64_t>& ns) {
    if (ns) text += fmt::format("{} {}, ", what, format_duration(*ns));
  };
  add("p50", summary.p50);
  add("p99", summary.p99);
  add("max", summary.max);
  text.resize(text.size() - 2);
  return fmt::format("{} of {}", text, summary.count);
}

/// A measured number as a row of a table; `greatest` is empty but for gauges.
struct Row {
  std::string_view probe, label, name, help;
  std::string value, greatest;
};

std::optional<Row> row_of(const RegisteredNumber& number, const RunFold& fold, bool periods) {
  if (number.needs_period && !periods) return std::nullopt;
  Row row{number.probe, number.label, number.name, number.help, {}, {}};
  if (number.signed_histogram) {
    const SignedHistogram* histogram = number.signed_histogram(fold.merged);
    if (histogram == nullptr || histogram->empty()) return std::nullopt;
    row.value = distribution_text(histogram->summary());
  } else if (number.histogram) {
    const Histogram* histogram = number.histogram(fold.merged);
    if (histogram == nullptr) return std::nullopt;
    row.value = distribution_text(histogram->summary());
  } else {
    const auto value = number.value(fold.merged);
    if (!value || (number.loss && *value == 0)) return std::nullopt;
    row.value = value_text(number, *value);
    if (number.kind == NumberKind::kGauge)
      row.greatest = value_text(number, number.value(fold.greatest).value_or(*value));
  }
  return row;
}

void for_each_row(const RunFold& fold, bool periods, const std::function<void(const Row&)>& visit) {
  for (const RegisteredNumber& number : numbers()) {
    if (const auto row = row_of(number, fold, periods)) visit(*row);
  }
}

template <typename T>
Json value_json(const T& value) {
  return Json(value);
}
template <typename T>
Json value_json(const std::optional<T>& value) {
  return json_or_null(value);
}

}  // namespace

Json numbers_json(const RunFold& fold) {
  Json json = Json::object();
  for_each_number([&](const Number& number, auto at) {
    using Value = typename decltype(at)::Value;
    Json& entry = json[std::string(number.name)];
    const Value* value = at.find(fold.merged);
    if (value == nullptr) return;
    if constexpr (kIsEventCount<Value>) {
      if (*value) entry = json_or_null((*value)->scaled());
    } else if constexpr (kIsDistribution<Value>) {
      if constexpr (requires { value->has_value(); }) {
        if (*value) entry = latency_json((*value)->summary());
      } else {
        entry = latency_json(value->summary());
      }
    } else if (number.kind == NumberKind::kGauge) {
      const Value* greatest = at.find(fold.greatest);
      entry = {{"last", value_json(*value)},
               {"max", greatest == nullptr ? Json(nullptr) : value_json(*greatest)}};
    } else {
      entry = value_json(*value);
    }
  });
  return json;
}

std::string other_counts_text(const RunFold& fold) {
  std::string text;
  for (const RegisteredNumber& number : numbers()) {
    if (number.kind != NumberKind::kCount || is_in_lines(number)) continue;
    const auto value = number.value(fold.merged);
    if (value && *value > 0)
      text += fmt::format("{:<44} {}\n", number.label, value_text(number, *value));
  }
  return text;
}

std::string numbers_html_table(const RunFold& fold, bool periods) {
  std::string rows;
  std::string_view probe;
  for_each_row(fold, periods, [&](const Row& row) {
    if (row.probe != probe) {
      probe = row.probe;
      rows +=
          fmt::format("<tr><th scope=\"rowgroup\" colspan=\"3\">{}</th></tr>\n", html_text(probe));
    }
    rows += fmt::format(
        "<tr><th scope=\"row\" title=\"{}\">{}<span class=\"under\"><code>{}</code></span></th>"
        "<td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
        html_text(row.help), html_text(row.label), html_text(row.name), html_text(row.value),
        html_text(row.greatest));
  });
  return "<table><thead><tr><th scope=\"col\">number</th><th scope=\"col\" class=\"n\">value</th>"
         "<th scope=\"col\" class=\"n\">greatest</th></tr></thead><tbody>\n" +
         rows + "</tbody></table>";
}

std::string numbers_markdown_table(const RunFold& fold, bool periods) {
  std::string text = "| number | value | greatest |\n| --- | ---: | ---: |\n";
  for_each_row(fold, periods, [&](const Row& row) {
    text += fmt::format("| {} (`{}`) | {} | {} |\n", row.label, row.name, row.value, row.greatest);
  });
  return text;
}

}  // namespace topspin
