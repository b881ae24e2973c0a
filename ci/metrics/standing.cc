#include "ci/metrics/standing.h"

#include <algorithm>
#include <array>
#include <iterator>

#include <fmt/format.h>

#include "ci/metrics/measured_run.h"
#include "core/tick/split_check.h"

namespace topspin {
namespace {

/// The share of all CPUs over the time that the ticks cover.
double share_of_all_cpus(int64_t ns, const RunInfo& info, const RunTotals& totals) {
  const auto cpus = static_cast<double>(info.host.cpus_online.value_or(1));
  return static_cast<double>(ns) / (static_cast<double>(totals.interval_ns) * cpus);
}

void add_busyness(const RunInfo& info, const RunTotals& t, std::vector<std::string>& reasons) {
  if (t.host_steal_ns) {
    const double steal = share_of_all_cpus(*t.host_steal_ns, info, t);
    if (steal > kMostStealShare)
      reasons.push_back(fmt::format("the hypervisor took {:.1f}% of the CPUs", 100 * steal));
  }
  if (t.host_busy_ns && t.cpu_ns) {
    const int64_t own = static_cast<int64_t>(*t.cpu_ns) + t.self_cpu_ns;
    const double foreign = share_of_all_cpus(*t.host_busy_ns - own, info, t);
    if (foreign > kMostForeignShare)
      reasons.push_back(fmt::format("other programs used {:.0f}% of the CPUs", 100 * foreign));
  } else if (t.host_busy_ns) {
    // Without a subject's CPU time, the programs of the traffic cannot be told from others.
    const double others = share_of_all_cpus(*t.host_busy_ns - t.self_cpu_ns, info, t);
    if (others > kMostForeignShare)
      reasons.push_back(
          fmt::format("programs other than topspin used {:.0f}% of the CPUs, and without a "
                      "subject it is not known which of them the traffic needed",
                      100 * others));
  }
}

}  // namespace

bool is_of_split(std::string_view name) {
  if (name.ends_with("_ns")) name.remove_suffix(3);
  if (name == "socket_wait" || name == "replies_multiplexed" || name == "reply") return true;
  return name.starts_with("reply_") && name != "reply_latency";
}

std::optional<std::string> doubt_of_split(const RunEnd& end) {
  const auto found = std::find_if(end.doubts.begin(), end.doubts.end(), is_doubt_of_split);
  return found == end.doubts.end() ? std::nullopt : std::optional(*found);
}

std::vector<std::string> doubts_of_all(const RunEnd& end) {
  std::vector<std::string> doubts;
  std::copy_if(end.doubts.begin(), end.doubts.end(), std::back_inserter(doubts),
               [](const std::string& doubt) { return !is_doubt_of_split(doubt); });
  return doubts;
}

RunStanding standing_of(const RunInfo& info, const RunEnd& end, const RunTotals& totals) {
  RunStanding standing;
  standing.complete = end.status == RunStatus::kComplete;
  standing.usable = end.invalid_reasons.empty() && end.status != RunStatus::kFailed &&
                    end.status != RunStatus::kRunning;
  standing.reasons = end.invalid_reasons;
  if (!standing.complete)
    standing.reasons.push_back(fmt::format("its status is {}", run_status_name(end.status)));
  if (const auto doubt = doubt_of_split(end)) {
    standing.notes.push_back(
        "the split of replies (socket_wait, reply_socket, reply_cpu_queue, reply_runtime, the "
        "parts of these, replies_multiplexed) is doubtful and not judged: " +
        *doubt);
  }
  for (const std::string& doubt : doubts_of_all(end))
    standing.reasons.push_back("a number of it is doubtful: " + doubt);
  if (totals.ticks < kFewestTicks) {
    standing.reasons.push_back(fmt::format("it has {} tick{}; at least {} are needed", totals.ticks,
                                           totals.ticks == 1 ? "" : "s", kFewestTicks));
  } else {
    add_busyness(info, totals, standing.reasons);
  }
  standing.may_be_judged = standing.reasons.empty();
  return standing;
}

Result<RunStanding> read_standing(RunStore& store, const StoredRun& run) {
  TOPSPIN_ASSIGN(const auto measured, measure_runs(store, {run}));
  return standing_of(run.info, run.end, measured.front().totals);
}

std::string standing_text(const RunStanding& standing, RunStatus status) {
  std::string text(run_status_name(status));
  if (!standing.usable) return text + ", not usable";
  return text +
         (standing.may_be_judged ? ", usable, may be judged" : ", usable, may not be judged");
}

}  // namespace topspin
