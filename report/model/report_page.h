// ReportPage: everything that a report for people shows. Its size is bounded, whatever the length
// of the runs. It is read from the store tick by tick, on the caller's thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ci/findings/findings.h"
#include "ci/judgement/judgement.h"
#include "ci/metrics/run_metrics.h"
#include "ci/metrics/standing.h"
#include "core/base/result.h"
#include "report/model/flames.h"
#include "report/model/process_sleeps.h"
#include "report/model/run_report.h"
#include "report/model/timeline.h"
#include "store/run_store.h"

namespace topspin {

/// The most bins over time. A run with more ticks has at least half as many. Each has two points.
inline constexpr size_t kPageBins = 720;
inline constexpr size_t kPageHeatColumns = 240;
inline constexpr size_t kPageLifeRows = 64;
inline constexpr size_t kPageLifeColumns = 240;
inline constexpr size_t kPageEvents = 200;
inline constexpr size_t kPageStages = 100;
inline constexpr size_t kPageSyscalls = 30;
inline constexpr size_t kPageSlowReplies = 10;  // in the table
inline constexpr size_t kPageStretches = 10;
inline constexpr size_t kPageSockets = 20;
inline constexpr size_t kPageProcesses = 20;

struct RunPage {
  RunPage();
  void add(const Sample& sample);

  StoredRun run;
  RunFold fold;        // of all ticks
  RunTotals measured;  // what the gate judges: in a plan's run, the ticks from its first load stage
  RunStanding standing;
  Timeline timeline;  // of curve_specs()
  HeatMap lateness_heat;
  HeatMap reply_heat;
  HeatMap run_queue_heat;
  std::optional<int64_t> flows_begin_ns;  // the run's start on the packets' clock
  int64_t elapsed_ns = 0;                 // to the end of the last tick
  LifeGrid lives;
  std::vector<ThreadRow> threads;  // by CPU time, the busiest first; at most kPageThreads
  size_t threads_in_all = 0;
  std::vector<ProcessSleeps> processes;  // by time off the CPU, the longest first
  size_t processes_in_all = 0;
  std::vector<CpuHolderRow> cpu_holders;  // by the time waited behind them, the longest first
  std::vector<FlowRow> busiest_flows;
  OwnerTable owners;  // of busiest_flows
  std::vector<StoredEvent> events;
  size_t events_in_all = 0;

  // Parts that only some runs have.
  std::vector<RunStage> stages;  // the first kPageStages
  std::optional<LoadResult> load;
  std::vector<SocketRow> socket_rows;  // by drops, the most first
  size_t sockets_in_all = 0;
  std::vector<SyscallRow> syscalls;  // by time inside, the most first
  size_t syscalls_in_all = 0;
  std::vector<StackRow> stacks;             // by samples, the most first
  uint64_t stack_samples = 0;               // of all stacks
  std::vector<SleepStackRow> sleep_stacks;  // by time, the longest first
  uint64_t slept_ns = 0;                    // of all stacks
  LongStretches stretches;
  std::vector<CalledRow> called;  // by the time waited, the longest first; then hidden ones
  std::vector<SlowReply> slowest_replies;  // all stored ones, the slowest first
  ResourceReading resources;               // the last reading
  Growth growth;
  std::vector<SloResult> slos;    // its rules, and whether it kept them
  std::vector<Finding> findings;  // what stands out, the worst first; never empty
};

Result<RunPage> read_run_page(RunStore& store, const StoredRun& run,
                              const RulesOfRun& rules_of = {});

/// Only the findings of a run. This costs less than the page, because it reads just the stored fold
/// and the plain numbers of ticks, but no flows.
Result<std::vector<Finding>> read_findings(RunStore& store, const StoredRun& run);

/// One metric over runs, oldest first. A run in which it was not measured has no value.
struct HistoryCurve {
  Metric metric;
  std::vector<std::optional<double>> values;
};

struct ReportPage {
  std::vector<RunPage> runs;            // one, or A and then B
  std::optional<Judgement> judgement;   // of A against B, or of the history
  std::vector<StoredRun> history_runs;  // oldest first; the newest of them is runs.back()
  std::vector<HistoryCurve> history;    // of the gating metrics
  std::vector<Flame> flames;            // of the only or newest run; for A and B of all their runs
};

/// Reads the page for selectors of select_runs(). One selector that names one run gives that run.
/// Two give A against B: the newest run of each side is shown, and all runs are compared. One that
/// names several runs, or more than two selectors, give the history and the newest run. The verdict
/// includes the candidate's rules, like that of the gate. REQUIRES: at least one selector.
Result<ReportPage> read_report_page(RunStore& store, const std::vector<std::string>& selectors,
                                    const RulesOfRun& rules_of = {});

/// The page of A against B, for runs that were chosen already.
Result<ReportPage> read_comparison_page(RunStore& store, const std::vector<StoredRun>& a,
                                        const std::vector<StoredRun>& b,
                                        const RulesOfRun& rules_of = {});

}  // namespace topspin
