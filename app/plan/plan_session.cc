#include "app/plan/plan_session.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/host/family.h"
#include "app/host/git.h"
#include "app/host/host.h"
#include "app/host/outlet.h"
#include "app/host/ports.h"
#include "app/host/privileges.h"
#include "app/plan/experiment.h"
#include "app/plan/work_trees.h"
#include "app/recording/recording.h"
#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/base/text.h"
#include "core/base/unique_fd.h"
#include "load/workloads/workload_type.h"
#include "report/model/report_page.h"

namespace topspin {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFamilyGraceNs = kNanosPerSecond;
constexpr int64_t kPortPatienceNs = 2 * kNanosPerSecond;

/// A subject with everything that is decided once for the session.
struct PreparedSubject {
  PlanSubject subject;
  std::string directory;  // absolute
  std::optional<SourceInfo> source;
};

class PlanSession {
 public:
  PlanSession(const Plan& plan, const SessionOptions& options,
              const std::function<void(const std::string&)>& say_progress)
      : plan_(plan),
        options_(options),
        say_progress_(say_progress),
        times_(times_of(plan)),
        user_(invoking_user()),
        trees_(user_, [this] { return interrupted(); }) {}

  Result<SessionResult> run();

 private:
  Status begin();
  Status prepare_subjects();
  Result<SessionRun> run_one(const PlannedRun& planned, uint64_t position);
  static Status tell_findings(RunStore& store, const StoredRun& run);
  Status check_port_is_free(const PlanSubject& subject) const;
  void await_free_port(const PlanSubject& subject) const;
  ExperimentSettings settings_of(const PreparedSubject& prepared) const;
  RecordOptions record_options_of(const PreparedSubject& prepared, const PlannedRun& planned,
                                  uint64_t position) const;
  Result<int> record_in_child(const RecordOptions& options, const ExperimentSettings& settings);
  void pause();
  int interrupted();  // how often
  /// Waits for signals for at most `timeout_ms`. Passes those that end the session on to
  /// `recorder`.
  void handle_signals(int timeout_ms, pid_t recorder);

  const Plan& plan_;
  const SessionOptions& options_;
  const std::function<void(const std::string&)>& say_progress_;
  PlanTimes times_;
  std::optional<UserIdentity> user_;
  UniqueFd signal_fd_;
  int stop_signal_ = 0;
  int stop_signals_ = 0;  // how many came
  std::string plan_directory_;
  WorkTrees trees_;
  std::vector<PreparedSubject> subjects_;
  SessionResult result_;
};

Status PlanSession::begin() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD}) sigaddset(&set, number);
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return os_error("cannot block signals");
  signal_fd_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signal_fd_) return os_error("signalfd");
  forget_git_environment();
  TOPSPIN_TRY(adopt_orphans());
  std::error_code error;
  const fs::path file = fs::absolute(options_.plan_file, error);
  if (error) return os_error("cannot find the plan's folder");
  plan_directory_ = file.parent_path().string();
  result_.session = make_run_id(wall_now_ns());
  return {};
}

void PlanSession::handle_signals(int timeout_ms, pid_t recorder) {
  pollfd wait{signal_fd_.get(), POLLIN, 0};
  poll(&wait, 1, timeout_ms);
  signalfd_siginfo info{};
  while (read(signal_fd_.get(), &info, sizeof info) == sizeof info) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD) continue;
    stop_signal_ = number;
    ++stop_signals_;
    // A Ctrl-C at the terminal (sent by the kernel) has already reached the recorder.
    if (recorder > 0 && info.ssi_code != SI_KERNEL) kill(recorder, number);
  }
}

int PlanSession::interrupted() {
  handle_signals(0, 0);
  return stop_signals_;
}

Status PlanSession::prepare_subjects() {
  for (const PlanSubject& subject : plan_.subjects) {
    PreparedSubject prepared{subject, plan_directory_, std::nullopt};
    if (!subject.commit.empty()) {
      say_progress_(fmt::format("{}: checking out {}", subject.name, subject.commit));
      TOPSPIN_ASSIGN(prepared.directory, trees_.check_out(plan_directory_, subject.commit));
      prepared.source = read_source_info(prepared.directory, user_);
    }
    prepared.directory =
        (fs::path(prepared.directory) / subject.directory).lexically_normal().string();
    if (!subject.build.empty()) {
      say_progress_(fmt::format("{}: building: {}", subject.name, subject.build));
      TOPSPIN_TRY(run_to_end({"/bin/sh", "-c", subject.build}, prepared.directory, user_,
                             [this] { return interrupted(); }));
    }
    // A relative path of the command is relative to the subject's directory.
    std::string& program = prepared.subject.command.front();
    if (program.find('/') != std::string::npos && program.front() != '/')
      program = (fs::path(prepared.directory) / program).lexically_normal().string();
    if (!prepared.subject.user.empty()) {
      TOPSPIN_TRY(find_user(prepared.subject.user));
    }
    subjects_.push_back(std::move(prepared));
  }
  return {};
}

