// Every number that was measured, straight from the registry.
#include <algorithm>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

/// "p50 1.2 ms, p99 3.4 ms, max 5.6 ms of 1,234".
Line distribution_line(const HistogramSummary& summary) {
  if (summary.count == 0) return say("none");
  std::vector<Line> parts;
  const auto add = [&](const char* what, const std::optional<int64_t>& ns) {
    if (ns) parts.push_back(say("{} {}", what, duration(ns)));
  };
  add("p50", summary.p50);
  add("p99", summary.p99);
  add("max", summary.max);
  return say("{} of {}", listed(parts), count(summary.count));
}

/// Whether a section of its probe already shows the number. A terminal does not show it twice.
bool is_said(const Number& number) {
  constexpr std::string_view kProbes[] = {"capture",   "losses",  "topspin",  "scheduler",
                                          "resources", "sockets", "pressure", "counters"};
  return std::find(std::begin(kProbes), std::end(kProbes), number.probe) != std::end(kProbes);
}

std::optional<Row> row_of(const RegisteredNumber& number, const RunFold& fold) {
  Cell name = words(capitalized(number.label));
  name.under = say("{}: {}", code(number.name), words(number.help));
  Row row{{std::move(name)}, is_said(number) ? Shown::kNotAtTerminals : Shown::kEverywhere};
  if (number.signed_histogram) {
    const SignedHistogram* values = number.signed_histogram(fold.merged);
    if (values == nullptr || values->empty()) return std::nullopt;
    row.cells.push_back(distribution_line(values->summary()));
    row.cells.push_back("");
    return row;
  }
  if (number.histogram) {
    const Histogram* values = number.histogram(fold.merged);
    if (values == nullptr) return std::nullopt;
    row.cells.push_back(distribution_line(values->summary()));
    row.cells.push_back("");
    return row;
  }
  auto plain = number_rows(fold, 0, number.kind == NumberKind::kGauge,
                           [&](const Number& candidate) { return candidate.name == number.name; });
  if (plain.empty()) return std::nullopt;
  std::vector<Cell>& cells = plain.front().cells;
  for (Cell& cell : cells) {
    for (Span& span : cell.line) span.path.clear();
  }
  if (number.loss && cells.back().line[0].value == 0) return std::nullopt;
  row.cells.push_back(cells.back());
  row.cells.push_back(number.kind == NumberKind::kGauge ? cells[1] : Cell(""));
  return row;
}

}  // namespace

Blocks all_numbers(const ReportPage& page) {
  const bool periods = has_lateness(page);
  return blocks_of_runs(page, [&](size_t r) {
    Blocks blocks;
    Table table;
    std::string_view probe;
    const auto finish_table = [&] {
      table.title = probe;
      table.columns = columns({"Number", "Value", "Greatest"});
      add_table(blocks, std::move(table));
      table = {};
    };
    for (const RegisteredNumber& number : numbers()) {
      if (number.needs_period && !periods) continue;
      if (number.probe != probe) finish_table();
      probe = number.probe;
      if (auto row = row_of(number, page.runs[r].fold)) table.rows.push_back(std::move(*row));
    }
    finish_table();
    return blocks;
  });
}

}  // namespace topspin::sections
