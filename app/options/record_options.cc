#include "app/options/record_options.h"

#include <CLI/CLI.hpp>

namespace topspin {

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

}  // namespace topspin
