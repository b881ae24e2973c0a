// `topspin record`: options and examples.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/record_options.h"
#include "app/recording/recording.h"
#include "capture/flow_tracker.h"
#include "core/text.h"

namespace topspin {
namespace {

int print_interfaces() {
  const auto interfaces = list_interfaces();
  if (!interfaces.ok()) return fail(interfaces.error());
  for (const InterfaceInfo& interface : *interfaces) {
    fmt::print("{}{}{}{}\n", sanitize_for_terminal(interface.name), interface.up ? " [up]" : "",
               interface.loopback ? " [loopback]" : "",
               interface.description.empty()
                   ? ""
                   : fmt::format(" ({})", sanitize_for_terminal(interface.description)));
  }
  return 0;
}

}  // namespace

void add_record_command(CLI::App& root, const TrailingCommand& trailing, Action& action) {
  CLI::App* command = root.add_subcommand(
      "record",
      "[FILTER...] [-- COMMAND...]: record flows and the subject's scheduling into the database");
  auto o = std::make_shared<RecordOptions>();
  auto list = std::make_shared<bool>(false);
  command->add_flag("-D,--list-interfaces", *list, "List the interfaces and stop");
  add_record_options(*command, *o);
  command->add_option("--db", o->observe.db, "The database (default $TOPSPIN_DB, else topspin.db)")
      ->option_text("FILE");
  command->add_flag("-q,--quiet", o->quiet, "Print no line a tick");
  command->footer(
      "Examples:\n"
      "  topspin record -i lo --period 1s 'udp port 8888' -- node server.js 8888\n"
      "  topspin record -i lo --pid 4242 --duration 60s --label build=42 port 8888\n"
      "  topspin record --cgroup /system.slice/nginx.service --duration 5m tcp port 443\n"
      "\n"
      "The command's exit status is passed on. Ctrl-C ends and saves; a second one aborts.");
  command->callback([o, list, &trailing, &action] {
    o->command = trailing;
    action = [o, list] { return *list ? print_interfaces() : record(*o); };
  });
}

}  // namespace topspin
