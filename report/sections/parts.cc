#include "report/sections/parts.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/flow/periods.h"
#include "report/model/figures.h"

namespace topspin::sections {

using namespace document;

std::vector<Block> blocks_of_runs(const ReportPage& page,
                                  const std::function<std::vector<Block>(size_t)>& make) {
  std::vector<Block> blocks;
  for (size_t run = 0; run < page.runs.size(); ++run) {
    std::vector<Block> of_run = make(run);
    if (of_run.empty()) continue;
    if (page.runs.size() > 1) blocks.emplace_back(Side{run});
    for (Block& block : of_run) blocks.push_back(std::move(block));
  }
  return blocks;
}

void add_table(std::vector<Block>& blocks, Table table, Place place, bool is_detail) {
  if (!table.rows.empty()) blocks.emplace_back(std::move(table), place, is_detail);
}

std::vector<Column> columns(std::initializer_list<std::string_view> titles) {
  std::vector<Column> all;
  for (const std::string_view title : titles) {
    const bool spare = title.starts_with('-');
    const bool holds_words = title.substr(spare ? 1 : 0).starts_with('=');
    all.push_back({std::string(title.substr((spare ? 1 : 0) + (holds_words ? 1 : 0))),
                   !all.empty() && !holds_words, spare});
  }
  return all;
}

Span id(int64_t number) { return words(fmt::format("{}", number)); }

Span moment(int64_t elapsed_ns) {
  return words(fmt::format("{:.1f} s", static_cast<double>(elapsed_ns) / 1e9));
}

std::string spaced(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

Line slept_on(const std::array<OffCpuTime, kBlockedByCount>& blocked_by) {
  std::vector<Line> parts;
  for (const auto& [reason, sleeps] : longest_sleeps(blocked_by, 2))
    parts.push_back(say("{} {}", words(spaced(blocked_by_name(reason))), duration(sleeps.ns)));
  return parts.empty() ? Line{absent()} : listed(parts);
}

Line plural(uint64_t n, std::string_view one, std::string_view many) {
  return say("{} {}", count(n), n == 1 ? one : many);
}

namespace {

Unit unit_of(const Number& number) {
  switch (number_unit(number.name)) {
    case NumberUnit::kNanoseconds: return Unit::kNanoseconds;
    case NumberUnit::kBytes: return Unit::kBytes;
    case NumberUnit::kOne: break;
  }
  return Unit::kCount;
}

Span value_of(const RegisteredNumber& registered, const RunFold& fold, const Sample& in,
              size_t run) {
  const auto value = registered.value(in);
  if (!value) return absent();
  if (registered.kind == NumberKind::kState) return words(*value != 0 ? "yes" : "no");
  const bool gauge = registered.kind == NumberKind::kGauge;
  const bool is_last = &in == &fold.merged;
  return at_path(number(unit_of(registered), *value),
                 fmt::format("summary.numbers.{}{}", registered.name,
                             !gauge    ? ""
                             : is_last ? ".last"
                                       : ".max"),
                 run);
}

}  // namespace

std::vector<Row> number_rows(const RunFold& fold, size_t run, bool greatest,
                             const std::function<bool(const Number&)>& wanted) {
  std::vector<Row> rows;
  for (const RegisteredNumber& number : numbers()) {
    if (!number.value || !wanted(number) || !number.value(fold.merged)) continue;
    Row row{{words(capitalized(number.label))}};
    if (greatest) row.cells.push_back(value_of(number, fold, fold.greatest, run));
    row.cells.push_back(value_of(number, fold, fold.merged, run));
    rows.push_back(std::move(row));
  }
  return rows;
}

namespace {

/// Parts of all packets and bytes, which only the table of all numbers shows.
bool is_part_of_traffic(std::string_view name) {
  constexpr std::string_view kParts[] = {
      "tcp_flows",         "tcp_packets",     "tcp_bytes",         "udp_flows",
      "udp_packets",       "udp_bytes",       "ipv4_packets",      "ipv6_packets",
      "initiator_packets", "initiator_bytes", "responder_packets", "responder_bytes",
      "ended_flows"};
  return std::find(std::begin(kParts), std::end(kParts), name) != std::end(kParts);
}

}  // namespace

Table traffic_table(const RunFold& fold, size_t run) {
  Table table;
  table.columns = columns({"", ""});
  table.rows = number_rows(fold, run, false, [&](const Number& number) {
    return number.probe == "capture" && number.kind == NumberKind::kCount && !number.needs_period &&
           !is_part_of_traffic(number.name);
  });
  std::erase_if(table.rows, [](const Row& row) { return row.cells[1].line[0].value == 0; });
  return table;
}

bool is_http_load(const RunPage& run) { return run.measured.load && run.measured.load->is_http; }

uint64_t never_completed(const RunPage& run) {
  // Runs of older schemas did not count them. For those, use the gate's estimate.
  return run.fold.merged.flows.tcp_never_completed.value_or(run.measured.never_completed());
}

Line unanswered(const FlowInterval& flows, int64_t timeout_ns) {
  Line line = say("{}", count(flows.unanswered));
  // Runs of older schemas did not count requests.
  if (flows.requests > 0) append(line, say(" of {}", count(flows.requests)));
  append(line, " requests not answered");
  if (timeout_ns > 0) append(line, say(" within {}", duration(timeout_ns)));
  if (flows.late_replies > 0)
    append(line, say(", {} of them answered later", count(flows.late_replies)));
  if (flows.overlapping_requests > 0) {
    append(line, say("; {} not measured, sent while others were open on their flow",
                     count(flows.overlapping_requests)));
  }
  return line;
}

Span reply_latency(const FlowInterval& flows, int64_t timeout_ns, int64_t ns) {
  Span span = duration(ns);
  span.at_least = is_at_least(ns, never_answered(flows), timeout_ns);
  return span;
}

std::vector<Column> latency_columns() {
  return columns({"", "Samples", "Min", "p50", "p90", "p99", "p99.9", "Max"});
}

Row latency_row(Line name, const HistogramSummary& s) {
  return {{std::move(name), count(s.count), duration(s.min), duration(s.p50), duration(s.p90),
           duration(s.p99), duration(s.p999), duration(s.max)}};
}

Row reply_latency_row(Line name, const FlowInterval& flows, int64_t timeout_ns) {
  Row row = latency_row(std::move(name), flows.reply_latency.summary());
  for (size_t i = 2; i < row.cells.size(); ++i) {
    Span& span = row.cells[i].line[0];
    if (span.kind == Span::Kind::kNumber)
      span = reply_latency(flows, timeout_ns, static_cast<int64_t>(span.value));
  }
  row.cells[0].under = unanswered(flows, timeout_ns);
  return row;
}

Line losses_in_words(const Sample& sample) {
  std::vector<Line> parts;
  for_each_loss(sample, [&](const Number& number, uint64_t raw) {
    if (raw == 0) return;
    const std::string_view name = LossInterval::bare_name(number);
    const bool is_time = name.ends_with("_ns");
    parts.push_back(say("{} {}", spaced(is_time ? name.substr(0, name.size() - 3) : name),
                        is_time ? duration(raw) : count(raw)));
  });
  return listed(parts);
}

bool has_lateness(const ReportPage& page) {
  return std::any_of(page.runs.begin(), page.runs.end(), [](const RunPage& run) {
    return topspin::has_lateness(run.fold, run.run.info.settings);
  });
}

Line side_mark(const ReportPage& page, size_t run) {
  const std::string_view side = side_name(page, run);
  if (side.empty()) return {};
  Span span = words(side);
  span.kind = Span::Kind::kSide;
  span.run = run;
  return {span, words(" ")};
}

}  // namespace topspin::sections
