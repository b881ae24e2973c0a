// `topspin record`: options and examples.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/command.h"
#include "app/recording.h"
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

void add_record_options(CLI::App& app, RecordOptions& options) {
  app.add_option("-i,--interface", options.interface,
                 "Interface to capture on (default any; lo for loopback alone)")
      ->option_text("IF");
  app.add_option("-s,--snaplen", options.snaplen,
                 "Bytes to capture of each packet (default: what the parser needs)")
      ->option_text("N")
      ->check(CLI::Range(1, 262144));
  app.add_option("-B,--buffer-size", options.buffer_size,
                 "Size of the kernel's capture buffer in MiB")
      ->option_text("MIB");
  app.add_flag("-p,--no-promiscuous-mode", options.no_promiscuous,
               "Do not put the interface into promiscuous mode");
  app.add_flag(
      "-n", [](int64_t) {}, "Names are never resolved; accepted as for tcpdump");
  app.add_option("-Z,--user", options.user,
                 "Run the command, and topspin once all is open, as USER "
                 "(default under sudo: who called it)")
      ->option_text("USER");
  app.add_option("--pid", options.pid, "Watch this process and its descendants")
      ->option_text("PID")
      ->check(CLI::Range(1, 1 << 22));
  app.add_option("--cgroup", options.cgroup, "Watch the processes of this cgroup (v2)")
      ->option_text("PATH");
  app.add_option("--netns", options.netns,
                 "Capture in the network namespace of this process, or of this name of `ip netns`")
      ->option_text("PID|NAME");
  app.add_option("--duration", options.duration, "Stop after this time")->option_text("TIME");
  app.add_option("--interval", options.observe.interval, "Time between ticks (default 1s)")
      ->option_text("TIME");
  app.add_option("--idle-timeout", options.idle_timeout,
                 "A flow silent for so long has ended (default 60s)")
      ->option_text("TIME");
  add_flow_options(app, options.observe);
  app.add_option("--max-stored-flows", options.max_stored_flows,
                 "Keep at most N flows of a run in the database (200000)")
      ->check(CLI::Range(0, 10'000'000))
      ->option_text("N");
  app.add_flag("--counters", options.counters,
               "Count with perf events (task clock, switches, faults; cycles, instructions, cache "
               "and branch misses where there is a PMU); costs at each context switch");
  app.add_option("--stacks", options.stacks_per_second,
                 "Sample the stacks of the subject's threads HZ times a second of CPU time, for "
                 "flame graphs (99 is a good HZ)")
      ->option_text("HZ")
      ->check(CLI::Range(1, 1000));
  app.add_flag("--syscalls", options.syscalls,
               "Measure the subject's system calls: count, errors, latency, time blocked");
  app.add_option("--probe", options.probes,
                 "NAME=RUNG: use this rung of a probe's ladder only (topspin doctor lists them)")
      ->option_text("NAME=RUNG")
      ->allow_extra_args(false);
}

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
