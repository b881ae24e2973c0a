// Run: one recording. What is known when it starts, and what is known when it ends.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/sample.h"

namespace topspin {

/// The machine that a run was made on, as far as it decides whether two runs compare.
struct HostInfo {
  std::string hostname;
  std::string kernel;        // uname -r
  std::string architecture;  // uname -m
  std::string os;            // PRETTY_NAME
  std::string cpu_model;
  std::optional<int64_t> cpus_online;
  std::optional<int64_t> memory_bytes;
  std::string hypervisor;   // empty: none seen
  std::string fingerprint;  // hex digest of what must be equal for two runs to compare
};

/// Where the code under test stands, from git in the working directory. Empty: not known.
struct SourceInfo {
  std::string commit;  // full hex; "+dirty" is not appended, see `dirty`
  std::string branch;
  std::optional<bool> dirty;
};

struct RunSettings {
  std::string interface;  // or the file's name
  std::string filter;
  std::string link_type;
  std::optional<int64_t> period_ns;  // declared; nullopt: learned
  int64_t window_ns = 0;
  int64_t interval_ns = 0;
  int64_t reply_timeout_ns = 0;
  std::optional<int64_t> duration_ns;
  uint64_t max_flows = 0;
  uint64_t max_stored_flows = 0;
  std::string subject;                              // "none", "command", "pid 123", "cgroup /x"
  std::optional<int64_t> stack_samples_per_second;  // --stacks, of each CPU in use
};

enum class RunStatus : uint8_t {
  kRunning,      // being written, or the writer died and nobody has opened it since
  kComplete,     // ended as it should
  kInterrupted,  // the writer died; all but the last tick is there
  kFailed,       // ended by an error that the reasons name
};
std::string_view run_status_name(RunStatus status);
std::optional<RunStatus> parse_run_status(std::string_view name);

struct RunInfo {
  std::string id;  // UUID, version 7: sorts by time
  int64_t started_wall_ns = 0;
  int64_t started_monotonic_ns = 0;
  HostInfo host;
  SourceInfo source;
  std::map<std::string, std::string> labels;
  std::vector<std::string> command;
  RunSettings settings;
  std::vector<ProbeStatus> probes;
  std::string topspin_version;
};

struct RunEnd {
  RunStatus status = RunStatus::kComplete;
  int64_t duration_ns = 0;
  std::optional<int> exit_status;            // of the command: 0-255, or 128+signal
  std::vector<std::string> invalid_reasons;  // empty: valid
};

/// A fresh UUID version 7 for a run started at `wall_ns`, with randomness from the kernel.
std::string make_run_id(int64_t wall_ns);

}  // namespace topspin