Status PlanSession::check_port_is_free(const PlanSubject& subject) const {
  const PlanReadiness& ready = subject.ready;
  if (!ready.port || !port_is_open(ready.udp, *ready.port)) return {};
  return make_error(ErrorCode::kUnsupported,
                    fmt::format("{} port {} is already in use, so {} would not be what is "
                                "measured; stop the program that uses it, or choose another port",
                                ready.udp ? "UDP" : "TCP", *ready.port, subject.name));
}

/// Waits for the port, because the kernel closes the sockets of a killed process a moment later.
void PlanSession::await_free_port(const PlanSubject& subject) const {
  const PlanReadiness& ready = subject.ready;
  const int64_t until_ns = monotonic_now_ns() + kPortPatienceNs;
  while (ready.port && port_is_open(ready.udp, *ready.port) && monotonic_now_ns() < until_ns)
    usleep(10'000);
}

ExperimentSettings PlanSession::settings_of(const PreparedSubject& prepared) const {
  ExperimentSettings settings;
  settings.subject = prepared.subject;
  settings.directory = prepared.directory;
  settings.load = plan_.load;
  settings.load_cpus = plan_.load_cpus;
  settings.workers = plan_.workers;
  settings.duration_ns = plan_.duration_ns.value_or(0);
  if (plan_.load && plan_.warm_up_ns > 0) {
    LoadOptions warm_up = *plan_.load;
    uint32_t clients_max = 1;
    for (const LoadStage& stage : warm_up.stages)
      clients_max = std::max({clients_max, stage.from, stage.to});
    const uint32_t clients = plan_.warm_up_clients.value_or(std::max(1u, clients_max / 10));
    warm_up.stages = {{"warm_up", clients, clients, plan_.warm_up_ns}};
    warm_up.duration_ns = plan_.warm_up_ns;
    settings.warm_up = std::move(warm_up);
  }
  settings.rules = plan_.rules;
  settings.before_ns = times_.before_ns;
  settings.after_ns = times_.after_ns;
  if (!prepared.subject.output.empty())
    settings.output = (fs::path(plan_directory_) / prepared.subject.output).string();
  return settings;
}

RecordOptions PlanSession::record_options_of(const PreparedSubject& prepared,
                                             const PlannedRun& planned, uint64_t position) const {
  RecordOptions options;
  options.interface = plan_.interface;
  if (plan_.filter) {
    if (!plan_.filter->empty()) options.observe.filter_words = {*plan_.filter};
  } else if (plan_.load) {
    const auto target = split_target(plan_.load->target);
    CHECK(target.ok());  // the plan's parser has accepted it
    options.observe.filter_words = {"port", std::to_string(target->port)};
  }
  const auto keeps_flows = [](const LoadOptions& load) {
    const WorkloadType& type = workload_type(load.workload);
    return type.keeps_flows && type.keeps_flows(load);
  };
  const bool periodic = plan_.load && keeps_flows(*plan_.load);
  options.observe.period = plan_.period;
  if (plan_.period.empty() && periodic)
    options.observe.period = fmt::format("{}ns", plan_.load->period_ns);
  options.observe.window = fmt::format("{}ns", times_.window_ns);
  options.observe.interval = fmt::format("{}ns", times_.interval_ns);
  if (!plan_.reply_timeout.empty()) options.observe.reply_timeout = plan_.reply_timeout;
  options.observe.db = options_.database;
  options.observe.labels = options_.labels;
  const auto label = [&](std::string_view key, const std::string& value) {
    options.observe.labels.push_back(fmt::format("{}={}", key, value));
  };
  for (const auto& [key, value] : plan_.labels) label(key, value);
  label("plan", plan_.name);
  label("subject", prepared.subject.name);
  if (subjects_.size() > 1) {
    // The gate reads these labels: A is the baseline. A pair is only within this session.
    label("side", planned.subject < 26 ? std::string(1, static_cast<char>('a' + planned.subject))
                                       : std::to_string(planned.subject));
    label("pair",
          fmt::format("{}-{}", result_.session.substr(result_.session.size() - 8), planned.repeat));
  }
  options.max_stored_flows = plan_.max_stored_flows;
  options.probes = plan_.probes;
  options.syscalls = plan_.syscalls;
  options.stacks_per_second = plan_.stacks_per_second;
  options.runtime = plan_.runtime;
  options.quiet = !options_.ticks;
  options.command = prepared.subject.command;
  options.command_user = prepared.subject.user;
  options.source = prepared.source;
  options.run_id = make_run_id(wall_now_ns());
  RunPlan& plan = options.plan.emplace();
  plan.session = result_.session;
  plan.name = plan_.name;
  plan.text = options_.plan_text;
  plan.subject = prepared.subject.name;
  plan.seed = options_.seed;
  plan.position = position;
  plan.repeat = planned.repeat;
  return options;
}

/// Forks the recorder, waits for its end, and returns its exit code.
Result<int> PlanSession::record_in_child(const RecordOptions& options,
                                         const ExperimentSettings& settings) {
  std::fflush(nullptr);
  const pid_t session = getpid();
  const pid_t recorder = fork();
  if (recorder < 0) return os_error("fork");
  if (recorder == 0) {
    // If the session is killed, the recorder ends its run properly.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != session) _exit(exit_code(ErrorCode::kInternal));
    signal_fd_.reset();
    int code = exit_code(ErrorCode::kInternal);
    if (auto adopted = adopt_orphans(); !adopted.ok()) {
      code = fail(adopted.error());
    } else if (auto experiment = Experiment::prepare(settings); !experiment.ok()) {
      code = fail(experiment.error());
    } else {
      code = record(options, **experiment);
    }
    std::fflush(nullptr);
    _exit(code);
  }
  int status = 0;
  while (waitpid(recorder, &status, WNOHANG) == 0) handle_signals(100, recorder);
  if (!end_family(kFamilyGraceNs)) {
    return make_error(
        ErrorCode::kInternal,
        "some processes of the subject cannot be ended; look for them before the next "
        "run");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Result<SessionRun> PlanSession::run_one(const PlannedRun& planned, uint64_t position) {
  const PreparedSubject& prepared = subjects_[planned.subject];
  TOPSPIN_TRY(check_port_is_free(prepared.subject));
  const RecordOptions options = record_options_of(prepared, planned, position);
  TOPSPIN_ASSIGN(const int code, record_in_child(options, settings_of(prepared)));
  await_free_port(prepared.subject);
  if (code > 128 && stop_signal_ == 0) stop_signal_ = code - 128;
  if (code != 0 && code <= 128) {
    const ErrorCode kind = code == 2   ? ErrorCode::kUsage
                           : code == 4 ? ErrorCode::kPermission
                                       : ErrorCode::kInternal;
    return make_error(
        kind, fmt::format("{} could not be run; the reason is above", prepared.subject.name));
  }
  TOPSPIN_ASSIGN(const auto store, RunStore::open(options_.database));
  TOPSPIN_ASSIGN(const StoredRun stored, store->find_run(options.run_id));
  SessionRun run;
  run.planned = planned;
  run.subject = prepared.subject.name;
  TOPSPIN_ASSIGN(auto measured, measure_runs(*store, {stored}));
  run.measured = std::move(measured.front());
  TOPSPIN_ASSIGN(run.load, store->load_load(options.run_id));
  TOPSPIN_ASSIGN(run.slos, judge_slos(*store, stored, plan_.rules));
  if (plan_.load && !plan_.load->find.rules.empty()) TOPSPIN_TRY(tell_findings(*store, stored));
  return run;
}

/// A search takes the subject beyond what it can do, so what stands out in the run says why.
Status PlanSession::tell_findings(RunStore& store, const StoredRun& run) {
  TOPSPIN_ASSIGN(const auto findings, read_findings(store, run));
  for (const Finding& finding : findings) {
    if (finding.key != kNothing)
      say(sanitize_for_terminal("find: what stands out in the run: " + finding.sentence));
  }
  return {};
}

void PlanSession::pause() {
  const int64_t until_ns = monotonic_now_ns() + plan_.pause_ns;
  while (interrupted() == 0 && monotonic_now_ns() < until_ns) handle_signals(50, 0);
}

Result<SessionResult> PlanSession::run() {
  TOPSPIN_TRY(begin());
  const Status prepared = prepare_subjects();
  if (stop_signal_ != 0) {
    result_.stop_signal = stop_signal_;
    return std::move(result_);
  }
  TOPSPIN_TRY(prepared);
  const auto order = order_of_runs(subjects_.size(), plan_.repeats, plan_.order, options_.seed);
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0) pause();
    if (interrupted() > 0) break;
    if (!options_.enough) {
      say_progress_(fmt::format("run {} of {}: {}, repeat {}", i + 1, order.size(),
                                subjects_[order[i].subject].subject.name, order[i].repeat));
    }
    auto run = run_one(order[i], i + 1);
    // If it was interrupted before anything was stored, there is no such run.
    if (!run.ok() && stop_signal_ == 0) return std::move(run).error();
    if (run.ok()) result_.runs.push_back(std::move(run).value());
    if (stop_signal_ != 0) break;
    const bool repeat_ends = i + 1 == order.size() || order[i + 1].repeat != order[i].repeat;
    if (repeat_ends && options_.enough && options_.enough(result_)) break;
  }
  result_.stop_signal = stop_signal_;
  return std::move(result_);
}

}  // namespace

Result<SessionResult> run_session(const Plan& plan, const SessionOptions& options,
                                  const std::function<void(const std::string&)>& say_progress) {
  CHECK(!plan.subjects.empty());
  PlanSession session(plan, options, say_progress);
  return session.run();
}

}  // namespace topspin
