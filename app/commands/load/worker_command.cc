// topspin worker: the command line, signals, and the exit code.
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/workers/worker.h"
#include "core/base/text.h"
#include "store/team_address.h"

namespace topspin {
namespace {

std::atomic<bool> worker_should_end{false};
std::atomic<int> worker_signal{0};

/// The first signal hands over; a second one ends the program at once.
void on_worker_signal(int number) {
  if (worker_signal.exchange(number) != 0) _exit(128 + number);
  worker_should_end.store(true);
}

struct WorkerArguments {
  std::string join;
  std::vector<std::string> labels;
  std::vector<std::string> allow;
  std::string clock_off;
  bool quiet = false;
};

int work(const WorkerArguments& arguments) {
  const auto worked = [&]() -> Status {
    WorkerOptions options;
    const char* variable = std::getenv("TOPSPIN_STORE");
    options.address = !arguments.join.empty() ? arguments.join : variable ? variable : "";
    if (options.address.empty()) {
      return wrong_usage(
          "give the team's store with --join or TOPSPIN_STORE, such as "
          "postgresql://worker@db.example/topspin");
    }
    if (const auto parsed = parse_team_address(options.address); !parsed.ok())
      return parsed.error();
    TOPSPIN_ASSIGN(options.labels, parse_labels(arguments.labels));
    for (const auto& [key, value] : options.labels) {
      if ((key + value).find('\n') != std::string::npos)
        return wrong_usage("a worker's label is one line");
    }
    for (const std::string& text : arguments.allow) {
      TOPSPIN_ASSIGN(options.allowed.emplace_back(), parse_address_prefix(text));
    }
    options.allowed_text = fmt::format("{}", fmt::join(arguments.allow, " "));
    if (!arguments.clock_off.empty()) {
      TOPSPIN_ASSIGN(options.clock_skew_ns, positive_duration(arguments.clock_off, "--clock-off"));
    }
    struct sigaction action {};
    action.sa_handler = on_worker_signal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    return run_worker(options, worker_should_end, [&](const std::string& sentence) {
      if (!arguments.quiet) say(sanitize_for_terminal(sentence));
    });
  }();
  if (!worked.ok()) return fail(worked.error());
  return 128 + worker_signal.load();
}

}  // namespace

void add_worker_command(CLI::App& root, Action& action) {
  CLI::App& command =
      *root.add_subcommand("worker", "Wait for loads at a team's store, and send a share of each");
  const auto arguments = std::make_shared<WorkerArguments>();
  WorkerArguments& a = *arguments;
  const OptionGroup options(command, "Options");
  options.option("--join", a.join, "ADDRESS",
                 "The team's store: postgresql://USER@HOST/DATABASE#PROJECT (default "
                 "$TOPSPIN_STORE)");
  options.list("--label", a.labels, "KEY=VALUE",
               "By which a load can choose workers (--where); may be repeated");
  options.list("--allow", a.allow, "ADDRESS/PREFIX",
               "Send only to these addresses, as 10.0.0.0/8; may be repeated (default: any)");
  options.flag("-q,--quiet", a.quiet, "Print errors only");
  command.add_option("--clock-off", a.clock_off, "Pretend that this host's clock is so much ahead")
      ->group("");  // for tests
  command.footer(
      "Examples:\n"
      "  topspin worker --join postgresql://worker@db/topspin --label zone=a\n"
      "  topspin worker --join postgresql://worker@db/topspin --allow 10.0.0.0/8\n"
      "\n"
      "Any number may join, at any time. `topspin load ... --workers ADDRESS` has them send a "
      "load. "
      "A worker knows the workloads of topspin and sends nothing else; no program travels. On "
      "SIGTERM or Ctrl-C it hands over its clients and ends. Give the password in PGPASSWORD or "
      "~/.pgpass: other users of this host can read a command line.\n"
      "\n"
      "Exit codes: 2 wrong usage; 4 permission; 5 the store cannot be reached at the beginning; "
      "128+n ended by signal n.");
  command.callback([arguments, &action] { action = [arguments] { return work(*arguments); }; });
}

}  // namespace topspin
