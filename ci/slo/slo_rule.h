// The language of SLO rules. A rule states what must hold for a run.
//
//   rule  := value op bound [scope]  |  value scope op bound
//   value := NAME | STATISTIC "(" NAME ")"
//   scope := "during" STAGE | "after" STAGE
//   op    := "<" | "<=" | ">" | ">=" | "==" | "!="
//   bound := term { ("+" | "-") term }
//   term  := [FACTOR "*"] (NUMBER [UNIT] | "clients" | "before" | NAME of a count)
//
//   p99(reply_latency) < 5ms
//   losses == 0
//   active_flows == clients during hold
//   fds after ramp_down <= before + 2
//   lost <= 0.001 * sent
//   http_errors == 0
//
// A bound of a time needs a unit.
//
// A NAME without a statistic means different things. A gauge (fds, active_flows) must keep the rule
// at every tick of its scope; "after" a stage, at the last tick of the stage that follows. A count
// (packets, lost) is the sum over the scope. A distribution (reply_latency) needs a statistic.
// docs/plans.md lists the names. Missed ticks and silent flows without a scope count until the load
// is over (load_end_ns). They are not judged if no flow ever had a period.
//
// Pure. ci/slo/slo.h judges runs by rules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace topspin {

enum class SloComparison : uint8_t {
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kEqual,
  kNotEqual
};

enum class SloStatistic : uint8_t {
  kPlain,  // no statistic was given
  kPercentile,
  kMin,
  kMean,
  kMax,
  kLast,
  kCount,
  kSlope,  // for a gauge: its change per second, by least squares
  kRate,   // for a count: its sum per second
};

struct SloScope {
  enum class Kind : uint8_t { kMeasured, kDuring, kAfter };
  Kind kind = Kind::kMeasured;
  std::string stage;
};

struct SloTerm {
  enum class Kind : uint8_t { kNumber, kClients, kBefore, kCount };
  enum class Unit : uint8_t { kNone, kTime, kBytes };
  Kind kind = Kind::kNumber;
  Unit unit = Unit::kNone;  // the unit of the number as written
  double factor = 0;        // signed; for kNumber the number itself
  std::string name;         // kCount
};

struct SloRule {
  std::string text;  // as it was written
  SloStatistic statistic = SloStatistic::kPlain;
  double quantile = 0;  // kPercentile
  std::string name;
  SloScope scope;
  SloComparison comparison = SloComparison::kLess;
  std::vector<SloTerm> bound;
  bool aborts = false;   // the plan ends a run that has broken it (ci/slo/abort_watch.h)
  bool lenient = false;  // the plan allows that it cannot be judged
};

/// kUsage describes the mistake, and suggests the nearest name for one that does not exist.
Result<SloRule> parse_slo(std::string_view text);

}  // namespace topspin
