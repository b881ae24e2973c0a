// `topspin sql`: a question to a database, in SQL. Without one it shows what can be asked.
#include <algorithm>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/commands/commands.h"
#include "app/commands/export_target.h"
#include "app/commands/runs/run_list.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/base/text_width.h"
#include "core/tick/numbers.h"
#include "report/export/sql_rows.h"
#include "report/text/text_report.h"
#include "store/sql/sql_reader.h"
#include "store/team_address.h"

namespace topspin {
namespace {

struct SqlOptions {
  std::string statement;
  std::string db;
  std::string format = "table";
  std::string timeout;
};

RunDescription describe_run(RunStore& store, const StoredRun& run) {
  const RunListRow row = read_list_row(store, run);
  return {std::string(run_state(row)), fmt::format("{}", fmt::join(row.standing.reasons, "; ")),
          row.measured.totals.flows.reply_latency.summary().p99, failed_share(row.measured.totals)};
}

/// Shows the line of the statement that was refused, with a mark under the place. A long line is
/// cut on both sides.
void show_place(std::string_view statement, size_t offset) {
  constexpr size_t kMostBefore = 60, kMostAfter = 30;
  const auto is_inside_character = [&](size_t at) {
    return at < statement.size() && (static_cast<unsigned char>(statement[at]) & 0xC0) == 0x80;
  };
  offset = std::min(offset, statement.size());
  size_t begin = offset == 0 ? 0 : statement.rfind('\n', offset - 1) + 1;
  size_t end = std::min(statement.find('\n', offset), statement.size());
  if (offset - begin > kMostBefore) begin = offset - kMostBefore;
  if (end - offset > kMostAfter) end = offset + kMostAfter;
  while (begin < offset && is_inside_character(begin)) ++begin;
  while (is_inside_character(end)) ++end;
  const std::string before = sanitize_for_terminal(statement.substr(begin, offset - begin));
  const std::string after = sanitize_for_terminal(statement.substr(offset, end - offset));
  error_outlet().write(fmt::format("  {}{}\n  {}^\n", before, after,
                                   std::string(static_cast<size_t>(text_width(before)), ' ')));
}

Status print_table(SqlRows& rows, ExportTarget& target) {
  TOPSPIN_ASSIGN(const SqlTable table, sql_table(rows));
  TOPSPIN_TRY(target.write(document_text(table.document, kAnyWidth)));
  if (table.is_empty) say("there is no such row");
  if (table.is_cut)
    say("there are more rows, and a table has a limit; --format csv and json have all of them");
  return target.finish();
}

Status print_rows(const SqlOptions& o, SqlRows& rows) {
  TOPSPIN_ASSIGN(ExportTarget target, ExportTarget::open("", database_path(o.db)));
  if (o.format == "table") return print_table(rows, target);
  ExportOutput output([&](std::string_view bytes) { return target.write(bytes); });
  TOPSPIN_TRY(o.format == "csv" ? export_sql_csv(rows, output) : export_sql_json(rows, output));
  return target.finish();
}

/// The words in lines of a terminal's width.
std::string wrapped_words(const std::vector<std::string>& words) {
  std::string text, line = " ";
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string word = words[i] + (i + 1 < words.size() ? "," : "");
    if (line.size() + 1 + word.size() > kTextWidth) {
      text += line + "\n";
      line = " ";
    }
    line += " " + word;
  }
  return text + line + "\n";
}

std::string view_text(const SqlView& view, std::string_view words_before_example) {
  std::string text =
      fmt::format("\n{}: {}\n{}", view.name, view.holds, wrapped_words(view.columns));
  if (!view.numbers.empty()) text += fmt::format("  and {}\n", view.numbers);
  return text + fmt::format("  topspin sql {}\"{}\"\n", words_before_example, view.example);
}

/// Of a team's store.
std::string store_views_text() {
  std::string text =
      "Views of a team's store, with the runs of the project in the address. The tables of the "
      "schema\ntopspin can be read too (docs/team-store.md).\n";
  for (const SqlView& view : team_sql_views()) text += view_text(view, "--db ADDRESS ");
  return text;
}

/// The views and their columns.
std::string views_text() {
  std::string text = "Views. The tables of the database can be read too (docs/schema.md).\n";
  for (const SqlView& view : sql_views()) text += view_text(view, "");
  std::vector<std::string> plain, histograms;
  for (const RegisteredNumber& number : numbers()) {
    const bool is_histogram = number.kind == NumberKind::kDistribution;
    (is_histogram ? histograms : plain).emplace_back(number.name);
  }
  return text + "\nNumbers (docs/numbers.md):\n" + wrapped_words(plain) +
         "\nNumbers that are histograms, for percentile() and the like:\n" +
         wrapped_words(histograms);
}

Result<int> ask(const SqlOptions& o) {
  std::optional<int64_t> timeout_ns, until_ns;
  if (!o.timeout.empty()) {
    TOPSPIN_ASSIGN(timeout_ns, positive_duration(o.timeout, "--timeout"));
    until_ns = monotonic_now_ns() + *timeout_ns;
  }
  TOPSPIN_TRY(enter_sandbox({.databases = {database_path(o.db)}}));
  bool is_late = false;
  const auto stop = [&] { return is_late = until_ns && monotonic_now_ns() > *until_ns; };
  TOPSPIN_ASSIGN(const auto reader,
                 SqlReader::open(database_path(o.db), describe_run, stop, timeout_ns));
  SqlRefusal refusal;
  const auto rows = reader->ask(o.statement, refusal);
  if (rows == nullptr) {
    const int code = fail(refusal.error);
    if (refusal.offset) show_place(o.statement, *refusal.offset);
    return code;
  }
  const Status printed = print_rows(o, *rows);
  if (is_late) {
    return make_error(ErrorCode::kInput,
                      fmt::format("the question took longer than --timeout {}", o.timeout));
  }
  if (!printed.ok()) return printed.error();
  return 0;
}

int sql(const SqlOptions& o) {
  if (o.statement.empty()) {
    fmt::print("{}", is_team_address(database_path(o.db)) ? store_views_text() : views_text());
    return 0;
  }
  const auto asked = ask(o);
  return asked.ok() ? *asked : fail(asked.error());
}

}  // namespace

