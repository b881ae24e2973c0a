#include "app/commands/runs/run_list.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/text.h"
#include "core/run/source_text.h"

namespace topspin {
namespace {

/// "2026-11-28 22:10"
std::string started(int64_t wall_ns) {
  std::string utc = format_utc(wall_ns);
  if (utc.size() < 16) return utc;
  utc[10] = ' ';
  return utc.substr(0, 16);
}

/// Labels come first, because they distinguish runs of the same command. Not shortened here.
document::Span description(const StoredRun& run) {
  std::string text;
  for (const auto& [key, value] : run.info.labels)
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", key, value);
  const std::string what = run.info.command.empty()
                               ? run.info.settings.subject
                               : fmt::format("{}", fmt::join(run.info.command, " "));
  if (!what.empty()) text += (text.empty() ? "" : " ") + what;
  return document::words(text, text.size());
}

/// The optional columns of a list.
struct ListColumns {
  bool ids = false;
  bool commits = false;
};

document::Row list_row(const RunListRow& row, ListColumns with) {
  const StoredRun& run = row.measured.run;
  const RunTotals& totals = row.measured.totals;
  const std::string commit = short_commit(run.info.source);
  const auto failed = failed_share(totals);
  std::vector<document::Cell> cells{document::words(fmt::format("#{}", run.number))};
  if (with.ids) cells.emplace_back(document::words(run.info.id));
  cells.emplace_back(document::words(started(run.info.started_wall_ns)));
  cells.emplace_back(document::duration(run.end.duration_ns));
  cells.emplace_back(document::words(run_state(row)));
  cells.emplace_back(document::duration(totals.flows.reply_latency.summary().p99));
  cells.emplace_back(failed ? document::share(*failed) : document::absent());
  if (with.commits)
    cells.emplace_back(commit.empty() ? document::absent() : document::words(commit));
  cells.emplace_back(description(run));
  return {std::move(cells)};
}

}  // namespace

RunListRow read_list_row(RunStore& store, StoredRun run) {
  RunListRow row;
  const auto measured = measure_runs(store, {run});
  if (measured.ok()) {
    row.measured = measured->front();
    row.standing = standing_of(run.info, run.end, row.measured.totals);
    return row;
  }
  row.standing = standing_of(run.info, run.end, {});
  row.standing.reasons.push_back(measured.error().message);
  row.standing.may_be_judged = false;
  row.measured.run = std::move(run);
  return row;
}

std::string_view run_state(const RunListRow& row) {
  if (!row.standing.complete) return run_status_name(row.measured.run.end.status);
  if (!row.standing.usable) return "unusable";
  return row.standing.may_be_judged ? "ok" : "not judged";
}

document::Document run_list_document(const std::vector<RunListRow>& rows, bool with_ids) {
  const ListColumns with{with_ids, std::any_of(rows.begin(), rows.end(), [](const RunListRow& row) {
                           return !row.measured.run.info.source.commit.empty();
                         })};
  document::Table table;
  table.columns = {{"Run"}};
  if (with.ids) table.columns.push_back({"Id", false});
  table.columns.insert(table.columns.end(), {{"Started (UTC)", false, true},
                                             {"Lasted", true, true},
                                             {"State", false},
                                             {"p99", true, true},
                                             {"Failed", true, true}});
  if (with.commits) table.columns.push_back({"Commit", false, true});
  table.columns.push_back({"Labels, command", false, false, true});
  for (const RunListRow& row : rows) table.rows.push_back(list_row(row, with));
  document::Document document;
  document.sections.push_back({"runs", "", {std::move(table)}});
  return document;
}

}  // namespace topspin
