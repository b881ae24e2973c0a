#include "app/plan/experiment.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "app/find/process_cpu.h"
#include "app/host/family.h"
#include "app/host/outlet.h"
#include "app/host/ports.h"
#include "ci/slo/find_rules.h"
#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/base/text.h"
#include "core/run/run_reasons.h"
#include "load/find/find_load.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

/// How late each change of part may be noticed. The load's clock does not depend on this.
constexpr int64_t kPollNs = 20 * kNanosPerMilli;
constexpr int64_t kFamilyPollNs = kNanosPerSecond;          // looks through all processes
constexpr int64_t kMostClockErrorNs = 10 * kNanosPerMilli;  // of workers' stages, without a word
constexpr size_t kLinesKept = 10;
constexpr size_t kLineBytes = 400;

}  // namespace

void OutputTail::add(std::string_view bytes) {
  for (const char c : bytes) {
    if (c == '\n') {
      end_line();
    } else if (line_.size() < kLineBytes) {
      line_ += c;
    }
  }
  // A program that prompts and waits does not end its line.
  if (!awaited_.empty() && line_.find(awaited_) != std::string::npos) seen_ = true;
}

void OutputTail::end_line() {
  if (!awaited_.empty() && line_.find(awaited_) != std::string::npos) seen_ = true;
  lines_.push_back(std::move(line_));
  line_.clear();
  if (lines_.size() > kLinesKept) lines_.pop_front();
}

std::string OutputTail::last_lines() const {
  if (lines_.empty() && line_.empty()) return "; it printed nothing";
  std::string text = "; its last lines:";
  for (const std::string& line : lines_) text += " | " + line;
  if (!line_.empty()) text += " | " + line_;
  return text;
}

Result<std::unique_ptr<Experiment>> Experiment::prepare(ExperimentSettings settings) {
  std::unique_ptr<Experiment> experiment(new Experiment(std::move(settings)));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return os_error("pipe");
  experiment->output_read_.reset(ends[0]);
  experiment->output_write_.reset(ends[1]);
  if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return os_error("fcntl");
  experiment->null_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!experiment->null_) return os_error("cannot open /dev/null");
  experiment->timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!experiment->timer_) return os_error("timerfd_create");
  return experiment;
}

Experiment::~Experiment() {
  load_stop_ = true;
  if (load_.joinable()) load_.join();
}

ChildSetting Experiment::child_setting() {
  ChildSetting setting;
  setting.streams = {null_.get(), output_write_.get()};
  setting.environment = settings_.subject.environment;
  setting.directory = settings_.directory;
  setting.cpus = settings_.subject.cpus;
  return setting;
}

Status Experiment::on_start(int64_t start_ns, pid_t command, RunWriter& writer) {
  // The command has its end of the pipe. If we kept ours open, we would never see end of file.
  output_write_.reset();
  null_.reset();
  // This was set when the process was created, and cleared when it changed its user.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  start_ns_ = start_ns;
  command_ = command;
  writer_ = &writer;
  // Only now, because it must happen with the rights of the invoking user.
  TOPSPIN_TRY(open_output_file());
  begin_stage(StageKind::kStart, "start", 0);
  wake_at(start_ns);
  return stored_;
}

