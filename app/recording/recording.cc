#include "app/recording/recording.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <limits>
#include <memory>

#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "app/host/family.h"
#include "app/host/git.h"
#include "app/host/host.h"
#include "app/host/network_namespace.h"
#include "app/host/outlet.h"
#include "app/host/privileges.h"
#include "app/recording/capture_thread.h"
#include "app/recording/event_loop.h"
#include "app/recording/record_settings.h"
#include "app/recording/run_ending.h"
#include "app/recording/signals.h"
#include "app/recording/subject_command.h"
#include "app/tick/row_baseline.h"
#include "app/tick/tick_builder.h"
#include "app/tick/tick_joiner.h"
#include "app/version.h"
#include "core/clock.h"
#include "core/headroom_watch.h"
#include "core/text.h"
#include "probes/flow_owner.h"
#include "store/patient_writer.h"
#include "store/run_store.h"
#include "tui/tick_line.h"

namespace topspin {
namespace {

constexpr int64_t kStopGraceNs = 5 * kNanosPerSecond;  // from SIGTERM to SIGKILL for the command
constexpr uint64_t kTickLinesPerHeader = 20;
/// A tick that comes so late was not merely late: the recorder (or its machine) stood still.
constexpr int64_t kStandstillNs = 500 * kNanosPerMilli;
constexpr int64_t kPlaceCheckNs = kNanosPerSecond;
/// The loop waits no longer for another program's lock on the database; the tick waits in memory.
constexpr int kStoreWaitMs = 20;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

/// What becomes of a recording, in this order.
enum class State : uint8_t {
  kRunning,   // ticks are made as they come due
  kEnding,    // something asked for the end: the load stops, and the last tick is made and stored
  kDraining,  // the command is made to end; what it still prints finds a reader
  kDone,
};

class Recording {
 public:
  Recording(const RecordOptions& options, RecordSettings settings, Onlooker* onlooker,
            Conductor* conductor)
      : options_(options),
        settings_(std::move(settings)),
        onlooker_(onlooker),
        conductor_(conductor),
        stop_grace_ns_(conductor != nullptr ? conductor->stop_within_ns() : kStopGraceNs) {}

  Result<int> run();

 private:
  // Opening.
  Status open();
  Status prepare_command(const std::optional<UserIdentity>& user);
  Status open_store();
  Status give_up_privileges(const std::optional<UserIdentity>& user);
  RunInfo run_info(const ClockAnchor& anchor, const std::string& link_type) const;
  void begin_counting();
  void begin_ticks();
  void tell_missing_probes() const;
  void add_sources();
  Status start();

  // Running.
  void run_pass();
  void arm_timer(int64_t monotonic_ns) const;
  void tick(int64_t due_ns);
  void tick_if_due();
  void note_standstill(int64_t due_ns);
  void take_flows();
  void drain_ticks();
  LossInterval store(const Sample& sample);
  void look_after_store();
  void follow_command();
  void subject_ended();
  void serve_onlooker();
  void tell_event(int64_t elapsed_ns, const std::string& text);
  void handle_signals();
  void handle_stop_signal(int number, bool from_terminal);

  // Ending.
  void stop();
  void fail(const Error& error);
  void make_last_tick();
  void drain_pass();
  Result<int> finish();
  int exit_code_of(const RunEnd& end) const;

