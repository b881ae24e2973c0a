// `topspin record`: options and examples.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/option_group.h"
#include "app/options/record_options.h"
#include "app/recording/recording.h"
#include "capture/flow_tracker.h"
#include "core/base/text.h"

namespace topspin {

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

void add_record_command(CLI::App& root, const TrailingCommand& trailing, Action& action) {
  CLI::App* command = root.add_subcommand(
      "record", "Record traffic and the subject's scheduling into a database, without a screen");
  auto o = std::make_shared<RecordOptions>();
  auto list = std::make_shared<bool>(false);
  OptionGroup(*command, kCaptureGroup)
      .flag("-D,--list-interfaces", *list, "List the interfaces that can be captured on, and exit");
  add_record_options(*command, *o);
  add_database_option(*command, o->observe.db);
  add_retention_options(*command, *o,
                        "When the run ends, remove the oldest runs while the database is larger "
                        "than this, such as 2GB");
  add_metrics_options(*command, *o);
  OptionGroup(*command, kDisplayGroup)
      .flag("-q,--quiet", o->quiet, "Do not print a line for each tick");
  command->footer(
      "Examples:\n"
      "  topspin record -i lo --period 1s 'udp port 8888' -- node server.js 8888\n"
      "  topspin record -i lo --pid 4242 --duration 60s --label build=42 port 8888\n"
      "  topspin record --cgroup /system.slice/nginx.service --duration 5m \\\n"
      "    tcp port 443\n"
      "  topspin record -i eth0 -c 10000 -w packets.pcap port 53\n"
      "\n"
      "topspin exits with the status of COMMAND. Ctrl-C ends and saves; a second one aborts.");
  command->callback([o, list, &trailing, &action] {
    o->command = trailing;
    action = [o, list] {
      if (*list) return print_interfaces();
      const Status filter = check_filter_words(o->observe);
      return filter.ok() ? record(*o) : fail(filter.error());
    };
  });
}

}  // namespace topspin
