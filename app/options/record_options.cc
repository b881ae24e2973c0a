#include "app/options/record_options.h"

#include <CLI/CLI.hpp>

#include "app/options/option_group.h"

namespace topspin {

void add_record_options(CLI::App& app, RecordOptions& options) {
  const OptionGroup capture(app, kCaptureGroup);
  capture.option("-i,--interface", options.interface, "INTERFACE",
                 "The interface to capture on: lo, eth0, or any (default)");
  capture.number("-s,--snaplen", options.snaplen, "BYTES", 1, kWholePackets,
                 "Capture at most BYTES of each packet (default: as much as topspin looks at; "
                 "with -w all of it)");
  capture.option("-B,--buffer-size", options.buffer_size, "MIB",
                 "Size of the kernel's capture buffer");
  capture.flag("-p,--no-promiscuous-mode", options.no_promiscuous,
               "Do not put the interface into promiscuous mode");
  capture.number("-c,--count", options.max_packets, "COUNT", 1, UINT64_MAX,
                 "Stop after COUNT packets that match the filter");
  capture.option("-w,--write", options.packet_file, "FILE",
                 "Also write the packets to FILE, as pcap with nanosecond timestamps; - is "
                 "standard output. -s BYTES sets how much of each");
  app.add_flag(
         "-n", [](int64_t) {}, "As in tcpdump; addresses are numbers anyway")
      ->group(kCaptureGroup);
  capture.option("--netns", options.netns, "PID|NAME",
                 "Capture in the network namespace of this process, or in the one with this name "
                 "(`ip netns`)");
  capture.option("--idle-timeout", options.idle_timeout, "DURATION",
                 "A flow ends when it has been silent for this time (default 60s)");
  add_flow_options(app, options.observe);

  const OptionGroup subject(app, kSubjectGroup);
  subject.number("--pid", options.pid, "PID", 1, 1 << 22, "Watch this process and its descendants");
  subject.option("--cgroup", options.cgroup, "PATH", "Watch the processes of this cgroup (v2)");
  subject.option("--container", options.container, "NAME|ID",
                 "Watch this container (Docker, Podman, containerd, CRI-O), and capture in its "
                 "network namespace; NAMESPACE/POD for a pod of Kubernetes");
  subject.option("-Z,--user", options.user, "USER",
                 "Run COMMAND as this user, and topspin too once everything is open (default: the "
                 "user who called sudo)");

  const OptionGroup time(app, kTimeGroup);
  time.option("--duration", options.duration, "DURATION", "Stop after this time");
  time.option("--interval", options.observe.interval, "DURATION", "Length of a tick (default 1s)");

  const OptionGroup probes(app, kProbesGroup);
  probes.flag("--counters", options.counters,
              "Count with perf events: task clock, switches and faults; with a PMU also cycles, "
              "instructions, cache and branch misses. Costs time at each context switch");
  probes.number("--stacks", options.stacks_per_second, "HZ", 1, kMostStacksPerSecond,
                "Sample the stacks of the subject's threads HZ times per second of CPU time, for "
                "flame graphs; 99 is a good value");
  probes.flag("--syscalls", options.syscalls,
              "Measure the subject's system calls: count, errors, latency, time blocked");
  probes.option("--runtime", options.runtime, "auto|NAME|none",
                "Look inside the subject's runtimes, by uprobes: garbage collections, event loop "
                "turns, the GIL. auto: cpython, go, jvm and node; NAME: these alone, with commas "
                "between them; also go-tasks (waits of goroutines, expensive) or a FILE.toml. "
                "Costs the subject 1 to 10 us at each event (default none)");
  probes.list("--probe", options.probes, "NAME=RUNG",
              "Use only this rung of the probe (topspin doctor lists them); =on turns on a probe "
              "that is off by default, =none turns one off");

  add_label_option(app, options.observe.labels);
  OptionGroup(app, kStorageGroup)
      .number("--max-stored-flows", options.max_stored_flows, "COUNT", 0, 10'000'000,
              "Store at most COUNT flows of a run (default 200000)");
}

void add_metrics_options(CLI::App& app, RecordOptions& options) {
  const OptionGroup metrics(app, kMetricsGroup);
  metrics.option("--textfile", options.textfile, "FILE.prom",
                 "Write the numbers so far to FILE.prom every 5 s, for node_exporter");
  metrics.option("--listen", options.listen, "ADDRESS:PORT",
                 "Serve the numbers so far at http://ADDRESS:PORT/metrics, for Prometheus; a port "
                 "alone is one of 127.0.0.1");
  metrics.option("--otlp", options.otlp, "URL",
                 "Send the numbers so far, and incidents, to this collector of OpenTelemetry, such "
                 "as http://127.0.0.1:4318; OTEL_EXPORTER_OTLP_HEADERS may have headers for it");
}

void add_retention_options(CLI::App& app, RecordOptions& options, const char* max_size_help) {
  const OptionGroup storage(app, kStorageGroup);
  storage.option("--retain,--keep-runs", options.retain, "DURATION",
                 "When a run ends, remove the runs of the database that started longer ago than "
                 "this, such as 14d, as `topspin rm --before` does");
  storage.option("--max-size", options.max_size, "BYTES", max_size_help);
}

}  // namespace topspin