void add_sql_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("sql", "Ask a database a question in SQL; nothing is changed");
  auto o = std::make_shared<SqlOptions>();
  command
      ->add_option("STATEMENT", o->statement,
                   "One SELECT (default: list the views, their columns and an example of each)")
      ->option_text("STATEMENT");
  add_database_option(*command, o->db);
  OptionGroup(*command, kTimeGroup)
      .option(
          "--timeout", o->timeout, "DURATION",
          "End the question with an error after this time: 10s (default: no limit; a minute for "
          "a team's store)");
  OptionGroup(*command, kDisplayGroup)
      .choice("--format", o->format, "table|csv|json", {"table", "csv", "json"},
              "How to print the rows (default table)");
  command->footer(
      "Examples:\n"
      "  topspin sql\n"
      "  topspin sql 'SELECT run, state, duration_s, labels FROM runs'\n"
      "  topspin sql 'SELECT run, percentile(reply_latency_ns, 0.99) FROM totals'\n"
      "  topspin sql 'SELECT * FROM replies ORDER BY total_ns DESC' --format csv\n"
      "  topspin sql 'SELECT elapsed_s, packets_per_second FROM ticks' --format json\n"
      "  topspin sql --db postgresql://me@db.example/topspin#shop 'SELECT * FROM runs'\n"
      "\n"
      "Functions on histograms: percentile(hist, 0.99), hist_count(hist), hist_sum, hist_mean, "
      "hist_min, hist_max, and merge(hist), which joins those of several rows. part(reply, "
      "'cpu_queue') is the time that a reply of the view replies spent so. docs/sql.md describes "
      "views and functions. A team's store has views of its own and none of the functions: "
      "topspin sql --db ADDRESS lists them.");
  command->callback([o, &action] { action = [o] { return sql(*o); }; });
}

}  // namespace topspin
