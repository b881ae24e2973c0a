// Findings: sentences that explain why replies were late or work failed in a run. Each has its
// number, its evidence, what would refute it, and the next step. They come from one table of rules
// (rules.cc) over what was measured; nothing else is guessed. docs/causes.md lists them.
//
// Pure and deterministic; thread-agnostic.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ci/metrics/long_stretches.h"
#include "ci/metrics/run_metrics.h"
#include "core/run/growth.h"
#include "core/run/load_result.h"
#include "core/run/run.h"
#include "core/run/run_fold.h"
#include "core/tick/sample.h"
#include "core/tick/sockets.h"

namespace topspin {

/// Findings use at most this many of a run's slowest replies.
inline constexpr size_t kEvidenceSlowReplies = 32;

/// The data from which findings are made. A view of the caller's objects, which must outlive it.
struct Evidence {
  const RunInfo& info;
  const RunFold& fold;      // of the ticks by which the run is judged
  const RunTotals& totals;  // of the same ticks, with the load if there was one
  const Growth& growth;
  const LoadResult* load = nullptr;        // nullptr: no load by topspin
  std::span<const ThreadRow> threads;      // by CPU time, the busiest first; may be only some
  std::span<const SocketRow> sockets;      // by drops, the most first
  std::span<const StackRow> stacks;        // by samples, the most first; empty without --stacks
  uint64_t stack_samples = 0;              // of all stacks
  std::span<const CalledRow> called = {};  // the addresses that the subject called, by number
  std::span<const CpuHolderRow> cpu_holders = {};    // by time waited behind them, longest first
  std::span<const SleepStackRow> sleep_stacks = {};  // by time, the longest first; with --stacks
  std::span<const SlowReply> slow_replies = {};  // slowest first; kEvidenceSlowReplies are enough
  const LongStretches* stretches = nullptr;      // nullptr: not known
  int64_t measured_from_ns = 0;  // since the start of the run: nothing before it is judged
};

/// What a finding is about, in the order of findings. Those that make all others doubtful are
/// first.
enum class FindingKind : uint8_t {
  kMeasurement,  // topspin could not keep up
  kFailedWork,   // requests and connections that were not served
  kLateReplies,  // served, and late
  kAhead,        // nothing failed yet
};

/// A number that supports a finding, by its name in the registry (docs/numbers.md) or in the load's
/// accounts.
struct Proof {
  std::string name;
  double value = 0;  // in the unit of the name's ending (_ns, _bytes, _share), else a count
};

struct Finding {
  std::string_view key;  // "accept_queue_overflow"; kNothing if nothing stands out
  FindingKind kind = FindingKind::kLateReplies;
  /// The share of the work, or of the late replies' time, that it concerns (0 to 1). Ranks findings
  /// of one kind.
  double harm = 0;
  std::string sentence;  // may contain hostile text
  std::vector<Proof> proofs;
  std::string refuted_by;  // what would disprove it
  std::string next_step;
};

inline constexpr std::string_view kNothing = "nothing";
inline constexpr size_t kMostFindings = 5;

/// The findings of a run, the worst first; at most kMostFindings. If no rule finds anything, there
/// is one finding that says so.
std::vector<Finding> find_causes(const Evidence& evidence);

/// The CPUs on which nearly all of the subject's threads ran, ascending. Empty if these are all
/// CPUs of the host, or if they are not known.
std::vector<int32_t> few_cpus(const RunInfo& info, const RunFold& fold);

/// "listen_overflows 2,772" for a proof, with its value in the unit of its name.
std::string proof_text(const Proof& proof);

/// The keys of all rules, in the order of the table.
std::vector<std::string_view> finding_keys();

}  // namespace topspin