Status Experiment::open_output_file() {
  const std::string& path = settings_.output;
  if (path.empty()) return {};
  file_.reset(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (file_) return {};
  const int number = errno;
  return make_error(ErrorCode::kOutput,
                    fmt::format("cannot write the subject's output to {}: {}; choose another file",
                                path, std::strerror(number)),
                    number);
}

void Experiment::on_output() {
  std::array<char, 16'384> buffer;
  // Do not read until it is empty, because a program that writes all the time would keep us here.
  constexpr int kMostReads = 16;
  for (int i = 0; i < kMostReads; ++i) {
    const ssize_t got = read(output_read_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) output_read_.reset();  // the other end is closed
    if (got <= 0) return;
    const std::string_view bytes(buffer.data(), static_cast<size_t>(got));
    tail_.add(bytes);
    keep_output(bytes);
  }
}

/// Writes into the plan's output file, until that fails.
void Experiment::keep_output(std::string_view bytes) {
  while (file_ && !bytes.empty()) {
    const ssize_t n = write(file_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return file_.reset();
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

bool Experiment::ready(int64_t now_ns) const {
  const PlanReadiness& wanted = settings_.subject.ready;
  if (!tail_.seen()) return false;
  if (wanted.after_ns && now_ns < *wanted.after_ns) return false;
  return !wanted.port || port_is_open(wanted.udp, *wanted.port);
}

std::string Experiment::what_is_missing() const {
  const PlanReadiness& wanted = settings_.subject.ready;
  if (!tail_.seen()) return fmt::format("it printed no line with \"{}\"", wanted.line);
  if (wanted.port && !port_is_open(wanted.udp, *wanted.port))
    return fmt::format("nobody listens on {} port {}", wanted.udp ? "UDP" : "TCP", *wanted.port);
  return "the time of ready.after has not passed";
}

void Experiment::wake_at(int64_t monotonic_ns) const {
  itimerspec when{};
  when.it_value.tv_sec = monotonic_ns / kNanosPerSecond;
  when.it_value.tv_nsec = monotonic_ns % kNanosPerSecond;
  // A zero would disarm the timer.
  if (monotonic_ns <= 0) when.it_value.tv_nsec = 1;
  CHECK(timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0);
}

void Experiment::begin_stage(StageKind kind, std::string name, int64_t start_ns) {
  end_stage(start_ns);
  RunStage& stage = stages_.emplace_back();
  stage.kind = kind;
  stage.name = std::move(name);
  stage.start_ns = start_ns;
  if (auto put = writer_->put_stage(stages_.size() - 1, stage); !put.ok() && stored_.ok())
    stored_ = put;
}

void Experiment::end_stage(int64_t end_ns) {
  if (stages_.empty() || stages_.back().end_ns) return;
  stages_.back().end_ns = end_ns;
  if (auto put = writer_->put_stage(stages_.size() - 1, stages_.back()); !put.ok() && stored_.ok())
    stored_ = put;
}

void Experiment::begin(Part part, int64_t now_ns) {
  part_ = part;
  part_began_ns_ = now_ns;
  switch (part) {
    case Part::kStart: break;
    case Part::kWarmUp:
      begin_stage(StageKind::kWarmUp, "warm_up", now_ns);
      start_load(*settings_.warm_up);
      break;
    case Part::kBefore: begin_stage(StageKind::kBefore, "before", now_ns); break;
    case Part::kLoad:
      first_load_stage_ = stages_.size();
      if (settings_.load) {
        if (settings_.workers) {
          start_workers();
        } else {
          start_load(*settings_.load);
          mark_load_stages(now_ns);
        }
      } else {
        begin_stage(StageKind::kLoad, "observe", now_ns);
      }
      break;
    case Part::kAfter: begin_stage(StageKind::kAfter, "after", now_ns); break;
    case Part::kOver: end_stage(now_ns); break;
  }
}

/// Marks the stages of the schedule that have begun, while the load runs. Its result later gives
/// the exact times.
void Experiment::mark_load_stages(int64_t now_ns) {
  if (settings_.workers) {
    // Until they are ready the part before goes on.
    const int64_t begin_ns = workers_begin_ns_.load();
    if (begin_ns == 0 || now_ns < begin_ns - start_ns_) return;
    part_began_ns_ = begin_ns - start_ns_;
  }
  const std::vector<LoadStage>& stages = settings_.load->stages;
  const WorkloadType& type = workload_type(settings_.load->workload);
  if (!type.has_clients() && load_stages_begun_ == 0) {
    begin_stage(StageKind::kLoad, std::string(type.only_stage), now_ns);
    load_stages_begun_ = 1;
  }
  int64_t stage_ns = part_began_ns_;
  for (size_t i = 0; i < stages.size() && stage_ns <= now_ns; ++i) {
    if (i == load_stages_begun_) {
      begin_stage(StageKind::kLoad, stages[i].name, stage_ns);
      stages_.back().clients_from = stages[i].from;
      stages_.back().clients_to = stages[i].to;
      ++load_stages_begun_;
    }
    stage_ns += stages[i].duration_ns;
  }
}

void Experiment::place_load_stages(const LoadResult& result) {
  const int64_t began_ns = result.started_monotonic_ns - start_ns_;
  stages_.resize(first_load_stage_);
  for (const LoadPart& part : result.stages) {
    RunStage& stage = stages_.emplace_back();
    stage.name = part.name;
    stage.kind = StageKind::kLoad;
    stage.start_ns = began_ns + part.begin_ns;
    stage.end_ns = began_ns + part.end_ns;
    if (workload_type(result.workload).has_clients()) {
      stage.clients_from = part.clients_from;
      stage.clients_to = part.clients_to;
    }
  }
  for (size_t i = first_load_stage_; i < stages_.size(); ++i) {
    if (auto put = writer_->put_stage(i, stages_[i]); !put.ok() && stored_.ok()) stored_ = put;
  }
}

void Experiment::start_load(const LoadOptions& options) {
  load_over_ = false;
  load_stop_ = false;
  load_ = std::thread([this, options, is_warm_up = part_ == Part::kWarmUp] {
    pthread_setname_np(pthread_self(), "topspin-load");
    if (!settings_.load_cpus.empty()) {
      cpu_set_t cpus;
      CPU_ZERO(&cpus);
      for (const int cpu : settings_.load_cpus) {
        if (cpu < CPU_SETSIZE) CPU_SET(static_cast<unsigned>(cpu), &cpus);
      }
      if (const int number = pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus)) {
        load_outcome_.emplace(
            make_error(ErrorCode::kUsage,
                       fmt::format("the load cannot run on the CPUs that the plan gives it: {}",
                                   std::strerror(number)),
                       number));
        load_over_ = true;
        return;
      }
    }
    if (!options.find.rules.empty() && !is_warm_up) {
      load_outcome_.emplace(search(options));
      load_over_ = true;
      return;
    }
    LoadProgressSink progress;
    if (abort_.has_rules() && !is_warm_up)
      progress = [this](const LoadProgress& line) { look_at_load(line.accounts); };
    load_outcome_.emplace(run_load(options, load_stop_, progress));
    load_over_ = true;
  });
}

/// On the load's thread: searches for the most that the plan's `find` allows.
Result<LoadResult> Experiment::search(const LoadOptions& options) {
  TOPSPIN_ASSIGN(const FindRules rules, read_find_rules(options.find.rules));
  FindWatch watch;
  watch.subject_cpu = [this] { return read_process_cpu(command_); };
  watch.on_stage = [&](const FindStage& stage) {
    const std::lock_guard lock(load_broke_mutex_);
    searched_.push_back(find_stage_text(*options.find.by, stage));
  };
  return find_load(options, rules, load_stop_, watch);
}

/// Each stage of the search, when it is over, is an event of the run.
void Experiment::tell_of_search(int64_t now_ns) {
  std::vector<std::string> lines;
  {
    const std::lock_guard lock(load_broke_mutex_);
    lines = std::exchange(searched_, {});
  }
  for (const std::string& line : lines) tell("find: " + line, now_ns);
}

void Experiment::tell(const std::string& text, int64_t now_ns) {
  say(sanitize_for_terminal(text));
  if (auto put = writer_->add_event(now_ns, text); !put.ok() && stored_.ok()) stored_ = put;
}

void Experiment::start_workers() {
  load_over_ = false;
  load_stop_ = false;
  load_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "topspin-load");
    SharedLoadView view;
    if (abort_.has_rules())
      view.progress = [this](const LoadProgress& line) { look_at_load(line.accounts); };
    view.begins = [this](int64_t monotonic_ns, int64_t error_ns) {
      clock_error_ns_ = error_ns;
      workers_begin_ns_ = monotonic_ns;
    };
    load_outcome_.emplace(run_shared_load(settings_.workers->options, settings_.workers->job,
                                          *settings_.load, load_stop_, view));
    load_over_ = true;
  });
}