  const RecordOptions& options_;
  RecordSettings settings_;
  Onlooker* onlooker_;    // may be null
  Conductor* conductor_;  // may be null
  int64_t stop_grace_ns_;
  State state_ = State::kRunning;
  EventLoop sources_;           // while it is running
  EventLoop draining_sources_;  // while the command ends
  UniqueFd signal_fd_, timer_fd_;
  std::optional<SubjectCommand> command_;
  std::unique_ptr<Probes> probes_;
  std::unique_ptr<FlowOwners> owners_;
  std::unique_ptr<FlowTracker> tracker_;  // until the capture thread owns it
  std::unique_ptr<CaptureThread> capture_;
  std::unique_ptr<PatientWriter> writer_;
  std::optional<TickJoiner> joiner_;
  std::optional<TickBuilder> ticks_;
  RowBaseline baseline_;
  SelfReading first_self_;
  HeadroomWatch headroom_;
  std::string database_;
  RunInfo info_;
  RunTotals totals_;  // by which the run's standing is told
  SourceInfo source_;
  int64_t start_ns_ = 0;
  int64_t end_ns_ = kNever;  // at the latest; once the last tick is made, where it ended
  int64_t next_due_ns_ = 0;
  int64_t next_place_check_ns_ = 0;
  bool place_told_ = false;
  int stop_signal_ = 0;  // that asked us to stop
  bool subject_end_told_ = false;
  uint64_t lines_ = 0;
  RecentLatencies recent_;                     // of the lines
  std::optional<FlowKey> watched_;             // whose packets are copied for the onlooker
  std::optional<CommandUsage> command_usage_;  // of a command that ended before the last reading
  std::optional<Error> failure_;               // the first error that ended the recording
};

Status Recording::open() {
  TOPSPIN_ASSIGN(signal_fd_, open_signal_fd(onlooker_ != nullptr));
  std::optional<UserIdentity> user = invoking_user();
  if (!options_.user.empty()) {
    TOPSPIN_ASSIGN(user, find_user(options_.user));
  }
  // Before anything else runs, since git is started for it.
  forget_git_environment();
  if (options_.source) {
    source_ = *options_.source;
  } else if (options_.store) {
    std::error_code ignored;
    source_ = read_source_info(std::filesystem::current_path(ignored), user);
  }
  if (!options_.command.empty()) TOPSPIN_TRY(prepare_command(user));
  if (!options_.netns.empty()) TOPSPIN_TRY(enter_network_namespace(options_.netns));
  TOPSPIN_ASSIGN(probes_, Probes::open(settings_.subject, settings_.probes));
  FlowOwnerLimits limits;
  limits.walk_ns_per_resolve = std::min(limits.walk_ns_per_resolve, settings_.live.interval_ns / 5);
  owners_ = FlowOwners::open(settings_.subject, settings_.probes, limits);
  TOPSPIN_ASSIGN(tracker_, FlowTracker::open_live(settings_.live, settings_.table));
  timer_fd_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_fd_) return make_error(ErrorCode::kInternal, "timerfd_create failed", errno);
  TOPSPIN_TRY(give_up_privileges(user));

