// topspin load: options of each workload, signals, and the exit code.
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
#include <unistd.h>

#include "app/commands/commands.h"
#include "app/commands/load_output.h"
#include "app/host/host.h"
#include "app/host/outlet.h"
#include "app/host/privileges.h"
#include "app/options/observe_options.h"
#include "app/version.h"
#include "ci/stored_judgement.h"
#include "core/text.h"
#include "load/load.h"
#include "store/run_store.h"

namespace topspin {
namespace {

std::atomic<bool> stop_requested{false};
std::atomic<int> stop_signal{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

/// The first signal ends the load in order; a second one ends the program.
void on_signal(int number) {
  if (stop_signal.exchange(number) != 0) _exit(128 + number);
  stop_requested.store(true);
}

void install_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

/// The options as they were typed; durations and rates are text until the command is chosen.
struct LoadArguments {
  LoadOptions options;
  std::string stages;
  std::optional<uint32_t> clients;
  std::string arrive, hold, leave;
  std::string period = "1s", timeout = "1s", grid, late_after;
  std::string wire = "ping4", sockets = "auto";
  std::string rate, duration = "10s";
  std::string connection = "keep-alive";
  std::string format = "text";
  std::string db;
  std::vector<std::string> labels;
  bool quiet = false;
  const CLI::Option* size_option = nullptr;  // of udp-pingpong
};

Error wrong(std::string message) { return make_error(ErrorCode::kUsage, std::move(message)); }

Result<int64_t> duration_of(std::string_view option, const std::string& text) {
  const auto duration = parse_duration(text);
  if (!duration) {
    return wrong(fmt::format("{} \"{}\" is no duration; write 10s, 500ms or 2m", option, text));
  }
  return *duration;
}

Status read_schedule(LoadArguments& arguments) {
  if (!arguments.stages.empty()) {
    if (arguments.clients || !arguments.arrive.empty() || !arguments.hold.empty() ||
        !arguments.leave.empty()) {
      return wrong("give either --stages or --clients with --arrive, --hold and --leave");
    }
    TOPSPIN_ASSIGN(arguments.options.stages, parse_stages(arguments.stages));
    return {};
  }
  double arrive = 0, leave = 0;
  if (!arguments.arrive.empty()) {
    TOPSPIN_ASSIGN(arrive, parse_rate(arguments.arrive));
  }
  if (!arguments.leave.empty()) {
    TOPSPIN_ASSIGN(leave, parse_rate(arguments.leave));
  }
  TOPSPIN_ASSIGN(const int64_t hold_ns,
                 duration_of("--hold", arguments.hold.empty() ? "10s" : arguments.hold));
  TOPSPIN_ASSIGN(arguments.options.stages,
                 stages_from_rates(arguments.clients.value_or(1), arrive, hold_ns, leave));
  return {};
}

Status read_arguments(LoadArguments& arguments) {
  LoadOptions& options = arguments.options;
  if (options.workload != WorkloadKind::kUdpFlood) TOPSPIN_TRY(read_schedule(arguments));
  TOPSPIN_ASSIGN(options.period_ns, duration_of("--period", arguments.period));
  TOPSPIN_ASSIGN(options.timeout_ns, duration_of("--timeout", arguments.timeout));
  TOPSPIN_ASSIGN(options.duration_ns, duration_of("--duration", arguments.duration));
  if (!arguments.grid.empty()) {
    TOPSPIN_ASSIGN(options.grid_ns, duration_of("--grid", arguments.grid));
  }
  if (!arguments.late_after.empty()) {
    TOPSPIN_ASSIGN(options.late_after_ns, duration_of("--late-after", arguments.late_after));
  }
  if (!arguments.rate.empty()) {
    TOPSPIN_ASSIGN(options.packets_per_s, parse_rate(arguments.rate));
  }
  options.wire = arguments.wire == "numbered"  ? WireProfile::kNumbered
                 : arguments.wire == "fixed32" ? WireProfile::kFixed32
                                               : WireProfile::kPing4;
  options.sockets = arguments.sockets == "own"      ? SocketMode::kOwn
                    : arguments.sockets == "shared" ? SocketMode::kShared
                                                    : SocketMode::kAuto;
  if (arguments.size_option != nullptr && arguments.size_option->count() > 0 &&
      options.workload == WorkloadKind::kUdpPingpong && options.wire != WireProfile::kNumbered) {
    return wrong(fmt::format("--size is for --wire numbered; a ping of --wire {} has its own size",
                             arguments.wire));
  }
  options.http_keep_alive = arguments.connection == "keep-alive";
  return {};
}

/// Text of several lines to standard output, each fit for a terminal.
void print_lines(const std::string& text) {
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = text.find('\n', begin);
    fmt::print("{}\n", sanitize_for_terminal(std::string_view(text).substr(begin, end - begin)));
    begin = end + 1;
  }
}

/// Keeps the result as a run of its own, which observed nothing but the load.
Status store_result(const LoadArguments& arguments, const LoadResult& result) {
  RunInfo run;
  run.id = make_run_id(result.started_wall_ns);
  run.started_wall_ns = result.started_wall_ns;
  run.started_monotonic_ns = result.started_monotonic_ns;
  run.host = read_host_info();
  run.topspin_version = kVersion;
  TOPSPIN_ASSIGN(run.labels, parse_labels(arguments.labels));
  run.command = {"topspin", "load", std::string(workload_name(result.workload)), "--target",
                 result.target};
  run.settings.subject = "none";
  run.settings.period_ns = arguments.options.period_ns;
  run.settings.reply_timeout_ns = arguments.options.timeout_ns;
  WriterOptions options;
  if (const auto user = invoking_user()) {
    options.owner_uid = user->uid;
    options.owner_gid = user->gid;
  }
  const std::string path = database_path(arguments.db);
  TOPSPIN_ASSIGN(const auto writer, RunWriter::create(path, run, options));
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
  if (format == "json")
    fmt::print("{}", load_result_json(result));
  else
    print_lines(load_result_text(result));
}

struct ShowArguments {
  std::vector<std::string> runs;
  std::string db;
  std::string format = "text";
};

/// The loads of several runs, of one host or of many, as one.
int show(const ShowArguments& arguments) {
  const auto merged = [&]() -> Result<LoadResult> {
    TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(arguments.db)));
    TOPSPIN_ASSIGN(const auto all, store->list_runs());
    std::map<std::string, LoadResult> loads;  // by run: one that is named twice counts once
    for (const std::string& selector : arguments.runs) {
      TOPSPIN_ASSIGN(const auto chosen, select_runs(all, selector));
      for (const StoredRun& run : chosen) {
        TOPSPIN_ASSIGN(auto load, store->load_load(run.info.id));
        if (!load) {
          return make_error(ErrorCode::kUsage,
                            fmt::format("run {} has no load; choose runs that topspin load --db or "
                                        "topspin run made",
                                        run.info.id));
        }
        loads.emplace(run.info.id, std::move(*load));
      }
    }
    std::vector<LoadResult> values;
    for (auto& [id, load] : loads) values.push_back(std::move(load));
    return merge_loads(values);
  }();
  if (!merged.ok()) return fail(merged.error());
  print_result(*merged, arguments.format);
  return merged->valid() ? 0 : exit_code(ErrorCode::kInvalidRun);
}