std::optional<Result<LoadResult>> Experiment::take_load() {
  load_.join();
  return std::exchange(load_outcome_, std::nullopt);
}

void Experiment::load_ended(int64_t now_ns) {
  auto outcome = take_load();
  CHECK(outcome.has_value());
  if (!outcome->ok()) return fail("the load could not be run: " + outcome->error().message);
  if (part_ == Part::kWarmUp) {
    if (!stopped_) begin(Part::kBefore, now_ns);
    return;
  }
  result_ = std::move(*outcome).value();
  tell_of_search(now_ns);
  if (result_->find) {
    tell("find: " + find_answer_text(*result_->find), now_ns);
    for (const std::string& limit : result_->find->limits)
      tell("find: the limit: " + limit, now_ns);
  }
  place_load_stages(*result_);
  if (stopped_) return;
  // The load waits for the last replies after its last stage, but "after" begins at that stage's
  // end.
  begin(Part::kAfter, stages_.back().end_ns.value_or(now_ns));
  part_began_ns_ = now_ns;
}

void Experiment::on_pass(int64_t now) {
  uint64_t expirations = 0;
  (void)!read(timer_.get(), &expirations, sizeof expirations);
  if (wants_stop()) return;
  const int64_t now_ns = now - start_ns_;
  if (!stored_.ok()) return fail(stored_.error().message);
  if (command_ended_ && now_ns >= next_family_check_ns_) {
    next_family_check_ns_ = now_ns + kFamilyPollNs;
    if (!reap_adopted(0))
      return fail(
          fmt::format("{}ended during {}{}", kSubjectReason, stage_name(), tail_.last_lines()));
  }
  switch (part_) {
    case Part::kStart:
      if (ready(now_ns)) {
        begin(settings_.warm_up ? Part::kWarmUp : Part::kBefore, now_ns);
      } else if (now_ns > settings_.subject.ready.within_ns) {
        return fail(fmt::format("{}was not ready within {}: {}{}", kSubjectReason,
                                format_duration(settings_.subject.ready.within_ns),
                                what_is_missing(), tail_.last_lines()));
      }
      break;
    case Part::kWarmUp:
      if (load_over_) load_ended(now_ns);
      break;
    case Part::kBefore:
      if (now_ns >= part_began_ns_ + settings_.before_ns) begin(Part::kLoad, now_ns);
      break;
    case Part::kLoad:
      if (!settings_.load) {
        if (now_ns >= part_began_ns_ + settings_.duration_ns) begin(Part::kAfter, now_ns);
      } else if (load_over_) {
        load_ended(now_ns);
      } else {
        mark_load_stages(now_ns);
      }
      break;
    case Part::kAfter:
      if (now_ns >= part_began_ns_ + settings_.after_ns) begin(Part::kOver, now_ns);
      break;
    case Part::kOver: break;
  }
  tell_of_search(now_ns);
  std::optional<std::string> load_broke;
  {
    const std::lock_guard lock(load_broke_mutex_);
    load_broke = std::exchange(load_broke_, std::nullopt);
  }
  if (load_broke) abort_run(*load_broke, now_ns);
  const bool has_no_load = part_ == Part::kLoad && !settings_.load;
  if (is_aborted_ && (part_ == Part::kAfter || has_no_load)) begin(Part::kOver, now_ns);
  wake_at(now + kPollNs);
}

