// LoadFind: what a load found that searched for the most that its rules allow: each stage that was
// tried, and the answer. Plain values, made by load/find and shown by report. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/number/histogram.h"

namespace topspin {

struct LoadResult;

/// What is searched: messages per second over all clients, or clients.
enum class FindBy : uint8_t { kRate, kClients };

/// "rate", "clients".
std::string_view find_by_name(FindBy by);

enum class FindVerdict : uint8_t {
  kKept,       // all rules
  kBroken,     // a rule
  kGenerator,  // a rule, but the generator or its host was too slow for the level
  kUnknown,    // the load was stopped, or there was too little to judge
};

/// "kept", "broken", "generator", "unknown".
std::string_view find_verdict_name(FindVerdict verdict);

/// How a search ended.
enum class FindEnd : uint8_t {
  kBorder,     // `kept` was kept, and `failed`, little more, broke a rule
  kGenerator,  // `kept` was kept, and more is more than the generator can do
  kMost,       // the most that it may try was kept
  kNone,       // not even the least that it may try was kept
  kStopped,    // before it had the answer; what is there is known so far
};

/// "border", "generator", "most", "none", "stopped".
std::string_view find_end_name(FindEnd end);

/// The most that one thread of the subject used of a CPU, and all together, in CPUs.
struct SubjectUse {
  double cpus = 0;
  double thread_share = 0;
  std::string thread;  // its name; may be hostile
};

/// A stage that was tried. Accounts and latencies are those of its measured part, without the
/// arrival of the clients.
struct FindStage {
  std::string name;  // of the LoadPart
  double level = 0;  // messages per second, or clients
  uint32_t clients = 0;
  int64_t measured_ns = 0;
  uint64_t scheduled = 0;
  uint64_t sent = 0;
  uint64_t replied = 0;  // within the timeout
  uint64_t lost = 0;     // and late
  uint64_t http_errors = 0;
  uint64_t blocked = 0;
  HistogramSummary latency;  // from the moment it was due
  HistogramSummary own_lateness;
  double own_cpu_share = 0;               // of the busiest thread of the generator, of one CPU
  std::optional<double> host_busy_share;  // of all CPUs, by all processes
  std::optional<SubjectUse> subject;
  std::optional<uint64_t> listen_overflows;    // of this host, over the whole stage
  std::optional<uint64_t> udp_receive_errors;  // likewise
  FindVerdict verdict = FindVerdict::kUnknown;
  std::string why;  // the rule that broke, with its numbers; what the generator did not do

  double rate() const {
    return measured_ns <= 0
               ? 0
               : static_cast<double>(scheduled) * 1e9 / static_cast<double>(measured_ns);
  }
};

struct LoadFind {
  FindBy by = FindBy::kRate;
  std::vector<std::string> rules;
  std::vector<FindStage> stages;  // in the order in which they were tried
  FindEnd end = FindEnd::kStopped;
  std::optional<double> kept;    // the highest level that kept the rules, below `failed`
  std::optional<double> failed;  // the lowest level that did not
  /// What the stages at `failed` show about the reason.
  std::vector<std::string> limits;
};

/// What the rules say of a stage.
struct FindJudgement {
  FindVerdict verdict = FindVerdict::kUnknown;  // kept, broken or unknown
  std::string why;                              // unless kept
};

/// The rules, as far as the search needs to know them.
struct FindRules {
  std::vector<std::string> texts;
  double quantile = 0.99;                   // the highest percentile of a rule
  std::optional<int64_t> latency_bound_ns;  // the highest bound of a latency
  /// LoadResult::total is the part that is to be judged.
  std::function<FindJudgement(const LoadResult&)> judge;
};

/// "1250/s", "15,000 clients".
std::string find_level_text(FindBy by, double level);

/// A stage on one line: "1250/s  sent 2500  ...  kept".
std::string find_stage_text(FindBy by, const FindStage& stage);

/// The answer as a sentence.
std::string find_answer_text(const LoadFind& find);

/// What limited the level that failed, as far as its stages show it: the generator, the accept
/// queue, socket buffers, the subject's CPU, the host's CPUs. One sentence each.
std::vector<std::string> find_limits(const LoadFind& find);

}  // namespace topspin
