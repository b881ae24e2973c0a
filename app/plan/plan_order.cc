// What follows from a plan: the stages of its runs and how long they take, whether its rules fit
// them, and the order of the runs.
#include <algorithm>
#include <random>

#include <fmt/format.h>

#include "app/options/observe_options.h"
#include "app/plan/plan.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "load/workloads/workload_type.h"

namespace topspin {

std::vector<std::string> stage_names(const Plan& plan) {
  std::vector<std::string> names = {"start"};
  if (plan.load && plan.warm_up_ns > 0) names.emplace_back("warm_up");
  names.emplace_back("before");
  if (!plan.load) names.emplace_back("observe");
  if (plan.load) {
    const WorkloadType& type = workload_type(plan.load->workload);
    if (!type.has_clients()) names.emplace_back(type.only_stage);
    // The stages of a search are not known before.
    if (plan.load->find.rules.empty())
      for (const LoadStage& stage : plan.load->stages) names.push_back(stage.name);
  }
  names.emplace_back("after");
  return names;
}

PlanTimes times_of(const Plan& plan) {
  PlanTimes times;
  times.interval_ns = parse_duration(plan.interval).value_or(kNanosPerSecond);
  const int64_t load_period_ns = plan.load ? plan.load->period_ns : kNanosPerSecond;
  times.window_ns =
      parse_duration(plan.window)
          .value_or(default_window_ns(parse_duration(plan.period).value_or(load_period_ns)));
  // "before" needs a whole tick at rest, after the warm-up's flows have become silent. "after"
  // needs a tick at which every flow has been silent for the window.
  const bool warms_up = plan.load && plan.warm_up_ns > 0;
  times.before_ns =
      plan.before_ns.value_or(2 * times.interval_ns + (warms_up ? times.window_ns : 0));
  times.after_ns = plan.after_ns.value_or(2 * times.interval_ns + times.window_ns);
  return times;
}

int64_t expected_run_ns(const Plan& plan) {
  const PlanTimes times = times_of(plan);
  int64_t load_ns = plan.duration_ns.value_or(0);
  if (plan.load) {
    load_ns = plan.load->stages.empty() ? plan.load->duration_ns : 0;
    for (const LoadStage& stage : plan.load->stages) load_ns += stage.duration_ns;
    load_ns += plan.warm_up_ns;
  }
  return times.before_ns + load_ns + times.after_ns + plan.pause_ns + 2 * kNanosPerSecond;
}

Status check_rules(const Plan& plan, const std::string& file) {
  const std::vector<std::string> names = stage_names(plan);
  for (const SloRule& rule : plan.rules) {
    if (rule.scope.kind == SloScope::Kind::kMeasured || rule.lenient ||
        std::find(names.begin(), names.end(), rule.scope.stage) != names.end())
      continue;
    std::string all;
    for (const std::string& name : names) all += fmt::format("{}{}", all.empty() ? "" : ", ", name);
    const auto near =
        nearest_word(rule.scope.stage, std::vector<std::string_view>(names.begin(), names.end()));
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{}: slo.rules: in the rule \"{}\": there is no stage {}; {}there are {}", file,
                    rule.text, rule.scope.stage,
                    near ? fmt::format("did you mean {}? ", *near) : std::string(), all));
  }
  return {};
}

std::vector<PlannedRun> order_of_runs(size_t subjects, uint64_t repeats, PlanOrder order,
                                      uint64_t seed) {
  std::vector<PlannedRun> runs;
  if (order == PlanOrder::kBlocks) {
    for (size_t subject = 0; subject < subjects; ++subject) {
      for (uint64_t repeat = 1; repeat <= repeats; ++repeat) runs.push_back({subject, repeat});
    }
    return runs;
  }
  std::mt19937_64 random(seed);
  for (uint64_t repeat = 1; repeat <= repeats; ++repeat) {
    std::vector<size_t> round(subjects);
    for (size_t i = 0; i < subjects; ++i) round[i] = i;
    if (order == PlanOrder::kAbba && repeat % 2 == 0) std::reverse(round.begin(), round.end());
    if (order == PlanOrder::kInterleaved) {
      // Not std::shuffle, whose order differs between libraries.
      for (size_t i = subjects; i > 1; --i) std::swap(round[i - 1], round[random() % i]);
    }
    for (const size_t subject : round) runs.push_back({subject, repeat});
  }
  return runs;
}

}  // namespace topspin
