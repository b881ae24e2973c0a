// `topspin export`: stored runs and judgements for programs.
#include <algorithm>
#include <array>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/commands/commands.h"
#include "app/commands/export_target.h"
#include "app/commands/gate/judgement_file.h"
#include "app/host/outlet.h"
#include "app/host/privileges.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "ci/run_selection.h"
#include "report/export/export.h"
#include "report/export/folded_stacks.h"
#include "report/json/reports.h"
#include "store/runs/gate_log.h"

namespace topspin {
namespace {

struct ExportOptions {
  std::vector<std::string> runs;
  std::string db;
  std::string format;
  std::string output;
  std::string table;
  std::string histogram;
  std::string collector;
  std::string judgement;
};

constexpr std::array<std::string_view, 10> kFormats = {"json",  "ndjson",   "csv",   "openmetrics",
                                                       "hdr",   "perfetto", "ipfix", "folded",
                                                       "junit", "github"};

std::vector<std::string> format_names() { return {kFormats.begin(), kFormats.end()}; }

bool is_of_judgement(const std::string& format) { return format == "junit" || format == "github"; }

/// Refuses options that have no meaning for the format.
Status check_options(const ExportOptions& o) {
  const std::string formats = fmt::format("{}", fmt::join(kFormats, ", "));
  TOPSPIN_TRY(check_output_name(o.output, formats));
  if (o.format.empty())
    return make_error(ErrorCode::kUsage, fmt::format("give --format: one of {}", formats));
  const auto belongs = [&](const std::string& given, const char* option,
                           std::initializer_list<std::string_view> takers) -> Status {
    if (given.empty() || std::find(takers.begin(), takers.end(), o.format) != takers.end())
      return {};
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{} has no effect with --format {}; leave it out", option, o.format));
  };
  TOPSPIN_TRY(belongs(o.table, "--table", {"csv", "folded"}));
  TOPSPIN_TRY(belongs(o.histogram, "--histogram", {"hdr"}));
  TOPSPIN_TRY(belongs(o.collector, "--collector", {"ipfix"}));
  TOPSPIN_TRY(belongs(o.judgement, "--judgement", {"junit", "github"}));
  if (!o.collector.empty() && !o.output.empty())
    return make_error(ErrorCode::kUsage, "give either --collector or -o, not both");
  if (is_of_judgement(o.format) && !o.runs.empty()) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("--format {} exports a judgement and takes no RUN: it is the "
                                  "gate's last one, or that of --judgement FILE",
                                  o.format));
  }
  return {};
}

Result<Judgement> load_judgement(const ExportOptions& o) {
  if (!o.judgement.empty()) return read_judgement_file(o.judgement);
  const std::string db = database_path(o.db);
  TOPSPIN_ASSIGN(const auto last, read_last_judgement(db));
  if (!last) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{} holds no judgement yet; make one with `topspin gate`", db));
  }
  return parse_judgement(last->document, fmt::format("the last judgement in {}", db));
}

Status export_to(const ExportOptions& o, RunStore& store, const std::vector<StoredRun>& runs,
                 const ByteSink& sink) {
  if (o.format == "ipfix") return export_ipfix(store, runs, sink);
  ExportOutput output(sink);
  if (o.format == "json") return export_json(store, runs, output);
  if (o.format == "ndjson") return export_ndjson(store, runs, output);
  if (o.format == "openmetrics") return export_openmetrics(store, runs, output);
  if (o.format == "perfetto") return export_perfetto(store, runs, output);
  if (o.format == "folded")
    return export_folded(store, runs,
                         o.table == "sleep_stacks"     ? FoldedKind::kSleeps
                         : o.table == "busy_stretches" ? FoldedKind::kBusyStretches
                                                       : FoldedKind::kCpuSamples,
                         output);
  if (o.format == "hdr") {
    return export_hdr(store, runs.front(), o.histogram.empty() ? "reply_latency_ns" : o.histogram,
                      output);
  }
  TOPSPIN_ASSIGN(const CsvTableKind table, parse_csv_table(o.table.empty() ? "ticks" : o.table));
  return export_csv(store, runs, table, output);
}

