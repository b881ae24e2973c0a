// `topspin ci`: measures two commits in turn on this host, stops when the verdict is certain, and
// ends with it. What a CI job runs (docs/ci.md).
#include <algorithm>
#include <memory>
#include <optional>
#include <random>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/ci/ci_plan.h"
#include "app/commands/ci/ci_verdict.h"
#include "app/commands/ci/host_use.h"
#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/option_group.h"
#include "app/plan/plan_session.h"
#include "ci/judgement/looks.h"
#include "core/base/clock.h"
#include "core/base/read_file.h"

namespace topspin {
namespace {

constexpr size_t kMostPlanBytes = size_t{1} << 20;

/// After so many pairs in a row that cannot be compared, the job ends: the rest would be like them.
constexpr size_t kMostLostInARow = 5;
/// Likewise, if the subject of every run so far failed, of both commits.
constexpr size_t kMostFailedOnBothSides = 2;

struct CiOptions {
  std::string plan = "topspin.toml";
  std::string base;
  std::string head = "HEAD";
  std::string directory = "topspin-gate";
  std::optional<uint64_t> pairs;
  std::optional<uint64_t> most_pairs;
  bool strict = false;
  bool dry = false;
  bool even_if_busy = false;
};

Result<std::vector<size_t>> looks_of(const CiOptions& o) {
  const size_t first =
      o.pairs.value_or(std::min<size_t>(kFewestPairs, o.most_pairs.value_or(kFewestPairs)));
  // Fewer pairs than the gate needs are for trying a plan out.
  const size_t most =
      o.most_pairs.value_or(first < kFewestPairs ? first : std::max(first, kMostPairs));
  if (most < first) {
    return wrong_usage(fmt::format(
        "--most-pairs {} is less than --pairs {}; give the same, or more", most, first));
  }
  return looks_at(first, most);
}

struct CiWork {
  CiCommits commits;
  CiPlan plan;
  std::vector<size_t> looks;
};

Result<CiWork> plan_work(const CiOptions& o) {
  CiWork work;
  TOPSPIN_ASSIGN(work.looks, looks_of(o));
  const auto text = read_file(o.plan, kMostPlanBytes);
  if (!text.ok()) {
    return wrong_usage(
        fmt::format("cannot read the plan {}: {}; name it with --plan; docs/ci.md has "
                    "one to copy",
                    o.plan, text.error().message));
  }
  TOPSPIN_ASSIGN(work.commits, find_ci_commits(o.plan, o.base, o.head));
  TOPSPIN_ASSIGN(work.plan, ci_plan(*text, o.plan, work.commits));
  work.plan.plan.repeats = work.looks.back();
  TOPSPIN_TRY(check_rules(work.plan.plan, o.plan));
  TOPSPIN_TRY(check_surroundings(work.plan.plan, o.plan));
  return work;
}

bool can_be_compared(const SessionRun& run) {
  return fault_of_subject(run.measured.run.end).empty() &&
         reasons_not_to_judge(run.measured).empty();
}

/// Follows the session: says how far it is, and decides after each pair whether to make another.
class Pairs {
 public:
  Pairs(const CiJob& job, const std::vector<size_t>& looks) : job_(job), looks_(looks) {}

  bool are_enough(const SessionResult& result) {
    const size_t made = result.runs.size() / 2;
    made_ = made;
    if (made >= looks_.back()) return true;
    if (lost_at_end(result) >= kMostLostInARow) {
      say(fmt::format("the last {} pairs cannot be compared, so no more are made",
                      kMostLostInARow));
      return true;
    }
    if (made >= kMostFailedOnBothSides && all_failed(result)) {
      say("the subject failed in every run of both commits, so no more are made");
      return true;
    }
    const auto enough = look_at_pairs(job_, made, looks_);
    if (!enough.ok()) {
      error_ = enough.error();
      return true;
    }
    if (*enough) {
      say(fmt::format("{} pairs are enough: the verdict is certain", made));
      return true;
    }
    say_progress(result, made);
    return false;
  }

  size_t made() const { return made_; }
  const std::optional<Error>& error() const { return error_; }

 private:
  static size_t lost_at_end(const SessionResult& result) {
    size_t lost = 0;
    for (size_t i = result.runs.size(); i >= 2; i -= 2, ++lost) {
      if (can_be_compared(result.runs[i - 1]) && can_be_compared(result.runs[i - 2])) break;
    }
    return lost;
  }

  static bool all_failed(const SessionResult& result) {
    return std::all_of(result.runs.begin(), result.runs.end(), [](const SessionRun& run) {
      return !fault_of_subject(run.measured.run.end).empty();
    });
  }

  void say_progress(const SessionResult& result, size_t made) const {
    const int64_t since_ns = wall_now_ns() - result.runs.front().measured.run.info.started_wall_ns;
    const int64_t pair_ns = since_ns / static_cast<int64_t>(made);
    const size_t next = *std::upper_bound(looks_.begin(), looks_.end(), made);
    const auto left = [&](size_t pairs) {
      return rough_time(static_cast<int64_t>(pairs - made) * pair_ns);
    };
    say(next == looks_.back()
            ? fmt::format("pair {} of {}: {} left", made, next, left(next))
            : fmt::format("pair {} of {} to {}: {} to the next look, {} at most", made, next,
                          looks_.back(), left(next), left(looks_.back())));
  }

