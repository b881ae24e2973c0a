// `topspin run`: options, the plan's file, the session, its result.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/commands/run_output.h"
#include "app/commands/team/team_push.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/plan/plan_session.h"
#include "core/base/read_file.h"
#include "core/base/text.h"
#include "report/markdown/markdown_report.h"
#include "report/text/text_report.h"
#include "store/team_address.h"

namespace topspin {
namespace {

constexpr size_t kMostPlanBytes = size_t{1} << 20;

struct RunOptions {
  std::string file;
  std::vector<std::string> subjects;
  std::optional<uint64_t> repeats;
  std::optional<uint64_t> seed;
  std::string db;
  std::string format = "text";
  std::vector<std::string> labels;
  bool example = false;
  bool check = false;
  bool strict = false;
  bool lenient = false;
  bool quiet = false;
  bool ticks = false;
};

Result<std::string> read_plan(const std::string& path) {
  auto text = read_file(path, kMostPlanBytes);
  if (text.ok() && !text->empty()) return text;
  return make_error(ErrorCode::kUsage,
                    fmt::format("cannot read the plan {}: {}; topspin run --example prints one",
                                path, text.ok() ? "it is empty" : text.error().message),
                    text.ok() ? 0 : text.error().os_errno);
}

/// Keeps the chosen subjects, in the order in which they were named, or all if none was named.
Status choose_subjects(Plan& plan, const std::vector<std::string>& names) {
  if (names.empty()) return {};
  std::vector<PlanSubject> chosen;
  for (const std::string& name : names) {
    const auto found = std::find_if(plan.subjects.begin(), plan.subjects.end(),
                                    [&](const PlanSubject& s) { return s.name == name; });
    if (found == plan.subjects.end()) {
      std::string all;
      for (const PlanSubject& s : plan.subjects) all += (all.empty() ? "" : ", ") + s.name;
      return wrong_usage(fmt::format("the plan has no subject {}; it has {}", name, all));
    }
    if (std::any_of(chosen.begin(), chosen.end(),
                    [&](const PlanSubject& s) { return s.name == name; }))
      return wrong_usage(fmt::format("--subject {} was given twice; leave one out", name));
    chosen.push_back(*found);
  }
  plan.subjects = std::move(chosen);
  return {};
}

/// Pushes the runs to the plan's store. A store that is away changes no verdict: the runs are in
/// the database, and the message says how to push them later.
void push_to_store(const Plan& plan, const std::string& database, const SessionResult& result,
                   const std::function<void(const std::string&)>& tell) {
  if (plan.store.empty() || result.runs.empty()) return;
  std::vector<std::string> ids;
  for (const SessionRun& run : result.runs) ids.push_back(run.measured.run.info.id);
  const std::string name = address_without_secrets(plan.store);
  const auto pushed = push_runs(database, ids, plan.store, [](const std::string&) {});
  if (!pushed.ok()) {
    say(
        fmt::format("the runs were not pushed to {}: {}. They are in {}; push them later with "
                    "`topspin push --db {} --to {}`",
                    name, pushed.error().message, database, database, name));
    return;
  }
  tell(fmt::format("{} runs pushed to {}", pushed->pushed, name));
  for (const std::string& doubt : pushed->doubts) say(doubt);
}

int run_plan(const RunOptions& o) {
  if (o.example) {
    fmt::print("{}", example_plan());
    return 0;
  }
  if (o.file.empty())
    return fail(wrong_usage("give the file of a plan; topspin run --example prints one"));
  const auto text = read_plan(o.file);
  if (!text.ok()) return fail(text.error());
  auto plan = parse_plan(*text, o.file);
  if (!plan.ok()) return fail(plan.error());
  if (auto status = choose_subjects(*plan, o.subjects); !status.ok()) return fail(status.error());
  if (auto labels = parse_labels(o.labels); !labels.ok()) return fail(labels.error());
  if (o.repeats) plan->repeats = *o.repeats;
  if (o.lenient) {
    plan->lenient = true;
    for (SloRule& rule : plan->rules) rule.lenient = true;
  }
  if (auto rules = check_rules(*plan, o.file); !rules.ok()) {
    const int code = fail(rules.error());
    // A rule that can never be judged gives the same exit code as after the run, but minutes
    // earlier.
    return o.check ? code : exit_code(ErrorCode::kInvalidRun);
  }
  if (o.check) {
    if (auto status = check_surroundings(*plan, o.file); !status.ok()) return fail(status.error());
    const size_t subjects = plan->subjects.size();
    const size_t runs = subjects * plan->repeats;
    fmt::print("{}: fine; {} subject{}, {} run{}\n", sanitize_for_terminal(o.file), subjects,
               subjects == 1 ? "" : "s", runs, runs == 1 ? "" : "s");
    return 0;
  }
  SessionOptions options;
  options.plan_file = o.file;
  options.plan_text = *text;
  options.database = database_path(o.db);
  options.labels = o.labels;
  options.ticks = o.ticks;
  options.seed = o.seed.value_or(plan->seed.value_or(std::random_device()() >> 1));
  const auto result = run_session(*plan, options, [&](const std::string& line) {
    if (!o.quiet) say(line);
  });
  if (!result.ok()) return fail(result.error());
  push_to_store(*plan, options.database, *result, [&](const std::string& line) {
    if (!o.quiet) say(line);
  });
  if (o.format == "json") {
    fmt::print("{}", session_json(*plan, options, *result));
  } else {
    const document::Document document = session_document(*plan, options, *result);
    fmt::print("{}", o.format == "markdown" ? document_markdown(document, kStepSummaryBytes)
                                            : document_text(document));
  }
  return session_exit_code(*plan, *result, o.strict);
}

}  // namespace

void add_run_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand(
      "run", "Run a plan: record subjects under a load, in turn, and check rules");
  auto o = std::make_shared<RunOptions>();
  command->add_option("PLAN", o->file, "The plan, a TOML file")->option_text("PLAN.toml");
  const OptionGroup options(*command, "Options");
  options.flag("--example", o->example, "Print a plan with every key explained, and exit");
  options.flag("--check", o->check,
               "Check the plan, its filter, interface, commands and rules, and exit");
  options.list("--subject", o->subjects, "NAME",
               "Run only this subject of the plan; may be repeated, the first is side A");
  options.number("--repeat", o->repeats, "COUNT", 1, 1000,
                 "Runs of each subject (default: the plan's)");
  options.number("--seed", o->seed, "NUMBER", 0, INT64_MAX,
                 "Seed of the order of the runs (default: the plan's, or a random one)");
  options.flag("--strict", o->strict, "Exit with 3 if any run is not usable");
  options.flag("--lenient", o->lenient,
               "Exit with 0, not 3, if a rule could not be judged (as slo.lenient in the plan)");
  add_database_option(*command, o->db);
  add_label_option(*command, o->labels);
  const OptionGroup display(*command, kDisplayGroup);
  display.choice("--format", o->format, "FORMAT", {"text", "markdown", "json"},
                 "text (default), markdown or json");
  display.flag("--ticks", o->ticks, "Print one line per tick, as record does");
  display.flag("-q,--quiet", o->quiet, "Do not print which run is being recorded");
  command->footer(
      "Examples:\n  topspin run --example > plan.toml\n  topspin run plan.toml\n  topspin run "
      "plan.toml --subject old --subject new --repeat 10\n\nCtrl-C ends the run, stores it as "
      "interrupted, and ends every process of it.\n\nExit codes: 0 success; 1 a rule was broken; 2 "
      "the plan is wrong; 3 a subject has no usable run, or a rule could not be judged (with "
      "--strict: some run is not usable); 4 permission, kernel or a port that is in use; 5 input, "
      "output or internal error; 128+n on signal n.");
  command->callback([o, &action] { action = [o] { return run_plan(*o); }; });
}

}  // namespace topspin