/// On the load's thread.
void Experiment::look_at_load(const LoadAccounts& so_far) {
  auto broken = abort_.add(so_far, settings_.load->workload == WorkloadKind::kHttp);
  if (!broken) return;
  const std::lock_guard lock(load_broke_mutex_);
  load_broke_ = std::move(broken);
}

void Experiment::on_tick(const Sample& tick, const RunInfo& run) {
  const bool is_measured = part_ == Part::kLoad || part_ == Part::kAfter;
  if (!abort_.has_rules() || is_aborted_ || !is_measured) return;
  if (!abort_watches_) {
    if (stages_.size() <= first_load_stage_) return;  // workers are awaited
    abort_.begin(run, stages_[first_load_stage_].start_ns);
    abort_watches_ = true;
  }
  if (const auto broken = abort_.add(tick)) abort_run(*broken, tick.elapsed_ns);
}

/// The rest of the run cannot change the verdict. The load ends in order, and the run is complete.
void Experiment::abort_run(const std::string& broken, int64_t now_ns) {
  if (is_aborted_) return;
  is_aborted_ = true;
  load_stop_ = true;
  tell("the run ends early, because it has broken a rule: " + broken, now_ns);
}

void Experiment::on_command_end(int exit_status) {
  if (part_ == Part::kOver) return;
  // A command that went into the background left a descendant, which is now the subject.
  if (exit_status == 0 && reap_adopted(0)) {
    command_ended_ = true;
    return;
  }
  const std::string how = exit_status > 128
                              ? fmt::format("was ended by signal {}", exit_status - 128)
                              : fmt::format("ended with status {}", exit_status);
  fail(fmt::format("{}{} during {}{}", kSubjectReason, how, stage_name(), tail_.last_lines()));
}

void Experiment::fail(std::string reason) {
  if (!failure_) failure_ = std::move(reason);
}

void Experiment::stop(int stop_signal) {
  stopped_ = part_ != Part::kOver;
  if (stop_signal != 0 && stopped_) {
    interrupted_ = !failure_;
    fail(fmt::format("it was interrupted by signal {} during {}", stop_signal, stage_name()));
  }
  load_stop_ = true;
  if (!load_.joinable()) return;
  const std::optional<std::string> before = failure_;
  load_ended(monotonic_now_ns() - start_ns_);
  if (before) failure_ = before;
}

Status Experiment::finish(RunEnd& end) {
  if (output_read_) on_output();
  if (failure_) {
    end.status = interrupted_ ? RunStatus::kInterrupted : RunStatus::kFailed;
    end.invalid_reasons.insert(end.invalid_reasons.begin(), *failure_);
  }
  if (!result_ || writer_ == nullptr) return stored_;
  if (const int64_t error_ns = clock_error_ns_.load(); error_ns > kMostClockErrorNs) {
    end.doubts.push_back(fmt::format(
        "the workers' stages are placed by a clock that may be wrong by {}: the store is far away",
        format_duration(error_ns)));
  }
  for (const std::string& reason : result_->invalid_reasons)
    end.invalid_reasons.push_back(std::string(kLoadReason) + reason);
  if (auto put = writer_->put_load(*result_); !put.ok() && stored_.ok()) stored_ = put;
  return stored_;
}

}  // namespace topspin