  info_ = run_info(take_clock_anchor(), tracker_->link_type());
  if (options_.store) TOPSPIN_TRY(open_store());
  if (onlooker_ != nullptr) TOPSPIN_TRY(onlooker_->on_start(info_));
  begin_counting();
  begin_ticks();
  return {};
}

Status Recording::prepare_command(const std::optional<UserIdentity>& user) {
  ChildSetting setting;
  if (conductor_ != nullptr) setting = conductor_->child_setting();
  if (onlooker_ != nullptr) {
    setting.streams = {onlooker_->command_stdin_fd(), onlooker_->command_stdout_fd()};
  }
  std::optional<UserIdentity> command_user = user;
  if (!options_.command_user.empty()) {
    TOPSPIN_ASSIGN(command_user, find_user(options_.command_user));
  }
  TOPSPIN_ASSIGN(auto child, Child::prepare(options_.command, command_user, setting));
  settings_.subject.pid = child->pid();
  command_.emplace(std::move(child), stop_grace_ns_);
  return {};
}

/// The database is made by whoever we are now, so it belongs to the user who asked.
Status Recording::open_store() {
  database_ = database_path(options_.observe.db);
  end_plainly_on_lost_memory(database_);
  WriterOptions options;
  options.max_flow_rows = options_.max_stored_flows;
  options.busy_timeout_ms = kStoreWaitMs;
  TOPSPIN_ASSIGN(auto writer, RunWriter::create(database_, info_, options));
  writer_ = std::make_unique<PatientWriter>(std::move(writer), monotonic_now_ns, [this] {
    pollfd signals{signal_fd_.get(), POLLIN, 0};
    poll(&signals, 1, 50);
    handle_signals();
    return true;
  });
  return {};
}

/// The run begins. What the probes have counted since they were opened, of a subject that runs
/// already, is not part of it.
void Recording::begin_counting() {
  // A probe hands over so many rows of threads at a time; the rest come with the next call.
  constexpr int kMostReadings = 8;
  for (int i = 0; i < kMostReadings; ++i) {
    const ProbeInterval before = probes_->take_interval();
    baseline_.take(before);
    start_ns_ = before.end_ns;
    if (before.changed_threads.size() < settings_.probes.max_thread_rows_per_interval) break;
  }
  first_self_ = read_self();
  next_due_ns_ = start_ns_ + settings_.live.interval_ns;
  if (settings_.duration_ns) end_ns_ = start_ns_ + *settings_.duration_ns;
}

void Recording::begin_ticks() {
  TickSettings settings;
  settings.start_ns = start_ns_;
  settings.first_self = first_self_;
  settings.reply_timeout_ns = settings_.table.reply_timeout_ns;
  settings.resolve_owners = [this](Sample& sample) { owners_->resolve(sample); };
  if (writer_) {
    settings.store = [this](const Sample& sample) { return store(sample); };
    // A screen is shown every row, and stores as many a tick as a recording without one.
    const uint64_t stored_rows = RecordOptions{}.max_rows_per_interval;
    if (options_.max_rows_per_interval > stored_rows) settings.stored_rows_per_tick = stored_rows;
  }
  joiner_.emplace(start_ns_, settings_.live.interval_ns);
  ticks_.emplace(std::move(settings));
}

Status Recording::give_up_privileges(const std::optional<UserIdentity>& user) {
  std::vector<int> keep = probes_->capabilities_needed();
  for (const int capability : owners_->capabilities_needed()) keep.push_back(capability);
  // To open the interface again after it went away.
  keep.push_back(CAP_NET_RAW);
  if (!options_.command_user.empty()) keep.push_back(CAP_KILL);  // to end another user's command
  const uid_t uid = user ? user->uid : geteuid();
  if (geteuid() == 0 && uid == 0) {
    // Root in somebody else's directory (a container's work directory, say) may write there by this
    // alone.
    keep.push_back(CAP_DAC_OVERRIDE);
  }
  return drop_privileges(user, keep);
}

RunInfo Recording::run_info(const ClockAnchor& anchor, const std::string& link_type) const {
  RunInfo info;
  info.id = options_.run_id.empty() ? make_run_id(anchor.wall_ns) : options_.run_id;
  info.started_wall_ns = anchor.wall_ns;
  info.started_monotonic_ns = anchor.monotonic_ns;
  info.host = read_host_info();
  info.source = source_;
  info.plan = options_.plan;
  info.labels = settings_.labels;
  info.command = options_.command;
  info.settings.interface = settings_.live.interface;
  info.settings.filter = settings_.live.filter;
  info.settings.link_type = link_type;
  info.settings.period_ns = settings_.table.period_ns;
  info.settings.window_ns = settings_.table.window_ns;
  info.settings.interval_ns = settings_.live.interval_ns;
  info.settings.reply_timeout_ns = settings_.table.reply_timeout_ns;
  info.settings.duration_ns = settings_.duration_ns;
  info.settings.max_flows = settings_.table.max_flows;
  info.settings.max_stored_flows = options_.max_stored_flows;
  info.settings.subject = settings_.subject_text;
  if (options_.stacks_per_second > 0)
    info.settings.stack_samples_per_second = options_.stacks_per_second;
  info.probes = probes_->status();
  info.probes.push_back(owners_->status());
  info.topspin_version = kVersion;
  return info;
}

void Recording::arm_timer(int64_t monotonic_ns) const {
  itimerspec spec{};
  spec.it_value.tv_sec = monotonic_ns / kNanosPerSecond;
  spec.it_value.tv_nsec = monotonic_ns % kNanosPerSecond;
  CHECK(timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) == 0);
}

void Recording::tick(int64_t due_ns) {
  ProbeInterval probes = probes_->take_interval();
  baseline_.apply(probes);
  const int64_t read_ns = probes.end_ns;
  const bool subject_gone =
      settings_.subject.kind == SubjectSpec::Kind::kProcessTree && !probes.subject_alive;
  joiner_->add_probes({std::move(probes), read_self(), read_ns}, due_ns);
  for (const std::string& event : probes_->take_events()) tell_event(due_ns - start_ns_, event);
  if (subject_gone && !command_) subject_ended();  // a command's end is told by waitpid
}

/// One tick for all that is due, so that a recorder which stood still makes one long interval. What
/// is due at the very end is the last tick's.
void Recording::tick_if_due() {
  const int64_t now_ns = std::min(monotonic_now_ns(), end_ns_ - 1);
  if (next_due_ns_ > now_ns) return;
  const int64_t interval_ns = settings_.live.interval_ns;
  const int64_t due_ns = start_ns_ + (now_ns - start_ns_) / interval_ns * interval_ns;
  note_standstill(next_due_ns_);
  tick(due_ns);
  next_due_ns_ = due_ns + interval_ns;
}

/// REQUIRES: a tick was due at `due_ns` and has not been made.
void Recording::note_standstill(int64_t due_ns) {
  const int64_t now_ns = monotonic_now_ns();
  const int64_t late_ns = now_ns - due_ns;
  if (late_ns < kStandstillNs) return;
  tell_event(now_ns - start_ns_,
             fmt::format("the recorder stood still for at least {}; what happened meanwhile is in "
                         "one long interval",
                         format_duration(late_ns)));
}