  const CiJob& job_;
  const std::vector<size_t>& looks_;
  size_t made_ = 0;
  std::optional<Error> error_;
};

/// Why the host is too busy to begin; empty if it is not. If that cannot be found out, the runs
/// will tell.
std::vector<std::string> why_not_now() {
  say("watching the host for 5 s");
  const auto use = watch_host();
  if (!use.ok()) {
    say(use.error().message);
    return {};
  }
  std::vector<std::string> lines = why_too_busy(*use);
  if (!lines.empty()) {
    lines.emplace_back(
        "nothing was started; end these programs, wait, or use a host of its own; --even-if-busy "
        "begins all the same");
  }
  return lines;
}

int run_ci(const CiOptions& o) {
  const auto work = plan_work(o);
  if (!work.ok()) return end_without_verdict({work.error().message}, exit_code(work.error().code));
  const CiPlan& made = work->plan;
  if (o.dry) {
    fmt::print("{}", ci_outline(made, work->commits, work->looks, o.directory));
    return 0;
  }
  say(fmt::format("baseline {}, candidate {}", work->commits.base, work->commits.head));
  const CiJob job{o.directory, comment_marker(made.plan), o.strict};
  if (const int code = prepare_verdicts(job); code != 0) return code;
  if (!o.even_if_busy) {
    if (const auto lines = why_not_now(); !lines.empty())
      return end_without_verdict(lines, exit_code(ErrorCode::kInvalidRun));
  }

  const int64_t began_ns = monotonic_now_ns();
  Pairs pairs(job, work->looks);
  SessionOptions options;
  options.plan_file = o.plan;
  options.plan_text = made.text;
  options.database = job.database();
  options.seed = made.plan.seed.value_or(std::random_device()() >> 1);
  options.enough = [&](const SessionResult& result) { return pairs.are_enough(result); };
  const auto result = run_session(made.plan, options, [](const std::string& line) { say(line); });
  if (!result.ok())
    return end_without_verdict({result.error().message}, exit_code(result.error().code));
  if (result->stop_signal != 0) {
    say(fmt::format("interrupted; the runs so far are in {}", job.database()));
    return 128 + result->stop_signal;
  }
  if (pairs.error())
    return end_without_verdict({pairs.error()->message}, exit_code(pairs.error()->code));
  return write_verdict(
      job, fmt::format("{} pairs of runs in {}; baseline {}, candidate {}.", pairs.made(),
                       rough_time(monotonic_now_ns() - began_ns), work->commits.base.substr(0, 12),
                       work->commits.head.substr(0, 12)));
}

}  // namespace

void add_ci_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand(
      "ci", "Measure a commit against its base on this host, and end with the verdict");
  auto o = std::make_shared<CiOptions>();
  const OptionGroup options(*command, "Options");
  options.option(
      "--plan", o->plan, "PLAN.toml",
      "The plan, in the repository (default topspin.toml): one subject, which is taken of "
      "both commits, or two, of commit \"@BASE@\" and \"@HEAD@\"");
  options
      .option("--base", o->base, "REV",
              "What to compare with; the merge base with the head is the baseline")
      ->required();
  options.option("--head", o->head, "REV", "The candidate (default HEAD)");
  options.number("--pairs", o->pairs, "COUNT", 1, 1000,
                 "Look for a verdict after this many pairs of runs (default 10; fewer than 10 only "
                 "try the plan out)");
  options.number("--most-pairs", o->most_pairs, "COUNT", 1, 1000,
                 "Make no more pairs than this (default 30)");
  options.option(
      "--out", o->directory, "DIR",
      "Where to write topspin.db, gate.json, gate.txt, gate.md, gate.xml and report.html "
      "(default topspin-gate)");
  options.flag("--strict", o->strict, "Exit with 3, not 0, if the verdict is inconclusive");
  options.flag("--even-if-busy", o->even_if_busy,
               "Do not watch the host first for other programs that use it");
  options.flag("--dry", o->dry, "Print commits, steps, runs and minutes, and do nothing");
  command->footer(
      "Examples:\n"
      "  topspin ci --base main --dry\n"
      "  sudo topspin ci --base main\n"
      "  sudo topspin ci --plan perf/http.toml --base main --pairs 2 --even-if-busy\n"
      "\n"
      "Under sudo, git, builds and subjects run as you.\n"
      "\n"
      "Exit codes: 0 pass, or inconclusive; 1 fail; 2 wrong usage or plan, or a commit cannot be "
      "built; 3 busy host, invalid runs, or inconclusive with --strict; 4 permission, kernel or a "
      "port that is in use; 5 input, output or internal error; 128+n on signal n.");
  command->callback([o, &action] { action = [o] { return run_ci(*o); }; });
}

}  // namespace topspin
