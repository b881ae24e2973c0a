// Shared by several sections. Private to the room.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/run/run_fold.h"
#include "core/tick/numbers.h"
#include "report/document/document.h"
#include "report/model/report_page.h"

namespace topspin::sections {

/// The blocks of each run that has any. If there are two runs, each begins with the mark of its
/// side.
std::vector<document::Block> blocks_of_runs(
    const ReportPage& page, const std::function<std::vector<document::Block>(size_t)>& make);

/// Adds the table, unless it has no rows.
void add_table(std::vector<document::Block>& blocks, document::Table table,
               document::Place place = document::Place::kWhole, bool is_detail = false);

/// Columns of numbers, except for the first one. "-title" is left out if there is no room, "=title"
/// holds words, "-=title" both.
std::vector<document::Column> columns(std::initializer_list<std::string_view> titles);

/// The number of a process or thread, written without separators.
document::Span id(int64_t number);
/// "12.0s" since the start.
document::Span moment(int64_t elapsed_ns);
/// "kernel thread" for "kernel_thread".
std::string spaced(std::string_view name);
/// "poll 1.9 s, futex 12 ms": the two reasons on which most time was slept; absent: none.
document::Line slept_on(const std::array<OffCpuTime, kBlockedByCount>& blocked_by);
/// "1 flow", "2 flows".
document::Line plural(uint64_t count, std::string_view one, std::string_view many);

/// Rows of the registry's plain numbers that were measured and that `wanted` accepts, in its order:
/// the label and the value; with `greatest`, the greatest value comes before the last one.
std::vector<document::Row> number_rows(const RunFold& fold, size_t run, bool greatest,
                                       const std::function<bool(const Number&)>& wanted);

/// The counts of the wire that are above 0.
document::Table traffic_table(const RunFold& fold, size_t run);

/// Whether the run was under a load of HTTP requests.
bool is_http_load(const RunPage& run);

/// Connections of the run that nothing answered.
uint64_t never_completed(const RunPage& run);

/// "2,000 of 20,131 requests not answered within 1 s, 256 of them answered later". It is shown
/// beside every percentile of reply latency. A `timeout_ns` of 0 means not known.
document::Line unanswered(const FlowInterval& flows, int64_t timeout_ns);
/// A reply latency, marked "at least" if only a lower bound is known (core/flow/periods.h).
document::Span reply_latency(const FlowInterval& flows, int64_t timeout_ns, int64_t ns);

/// A row of a table of latencies: samples, least, percentiles, greatest.
std::vector<document::Column> latency_columns();
document::Row latency_row(document::Line name, const HistogramSummary& summary);
document::Row reply_latency_row(document::Line name, const FlowInterval& flows, int64_t timeout_ns);

/// A metric's verdict from settled_verdict().
document::Cell verdict_cell(const Judgement& judgement, const Comparison& metric);

/// What was lost, in words: "capture kernel drops 3, late ticks 1". Empty if nothing was.
document::Line losses_in_words(const Sample& sample);

/// Whether lateness, missed ticks and silence are shown: some flow of some run had a period.
bool has_lateness(const ReportPage& page);

/// A or B; empty if there is only one run.
document::Line side_mark(const ReportPage& page, size_t run);

}  // namespace topspin::sections