/// The named runs, or the newest if none was named.
Result<std::vector<StoredRun>> runs_to_export(const ExportOptions& o, RunStore& store) {
  TOPSPIN_ASSIGN(auto runs,
                 select_runs(store, o.runs.empty() ? std::vector<std::string>{"last"} : o.runs));
  if (o.format == "hdr" && runs.size() > 1) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("--format hdr exports one run, but {} were named; give one, such as #{}",
                    runs.size(), runs.back().number));
  }
  return runs;
}

Status export_stored(const ExportOptions& o) {
  TOPSPIN_TRY(check_options(o));
  if (o.format == "folded" && !o.table.empty() && o.table != "stacks" &&
      o.table != "sleep_stacks" && o.table != "busy_stretches")
    return make_error(
        ErrorCode::kUsage,
        "--format folded has the tables stacks (default), sleep_stacks and busy_stretches");
  if (o.format == "csv" && !o.table.empty()) {
    TOPSPIN_ASSIGN([[maybe_unused]] const CsvTableKind table, parse_csv_table(o.table));
  }
  // The file must belong to the user. The sandbox opens no socket.
  TOPSPIN_TRY(give_up_all_privileges(true));
  TOPSPIN_ASSIGN(ExportTarget target, o.collector.empty()
                                          ? ExportTarget::open(o.output, database_path(o.db))
                                          : ExportTarget::connect_udp(o.collector));
  TOPSPIN_TRY(enter_sandbox(
      {.inputs = {o.judgement}, .databases = {database_path(o.db)}, .output = &target}));
  if (is_of_judgement(o.format)) {
    TOPSPIN_ASSIGN(const Judgement judgement, load_judgement(o));
    TOPSPIN_TRY(target.write(o.format == "junit" ? judgement_junit(judgement)
                                                 : judgement_github(judgement)));
    return target.finish();
  }
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(const auto runs, runs_to_export(o, *store));
  TOPSPIN_TRY(
      export_to(o, *store, runs, [&](std::string_view bytes) { return target.write(bytes); }));
  return target.finish();
}

}  // namespace

void add_export_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("export", "Write runs and verdicts for other programs");
  auto o = std::make_shared<ExportOptions>();
  command->add_option("RUN", o->runs, fmt::format("{}; several of them (default last)", kRunHelp))
      ->option_text("RUN...");
  add_database_option(*command, o->db);
  OptionGroup(*command, kStorageGroup)
      .option("--judgement", o->judgement, "FILE",
              "For junit and github: a file written by `gate --format json` (default: the last "
              "judgement in the database)");
  const OptionGroup display(*command, kDisplayGroup);
  display.choice("--format", o->format, "FORMAT", format_names(),
                 "For runs: json, ndjson, csv, openmetrics, hdr, perfetto, ipfix or folded. For "
                 "the gate's last judgement: junit or github");
  display.option("-o,--output", o->output, "FILE", "Write to a file (default: standard output)");
  display.option("--table", o->table, "NAME",
                 "For csv: ticks (default), flows, threads, thread_ticks, late_messages, owners, "
                 "sockets, syscalls, cpu_holders, called, stacks, sleep_stacks, busy_stretches, "
                 "slow_replies, counters, stages, loads, load_parts, events or runs. For folded: "
                 "stacks (default), sleep_stacks or busy_stretches");
  display.option("--histogram", o->histogram, "NAME",
                 "For hdr: the histogram (default reply_latency_ns)");
  display.option("--collector", o->collector, "ADDRESS:PORT",
                 "For ipfix: send the flows to a collector by UDP");
  command->footer(
      "Examples:\n"
      "  topspin export last --format ndjson | jq 'select(.type == \"tick\") | .packets'\n"
      "  topspin export --format csv --table flows -o flows.csv\n"
      "  topspin export --format openmetrics -o run.prom\n"
      "  topspin export --format hdr --histogram run_queue_latency_ns -o waits.hgrm\n"
      "  topspin export --format perfetto -o trace.json\n"
      "  topspin export --format ipfix --collector 127.0.0.1:4739\n"
      "  topspin export --format junit -o gate.xml");
  command->callback([o, &action] {
    action = [o] {
      const Status status = export_stored(*o);
      return status.ok() ? 0 : fail(status.error());
    };
  });
}

}  // namespace topspin
