#include "app/commands/ci/ci_verdict.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/commands/export_target.h"
#include "app/commands/gate/gate_options.h"
#include "app/commands/gate/gate_runs.h"
#include "app/host/outlet.h"
#include "app/host/privileges.h"
#include "app/plan/plan.h"
#include "ci/judgement/looks.h"
#include "ci/run_selection.h"
#include "core/base/clock.h"
#include "core/base/result.h"
#include "report/export/export.h"
#include "report/html/html_report.h"
#include "report/json/reports.h"
#include "report/markdown/markdown_report.h"
#include "report/model/report_page.h"
#include "report/text/text_report.h"
#include "store/run_store.h"
#include "store/runs/gate_log.h"

namespace topspin {
namespace {

/// What a look's process ends with; different from all exit codes of errors.
constexpr int kGoOn = 40;
constexpr int kEnough = 41;

/// Room in a comment for its first line and the notes.
constexpr size_t kNoteBytes = 2'000;

bool is_github() { return std::getenv("GITHUB_ACTIONS") != nullptr; }

/// Runs `work` in a child process and returns what it returned. REQUIRES: one thread.
Result<int> in_child(const std::function<int()>& work) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) return os_error("fork");
  if (child == 0) {
    const int code = work();
    std::fflush(nullptr);
    _exit(code);  // no destructor of our caller may run twice
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return os_error("waitpid");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int code_of(const Result<int>& code) { return code.ok() ? *code : fail(code.error()); }

GateOptions gate_options(const CiJob& job) {
  GateOptions o;
  o.db = job.database();
  o.sides = {"side=a", "side=b"};
  o.sides_are_default = true;  // an older session in the same database does not count
  o.strict = job.strict;
  return o;
}

Status make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) return {};
  return make_error(ErrorCode::kOutput,
                    fmt::format("cannot create {}: {}; choose another directory with --out", path,
                                error.message()));
}

/// Appends to a file that the CI system names in a variable. Without the variable it does nothing.
void append_to(const char* variable, std::string_view text) {
  const char* path = std::getenv(variable);
  if (path == nullptr || *path == '\0') return;
  const UniqueFd file(
      open_as_invoking_user(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644));
  if (!file || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    say(fmt::format("cannot write to the file of {}", variable));
}

/// The files of a verdict, in the order in which they are put into their places.
struct Targets {
  enum : size_t { kJson, kText, kComment, kJunit, kPage, kCount };
  static constexpr std::array<const char*, kCount> kNames = {"gate.json", "gate.txt", "gate.md",
                                                             "gate.xml", "report.html"};
  std::vector<ExportTarget> files;
};

/// Why the scheduler was not observed by BPF; empty if it was.
std::string rung_note(const std::vector<StoredRun>& runs) {
  for (const ProbeStatus& probe : runs.back().info.probes) {
    if (probe.name != "scheduler") continue;
    const std::string_view rung = rung_name(probe.rung);
    if (rung == "tp_btf" || rung == "raw_tp" || rung == "tracepoint") return {};
    return fmt::format(
        "BPF does not work on this runner: the scheduler was observed by {}, which has no "
        "run-queue "
        "latency.",
        rung);
  }
  return "The scheduler was not observed, so there is no run-queue latency.";
}

std::vector<StoredRun> of_side(const std::vector<StoredRun>& runs, const std::string& side) {
  std::vector<StoredRun> chosen;
  for (const StoredRun& run : runs) {
    const auto label = run.info.labels.find("side");
    if (label != run.info.labels.end() && label->second == side) chosen.push_back(run);
  }
  return chosen;
}

/// In the sandbox: judges, and fills the files.
Result<Judgement> judge_and_write(const CiJob& job, const std::string& note, Targets& targets) {
  GateOptions o = gate_options(job);
  TOPSPIN_TRY(load_config(o, true));
  TOPSPIN_ASSIGN(Judgement judgement, judge_stored_pairs(o));
  const std::string json = judgement_json(judgement);
  if (auto logged = log_judgement(
          o.db, {wall_now_ns(), judgement.mode, std::string(verdict_name(judgement.verdict)),
                 judgement.exit_code, judgement.seed, json});
      !logged.ok())
    say(fmt::format("the verdict could not be stored in the database: {}", logged.error().message));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(o.db));
  TOPSPIN_ASSIGN(auto all, store->list_runs());
  const std::vector<StoredRun> runs = newest_session(std::move(all));
  const std::string of_rung = rung_note(runs);
  std::string comment = job.marker + "\n" +
                        judgement_markdown(judgement, kCommentBytes - kNoteBytes) + "\n" + note +
                        "\n";
  if (!of_rung.empty()) comment += "\n" + of_rung + "\n";
  const std::string text = judgement_text(judgement);
  TOPSPIN_TRY(targets.files[Targets::kJson].write(json));
  TOPSPIN_TRY(targets.files[Targets::kText].write(text));
  TOPSPIN_TRY(targets.files[Targets::kComment].write(comment));
  TOPSPIN_TRY(targets.files[Targets::kJunit].write(judgement_junit(judgement)));
  TOPSPIN_ASSIGN(ReportPage page,
                 read_comparison_page(*store, of_side(runs, "a"), of_side(runs, "b"), plan_rules));
  page.judgement = judgement;
  TOPSPIN_TRY(targets.files[Targets::kPage].write(html_report(page)));
  if (!of_rung.empty()) say(of_rung);
  if (is_github()) {
    fmt::print("{}", judgement_github(judgement));
    if (!of_rung.empty()) fmt::print("{}", github_annotation("notice", "topspin ci", of_rung));
  } else {
    fmt::print("{}", text);
  }
  return judgement;
}

