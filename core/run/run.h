// Run: one recording. RunInfo is what is known when it starts, RunEnd what is known when it ends.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/tick/sample.h"

namespace topspin {

/// The host of a run, as far as it decides whether two runs can be compared.
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

/// The version of the code under test, from git in the working directory. Empty: not known.
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

/// The purpose of a part of a run. A run is judged by the ticks from its first load stage on;
/// starting and warming up are recorded but not judged.
enum class StageKind : uint8_t {
  kStart,   // the subject starts, until it is ready
  kWarmUp,  // a load that is not counted
  kBefore,  // ready and at rest: what "before" means in a rule
  kLoad,    // a stage of the load, by its name
  kAfter,   // the load is over
};
std::string_view stage_kind_name(StageKind kind);  // "start", "warm_up", "before", "load", "after"
std::optional<StageKind> parse_stage_kind(std::string_view name);

/// A part of a run, with the name from its plan or load.
struct RunStage {
  std::string name;
  StageKind kind = StageKind::kLoad;
  int64_t start_ns = 0;                  // since the start of the run
  std::optional<int64_t> end_ns;         // absent: the run ended in this stage
  std::optional<uint32_t> clients_from;  // clients that the load had at its start and end
  std::optional<uint32_t> clients_to;
};

/// The time from which on the ticks of a run are judged: the start of its first load stage, or 0 if
/// it has none.
int64_t measured_from_ns(std::span<const RunStage> stages);

/// The time until which missed ticks and silent flows count: the end of the last load stage. The
/// greatest time if there is none, or if it has not ended yet.
int64_t load_end_ns(std::span<const RunStage> stages);

/// The plan that made a run, so that the run can be repeated.
struct RunPlan {
  std::string session;    // UUID of the `topspin run` that made it; shared by all of its runs
  std::string name;       // of the plan
  std::string text;       // the whole file
  std::string subject;    // which of the plan's subjects
  uint64_t seed = 0;      // for the order of runs; at most 2^63 - 1
  uint64_t position = 0;  // in the order in which the session made its runs, from 1
  uint64_t repeat = 0;    // of this subject, from 1; runs of the same repeat are a pair
};

enum class RunStatus : uint8_t {
  kRunning,      // being written, or the writer died and the run has not been opened since
  kComplete,     // ended normally
  kInterrupted,  // the writer died; all ticks but the last are there
  kFailed,       // ended by an error, which the reasons name
  kIncident,     // the seconds around an incident, kept by a flight recorder; not judged
};
std::string_view run_status_name(RunStatus status);
std::optional<RunStatus> parse_run_status(std::string_view name);

struct RunInfo {
  std::string id;  // UUID version 7, which sorts by time
  int64_t started_wall_ns = 0;
  int64_t started_monotonic_ns = 0;
  HostInfo host;
  SourceInfo source;
  std::map<std::string, std::string> labels;
  std::vector<std::string> command;
  RunSettings settings;
  std::vector<ProbeStatus> probes;
  std::string topspin_version;
  std::optional<RunPlan> plan;
};

struct RunEnd {
  RunStatus status = RunStatus::kComplete;
  int64_t duration_ns = 0;
  std::optional<int> exit_status;            // of the command: 0-255, or 128+signal
  std::vector<std::string> invalid_reasons;  // empty: usable
  /// Which numbers of the run may be wrong, one sentence each: because a clock was stepped, the
  /// wire contradicts the split of replies, or a rung sees only a part. Such a run is usable but
  /// not judged.
  std::vector<std::string> doubts;
};

// Labels of the run of an incident: the rule that was met (or "by hand"), what was measured, and
// when (UTC).
inline constexpr const char* kIncidentLabel = "incident";
inline constexpr const char* kIncidentValueLabel = "incident_value";
inline constexpr const char* kIncidentTimeLabel = "incident_at";
/// The name of the file of its packets, beside the database; absent: there is none.
inline constexpr const char* kIncidentPacketsLabel = "incident_packets";

/// A fresh UUID version 7 for a run started at `wall_ns`, with randomness from the kernel.
std::string make_run_id(int64_t wall_ns);

}  // namespace topspin
