// `topspin list`: the runs of a database, all or some.
#include <algorithm>
#include <cstdlib>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "app/commands/commands.h"
#include "app/commands/runs/run_list.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "ci/run_selection.h"
#include "core/base/clock.h"
#include "report/json/reports.h"
#include "report/markdown/markdown_report.h"
#include "report/text/text_report.h"
#include "store/team_address.h"

namespace topspin {
namespace {

struct ListOptions {
  std::string db;
  std::string branch;
  std::string commit;
  std::string status;
  std::vector<std::string> labels;
  std::string plan;
  std::string since;
  std::optional<uint64_t> newest;
  std::string format = "text";
  bool wide = false;
};

bool has_labels(const StoredRun& run, const std::map<std::string, std::string>& labels) {
  return std::all_of(labels.begin(), labels.end(), [&](const auto& label) {
    const auto found = run.info.labels.find(label.first);
    return found != run.info.labels.end() && found->second == label.second;
  });
}

/// A team's store may hold a hundred thousand runs.
constexpr uint64_t kNewestOfTeam = 100;

Result<RunFilter> filter_of(const ListOptions& o) {
  RunFilter filter;
  filter.branch = o.branch;
  filter.commit = o.commit;
  filter.status = o.status;
  filter.plan = o.plan;
  filter.newest = o.newest;
  if (!o.newest && is_team_address(database_path(o.db))) filter.newest = kNewestOfTeam;
  TOPSPIN_ASSIGN(filter.labels, parse_labels(o.labels));
  if (!o.since.empty()) {
    TOPSPIN_ASSIGN(const int64_t ago_ns, positive_duration(o.since, "--since"));
    filter.since_wall_ns = wall_now_ns() - ago_ns;
  }
  return filter;
}

/// The runs that pass every filter, and of these only the newest if a number was requested.
std::vector<StoredRun> filtered(const RunFilter& filter, std::vector<StoredRun> runs) {
  std::erase_if(runs, [&](const StoredRun& run) {
    const RunInfo& info = run.info;
    return (!filter.branch.empty() && info.source.branch != filter.branch) ||
           (!filter.commit.empty() && !info.source.commit.starts_with(filter.commit)) ||
           (!filter.status.empty() && run_status_name(run.end.status) != filter.status) ||
           (!filter.plan.empty() && (!info.plan || info.plan->name != filter.plan)) ||
           (filter.since_wall_ns && info.started_wall_ns < *filter.since_wall_ns) ||
           !has_labels(run, filter.labels);
  });
  if (filter.newest && runs.size() > *filter.newest)
    runs.erase(runs.begin(), runs.end() - static_cast<ptrdiff_t>(*filter.newest));
  return runs;
}

/// Reads the numbers of all runs, at once if each can be read.
std::vector<RunListRow> read_rows(RunStore& store, const std::vector<StoredRun>& runs) {
  std::vector<RunListRow> rows;
  auto measured = measure_runs(store, runs);
  if (!measured.ok()) {
    for (const StoredRun& run : runs) rows.push_back(read_list_row(store, run));
    return rows;
  }
  for (MeasuredRun& run : *measured) {
    RunListRow& row = rows.emplace_back();
    row.measured = std::move(run);
    row.standing = standing_of(row.measured.run.info, row.measured.run.end, row.measured.totals);
  }
  return rows;
}

/// The columns of a line: $COLUMNS, else those of the terminal; kAnyWidth if neither is known, as
/// in a pipe.
size_t line_width() {
  constexpr long kLeast = 40;
  if (const char* columns = std::getenv("COLUMNS")) {
    const long width = std::strtol(columns, nullptr, 10);
    if (width > 0) return static_cast<size_t>(std::clamp(width, kLeast, 10'000L));
  }
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kAnyWidth;
  return static_cast<size_t>(std::max(kLeast, long{size.ws_col}));
}

std::string list_json(const std::vector<RunListRow>& rows) {
  std::vector<ListedRun> listed;
  for (const RunListRow& row : rows) listed.push_back({row.measured.run, row.standing});
  return run_list_json(listed);
}

std::string rendered(const ListOptions& o, const std::vector<RunListRow>& rows) {
  if (o.format == "json") return list_json(rows);
  if (o.format == "markdown") return document_markdown(run_list_document(rows, true), SIZE_MAX);
  const size_t width = o.wide ? kAnyWidth : line_width();
  return document_text(run_list_document(rows, width == kAnyWidth), width);
}

int list(const ListOptions& o) {
  const Status entered = enter_sandbox({.databases = {database_path(o.db)}});
  if (!entered.ok()) return fail(entered.error());
  const auto filter = filter_of(o);
  if (!filter.ok()) return fail(filter.error());
  auto store = RunStore::open(database_path(o.db));
  if (!store.ok()) return fail(store.error());
  std::vector<Error> damaged;
  auto runs = (*store)->list_runs(*filter, &damaged);
  if (!runs.ok()) return fail(runs.error());
  const size_t all = runs->size();
  const auto chosen = filtered(*filter, std::move(*runs));
  const std::vector<RunListRow> rows = read_rows(**store, chosen);
  fmt::print("{}", rendered(o, rows));
  const std::string path = database_path(o.db);
  const std::string name = address_without_secrets(path);
  if (o.format != "json" && rows.empty()) {
    if (is_team_address(path))
      say(fmt::format("no run in the store {} matches", name));
    else
      say(all == 0 ? fmt::format("{} holds no run yet", name)
                   : fmt::format("none of the {} runs in {} matches", all, name));
  }
  if (!o.newest && is_team_address(path) && rows.size() == kNewestOfTeam)
    say(fmt::format("the newest {} runs; -n N shows more", kNewestOfTeam));
  for (const Error& error : damaged) say(error.message);
  return damaged.empty() ? 0 : exit_code(ErrorCode::kInput);
}

}  // namespace

void add_list_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("list", "List the runs of a database");
  auto o = std::make_shared<ListOptions>();
  const OptionGroup runs(*command, "Options");
  runs.option("--branch", o->branch, "NAME", "Only runs of this branch");
  runs.option("--commit", o->commit, "HEX", "Only runs of the commit that begins with HEX");
  runs.choice("--status", o->status, "STATUS",
              {"complete", "incident", "interrupted", "failed", "running"},
              "Only runs in this state: complete, interrupted, failed or running");
  runs.list("--label", o->labels, "KEY=VALUE", "Only runs with this label; may be repeated");
  runs.option("--plan", o->plan, "NAME", "Only runs of the plan with this name");
  runs.option("--since", o->since, "DURATION", "Only runs that started within this time: 2h, 7d");
  runs.number("-n,--newest", o->newest, "N", 1, 1'000'000, "Only the newest N of them");
  add_database_option(*command, o->db);
  const OptionGroup display(*command, kDisplayGroup);
  display.choice("--format", o->format, "FORMAT", {"text", "markdown", "json"},
                 "text (default), markdown or json");
  display.flag("--wide", o->wide,
               "Cut no line, and show whole ids (default if the output is not a terminal)");
  command->footer(
      "Examples:\n"
      "  topspin list -n 20\n"
      "  topspin list --branch main --status complete --since 7d\n"
      "  topspin list --label side=b --format json\n"
      "\n"
      "State: ok (may be judged), not judged (its numbers can be read, but the host was busy or a "
      "number is doubtful), unusable (too much was lost), or why the run is not complete. p99: of "
      "reply latency. Failed: the share of requests that were not answered as asked.\n"
      "\n"
      "Every command takes a RUN as #12 or 12, as last or last~1, as the start of its id, as a "
      "commit, a branch, or a label KEY=VALUE.");
  command->callback([o, &action] { action = [o] { return list(*o); }; });
}

}  // namespace topspin