void Recording::stop() {
  if (state_ == State::kRunning) state_ = State::kEnding;
}

/// The first error counts, and ends the recording.
void Recording::fail(const Error& error) {
  if (!failure_) failure_ = error;
  stop();
}

/// Stores what waits, tells how that goes, and sees whether the file is still there.
void Recording::look_after_store() {
  if (!writer_) return;
  if (const Status stored = writer_->retry(); !stored.ok()) fail(stored.error());
  const int64_t now_ns = monotonic_now_ns();
  if (auto notice = writer_->take_notice()) tell_event(now_ns - start_ns_, *notice);
  if (place_told_ || now_ns < next_place_check_ns_) return;
  next_place_check_ns_ = now_ns + kPlaceCheckNs;
  if (const Status place = writer_->check_place(); !place.ok()) {
    place_told_ = true;
    tell_event(now_ns - start_ns_, place.error().message);
  }
}

/// The end of the command or subject ends the recording, unless somebody wants to go on looking.
void Recording::subject_ended() {
  if (onlooker_ == nullptr || !onlooker_->stays()) {
    stop();
  } else if (!subject_end_told_) {
    subject_end_told_ = true;
    if (command_)
      onlooker_->on_command_end(*command_->exit_status());
    else
      onlooker_->on_subject_gone();
  }
}

void Recording::take_flows() {
  CaptureThread::Delivery delivery = capture_->take();
  for (ClosedInterval& interval : delivery.intervals) {
    for (const std::string& event : interval.events)
      tell_event(interval.flows.end_ns - start_ns_, event);
    if (interval.interface && onlooker_ != nullptr) onlooker_->on_interface(*interval.interface);
    joiner_->add_flows(std::move(interval));
  }
  if (delivery.error) fail(*delivery.error);
}

/// What somebody who looks on asks of the capture, none of which changes what is counted but for
/// the move to another interface, which a run that is stored refuses.
void Recording::serve_onlooker() {
  if (const auto flow = onlooker_->watched_flow(); flow != watched_) {
    watched_ = flow;
    capture_->watch_packets(flow);
  }
  if (watched_) onlooker_->on_packets(capture_->take_packets());
  if (const auto name = onlooker_->take_interface_wish()) {
    if (writer_) {
      onlooker_->on_event("a run that is recorded has one interface; start anew to watch another");
    } else {
      capture_->switch_interface(*name);
    }
  }
}

void Recording::tell_event(int64_t elapsed_ns, const std::string& text) {
  if (!options_.quiet) say(text);
  if (onlooker_ != nullptr) onlooker_->on_event(text);
  if (writer_) (void)writer_->add_event(elapsed_ns, text).ok();
}

LossInterval Recording::store(const Sample& sample) {
  if (const Status stored = writer_->append(sample); !stored.ok()) fail(stored.error());
  return writer_->take_losses();
}

/// Stores and shows the ticks whose halves are both there.
void Recording::drain_ticks() {
  while (auto tick = joiner_->next()) {
    const Sample sample =
        ticks_->build(std::move(tick->flows), std::move(tick->reading), tick->last);
    if (!options_.quiet) {
      if (lines_++ % kTickLinesPerHeader == 0)
        error_outlet().write(fmt::format("{}\n", tick_line_header()));
      error_outlet().write(fmt::format("{}\n", tick_line(sample, recent_)));
    }
    totals_.add(sample);
    if (onlooker_ != nullptr) onlooker_->on_sample(sample);
    for (const std::string& warning : headroom_.observe(sample))
      tell_event(sample.elapsed_ns, warning);
  }
}

/// Follows the command, and whoever leads it.
void Recording::follow_command() {
  const std::optional<int> exit_status = command_ ? command_->exit_status() : std::nullopt;
  if (conductor_ == nullptr) {
    if (exit_status) subject_ended();
    return;
  }
  if (state_ != State::kRunning) return;
  if (exit_status && !subject_end_told_) {
    subject_end_told_ = true;
    conductor_->on_command_end(*exit_status);
  }
  conductor_->on_pass(monotonic_now_ns());
  if (conductor_->wants_stop()) stop();
}