std::string contents_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// As the user who called sudo: opens the files, lets a process in the sandbox fill them, and puts
/// them into their places.
int make_files(const CiJob& job, const std::string& note) {
  if (auto status = give_up_all_privileges(true); !status.ok()) return fail(status.error());
  Targets targets;
  for (const char* name : Targets::kNames) {
    auto target = ExportTarget::open(fmt::format("{}/{}", job.directory, name), job.database());
    if (!target.ok()) return fail(target.error());
    targets.files.push_back(std::move(*target));
  }
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail(os_error("pipe"));
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const int code = code_of(in_child([&] {
    const auto judged = judge_and_write(job, note, targets);
    if (!judged.ok()) return fail(judged.error());
    if (std::fflush(stdout) != 0)
      return fail(make_error(ErrorCode::kOutput, "cannot write to standard output"));
    const Verdict verdict = judged->verdict;
    return write(write_end.get(), &verdict, sizeof verdict) == sizeof verdict
               ? judged->exit_code
               : exit_code(ErrorCode::kInternal);
  }));
  write_end.reset();
  Verdict verdict{};  // is there only if the files are complete; if not, ~ExportTarget removes them
  if (read(read_end.get(), &verdict, sizeof verdict) != sizeof verdict) return code;
  for (ExportTarget& target : targets.files) {
    if (auto finished = target.finish(); !finished.ok()) return fail(finished.error());
  }
  append_to("GITHUB_STEP_SUMMARY", contents_of(job.directory + "/gate.md"));
  append_to("GITHUB_OUTPUT", fmt::format("verdict={}\n", verdict_name(verdict)));
  return code;
}

}  // namespace

int prepare_verdicts(const CiJob& job) {
  return code_of(in_child([&] {
    if (auto status = give_up_all_privileges(true); !status.ok()) return fail(status.error());
    if (auto made = make_directory(job.directory); !made.ok()) return fail(made.error());
    GateOptions o = gate_options(job);
    const Status loaded = load_config(o, false);
    return loaded.ok() ? 0 : fail(loaded.error());
  }));
}

Result<bool> look_at_pairs(const CiJob& job, size_t made, const std::vector<size_t>& looks) {
  if (made >= looks.back()) return true;
  if (made < kFewestMade) return false;
  TOPSPIN_ASSIGN(const int code, in_child([&] {
                   GateOptions o = gate_options(job);
                   if (auto loaded = load_config(o, false); !loaded.ok())
                     return fail(loaded.error());
                   const auto pairs = read_stored_pairs(o);
                   if (!pairs.ok()) return fail(pairs.error());
                   const auto enough =
                       are_enough(made, looks, [&](double level, bool failures_only) {
                         return judge(*pairs, o, level, failures_only);
                       });
                   if (!enough.ok()) return fail(enough.error());
                   return *enough ? kEnough : kGoOn;
                 }));
  if (code == kEnough || code == kGoOn) return code == kEnough;
  return make_error(ErrorCode::kInternal, "the pairs could not be judged; the reason is above");
}

int write_verdict(const CiJob& job, const std::string& note) {
  return code_of(in_child([&] { return make_files(job, note); }));
}

int end_without_verdict(const std::vector<std::string>& lines, int exit_code) {
  for (const std::string& line : lines) say(line);
  std::string all, paragraphs;
  for (const std::string& line : lines) {
    all += (all.empty() ? "" : "; ") + line;
    paragraphs += fmt::format("\n{}\n", markdown_text(line, kNoteBytes));
  }
  if (is_github()) fmt::print("{}", github_annotation("error", "topspin ci: no verdict", all));
  append_to("GITHUB_STEP_SUMMARY", "**topspin ci: no verdict**\n" + paragraphs);
  append_to("GITHUB_OUTPUT", "verdict=invalid\n");
  return exit_code;
}

}  // namespace topspin
