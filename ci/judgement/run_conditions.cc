#include "ci/judgement/run_conditions.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

std::string rung_of_scheduler(const MeasuredRun& run) {
  for (const ProbeStatus& probe : run.run.info.probes) {
    if (probe.name == "scheduler") return std::string(rung_name(probe.rung));
  }
  return "none";
}

/// The distinct values that `of` has over the runs.
template <typename Of>
std::set<std::string> distinct(const RunPointers& runs, Of of) {
  std::set<std::string> values;
  for (const MeasuredRun* run : runs) values.insert(of(*run));
  return values;
}

std::string without_numbers(const std::string& reason) {
  std::string kind;
  for (const char c : reason) {
    if ((c < '0' || c > '9') && c != '.') kind += c;
  }
  return kind;
}

}  // namespace

bool same_rungs(const RunPointers& runs, Judgement& judgement) {
  const auto rungs = distinct(runs, rung_of_scheduler);
  if (rungs.size() <= 1) return true;
  std::string names;
  for (const std::string& rung : rungs)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", rung);
  judgement.not_comparable.push_back(fmt::format(
      "the scheduler probe used different rungs ({}), so its metrics do not gate", names));
  return false;
}

void say_other_conditions(const RunPointers& runs, Judgement& judgement) {
  const auto say = [&](std::string_view what, auto of) {
    const std::set<std::string> values = distinct(runs, of);
    if (values.size() < 2) return;
    std::string names;
    for (const std::string& value : values) {
      constexpr size_t kMostShown = 60;
      std::string shown = value.empty() ? "none" : value.substr(0, kMostShown);
      if (value.size() > kMostShown) shown += "...";
      names += fmt::format("{}{}", names.empty() ? "" : " / ", shown);
    }
    judgement.not_comparable.push_back(fmt::format("the runs differ in {}: {}", what, names));
  };
  const auto number = [](const std::optional<int64_t>& ns) {
    return ns ? format_duration(*ns) : std::string();
  };
  using Run = const MeasuredRun&;
  if (runs.empty()) return;
  say("kernel", [](Run r) { return r.run.info.host.kernel; });
  // The subjects of one plan are meant to be compared, even if their commands differ.
  const bool one_plan = distinct(
                            runs,
                            [](Run r) {
                              return r.run.info.plan ? r.run.info.plan->text : std::string();
                            }).size() == 1 &&
                        runs.front()->run.info.plan.has_value();
  say("command", [&](Run r) {
    std::string command;
    if (one_plan) return command;
    for (const std::string& word : r.run.info.command)
      command += fmt::format("{}{}", command.empty() ? "" : " ", word);
    return command;
  });
  say("capture filter", [](Run r) { return r.run.info.settings.filter; });
  say("interface", [](Run r) { return r.run.info.settings.interface; });
  say("declared period", [&](Run r) { return number(r.run.info.settings.period_ns); });
  say("window", [&](Run r) { return number(r.run.info.settings.window_ns); });
  say("tick interval", [&](Run r) { return number(r.run.info.settings.interval_ns); });
  const auto plan_name = [](Run r) {
    const auto plan = r.run.info.labels.find("plan");
    return plan == r.run.info.labels.end() ? std::string() : plan->second;
  };
  say("plan", plan_name);
  const auto plan_text = [](Run r) {
    return r.run.info.plan ? r.run.info.plan->text : std::string();
  };
  if (distinct(runs, plan_name).size() == 1 && distinct(runs, plan_text).size() > 1)
    judgement.not_comparable.emplace_back("the plan's text was changed between the runs");
  say("version of topspin", [](Run r) { return r.run.info.topspin_version; });
}

void say_sessions(const RunPointers& runs, Judgement& judgement) {
  auto sessions = distinct(
      runs, [](const MeasuredRun& r) { return r.run.info.plan ? r.run.info.plan->session : ""; });
  const bool others = sessions.erase("") > 0;
  if (sessions.size() + (others ? 1 : 0) < 2) return;
  judgement.reasons.push_back(fmt::format(
      "the runs are of {} session{} of topspin run{}: all runs with these names in the database; "
      "topspin gate without names judges only the last session",
      sessions.size(), sessions.size() == 1 ? "" : "s", others ? " and of topspin record" : ""));
}

bool of_several_hosts(const RunPointers& runs) {
  return distinct(runs, [](const MeasuredRun& run) {
           return run.run.info.host.fingerprint;
         }).size() > 1;
}

void make_invalid(Judgement& judgement, int exit, std::string reason) {
  judgement.verdict = Verdict::kInvalid;
  judgement.exit_code = exit;
  judgement.reasons.insert(judgement.reasons.begin(), std::move(reason));
}

void GatheredReasons::add(const MeasuredRun& run, const std::vector<std::string>& reasons) {
  for (const std::string& reason : reasons) {
    const std::string kind = without_numbers(reason);
    auto group = std::find_if(groups_.begin(), groups_.end(),
                              [&](const Group& g) { return g.kind == kind; });
    if (group == groups_.end())
      group = groups_.insert(groups_.end(), {kind, reason, run.run.info.id, 0});
    ++group->runs;
  }
}

void GatheredReasons::say(Judgement& judgement, std::string_view one, std::string_view many) const {
  for (const Group& g : groups_) {
    judgement.reasons.push_back(
        g.runs == 1 ? fmt::format("run {} {}: {}", g.first_run, one, g.reason)
                    : fmt::format("{} runs {}: in run {} {}", g.runs, many, g.first_run, g.reason));
  }
}

}  // namespace topspin