void Recording::handle_signals() {
  signalfd_siginfo info{};
  while (read(signal_fd_.get(), &info, sizeof info) == sizeof info) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD) continue;  // each pass asks the command itself
    if (number == SIGWINCH || number == SIGTSTP || number == SIGCONT)
      onlooker_->on_signal(number);
    else
      handle_stop_signal(number, info.ssi_code == SI_KERNEL);
  }
}

void Recording::handle_stop_signal(int number, bool from_terminal) {
  if (stop_signal_ != 0) {  // the second one: at once, saving nothing more
    if (command_) command_->kill_now();
    if (onlooker_ != nullptr) onlooker_->abandon();
    _exit(128 + number);
  }
  stop_signal_ = number;
  stop();
  // Under a conductor the load ends before the command does.
  if (conductor_ != nullptr || !command_) return;
  if (from_terminal)
    command_->was_asked_to_end();
  else
    command_->ask_to_end(number);
}

void Recording::add_sources() {
  const auto on_signal = [this] { handle_signals(); };
  sources_.add([this] { return signal_fd_.get(); }, on_signal);
  sources_.add([this] { return timer_fd_.get(); }, [] {});  // each pass arms it anew
  sources_.add([this] { return capture_->event_fd(); }, [this] { take_flows(); });
  sources_.add([this] { return probes_->event_fd(); }, [this] { probes_->handle_events(); });
  draining_sources_.add([this] { return signal_fd_.get(); }, on_signal);
  if (conductor_ != nullptr) {
    const auto output_fd = [this] { return conductor_->output_fd(); };
    const auto on_output = [this] { conductor_->on_output(); };
    sources_.add([this] { return conductor_->wake_fd(); }, [] {});  // each pass asks the conductor
    sources_.add(output_fd, on_output);
    draining_sources_.add(output_fd, on_output);
  }
  if (onlooker_ != nullptr) {
    const auto output_fd = [this] { return onlooker_->output_fd(); };
    const auto on_output = [this] { onlooker_->on_output(); };
    sources_.add([this] { return onlooker_->input_fd(); }, [this] { onlooker_->on_input(); });
    sources_.add(output_fd, on_output);
    draining_sources_.add(output_fd, on_output);
  }
}

/// kRunning: waits for a source, then does what is due.
void Recording::run_pass() {
  arm_timer(std::min(next_due_ns_, end_ns_));
  const int timeout_ms = onlooker_ != nullptr ? onlooker_->refresh_ms() : -1;
  if (const Status waited = sources_.wait(timeout_ms); !waited.ok()) return fail(waited.error());
  tick_if_due();
  drain_ticks();
  look_after_store();
  follow_command();
  if (onlooker_ != nullptr) {
    serve_onlooker();
    onlooker_->on_pass();
    if (onlooker_->wants_stop()) stop();
  }
  if (monotonic_now_ns() >= end_ns_) stop();
}

/// kEnding: the load stops, then the ticks end.
void Recording::make_last_tick() {
  if (conductor_ != nullptr) conductor_->stop(stop_signal_);
  end_ns_ = std::min(monotonic_now_ns(), end_ns_);
  // Only what ended before the last reading is in the probes' sums as a whole.
  if (command_) command_usage_ = command_->usage();
  // A load that is waited for is no standstill.
  if (conductor_ == nullptr && next_due_ns_ < end_ns_) note_standstill(next_due_ns_);
  tick(end_ns_);
  joiner_->add_end_losses(probes_->end_losses());
  capture_->stop(end_ns_);
  take_flows();
  joiner_->finish();
  drain_ticks();
  if (onlooker_ != nullptr) onlooker_->close();
  if (command_) command_->ask_to_end(SIGTERM);
  state_ = State::kDraining;
}

/// kDraining: the command does not outlive its recording. What it prints while it ends must find a
/// reader, else it never ends.
void Recording::drain_pass() {
  if (!command_ || command_->exit_status()) {
    state_ = State::kDone;
    return;
  }
  const int64_t left_ms = command_->kill_if_due(monotonic_now_ns()) / kNanosPerMilli;
  if (!draining_sources_.wait(static_cast<int>(std::clamp<int64_t>(left_ms, 1, 100))).ok())
    command_->kill_now();
}

