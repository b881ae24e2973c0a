// What the subject called: each address with its failures and latency, and the part of the
// subject's reply time in which a call was pending.
#include <algorithm>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

/// "2 refused, 1 reset"; empty: none failed.
Line failures_line(const CalledRow& row) {
  std::vector<Line> parts;
  const auto part = [&](uint64_t n, std::string_view what) {
    if (n > 0) parts.push_back(say("{} {}", count(n), words(what)));
  };
  part(row.refused, "refused");
  part(row.never_completed, "never connected");
  part(row.unanswered - std::min(row.resets, row.unanswered), "not answered");
  part(row.resets, "reset");
  part(row.http_errors, "HTTP errors");
  return listed(parts);
}

Line address_line(const CalledRow& row) {
  if (row.address.port == 0) return say("all further addresses");
  return {
      words(format_protocol(row.protocol) + " " + format_endpoint(row.address, row.ip_version))};
}

Table called_table(const RunPage& run) {
  Table table{"", columns({"Address", "Calls", "Failed", "p50", "p90", "p99", "Max", "Waited"})};
  for (const CalledRow& row : run.called) {
    if (row.hidden_connections > 0) continue;
    const HistogramSummary s = row.latency.summary();
    Cell failed = count(row.failures());
    failed.under = failures_line(row);
    table.rows.push_back(
        {{address_line(row), count(row.requests), std::move(failed), duration(s.p50),
          duration(s.p90), duration(s.p99), duration(s.max), duration(row.latency.sum())}});
  }
  table.most_in_text = 16;
  return table;
}

Table hidden_table(const RunPage& run) {
  Table table{"Not captured", columns({"Address", "Connections", "=Why"})};
  for (const CalledRow& row : run.called) {
    if (row.hidden_connections == 0) continue;
    table.rows.push_back(
        {{address_line(row), count(row.hidden_connections),
          row.hidden_by_interface
              ? Cell(say("{} does not carry them", words(run.run.info.settings.interface)))
              : Cell("the filter hides them")}});
  }
  table.most_in_text = 8;
  return table;
}

Facts shares_of_time(const CallInterval& calls) {
  Facts facts;
  const auto part_of = [](double part, double whole) { return share(part / whole); };
  const uint64_t serving = calls.serving_ns.value_or(0);
  if (serving > 0) {
    facts.list.emplace_back(
        "waiting", say("a call was pending in {} of the {} in which a request was pending",
                       part_of(static_cast<double>(calls.serving_and_calling_ns.value_or(0)),
                               static_cast<double>(serving)),
                       duration(serving)));
  }
  const uint64_t lone = calls.lone_reply_ns.value_or(0);
  if (lone > 0 && calls.lone_reply_calling) {
    facts.list.emplace_back("one by one",
                            say("in {} of the time of the {} replies that were alone",
                                part_of(static_cast<double>(calls.lone_reply_calling->sum()),
                                        static_cast<double>(lone)),
                                count(calls.lone_reply_calling->count())));
  }
  return facts;
}

}  // namespace

Blocks calls(const ReportPage& page) {
  Blocks blocks = blocks_of_runs(page, [&](size_t r) {
    const RunPage& run = page.runs[r];
    Blocks of_run;
    if (run.called.empty()) return of_run;
    // If none of its calls were captured, a share of 0 would mean that it waits for none.
    const bool is_captured =
        std::any_of(run.called.begin(), run.called.end(),
                    [](const CalledRow& row) { return row.hidden_connections == 0; });
    if (const auto& totals = run.fold.merged.part<CallInterval>(); totals && is_captured) {
      if (Facts facts = shares_of_time(*totals); !facts.list.empty())
        of_run.emplace_back(std::move(facts));
    }
    add_table(of_run, called_table(run));
    add_table(of_run, hidden_table(run));
    return of_run;
  });
  if (!blocks.empty()) {
    blocks.insert(blocks.begin(),
                  Paragraph{say("Requests that the subject sent, which are in none of the other "
                                "tables. Where several requests were pending at once, the share "
                                "of time is an upper bound: the call may be another request's."),
                            true});
  }
  return blocks;
}

}  // namespace topspin::sections
