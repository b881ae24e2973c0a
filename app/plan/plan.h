// Plan: a repeatable experiment, described in TOML: subjects, load, observation, order, rules.
//
// The parser is pure: it turns text into values or one error. It refuses everything that can be
// refused without starting anything, and names the file, line and key. `topspin run --example`
// prints a plan with every key explained (plan_example.cc); docs/plans.md is the reference.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/workers/coordinator.h"
#include "ci/slo/slo.h"
#include "core/base/result.h"
#include "load/load.h"
#include "load/share/job_text.h"

namespace topspin {

/// The conditions under which a subject is ready. All that are set must hold.
struct PlanReadiness {
  bool udp = false;                    // the port is UDP; else TCP
  std::optional<uint16_t> port;        // a socket listens on it (UDP: is bound to it)
  std::string line;                    // its output has a line that contains this
  std::optional<int64_t> after_ns;     // this much time has passed
  int64_t within_ns = 10'000'000'000;  // otherwise the run has failed
};

struct PlanSubject {
  std::string name;
  std::vector<std::string> command;
  std::map<std::string, std::string> environment;
  std::string directory;  // relative to the plan's, or to the work tree; empty: that directory
  std::string user;       // empty: that of the recording
  std::vector<int> cpus;  // empty: all
  PlanReadiness ready;
  int64_t stop_within_ns = 5'000'000'000;  // from SIGTERM to SIGKILL
  std::string output;                      // file for its output; empty: kept only for errors
  std::string commit;                      // checked out in a separate work tree
  std::string build;  // shell command that runs there (or in `directory`) first
};

enum class PlanOrder : uint8_t {
  kInterleaved,  // each repeat runs every subject once, in random order
  kAbba,         // A B, B A, A B, ...: in turn, and each is first equally often
  kInTurn,       // A B, A B, ...
  kBlocks,       // A A A, B B B: for observing, not for judging
};

/// Who sends the load, in place of this host (docs/workers.md).
struct PlanWorkers {
  SharedLoadOptions options;
  JobDescription job;
};

struct Plan {
  std::string name;
  std::vector<PlanSubject> subjects;  // in the order of the file
  std::map<std::string, std::string> labels;
  std::string store;  // the team's store that gets the runs; empty: none

  uint64_t repeats = 1;
  PlanOrder order = PlanOrder::kInterleaved;
  std::optional<uint64_t> seed;
  std::optional<int64_t> duration_ns;  // without a load: how long to observe
  int64_t pause_ns = 0;                // between runs
  std::optional<int64_t> before_ns;    // at rest, before the load
  std::optional<int64_t> after_ns;     // at rest, after it

  std::optional<LoadOptions> load;
  std::vector<int> load_cpus;
  std::optional<PlanWorkers> workers;  // that send the load
  int64_t warm_up_ns = 0;
  std::optional<uint32_t> warm_up_clients;

  // The same as the options of `record` with these names; empty: their default.
  std::string interface = "lo";
  std::optional<std::string> filter;  // nullopt: the port of the load
  std::string period, window, reply_timeout, interval;
  uint64_t max_stored_flows = 200'000;
  std::vector<std::string> probes;  // NAME=RUNG or NAME=on
  bool syscalls = false;            // count and time the subject's system calls
  int64_t stacks_per_second = 0;    // samples of its stacks; 0: none
  std::string runtime;              // --runtime; empty: none

  std::vector<SloRule> rules;
  bool lenient = false;  // a rule that cannot be judged is not a failure
};

/// Fails with kUsage: "FILE:LINE: KEY: what is wrong; what to do". `file` is only for messages.
Result<Plan> parse_plan(std::string_view text, const std::string& file);

/// The names of the stages that the plan's runs will have.
std::vector<std::string> stage_names(const Plan& plan);

/// The times that a plan may leave open, with their defaults.
struct PlanTimes {
  int64_t interval_ns = 0;
  int64_t window_ns = 0;
  int64_t before_ns = 0;
  int64_t after_ns = 0;
};
PlanTimes times_of(const Plan& plan);

/// About how long a run will take. A subject is assumed to start and end within a second each.
int64_t expected_run_ns(const Plan& plan);

/// kUsage if a rule names a stage that the runs will not have, unless the plan is lenient.
Status check_rules(const Plan& plan, const std::string& file);

/// The SLO rules of the plan that made a run. Empty if no plan made it, or if its text is not
/// known.
Result<std::vector<SloRule>> plan_rules(const StoredRun& run);

/// One run of a session.
struct PlannedRun {
  size_t subject = 0;   // index into the chosen subjects
  uint64_t repeat = 0;  // from 1

  bool operator==(const PlannedRun&) const = default;
};

/// The runs in order. The same seed gives the same order on every machine.
std::vector<PlannedRun> order_of_runs(size_t subjects, uint64_t repeats, PlanOrder order,
                                      uint64_t seed);

/// Parses "0-3,6" into ascending numbers. nullopt if `text` is not such a list, or if a number
/// exceeds 4095.
std::optional<std::vector<int>> parse_cpu_list(std::string_view text);

/// A plan that the parser accepts, with every key explained.
std::string example_plan();

}  // namespace topspin