/// kDone: judges the run, stores its end and tells of it. The process's exit code.
Result<int> Recording::finish() {
  const bool ends_family = conductor_ != nullptr || (command_ && command_->leaves_family_to_us());
  if (ends_family && !end_family(stop_grace_ns_))
    say("some processes of the subject cannot be ended from here");

  EndFacts facts;
  facts.duration_ns = end_ns_ - start_ns_;
  if (command_) facts.exit_status = command_->exit_status();
  if (writer_) facts.late_losses = writer_->take_losses();
  facts.probes_doubts = probes_->doubts(command_.has_value(), command_usage_);
  facts.failure = failure_;
  RunEnd end = make_run_end(*ticks_, std::move(facts));
  if (conductor_ != nullptr) {
    if (const Status told = conductor_->finish(end); !told.ok() && !failure_)
      failure_ = told.error();
    if (failure_) end.status = RunStatus::kFailed;
  }
  Status saved;
  if (writer_) saved = writer_->finish(end);
  writer_.reset();
  if (failure_) return *failure_;
  TOPSPIN_TRY(saved);

  tell_run_end(options_, {info_, end, totals_, *ticks_, database_}, onlooker_ != nullptr);
  if (stop_signal_ == 0 && onlooker_ != nullptr && onlooker_->output_failed())
    return make_error(ErrorCode::kOutput, "cannot write to standard output");
  return exit_code_of(end);
}

/// Of a run that was stored, or was not to be.
int Recording::exit_code_of(const RunEnd& end) const {
  if (stop_signal_ != 0) return 128 + stop_signal_;
  if (conductor_ != nullptr) return 0;
  if (command_) {
    if (!end.exit_status || command_->was_asked()) return 0;
    if (*end.exit_status > 128)
      say(fmt::format("the command was ended by signal {}", *end.exit_status - 128));
    else if (*end.exit_status != 0)
      say(fmt::format("the command exited with status {}", *end.exit_status));
    return *end.exit_status;
  }
  return options_.store && !end.invalid_reasons.empty() ? exit_code(ErrorCode::kInvalidRun) : 0;
}

void Recording::tell_missing_probes() const {
  if (options_.quiet) return;
  std::vector<ProbeStatus> probes = probes_->status();
  probes.push_back(owners_->status());
  std::string without_subject;  // one line for all of them
  for (const ProbeStatus& probe : probes) {
    const bool unasked = probe.rung == Rung::kNone && probe.reason.starts_with("not asked for");
    if (probe.rung == Rung::kNone && probe.reason.starts_with("no subject")) {
      without_subject += (without_subject.empty() ? "" : ", ") + probe.name;
      continue;
    }
    if (!probe.reason.empty() && !unasked)
      say(fmt::format("probe {} by {}: {}", probe.name, rung_name(probe.rung), probe.reason));
  }
  if (!without_subject.empty()) {
    say(fmt::format("no subject (name a command, --pid or --cgroup), so not measured: {}",
                    without_subject));
  }
}

/// The capture begins, then the command, then what leads it.
Status Recording::start() {
  auto capture = CaptureThread::start(std::move(tracker_), start_ns_);
  if (!capture.ok()) {
    if (writer_) {
      (void)writer_->finish({RunStatus::kFailed, 0, {}, {capture.error().message}, {}}).ok();
    }
    if (onlooker_ != nullptr) onlooker_->close();
    return std::move(capture).error();
  }
  capture_ = std::move(capture).value();
  add_sources();
  if (command_) {
    if (auto released = command_->release(); !released.ok()) fail(released.error());
  }
  if (!failure_ && conductor_ != nullptr) {
    if (auto started = conductor_->on_start(start_ns_, command_->pid(), *writer_); !started.ok())
      fail(started.error());
  }
  return {};
}

Result<int> Recording::run() {
  TOPSPIN_TRY(open());
  tell_missing_probes();
  TOPSPIN_TRY(start());
  while (state_ != State::kDone) {
    switch (state_) {
      case State::kRunning: run_pass(); break;
      case State::kEnding: make_last_tick(); break;
      case State::kDraining: drain_pass(); break;
      case State::kDone: break;
    }
  }
  return finish();
}

}  // namespace

int record(const RecordOptions& options, Onlooker* onlooker) {
  auto settings = make_record_settings(options);
  if (!settings.ok()) return fail(settings.error());
  Recording recording(options, std::move(settings).value(), onlooker, nullptr);
  const auto code = recording.run();
  if (onlooker != nullptr) onlooker->close();
  return code.ok() ? *code : fail(code.error());
}

int record(const RecordOptions& options, Conductor& conductor) {
  auto settings = make_record_settings(options);
  if (!settings.ok()) return fail(settings.error());
  CHECK(!options.command.empty() && options.store);
  Recording recording(options, std::move(settings).value(), nullptr, &conductor);
  const auto code = recording.run();
  return code.ok() ? *code : fail(code.error());
}

}  // namespace topspin
