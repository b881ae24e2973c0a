// `topspin replay RUN`: a stored run in the same screens as live.
#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/screen/playback.h"
#include "ci/run_selection.h"
#include "store/run_store.h"

namespace topspin {
namespace {

struct ReplayOptions {
  std::string run;
  std::string db;
  LookOptions look;
};

Result<Recorded> load(const ReplayOptions& o) {
  TOPSPIN_ASSIGN(auto store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(const StoredRun run, select_run(*store, o.run));
  Recorded recorded;
  recorded.scene = make_scene(run.info);
  recorded.scene.flows_are_final = true;
  if (!recorded.scene.subject.empty()) {
    recorded.scene.subject_state = run.end.exit_status
                                       ? fmt::format("exited {}", *run.end.exit_status)
                                       : std::string(run_status_name(run.end.status));
  }
  TOPSPIN_TRY(store->for_each_tick(
      run.info.id, [&](const Sample& sample) { recorded.ticks.push_back(sample); }));
  if (recorded.ticks.empty()) return recorded;

  // A run keeps each flow as it stood last. Its row comes with the tick in which the flow began.
  TOPSPIN_TRY(store->for_each_flow(run.info.id, [&](const FlowRow& flow) {
    const auto after = std::upper_bound(
        recorded.ticks.begin(), recorded.ticks.end(), flow.first_ns,
        [](int64_t first_ns, const Sample& sample) { return first_ns < sample.flows.end_ns; });
    Sample& born = after == recorded.ticks.end() ? recorded.ticks.back() : *after;
    born.changed_flows.push_back(flow);
  }));
  // Threads and calls as they stood last are of the last tick. Sockets are shown from the first on,
  // as what they were in the whole run.
  TOPSPIN_TRY(store->for_each_thread(run.info.id, [&](const ThreadRow& thread) {
    recorded.ticks.back().changed_threads.push_back(thread);
  }));
  TOPSPIN_TRY(store->for_each_socket(run.info.id, [&](const SocketRow& socket) {
    recorded.ticks.front().changed_sockets.push_back(socket);
  }));
  TOPSPIN_TRY(store->for_each_syscall(run.info.id, [&](const SyscallRow& syscall) {
    recorded.ticks.back().changed_syscalls.push_back(syscall);
  }));
  return recorded;
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
      "Examples:\n"
      "  topspin replay last\n"
      "  topspin replay 12 --screen timeline\n"
      "  topspin replay last --once --screen scheduler\n"
      "\n"
      "Space pauses, Left and Right step, + and - change the speed, l goes to the next loss, w to "
      "the worst lateness, or the slowest reply where nothing has a period.");
  command->callback([o, &action] {
    action = [o] {
      if (auto checked = check_look_options(o->look); !checked.ok()) return fail(checked.error());
      auto recorded = load(*o);
      if (!recorded.ok()) return fail(recorded.error());
      return play(std::move(recorded).value(), o->look);
    };
  });
}

}  // namespace topspin
