// RunReport: everything about a run that its JSON report shows, with every tick, thread and socket.
// Reports for people use RunPage (report_page.h), whose size is bounded.
//
// Numbers that were never measured are nullopt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ci/findings/findings.h"
#include "ci/metrics/standing.h"
#include "ci/slo/slo_gate.h"
#include "core/base/result.h"
#include "core/flow/flow_owner.h"
#include "core/run/growth.h"
#include "core/run/run.h"
#include "core/run/run_fold.h"
#include "core/tick/sample.h"
#include "report/model/process_sleeps.h"
#include "store/run_store.h"

namespace topspin {

/// Whether lateness, missed ticks and silence of the run mean anything: some flow had a period.
bool has_lateness(const RunFold& fold, const RunSettings& settings);

/// A tick as reports show it. Its histograms (tens of KiB) are reduced to percentiles, so that a
/// day of ticks fits into memory.
struct ReportTick {
  explicit ReportTick(const Sample& from);

  Sample sample;  // its histograms are empty
  HistogramSummary lateness_ns;
  HistogramSummary reply_latency_ns;
  HistogramSummary tcp_handshake_ns;
  std::optional<HistogramSummary> run_queue_latency_ns;
  std::optional<HistogramSummary> accept_delay_ns, socket_wait_ns;
  std::optional<HistogramSummary> reply_socket_ns, reply_cpu_queue_ns, reply_runtime_ns;
};

/// How many of a run's flows a report names, by packets.
inline constexpr size_t kBusiestFlows = 8;
bool is_busier_flow(const FlowRow& a, const FlowRow& b);

/// How many threads, by CPU time, a page shows and findings look at.
inline constexpr size_t kPageThreads = 40;

/// How many holders of CPUs a page shows, by the time that the subject waited behind them. The
/// others are summed.
inline constexpr size_t kPageCpuHolders = 10;
bool held_more(const CpuHolderRow& a, const CpuHolderRow& b);

/// How many stacks a page shows, and how many slow replies a JSON report has.
inline constexpr size_t kPageStacks = 20;
inline constexpr size_t kReportSlowReplies = 32;
static_assert(kReportSlowReplies >= kEvidenceSlowReplies);
/// How many of its longest busy stretches a report shows.
inline constexpr size_t kReportStretches = 32;
/// How many stacks of sleeps a page shows.
inline constexpr size_t kPageSleepStacks = 10;

/// Reads the stacks with the longest sleeps. `slept_ns` becomes the time of all.
Result<std::vector<SleepStackRow>> read_longest_sleeps(RunStore& store, const std::string& run_id,
                                                       uint64_t& slept_ns);

/// Reads the stacks with the most samples. `samples` becomes that of all stacks.
Result<std::vector<StackRow>> read_busiest_stacks(RunStore& store, const std::string& run_id,
                                                  uint64_t& samples);

/// How a run kept its rules, in their order. If the rules cannot be read, there is one entry that
/// could not be judged, and the rest of the report is complete.
Result<std::vector<SloResult>> read_slos(RunStore& store, const StoredRun& run,
                                         const RulesOfRun& rules_of);

/// The called addresses, by the time waited for their replies, the longest first. Then follow those
/// whose connections were not captured.
Result<std::vector<CalledRow>> read_called(RunStore& store, const std::string& run_id);
/// The slowest `most` replies, the slowest first.
Result<std::vector<SlowReply>> read_slowest_replies(RunStore& store, const std::string& run_id,
                                                    size_t most);

struct RunReport {
  StoredRun run;
  RunStanding standing;
  RunFold fold;
  Growth growth;
  std::vector<ReportTick> ticks;
  std::vector<ThreadRow> threads;           // by CPU time, the busiest first
  std::vector<ProcessSleeps> processes;     // by time off the CPU, the longest first
  std::vector<SleepStackRow> sleep_stacks;  // by time, the longest first; at most kPageSleepStacks
  LongStretches stretches;                  // of runs with --stacks
  std::vector<CpuHolderRow> cpu_holders;    // by the time waited behind them, the longest first
  std::vector<FlowRow> busiest_flows;       // by packets, the busiest first; at most kBusiestFlows
  OwnerTable owners;                        // of the ends of flows
  std::vector<SocketRow> sockets;           // by drops, then by port
  std::vector<SyscallRow> syscalls;         // by the time spent inside, the longest first
  std::vector<CalledRow> called;            // in the order of read_called()
  std::vector<SlowReply> slowest_replies;   // the slowest first; at most kReportSlowReplies
  std::vector<StoredEvent> events;
  std::optional<LoadResult> load;
  std::vector<SloResult> slos;
  std::vector<Finding> findings;  // what stands out, the worst first; never empty
};

/// Why the run is not usable, one sentence per reason, including that it is not complete. Empty if
/// it is usable. A usable run may be judged unless it has doubts (RunEnd) or its host was busy.
std::vector<std::string> invalid_reasons(const StoredRun& run);

/// `rules_of` may be empty, which means no rules.
Result<RunReport> read_run_report(RunStore& store, const StoredRun& run,
                                  const RulesOfRun& rules_of = {});

}  // namespace topspin
