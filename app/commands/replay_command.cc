// `topspin replay RUN`: a stored run in the same screens as live.
#include <memory>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "app/screen/playback.h"
#include "app/screen/recorded_run.h"
#include "ci/run_selection.h"
#include "store/run_store.h"

namespace topspin {
namespace {

struct ReplayOptions {
  std::string run;
  std::string db;
  LookOptions look;
};

Result<Recorded> open_run(const ReplayOptions& o) {
  TOPSPIN_ASSIGN(std::shared_ptr<RunStore> store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(const StoredRun run, select_run(*store, o.run));
  return recorded_run(std::move(store), run);
}

int replay(const ReplayOptions& o) {
  if (auto checked = check_look_options(o.look); !checked.ok()) return fail(checked.error());
  auto name_process = start_outside_of_sandbox(o.look);
  if (!name_process.ok()) return fail(name_process.error());
  const Status entered = enter_sandbox({.inputs = {o.look.colours},
                                        .databases = {database_path(o.db)},
                                        .screen = !is_plain(o.look)});
  if (!entered.ok()) return fail(entered.error());
  auto recorded = open_run(o);
  if (!recorded.ok()) return fail(recorded.error());
  return play(std::move(recorded).value(), o.look, std::move(name_process).value());
}

}  // namespace

void add_replay_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("replay", "Show a stored run on the same screens as live");
  auto o = std::make_shared<ReplayOptions>();
  command->add_option("RUN", o->run, fmt::format("{} (default last)", kRunHelp))
      ->default_val("last");
  add_database_option(*command, o->db);
  add_look_options(*command, o->look);
  command->footer(
      "Examples:\n  topspin replay last\n  topspin replay 12 --screen timeline\n  topspin replay "
      "last --once --screen scheduler\n\nSpace pauses, Left and Right step, + and - change the "
      "speed. l goes to the next loss, w to the worst lateness, or to the slowest reply if no flow "
      "has a period.");
  command->callback([o, &action] { action = [o] { return replay(*o); }; });
}

}  // namespace topspin