int run(LoadArguments& arguments) {
  if (const Status status = read_arguments(arguments); !status.ok()) return fail(status.error());
  if (const auto labels = parse_labels(arguments.labels); !labels.ok()) return fail(labels.error());
  if (!arguments.labels.empty() && arguments.db.empty())
    return fail(wrong("a --label is kept with the result: say where with --db"));
  install_signals();
  const auto progress = [&](const LoadProgress& line) {
    if (!arguments.quiet) {
      error_outlet().write(fmt::format("{}\n", sanitize_for_terminal(load_progress_line(line))));
    }
  };
  const auto result = run_load(arguments.options, stop_requested, progress);
  if (!result.ok()) return fail(result.error());
  print_result(*result, arguments.format);
  if (std::fflush(stdout) != 0) {
    return fail(make_error(ErrorCode::kOutput, "cannot write to standard output"));
  }
  if (!arguments.db.empty()) {
    if (const Status stored = store_result(arguments, *result); !stored.ok())
      return fail(stored.error());
  }
  if (const int number = stop_signal.load(); number != 0) return 128 + number;
  if (!result->valid()) {
    for (const std::string& reason : result->invalid_reasons) say("invalid load: " + reason);
    return exit_code(ErrorCode::kInvalidRun);
  }
  return 0;
}

