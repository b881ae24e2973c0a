// Every distribution of the run: percentiles, and how the samples are spread over time.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/model/figures.h"
#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

/// Each distribution that some run has, once, in the order of first occurrence.
std::vector<std::string_view> distribution_ids(const ReportPage& page) {
  std::vector<std::string_view> ids;
  for (const RunPage& run : page.runs) {
    for (const LatencyCurve& d : distributions(run)) {
      if (std::find(ids.begin(), ids.end(), d.id) == ids.end()) ids.push_back(d.id);
    }
  }
  return ids;
}

Row distribution_row(const ReportPage& page, size_t r, const LatencyCurve& d) {
  const RunPage& run = page.runs[r];
  Line name = side_mark(page, r);
  append(name, d.title);
  if (d.id == "reply_latency_ns") {
    return reply_latency_row(std::move(name), run.fold.merged.flows,
                             run.run.info.settings.reply_timeout_ns);
  }
  Row row = latency_row(std::move(name), d.summary);
  if (d.below_zero > 0) {
    row.cells[0].under = say("{} early", share(static_cast<double>(d.below_zero) /
                                               static_cast<double>(d.summary.count)));
  }
  return row;
}

/// Whether all samples of a distribution are 0, as for the parts of replies that no reply had.
bool is_all_zero(const ReportPage& page, std::string_view id) {
  return std::none_of(page.runs.begin(), page.runs.end(), [&](const RunPage& run) {
    const auto all = distributions(run);
    return std::any_of(all.begin(), all.end(), [&](const LatencyCurve& d) {
      return d.id == id && (d.summary.min != 0 || d.summary.max != 0);
    });
  });
}

std::string title_of(const ReportPage& page, std::string_view id) {
  for (const RunPage& run : page.runs) {
    for (const LatencyCurve& d : distributions(run)) {
      if (d.id == id) return d.title;
    }
  }
  return std::string(id);
}

/// Samples by slices of time and by bands of values, each band spanning a factor of eight.
Table heat_table(const HeatMap& heat) {
  constexpr int kRowsABand = 12;
  constexpr size_t kSlices = 24;
  int least = INT32_MAX, most = INT32_MIN;
  for (const HeatMap::Column& column : heat.columns()) {
    if (column.counts.empty()) continue;
    least = std::min(least, column.counts.begin()->first / kRowsABand);
    most = std::max(most, column.counts.rbegin()->first / kRowsABand);
  }
  Table table;
  if (least > most) return table;
  table.columns.push_back({"Time", true});
  for (int band = least; band <= most; ++band)
    table.columns.push_back(
        {fmt::format("from {}", page_duration(int64_t{1} << (band * kRowsABand / 4))), true});
  const size_t slices = std::min(kSlices, heat.columns().size());
  for (size_t s = 0; s < slices; ++s) {
    const size_t from = s * heat.columns().size() / slices;
    const size_t to = (s + 1) * heat.columns().size() / slices;
    std::vector<uint64_t> counts(static_cast<size_t>(most - least + 1), 0);
    for (size_t c = from; c < to; ++c) {
      for (const auto& [row, samples] : heat.columns()[c].counts)
        counts[static_cast<size_t>(row / kRowsABand - least)] += samples;
    }
    Row row{{say("{} to {}", moment(heat.columns()[from].begin_ns),
                 moment(heat.columns()[to - 1].end_ns))}};
    for (const uint64_t samples : counts) row.cells.push_back(count(samples));
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

Blocks latencies(const ReportPage& page) {
  Table table{"", latency_columns()};
  std::vector<std::string> all_zero;
  for (const std::string_view id : distribution_ids(page)) {
    if (is_all_zero(page, id)) {
      all_zero.push_back(title_of(page, id));
      continue;
    }
    for (size_t r = 0; r < page.runs.size(); ++r) {
      for (const LatencyCurve& d : distributions(page.runs[r])) {
        if (d.id == id) table.rows.push_back(distribution_row(page, r, d));
      }
    }
  }
  if (table.rows.empty()) return {};
  Blocks blocks{Paragraph{say("Over the whole run. A percentile needs ten samples above it; with "
                              "fewer it is not shown. Percentiles are within 1/32 of the true "
                              "value; the minimum and the maximum are exact."),
                          true},
                std::move(table)};
  if (!all_zero.empty()) {
    blocks.emplace_back(Paragraph{say("Not in the table, because all their samples are 0: {}.",
                                      words(fmt::format("{}", fmt::join(all_zero, "; ")), 4096))});
  }
  for (const PercentilePlot& plot : percentile_plots(page)) {
    Plot place{plot.id, say("{}", plot.title)};
    place.small = page.runs.size() > 1;
    blocks.emplace_back(std::move(place));
  }
  for (size_t r = 0; r < page.runs.size(); ++r) {
    for (const LatencyCurve& d : distributions(page.runs[r])) {
      if (d.heat == nullptr || d.heat->empty()) continue;
      Plot plot{fmt::format("heat-{}-{}", d.id, r), side_mark(page, r)};
      append(plot.title, say("{}, samples by time and value", d.title));
      plot.tables.push_back(heat_table(*d.heat));
      blocks.emplace_back(std::move(plot));
    }
  }
  return blocks;
}

}  // namespace topspin::sections
