// `topspin push`, `pull` and `store`: the runs of a team in PostgreSQL.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/commands/export_target.h"
#include "app/commands/team/team_push.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "ci/run_selection.h"
#include "core/base/text.h"
#include "store/team_address.h"
#include "store/team_store.h"
#include "store/worker_store.h"

namespace topspin {
namespace {

constexpr const char* kAddressHelp =
    "The team's store: postgresql://USER@HOST/DATABASE#PROJECT (default $TOPSPIN_STORE)";
constexpr const char* kAddressNote =
    "The address is that of PostgreSQL's programs, with the project behind #; without one the "
    "project is \"default\". Give the password in PGPASSWORD or ~/.pgpass: other users of this "
    "host can read a command line.";

struct PushOptions {
  std::vector<std::string> runs;
  std::string db;
  std::string to;
};

int push(const PushOptions& o) {
  const auto pushed = [&]() -> Result<PushCounts> {
    TOPSPIN_ASSIGN(const std::string address, team_address(o.to, "--to"));
    TOPSPIN_TRY(enter_sandbox({.databases = {database_path(o.db), address}}));
    return push_runs(database_path(o.db), o.runs, address, [](const std::string& line) {
      fmt::print("{}\n", sanitize_for_terminal(line));
    });
  }();
  if (!pushed.ok()) return fail(pushed.error());
  fmt::print("{} pushed, {} already there{}\n", pushed->pushed, pushed->present,
             pushed->recording == 0
                 ? ""
                 : fmt::format(", {} left out that are still being recorded", pushed->recording));
  for (const std::string& sentence : pushed->doubts) say(sentence);
  if (pushed->failed > 0) return exit_code(ErrorCode::kInput);
  // Without names it is a matter of course that such a run comes with a later push.
  if (pushed->recording == 0 || o.runs.empty()) return 0;
  say(fmt::format("{} being recorded, so nothing of {} was stored; push again when it has ended",
                  pushed->recording == 1
                      ? "a run that you named is still"
                      : fmt::format("{} runs that you named are still", pushed->recording),
                  pushed->recording == 1 ? "it" : "them"));
  return exit_code(ErrorCode::kInvalidRun);
}

struct PullOptions {
  std::string run;
  std::string from;
  std::string out;
};

Status pull(const PullOptions& o) {
  TOPSPIN_ASSIGN(const std::string address, team_address(o.from, "--from"));
  TOPSPIN_ASSIGN(ExportTarget target, ExportTarget::open(o.out, ""));
  TOPSPIN_TRY(enter_sandbox({.databases = {address}, .output = &target}));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(address));
  TOPSPIN_ASSIGN(const StoredRun run, select_run(*store, o.run));
  TOPSPIN_ASSIGN(const std::string file, pull_run(address, run.info.id));
  TOPSPIN_TRY(target.write(file));
  TOPSPIN_TRY(target.finish());
  if (o.out != "-")
    say(fmt::format("pulled #{} ({}), {}, into {}", run.number, run.info.id,
                    format_bytes(static_cast<int64_t>(file.size())), o.out));
  return {};
}

struct StoreOptions {
  std::string what;
  std::string at;
  bool print_sql = false;
};

int init_store(const StoreOptions& o) {
  if (o.what != "init") {
    return fail(
        make_error(ErrorCode::kUsage,
                   fmt::format("store can only init, not \"{}\"; see topspin help store", o.what)));
  }
  if (o.print_sql) {
    const auto sql = team_store_sql();
    if (!sql.ok()) return fail(sql.error());
    fmt::print("{}{}", *sql, worker_store_sql());
    return 0;
  }
  const auto refused = [&]() -> Result<std::optional<std::string>> {
    TOPSPIN_ASSIGN(const std::string address, team_address(o.at, "--at"));
    TOPSPIN_TRY(enter_sandbox({.databases = {address}}));
    TOPSPIN_ASSIGN(auto runs, make_team_store(address));
    TOPSPIN_ASSIGN(auto workers, make_worker_store(address));
    return runs ? runs : workers;
  }();
  if (!refused.ok()) return fail(refused.error());
  fmt::print("the store is ready\n");
  if (*refused) {
    say(
        fmt::format("the roles of the store could not be made ({}); let the "
                    "server's administrator run the last statements of `topspin store init "
                    "--print-sql`",
                    **refused));
  }
  return 0;
}

}  // namespace

void add_push_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("push", "Send runs of a database to the team's store in PostgreSQL");
  auto o = std::make_shared<PushOptions>();
  command->add_option("RUN", o->runs, fmt::format("{} (default: all)", kRunHelp))
      ->option_text("RUN...");
  const OptionGroup options(*command, "Options");
  options.option("--to", o->to, "ADDRESS", kAddressHelp);
  add_database_option(*command, o->db);
  command->footer(
      fmt::format("Examples:\n"
                  "  topspin push --to postgresql://ci@db.example/topspin#shop\n"
                  "  topspin push last --db ci.db\n"
                  "\n"
                  "A run that the store has is not sent again, so push can be repeated: after an "
                  "error it goes on where it ended. {}\n"
                  "\n"
                  "Exit codes: 0 success; 2 wrong usage; 3 a run that you named is still being "
                  "recorded; 4 permission; 5 input or output, or a damaged run was left out.",
                  kAddressNote));
  command->callback([o, &action] { action = [o] { return push(*o); }; });
}

void add_pull_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("pull", "Get the database file of a run from the team's store");
  auto o = std::make_shared<PullOptions>();
  command->add_option("RUN", o->run, kRunHelp)->required();
  const OptionGroup options(*command, "Options");
  options.option("--from", o->from, "ADDRESS", kAddressHelp);
  options.option("-o,--out", o->out, "FILE.db", "The file to write; - is standard output")
      ->required();
  command->footer(
      fmt::format("Examples:\n"
                  "  topspin pull last -o last.db\n"
                  "  topspin pull 1204 --from postgresql://me@db.example/topspin#shop -o 1204.db\n"
                  "\n"
                  "The file is the one that was pushed, byte for byte. To look at a run it need "
                  "not be pulled: `topspin report RUN --db ADDRESS`. {}",
                  kAddressNote));
  command->callback([o, &action] {
    action = [o] {
      const Status done = pull(*o);
      return done.ok() ? 0 : fail(done.error());
    };
  });
}

void add_store_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("store", "Make or update a team's store in PostgreSQL");
  auto o = std::make_shared<StoreOptions>();
  command
      ->add_option("ACTION", o->what,
                   "init: create the tables, views and roles in schema topspin, or update them")
      ->option_text("init")
      ->required();
  const OptionGroup options(*command, "Options");
  options.option("--at", o->at, "ADDRESS", kAddressHelp);
  options.flag("--print-sql", o->print_sql, "Only print the statements, for an administrator");
  command->footer(fmt::format(
      "Examples:\n"
      "  topspin store init --at postgresql://owner@db.example/topspin\n"
      "  topspin store init --print-sql | less\n"
      "\n"
      "Can be repeated: after an upgrade of topspin it adds what is new. Grant the role "
      "topspin_writer to CI, which can then add runs and change none, and "
      "topspin_reader to those who read. {}",
      kAddressNote));
  command->callback([o, &action] { action = [o] { return init_store(*o); }; });
}

}  // namespace topspin
