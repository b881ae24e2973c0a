// The options of record, which live and run share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/options/observe_options.h"
#include "core/run/run.h"

namespace topspin {

inline constexpr int kWholePackets = 262'144;  // bytes, as in tcpdump
inline constexpr int64_t kMostStacksPerSecond = 1'000;

struct RecordOptions {
  ObserveOptions observe;
  std::string interface = "any";
  int snaplen = 0;
  std::string buffer_size;  // of the kernel's ring, MiB, as typed
  bool no_promiscuous = false;
  std::string user;  // run the command, and the recording once open, as this user
  int pid = 0;
  std::string cgroup;
  std::string container;  // a name or the beginning of an id
  std::string netns;      // a pid, or a name of `ip netns`; empty: our own
  std::string duration;
  uint64_t max_packets = UINT64_MAX;  // stop after this many
  std::string packet_file;            // packets are written there; "-": standard output
  std::string idle_timeout = "60s";
  std::vector<std::string> probes;  // NAME=RUNG
  bool syscalls = false;
  std::string runtime;  // auto, none, names and files
  uint64_t max_stored_flows = 200'000;
  std::string retain;    // remove runs that started longer ago, as typed; empty: none
  std::string max_size;  // of the database, as typed; empty: no limit
  std::string textfile;  // OpenMetrics are written there
  std::string listen;    // OpenMetrics are served there
  std::string otlp;      // a collector of OpenTelemetry
  bool counters = false;
  int64_t stacks_per_second = 0;
  bool quiet = false;
  bool store = true;                        // false: nothing is stored (live without --db)
  uint64_t max_rows_per_interval = 20'000;  // flow rows in a Sample
  std::vector<std::string> command;

  // For a plan's run.
  std::string run_id;  // empty: a new one
  std::optional<RunPlan> plan;
  std::optional<SourceInfo> source;  // nullopt: from git in the working directory
  std::string command_user;          // only for the command; empty: `user`
};

/// Adds the options that record and live share: all except --db and --quiet.
void add_record_options(CLI::App& app, RecordOptions& options);

/// Adds --textfile, --listen and --otlp.
void add_metrics_options(CLI::App& app, RecordOptions& options);

/// Adds --keep-runs (also called --retain) and --max-size, whose help is given.
void add_retention_options(CLI::App& app, RecordOptions& options, const char* max_size_help);

}  // namespace topspin
