#include "core/run/load_find.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

constexpr double kFullThread = 0.9;  // of one CPU
constexpr double kFullHost = 0.95;   // of all CPUs

}  // namespace

std::string_view find_by_name(FindBy by) { return by == FindBy::kRate ? "rate" : "clients"; }

std::string_view find_verdict_name(FindVerdict verdict) {
  switch (verdict) {
    case FindVerdict::kKept: return "kept";
    case FindVerdict::kBroken: return "broken";
    case FindVerdict::kGenerator: return "generator";
    case FindVerdict::kUnknown: return "unknown";
  }
  return "unknown";
}

std::string_view find_end_name(FindEnd end) {
  switch (end) {
    case FindEnd::kBorder: return "border";
    case FindEnd::kGenerator: return "generator";
    case FindEnd::kMost: return "most";
    case FindEnd::kNone: return "none";
    case FindEnd::kStopped: return "stopped";
  }
  return "stopped";
}

std::string find_level_text(FindBy by, double level) {
  const auto whole = static_cast<uint64_t>(std::llround(std::max(0.0, level)));
  if (by == FindBy::kClients)
    return fmt::format("{} {}", format_exact(whole), whole == 1 ? "client" : "clients");
  if (std::abs(level - std::round(level)) > 1e-9) return fmt::format("{:g}/s", level);
  return fmt::format("{}/s", format_exact(whole));
}

std::string find_stage_text(FindBy by, const FindStage& stage) {
  const auto time = [](const std::optional<int64_t>& ns) {
    return ns ? format_duration(*ns) : "-";
  };
  std::string line = fmt::format(
      "{:>14}  {}  due {:>8}  sent {:>8}  replied {:>8}  lost {:>5}  p50 {:>6}  p99 {:>6}  "
      "own lateness p99 {:>6}  own CPU {:>3.0f}%",
      find_level_text(by, stage.level),
      by == FindBy::kRate ? fmt::format("clients {:>5}", stage.clients)
                          : fmt::format("{:>8.0f}/s", stage.rate()),
      stage.scheduled, stage.sent, stage.replied, stage.lost, time(stage.latency.p50),
      time(stage.latency.p99), time(stage.own_lateness.p99), 100 * stage.own_cpu_share);
  if (stage.subject) line += fmt::format("  subject {:.2f} CPUs", stage.subject->cpus);
  line += fmt::format("  {}", find_verdict_name(stage.verdict));
  if (!stage.why.empty()) line += fmt::format(" ({})", stage.why);
  return line;
}

std::string find_answer_text(const LoadFind& find) {
  const std::string kept = find.kept ? find_level_text(find.by, *find.kept) : "";
  const std::string failed = find.failed ? find_level_text(find.by, *find.failed) : "";
  switch (find.end) {
    case FindEnd::kBorder:
      return fmt::format("The rules hold up to {}, and are broken from {} on.", kept, failed);
    case FindEnd::kGenerator:
      return fmt::format(
          "The rules hold up to at least {}. The generator was the limit at {}, so the server's "
          "own limit is not known.",
          kept, failed);
    case FindEnd::kMost:
      return fmt::format("The rules hold up to at least {}, the most that was to be tried.", kept);
    case FindEnd::kNone:
      return failed.empty() ? std::string("No level kept the rules.")
                            : fmt::format("No level kept the rules, not even {}.", failed);
    case FindEnd::kStopped: break;
  }
  const bool is_unknown =
      !find.stages.empty() && find.stages.back().verdict == FindVerdict::kUnknown;
  const std::string why = is_unknown ? ": " + find.stages.back().why : std::string();
  if (kept.empty() && failed.empty())
    return fmt::format("The search ended before a level was judged{}.", why);
  return fmt::format("The search ended early{}. So far the rules {}{}{}.", why,
                     kept.empty() ? std::string() : "hold up to " + kept,
                     kept.empty() || failed.empty() ? "" : ", and ",
                     failed.empty() ? std::string() : "are broken at " + failed);
}

std::vector<std::string> find_limits(const LoadFind& find) {
  std::vector<std::string> limits;
  if (!find.failed) return limits;
  const FindStage* busiest = nullptr;  // of the failed stages
  const std::string at = find_level_text(find.by, *find.failed);
  uint64_t overflows = 0, receive_errors = 0;
  double host_share = 0, least_host_share = 1;
  bool knows_subject = false;
  for (const FindStage& stage : find.stages) {
    if (stage.verdict == FindVerdict::kKept && stage.level == find.kept)
      least_host_share = std::min(least_host_share, stage.host_busy_share.value_or(0));
    if (stage.level != *find.failed) continue;
    if (stage.verdict != FindVerdict::kBroken && stage.verdict != FindVerdict::kGenerator) continue;
    if (stage.verdict == FindVerdict::kGenerator && limits.empty())
      limits.push_back(fmt::format("the generator: {}", stage.why));
    overflows += stage.listen_overflows.value_or(0);
    receive_errors += stage.udp_receive_errors.value_or(0);
    host_share = std::max(host_share, stage.host_busy_share.value_or(0));
    if (!stage.subject) continue;
    knows_subject = true;
    if (busiest == nullptr || busiest->subject->thread_share < stage.subject->thread_share)
      busiest = &stage;
  }
  if (overflows > 0)
    limits.push_back(
        fmt::format("the accept queue: it overflowed {} times at {}", format_exact(overflows), at));
  if (receive_errors > 0)
    limits.push_back(fmt::format("socket buffers: {} datagrams found a full one at {}",
                                 format_exact(receive_errors), at));
  if (busiest != nullptr && busiest->subject->thread_share >= kFullThread)
    limits.push_back(fmt::format("the subject's CPU: its thread {} used {:.0f}% of a CPU at {}",
                                 busiest->subject->thread, 100 * busiest->subject->thread_share,
                                 at));
  // If the CPUs were as full when the rules were kept, they are no reason.
  if (host_share >= kFullHost && least_host_share < kFullHost) {
    limits.push_back(fmt::format(
        "the CPUs of this host: all processes together used {:.0f}% of them at {}{}",
        100 * host_share, at,
        busiest == nullptr ? std::string()
                           : fmt::format(", the subject {:.2f} CPUs", busiest->subject->cpus)));
  }
  if (limits.empty()) {
    limits.push_back(knows_subject
                         ? fmt::format("none of what was looked at: the busiest thread of the "
                                       "subject used {:.0f}% of a CPU at {}; it "
                                       "waits for something else",
                                       100 * busiest->subject->thread_share, at)
                         : std::string("not known: no queue of this host overflowed and the "
                                       "generator kept up; the subject's CPU was not looked at"));
  }
  return limits;
}

}  // namespace topspin
