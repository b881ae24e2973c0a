// topspin load: the command line, signals, and the exit code.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "app/commands/commands.h"
#include "app/find/process_cpu.h"
#include "app/host/host.h"
#include "app/host/outlet.h"
#include "app/host/privileges.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "app/version.h"
#include "app/workers/coordinator.h"
#include "ci/run_selection.h"
#include "ci/slo/find_rules.h"
#include "core/base/text.h"
#include "load/find/find_load.h"
#include "load/load.h"
#include "load/share/job_epochs.h"
#include "load/workloads/workload_type.h"
#include "report/json/reports.h"
#include "report/markdown/markdown_report.h"
#include "report/text/text_report.h"
#include "store/run_store.h"

namespace topspin {
namespace {

std::atomic<bool> stop_requested{false};
std::atomic<int> signal_received{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

/// The first signal ends the load properly; a second one ends the program at once.
void on_signal(int number) {
  if (signal_received.exchange(number) != 0) _exit(128 + number);
  stop_requested.store(true);
}

void install_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

/// The options as they were typed.
struct LoadArguments {
  std::string target;
  std::map<std::string, std::string> texts;  // of the workload's options; by name
  std::string format = "text";
  std::string db;
  std::vector<std::string> labels;
  bool quiet = false;
  // Of a load that workers send.
  std::string workers;
  std::vector<std::string> where;
  size_t at_least = 1;
  std::string by;
  std::optional<pid_t> find_pid;  // the server, whose CPU a search looks at
};

/// The line that is printed once per second, without a newline.
std::string progress_line(const LoadProgress& progress) {
  const auto time = [](const std::optional<int64_t>& ns) {
    return ns ? format_duration(*ns) : "-";
  };
  const LoadAccounts& a = progress.accounts;
  const HistogramSummary latency = progress.latency_intended.summary();
  return fmt::format(
      "{:6.1f}s {:<12} clients {:>6}  sent {:>9}  replied {:>9}  lost {:>6}  {}"
      "latency p50 {} p99 {}  own lateness p99 {}",
      static_cast<double>(progress.elapsed_ns) / 1e9, progress.stage, progress.clients, a.sent,
      a.replied + a.late_replies, a.lost,
      a.http_errors > 0 ? fmt::format("http errors {:>6}  ", a.http_errors) : std::string(),
      time(latency.p50), time(latency.p99), time(progress.own_lateness.summary().p99));
}

WriterOptions writer_options() {
  WriterOptions options;
  if (const auto user = invoking_user()) {
    options.owner_uid = user->uid;
    options.owner_gid = user->gid;
  }
  return options;
}

/// What a search found, for a run's labels: its stages are the run's.
void add_find_labels(const LoadFind& find, std::map<std::string, std::string>& labels) {
  const auto add = [&](const char* key, std::string value) {  // the user's own come first
    labels.emplace(key, std::move(value));
  };
  add("find", fmt::format("{}", fmt::join(find.rules, " and ")));
  add("find_by", std::string(find_by_name(find.by)));
  add("find_end", std::string(find_end_name(find.end)));
  if (find.kept) add("find_kept", fmt::format("{:.10g}", *find.kept));
  if (find.failed) add("find_failed", fmt::format("{:.10g}", *find.failed));
}

/// Stores the result as a run that observed only the load.
Status store_result(const LoadArguments& arguments, const LoadOptions& load,
                    const LoadResult& result) {
  RunInfo run;
  run.id = make_run_id(result.started_wall_ns);
  run.started_wall_ns = result.started_wall_ns;
  run.started_monotonic_ns = result.started_monotonic_ns;
  run.host = read_host_info();
  run.topspin_version = kVersion;
  TOPSPIN_ASSIGN(run.labels, parse_labels(arguments.labels));
  if (result.find) add_find_labels(*result.find, run.labels);
  run.command = {"topspin", "load", std::string(workload_name(result.workload)), "--target",
                 result.target};
  run.settings.subject = "none";
  run.settings.period_ns = load.period_ns;
  run.settings.reply_timeout_ns = load.timeout_ns;
  const std::string path = database_path(arguments.db);
  TOPSPIN_ASSIGN(const auto writer, RunWriter::create(path, run, writer_options()));
  for (size_t i = 0; i < result.stages.size(); ++i) {
    const LoadPart& part = result.stages[i];
    TOPSPIN_TRY(writer->put_stage(i, {part.name, StageKind::kLoad, part.begin_ns, part.end_ns,
                                      part.clients_from, part.clients_to}));
  }
  TOPSPIN_TRY(writer->put_load(result));
  RunEnd end;
  end.duration_ns = result.own.wall_ns;
  end.invalid_reasons = result.invalid_reasons;
  TOPSPIN_TRY(writer->finish(end));
  if (!arguments.quiet) say(fmt::format("kept in {} as run {}", path, run.id));
  return {};
}

void print_result(const LoadResult& result, const std::string& format) {
  fmt::print("{}", format == "json"       ? load_result_json(result)
                   : format == "markdown" ? load_result_markdown(result, kStepSummaryBytes)
                                          : load_result_text(result));
}

struct ShowArguments {
  std::vector<std::string> runs;
  std::string db;
  std::string format = "text";
};

/// Shows the loads of several runs, from one or more hosts, merged into one.
int show(const ShowArguments& arguments) {
  const auto merged = [&]() -> Result<LoadResult> {
    TOPSPIN_TRY(enter_sandbox({.databases = {database_path(arguments.db)}}));
    TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(arguments.db)));
    TOPSPIN_ASSIGN(const auto chosen, select_runs(*store, arguments.runs));
    std::vector<LoadResult> loads;
    for (const StoredRun& run : chosen) {
      TOPSPIN_ASSIGN(auto load, store->load_load(run.info.id));
      if (!load) {
        return make_error(ErrorCode::kUsage,
                          fmt::format("run #{} has no load; choose runs that topspin load --db or "
                                      "topspin run made",
                                      run.number));
      }
      loads.push_back(std::move(*load));
    }
    return merge_loads(loads);
  }();
  if (!merged.ok()) return fail(merged.error());
  print_result(*merged, arguments.format);
  return merged->valid() ? 0 : exit_code(ErrorCode::kInvalidRun);
}

Result<LoadResult> run_by_workers(const LoadArguments& arguments, const WorkloadType& type,
                                  const LoadOptions& options, const LoadProgressSink& progress) {
  SharedLoadOptions shared;
  shared.address = arguments.workers;
  shared.at_least = arguments.at_least;
  TOPSPIN_ASSIGN(shared.where, parse_labels(arguments.where));
  const JobDescription job{std::string(type.name()), arguments.target, arguments.texts};
  // As a worker will read it.
  if (const auto read = job_options(job); !read.ok()) return read.error();
  SharedLoadView view;
  view.progress = progress;
  view.tell = [&](const std::string& sentence) {
    if (!arguments.quiet) say(sentence);
  };
  if (arguments.by == "worker" && !arguments.quiet) {
    view.of_worker = [](const std::string& worker, const LoadProgress& line) {
      error_outlet().write(fmt::format(
          "{}\n", sanitize_for_terminal(fmt::format("{}  {}", progress_line(line), worker))));
    };
  }
  return run_shared_load(shared, job, options, stop_requested, view);
}

/// Searches for the most that the rules allow, with a line for each stage.
Result<LoadResult> run_search(const LoadArguments& arguments, const LoadOptions& options) {
  TOPSPIN_ASSIGN(const FindRules rules, read_find_rules(options.find.rules));
  FindWatch watch;
  watch.on_stage = [&](const FindStage& stage) {
    if (arguments.quiet) return;
    error_outlet().write(
        fmt::format("{}\n", sanitize_for_terminal(find_stage_text(*options.find.by, stage))));
  };
  if (arguments.find_pid) {
    if (!read_process_cpu(*arguments.find_pid))
      return wrong_usage(fmt::format("--find-pid: there is no process {}", *arguments.find_pid));
    watch.subject_cpu = [pid = *arguments.find_pid] { return read_process_cpu(pid); };
  }
  return find_load(options, rules, stop_requested, watch);
}

int run(const LoadArguments& arguments, const WorkloadType& type) {
  const auto options = read_load_options(type, arguments.target, arguments.texts);
  if (!options.ok()) return fail(options.error());
  if (const auto labels = parse_labels(arguments.labels); !labels.ok()) return fail(labels.error());
  if (!arguments.labels.empty() && arguments.db.empty())
    return fail(wrong_usage("--label needs --db, the database that stores the result"));
  if (arguments.workers.empty() &&
      (!arguments.where.empty() || arguments.at_least != 1 || !arguments.by.empty()))
    return fail(wrong_usage("--where, --at-least and --by are for a load with --workers"));
  const bool is_search = !options->find.rules.empty();
  if (is_search && !arguments.workers.empty())
    return fail(wrong_usage("--find is for a load that this host sends; leave --workers out"));
  if (!is_search && arguments.find_pid)
    return fail(wrong_usage("--find-pid is for a load with --find"));
  // A load may take hours. Say now that its result could not be kept.
  if (!arguments.db.empty()) {
    if (const Status kept = RunWriter::check(database_path(arguments.db), writer_options());
        !kept.ok())
      return fail(kept.error());
  }
  install_signals();
  const auto progress = [&](const LoadProgress& line) {
    if (!arguments.quiet) {
      error_outlet().write(fmt::format("{}\n", sanitize_for_terminal(progress_line(line))));
    }
  };
  const auto result = is_search ? run_search(arguments, *options)
                      : arguments.workers.empty()
                          ? run_load(*options, stop_requested, progress)
                          : run_by_workers(arguments, type, *options, progress);
  if (!result.ok()) {
    const int code = fail(result.error());
    return signal_received.load() != 0 ? 128 + signal_received.load() : code;
  }
  print_result(*result, arguments.format);
  if (std::fflush(stdout) != 0) {
    return fail(make_error(ErrorCode::kOutput, "cannot write to standard output"));
  }
  if (!arguments.db.empty()) {
    if (const Status stored = store_result(arguments, *options, *result); !stored.ok())
      return fail(stored.error());
  }
  if (const int number = signal_received.load(); number != 0) return 128 + number;
  if (!result->valid()) {
    if (arguments.format == "json")  // other formats begin with the reasons
      for (const std::string& reason : result->invalid_reasons) say("invalid load: " + reason);
    return exit_code(ErrorCode::kInvalidRun);
  }
  // A search without an answer.
  if (result->find && !result->find->kept) return exit_code(ErrorCode::kInvalidRun);
  return 0;
}

void add_format_option(const OptionGroup& group, std::string& format) {
  group.choice("--format", format, "FORMAT", {"text", "markdown", "json"},
               "text (default), markdown or json");
}

void add_load_option(CLI::App& command, const LoadOption& option, const char* group,
                     LoadArguments& arguments) {
  const std::string name =
      (option.letter != 0 ? fmt::format("-{},", option.letter) : std::string()) + "--" +
      option.name;
  std::map<std::string, std::string>& texts = arguments.texts;
  if (option.kind == LoadOption::Kind::kFlag) {
    command
        .add_flag_callback(
            name, [&texts, key = option.name] { texts[key] = "true"; }, option.help)
        ->group(group);
    return;
  }
  if (option.is_positional) {
    command
        .add_option_function<std::string>(
            option.placeholder(),
            [&texts, key = option.name](const std::string& text) { texts[key] = text; },
            option.help)
        ->option_text(option.placeholder())
        ->required();
    return;
  }
  if (option.kind == LoadOption::Kind::kList) {
    command
        .add_option_function<std::vector<std::string>>(
            name,
            [&texts, key = option.name](const std::vector<std::string>& items) {
              for (const std::string& item : items) {
                if (item.find('\n') != std::string::npos)
                  throw CLI::ValidationError("--" + key, "has a line end; give it once per item");
                texts[key] += item + "\n";
              }
            },
            option.help + "; may be repeated")
        ->option_text(option.placeholder())
        ->allow_extra_args(false)
        ->group(group);
    return;
  }
  std::string help = option.help;
  if (!option.default_text.empty()) help += fmt::format(" (default {})", option.default_text);
  command
      .add_option_function<std::string>(
          name, [&texts, key = option.name](const std::string& text) { texts[key] = text; }, help)
      ->option_text(option.placeholder())
      ->group(group);
}

constexpr const char* kLoadExitCodes =
    "Exit codes: 0 success; 2 wrong usage; 3 the load is invalid; 4 the host does not allow it; 5 "
    "input or output; 128+n on signal n.";

void add_workload(CLI::App& load, const WorkloadType& type,
                  const std::shared_ptr<LoadArguments>& arguments, Action& action) {
  LoadArguments& a = *arguments;
  CLI::App& command = *load.add_subcommand(std::string(type.name()), std::string(type.help));
  const OptionGroup options(command, "Options");
  options
      .option("--target", a.target, type.takes_url ? "HOST:PORT|URL" : "HOST:PORT",
              type.takes_url
                  ? "The server: HOST:PORT, [IPV6]:PORT or http://HOST:PORT/PATH; required"
                  : "The server: HOST:PORT or [IPV6]:PORT; required")
      ->required();
  for (const LoadOption& option : type.options)
    add_load_option(command, option, option.is_of_schedule ? kScheduleGroup : kMessagesGroup, a);
  for (const LoadOption& option : common_load_options())
    add_load_option(command, option, kTimeGroup, a);
  if (type.can_be_shared) {
    const OptionGroup workers(command, kWorkersGroup);
    workers.option("--workers", a.workers, "ADDRESS",
                   "Workers that wait at this team's store send the load: "
                   "postgresql://USER@HOST/DATABASE#PROJECT");
    workers.list("--where", a.where, "KEY=VALUE", "Only workers with this label; may be repeated");
    workers.number("--at-least", a.at_least, "COUNT", 1, kMaxWorkers,
                   "Begin when so many workers are ready (default 1)");
    workers.choice("--by", a.by, "worker", {"worker"},
                   "worker: a line per second of each worker, too");
  }
  if (type.takes("find")) {
    OptionGroup(command, kScheduleGroup)
        .option("--find-pid", a.find_pid, "PID",
                "The server's process, so that a search can say whether its CPU was the limit")
        ->check(CLI::PositiveNumber);
  }
  OptionGroup(command, kStorageGroup)
      .option("--db", a.db, "FILE", "Also store the result as a run in this database");
  add_label_option(command, a.labels);
  const OptionGroup display(command, kDisplayGroup);
  add_format_option(display, a.format);
  display.flag("-q,--quiet", a.quiet, "Do not print a line every second");
  command.footer(fmt::format("Examples:\n{}\n\n{}", type.examples, kLoadExitCodes));
  command.callback([arguments, &type, &action] {
    action = [arguments, &type] { return run(*arguments, type); };
  });
}

void add_show(CLI::App& load, Action& action) {
  const auto shown = std::make_shared<ShowArguments>();
  CLI::App& command =
      *load.add_subcommand("show", "Show the stored loads of several runs or hosts as one load");
  command.add_option("RUNS", shown->runs, kRunHelp)->option_text("RUN...")->required();
  add_database_option(command, shown->db);
  add_format_option(OptionGroup(command, kDisplayGroup), shown->format);
  command.footer(
      "Examples:\n"
      "  topspin load show load=monday --db all.db\n"
      "  topspin load show last~1 last --format json");
  command.callback([shown, &action] { action = [shown] { return show(*shown); }; });
}

}  // namespace

void add_load_command(CLI::App& root, Action& action) {
  CLI::App& load =
      *root.add_subcommand("load", "Send traffic on a schedule, and account for the replies");
  load.footer(
      fmt::format("Examples:\n"
                  "  topspin load udp-pingpong --target 127.0.0.1:8888 --clients 100 --hold 30s\n"
                  "  topspin load http --target 127.0.0.1:8080 --clients 500 --period 100ms\n"
                  "\n"
                  "topspin load WORKLOAD --help shows the options of a workload.\n\n{}",
                  kLoadExitCodes));
  load.require_subcommand(1);
  const auto arguments = std::make_shared<LoadArguments>();
  for (const WorkloadType& type : workload_types()) add_workload(load, type, arguments, action);
  add_show(load, action);
}

}  // namespace topspin