void add_common_options(CLI::App& command, LoadArguments& a) {
  command
      .add_option("--target", a.options.target,
                  "HOST:PORT or [IPV6]:PORT; of http also http://HOST:PORT/PATH")
      ->required();
  command.add_option("--timeout", a.timeout, "After this a reply is late, a connection given up")
      ->capture_default_str();
  command.add_option("--late-after", a.late_after, "A send later than this counts as late (10ms)");
  command.add_option("--format", a.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command.add_flag("-q,--quiet", a.quiet, "No line a second");
  command.add_option("--db", a.db, "Keep the result in this database, too")->option_text("FILE");
  command.add_option("--label", a.labels, "KEY=VALUE to find it by; may be given several times")
      ->option_text("KEY=VALUE")
      ->allow_extra_args(false);
}

void add_schedule_options(CLI::App& command, LoadArguments& a) {
  command.add_option("--stages", a.stages,
                     "As \"0:15000 over 60s, hold 30s, 15000:0 over 60s\"; also \"stairs 0:500 by "
                     "100 every 10s\" and \"3x(...)\"");
  command.add_option("--clients", a.clients, "Clients at the top (1), instead of --stages");
  command.add_option("--arrive", a.arrive, "How fast they come, as 10/s (all at once)");
  command.add_option("--hold", a.hold, "How long all stay (10s)");
  command.add_option("--leave", a.leave, "How fast they go, as 10/s (all at once)");
}

void add_period_options(CLI::App& command, LoadArguments& a) {
  command.add_option("--period", a.period, "Each client is due once in this")
      ->capture_default_str();
  command.add_option(
      "--grid", a.grid,
      "Clients are due at multiples of this, some at a time (period / 1000); 0: each on its own");
}

CLI::App& add_workload(CLI::App& load, WorkloadKind kind, const std::string& description,
                       const std::shared_ptr<LoadArguments>& arguments, Action& action) {
  CLI::App& command = *load.add_subcommand(std::string(workload_name(kind)), description);
  add_common_options(command, *arguments);
  command.callback([arguments, kind, &action] {
    arguments->options.workload = kind;
    action = [arguments] { return run(*arguments); };
  });
  return command;
}

void add_pingpong(CLI::App& load, const std::shared_ptr<LoadArguments>& arguments, Action& action) {
  LoadArguments& a = *arguments;
  CLI::App& command =
      add_workload(load, WorkloadKind::kUdpPingpong,
                   "N clients, each its own flow, one ping a period", arguments, action);
  add_schedule_options(command, a);
  add_period_options(command, a);
  command.add_flag("--closed", a.options.closed_loop,
                   "Send, wait for the reply without end, sleep a period, again");
  command
      .add_option("--wire", a.wire,
                  "ping4: \"PING\"; fixed32: 32 bytes; numbered: number and time stamp, which an "
                  "echo server brings back")
      ->check(CLI::IsMember({"ping4", "fixed32", "numbered"}))
      ->capture_default_str();
  a.size_option =
      command.add_option("--size", a.options.message_bytes, "Bytes of a numbered ping, 16 or more")
          ->capture_default_str();
  command
      .add_option("--sockets", a.sockets,
                  "own: one a client; shared: few, with source addresses in 127.0.0.0/8")
      ->check(CLI::IsMember({"auto", "own", "shared"}))
      ->capture_default_str();
}

void add_flood(CLI::App& load, const std::shared_ptr<LoadArguments>& arguments, Action& action) {
  LoadArguments& a = *arguments;
  CLI::App& command = add_workload(load, WorkloadKind::kUdpFlood,
                                   "Small datagrams at a rate or flat out", arguments, action);
  command.add_option("--rate", a.rate, "Datagrams over all flows, as 100000/s (flat out)");
  command.add_option("--duration", a.duration, "How long")->capture_default_str();
  command.add_option("--flows", a.options.flows, "Connected sockets to send from")
      ->capture_default_str();
  command.add_option("--size", a.options.message_bytes, "Bytes of a datagram")
      ->capture_default_str();
  command.add_flag("--gso", a.options.gso,
                   "One flow: the kernel cuts big buffers into the datagrams");
}

void add_tcp_connect(CLI::App& load, const std::shared_ptr<LoadArguments>& arguments,
                     Action& action) {
  LoadArguments& a = *arguments;
  CLI::App& command = add_workload(load, WorkloadKind::kTcpConnect,
                                   "Connect, say a request, read until close, close; once a period",
                                   arguments, action);
  add_schedule_options(command, a);
  add_period_options(command, a);
  command.add_option("--request", a.options.request, "What to say once connected (nothing)");
  command.add_option("--expect-bytes", a.options.expect_bytes,
                     "An answer shorter than this is truncated");
}

void add_http(CLI::App& load, const std::shared_ptr<LoadArguments>& arguments, Action& action) {
  LoadArguments& a = *arguments;
  CLI::App& command = add_workload(load, WorkloadKind::kHttp, "HTTP/1.1, a GET a period and client",
                                   arguments, action);
  add_schedule_options(command, a);
  add_period_options(command, a);
  command.add_flag("--closed", a.options.closed_loop,
                   "Ask, wait for the answer, sleep a period (down to 1us), again");
  command.add_option("--path", a.options.http_path, "What to ask for")->capture_default_str();
  command.add_option("--connection", a.connection, "keep-alive, or close: one for each request")
      ->check(CLI::IsMember({"keep-alive", "close"}))
      ->capture_default_str();
}

void add_accept_queue(CLI::App& load, const std::shared_ptr<LoadArguments>& arguments,
                      Action& action) {
  CLI::App& command = add_workload(load, WorkloadKind::kAcceptQueue,
                                   "Each client connects, says nothing, and closes when it leaves",
                                   arguments, action);
  add_schedule_options(command, *arguments);
}

constexpr const char* kFooter =
    "Examples:\n"
    "  topspin load udp-pingpong --target 127.0.0.1:8888 --stages \"0:15000 over 60s, hold 30s, "
    "15000:0 over 60s\"\n"
    "  topspin load udp-pingpong --target 127.0.0.1:8888 --clients 100 --arrive 10/s --hold 30s "
    "--leave 10/s --format json\n"
    "  topspin load http --target 127.0.0.1:8080 --clients 500 --period 100ms --connection close\n"
    "  topspin load udp-flood --target 127.0.0.1:9999 --rate 200000/s --duration 5s\n"
    "\n"
    "Exit codes: 0 fine; 2 wrong usage; 3 the load is invalid; 4 the host does not allow it; 5 "
    "input or output; 128+n on signal n.";

}  // namespace

void add_load_command(CLI::App& root, Action& action) {
  CLI::App& load = *root.add_subcommand("load", "Traffic on a schedule, and what came back");
  load.footer(kFooter);
  load.require_subcommand(1);
  const auto arguments = std::make_shared<LoadArguments>();
  add_pingpong(load, arguments, action);
  add_flood(load, arguments, action);
  add_tcp_connect(load, arguments, action);
  add_http(load, arguments, action);
  add_accept_queue(load, arguments, action);

  const auto shown = std::make_shared<ShowArguments>();
  CLI::App& command =
      *load.add_subcommand("show", "Show the stored loads of several runs or hosts as one");
  command
      .add_option("RUNS", shown->runs, "Runs: ids, last, a commit, a branch, or a label KEY=VALUE")
      ->option_text("RUN...")
      ->required();
  command.add_option("--db", shown->db, "The database (default $TOPSPIN_DB, else topspin.db)")
      ->option_text("FILE");
  command.add_option("--format", shown->format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command.callback([shown, &action] { action = [shown] { return show(*shown); }; });
}

}  // namespace topspin
