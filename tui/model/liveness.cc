#include "tui/model/liveness.h"

namespace topspin {

Liveness judge_liveness(const LivenessFacts& facts) {
  if (facts.ended) return Liveness::kNone;
  if (!facts.period_ns || *facts.period_ns <= 0) {
    return facts.sent ? Liveness::kOnTime : Liveness::kQuiet;
  }
  const int64_t period_ns = *facts.period_ns;
  const int64_t tolerance_ns = period_ns / 10;
  if (facts.sent) {
    if (facts.missed) return Liveness::kMissed;
    return facts.late_ns && *facts.late_ns > tolerance_ns ? Liveness::kLate : Liveness::kOnTime;
  }
  // Nothing came. If something was due, the gap counts as missed once lateness would round it to
  // two periods.
  if (facts.silent_ns >= kDeadPeriods * period_ns) return Liveness::kDead;
  if (facts.silent_ns >= period_ns + period_ns / 2) return Liveness::kMissed;
  if (facts.silent_ns > period_ns + tolerance_ns) return Liveness::kLate;
  return Liveness::kQuiet;
}

}  // namespace topspin
