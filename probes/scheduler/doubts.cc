#include "probes/scheduler/doubts.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/base/clock.h"
#include "core/base/text.h"

namespace topspin {

SchedulerSelfTest judge_self_test(uint64_t histogram_sum_ns, uint64_t run_delay_ns, uint64_t waits,
                                  bool kernel_counts_sleep) {
  // The kernel counts no wait if it skips reading its clock; each time that misses about 10 us.
  constexpr uint64_t kUncountedNs = 20'000;
  constexpr uint64_t kSlackNs = 10 * kNanosPerMilli;
  SchedulerSelfTest test{histogram_sum_ns, run_delay_ns, waits, SchedulerSelfTest::Verdict::kAgree,
                         ""};
  const uint64_t share = std::max(histogram_sum_ns, run_delay_ns) / 100;
  const auto text = [](uint64_t ns) { return format_duration(static_cast<int64_t>(ns)); };
  if (run_delay_ns > histogram_sum_ns + share + kSlackNs) {
    if (kernel_counts_sleep) {
      test.verdict = SchedulerSelfTest::Verdict::kKernelCountsSleep;
      test.sentence = fmt::format(
          "the kernel counts sleep as wait: its run_delay is {}, but the waits of the same threads "
          "add up to {}; the run uses the latter",
          text(run_delay_ns), text(histogram_sum_ns));
      return test;
    }
  } else if (histogram_sum_ns <= run_delay_ns + share + kSlackNs + waits * kUncountedNs) {
    return test;
  }
  test.verdict = SchedulerSelfTest::Verdict::kDiffer;
  test.sentence = fmt::format(
      "the waits for a CPU add up to {}, while the kernel's own account of the same threads is {}",
      text(histogram_sum_ns), text(run_delay_ns));
  return test;
}

std::optional<std::string> doubt_sums(Rung rung, const SchedulerInterval& sums,
                                      const CommandUsage& usage) {
  // The command still uses a little CPU time between our last reading and its release.
  constexpr uint64_t kSlackNs = 50 * kNanosPerMilli;
  constexpr uint64_t kSlackSwitches = 100;
  const auto misses = [](std::optional<uint64_t> counted, uint64_t truth, uint64_t slack) {
    return counted && *counted + truth / 20 + slack < truth;
  };
  const auto part = [](uint64_t counted, uint64_t truth) {
    return 100 * static_cast<double>(counted) / static_cast<double>(truth);
  };
  std::string found;
  const auto say = [&](const std::string& text) {
    found += found.empty() ? "" : ", ";
    found += text;
  };
  // rusage has whole microseconds. It does not include processes that were never waited for, so a
  // greater sum is no reason for doubt.
  if (misses(sums.cpu_ns, usage.cpu_ns, kSlackNs))
    say(fmt::format(
        "{} of {} of CPU time ({:.0f}%)", format_duration(static_cast<int64_t>(*sums.cpu_ns)),
        format_duration(static_cast<int64_t>(usage.cpu_ns)), part(*sums.cpu_ns, usage.cpu_ns)));
  const std::pair<const char*, std::pair<std::optional<uint64_t>, uint64_t>> switches[] = {
      {"voluntary", {sums.voluntary_switches, usage.voluntary_switches}},
      {"involuntary", {sums.involuntary_switches, usage.involuntary_switches}}};
  for (const auto& [kind, numbers] : switches) {
    const auto& [counted, truth] = numbers;
    if (misses(counted, truth, kSlackSwitches))
      say(fmt::format("{} of {} {} switches ({:.0f}%)", *counted, truth, kind,
                      part(*counted, truth)));
  }
  if (found.empty()) return std::nullopt;
  const bool bpf = rung == Rung::kTpBtf || rung == Rung::kRawTracepoint;
  return fmt::format(
      "the scheduler was watched by {}{}: it saw {} of what the kernel charged the "
      "command",
      rung_name(rung), bpf ? "" : ", which sees only a part of short-lived processes", found);
}

}  // namespace topspin
