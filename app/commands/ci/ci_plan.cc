#include "app/commands/ci/ci_plan.h"

#include <cctype>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "app/host/git.h"
#include "app/host/privileges.h"
#include "app/options/option_group.h"
#include "core/base/clock.h"
#include "core/base/text.h"

namespace topspin {
namespace {

constexpr const char* kBaseMark = "@BASE@";
constexpr const char* kHeadMark = "@HEAD@";
constexpr int64_t kSecondsShown = 100;  // beyond, minutes are

std::string with_replaced(std::string text, const std::string& mark, const std::string& commit) {
  for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos; at += commit.size())
    text.replace(at, mark.size(), commit);
  return text;
}

std::string steps_of(const PlanSubject& subject) {
  std::string text = fmt::format("  {}: check out {}", sanitize_for_terminal(subject.name),
                                 subject.commit.substr(0, 12));
  if (!subject.build.empty())
    text += fmt::format("; build: {}", sanitize_for_terminal(subject.build));
  std::string words;
  for (const std::string& word : subject.command) words += (words.empty() ? "" : " ") + word;
  return text + fmt::format("; start: {}\n", sanitize_for_terminal(words));
}

}  // namespace

Result<CiCommits> find_ci_commits(const std::string& plan_file, const std::string& base,
                                  const std::string& head) {
  std::error_code error;
  const std::string directory = std::filesystem::absolute(plan_file, error).parent_path().string();
  const auto user = invoking_user();
  const auto unknown = [&](const std::string& name) {
    return wrong_usage(fmt::format(
        "there is no commit {}: {}; in a CI job, fetch the whole history first (fetch-depth: 0)",
        name, why_no_commit(directory, name, user)));
  };
  const auto tip = find_commit(directory, base, user);
  if (!tip) return unknown(base);
  const auto candidate = find_commit(directory, head, user);
  if (!candidate) return unknown(head);
  const auto common = find_merge_base(directory, *tip, *candidate, user);
  if (!common) {
    return wrong_usage(fmt::format(
        "{} and {} have no common ancestor here; in a CI job, fetch the whole history first "
        "(fetch-depth: 0)",
        base, head));
  }
  return CiCommits{*common, *candidate};
}

Result<CiPlan> ci_plan(const std::string& text, const std::string& file, const CiCommits& commits) {
  CiPlan made;
  made.text = with_replaced(with_replaced(text, kBaseMark, commits.base), kHeadMark, commits.head);
  TOPSPIN_ASSIGN(made.plan, parse_plan(made.text, file));
  std::vector<PlanSubject>& subjects = made.plan.subjects;
  if (subjects.size() == 1 && subjects[0].commit.empty()) {
    subjects.push_back(subjects[0]);
    subjects[0].name = "base";
    subjects[0].commit = commits.base;
    subjects[1].name = "head";
    subjects[1].commit = commits.head;
  }
  if (subjects.size() != 2 || subjects[0].commit != commits.base ||
      subjects[1].commit != commits.head) {
    return wrong_usage(fmt::format(
        "{}: topspin ci needs a plan with one subject, without a commit; or with two, the first "
        "with commit = \"{}\" and the second with commit = \"{}\"",
        file, kBaseMark, kHeadMark));
  }
  if (made.plan.order == PlanOrder::kBlocks) {
    return wrong_usage(fmt::format(
        "{}: run.order: \"blocks\" makes no pairs, which the gate judges; leave it out", file));
  }
  return made;
}

std::string comment_marker(const Plan& plan) {
  std::string name = plan.name;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_') c = '_';
  }
  return fmt::format("<!-- topspin ci {} -->", name);
}

std::string rough_time(int64_t ns) {
  const int64_t seconds = (ns + kNanosPerSecond / 2) / kNanosPerSecond;
  if (seconds < kSecondsShown) return fmt::format("{} s", seconds);
  return fmt::format("{} min", (seconds + 30) / 60);
}

std::string ci_outline(const CiPlan& made, const CiCommits& commits,
                       const std::vector<size_t>& looks, const std::string& directory) {
  const int64_t pair_ns = 2 * expected_run_ns(made.plan);
  const auto minutes = [&](size_t pairs) {
    return rough_time(static_cast<int64_t>(pairs) * pair_ns);
  };
  std::string text =
      fmt::format("baseline   {} (the merge base)\ncandidate  {}\n", commits.base, commits.head);
  if (commits.base == commits.head) text += "both are the same commit\n";
  text += "first, the host is watched for 5 s; if other programs use it, nothing is started\n";
  text += "then\n";
  for (const PlanSubject& subject : made.plan.subjects) text += steps_of(subject);
  const size_t first = looks.front(), most = looks.back();
  text += fmt::format(
      "then pairs of runs, each about {} long: a look after {} pair{}; {} to {} runs, without "
      "builds "
      "{}{}\n",
      rough_time(pair_ns), fmt::join(looks, ", "), most == 1 ? "" : "s", 2 * first, 2 * most,
      minutes(first), first == most ? std::string() : fmt::format(" to {}", minutes(most)));
  return text + fmt::format(
                    "then topspin.db, gate.json, gate.txt, gate.md, gate.xml and "
                    "report.html in {}\n",
                    sanitize_for_terminal(directory));
}

}  // namespace topspin
