#include "app/recording.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "app/capture_thread.h"
#include "app/child.h"
#include "app/command.h"
#include "app/family.h"
#include "app/flow_row_queue.h"
#include "app/git.h"
#include "app/host.h"
#include "app/network_namespace.h"
#include "app/outlet.h"
#include "app/row_baseline.h"
#include "app/session.h"
#include "app/version.h"
#include "ci/standing.h"
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

/// The typed settings behind the options; everything that can be refused without opening anything.
struct Settings {
  FlowTableOptions table;
  LiveOptions live;
  SubjectSpec subject;
  ProbeOptions probes;
  std::map<std::string, std::string> labels;
  std::optional<int64_t> duration_ns;
  std::string subject_text;
};

Result<Settings> make_settings(const RecordOptions& o) {
  Settings plan;
  TOPSPIN_ASSIGN(plan.table, flow_table_options(o.observe));
  TOPSPIN_ASSIGN(plan.table.idle_timeout_ns, positive_duration(o.idle_timeout, "--idle-timeout"));
  TOPSPIN_ASSIGN(plan.labels, parse_labels(o.observe.labels));
  TOPSPIN_ASSIGN(plan.live.filter, filter_text(o.observe));
  TOPSPIN_ASSIGN(plan.live.interval_ns, positive_duration(o.observe.interval, "--interval"));
  if (plan.live.interval_ns < 10 * kNanosPerMilli) {
    return make_error(ErrorCode::kUsage, "--interval must be at least 10ms");
  }
  plan.live.interface = o.interface;
  plan.live.max_rows_per_interval = o.max_rows_per_interval;
  plan.live.max_rows_at_end = o.max_stored_flows;
  plan.live.snaplen = o.snaplen;
  plan.live.promiscuous = !o.no_promiscuous;
  if (!o.buffer_size.empty()) {
    char* end = nullptr;
    const long mib = std::strtol(o.buffer_size.c_str(), &end, 10);
    if (*end != '\0' || mib < 1 || mib > 2047) {
      return make_error(ErrorCode::kUsage, "--buffer-size is a whole number of MiB from 1 to 2047");
    }
    plan.live.ring_bytes = static_cast<int64_t>(mib) << 20;
  }
  if (!o.duration.empty()) {
    TOPSPIN_ASSIGN(plan.duration_ns, positive_duration(o.duration, "--duration"));
  }
  const int subjects =
      (o.pid != 0 ? 1 : 0) + (o.cgroup.empty() ? 0 : 1) + (o.command.empty() ? 0 : 1);
  if (subjects > 1) {
    return make_error(ErrorCode::kUsage,
                      "give one subject: --pid, --cgroup, or a command after --");
  }
  plan.subject_text = "none";
  if (o.pid != 0) {
    plan.subject.kind = SubjectSpec::Kind::kProcessTree;
    plan.subject.pid = o.pid;
    plan.subject_text = fmt::format("pid {}", o.pid);
  } else if (!o.cgroup.empty()) {
    plan.subject.kind = SubjectSpec::Kind::kCgroup;
    plan.subject.cgroup_path = o.cgroup;
    plan.subject_text = fmt::format("cgroup {}", o.cgroup);
  } else if (!o.command.empty()) {
    plan.subject.kind = SubjectSpec::Kind::kProcessTree;
    plan.subject_text = "command";
  }
  plan.probes.counters = o.counters;
  plan.probes.stacks_per_second = o.stacks_per_second;
  for (const std::string& word : o.probes) {
    const size_t equals = word.find('=');
    const auto rung =
        equals == std::string::npos ? std::nullopt : parse_rung(word.substr(equals + 1));
    if (!rung || equals == 0) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("--probe {} must be NAME=RUNG; topspin doctor lists both", word));
    }
    plan.probes.forced[word.substr(0, equals)] = *rung;
  }
  // To name its rung is to ask for it.
  const auto syscalls = plan.probes.forced.find("syscalls");
  plan.probes.syscalls =
      o.syscalls || (syscalls != plan.probes.forced.end() && syscalls->second != Rung::kNone);
  if (!plan.live.filter.empty()) TOPSPIN_TRY(check_filter(plan.live.filter));
  return plan;
}

/// Blocks the signals that the loop reads from a descriptor, for this thread and those it will
/// start.
Result<UniqueFd> open_signal_fd(bool with_terminal) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD}) sigaddset(&set, number);
  if (with_terminal) {
    for (const int number : {SIGWINCH, SIGTSTP, SIGCONT}) sigaddset(&set, number);
  }
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) {
    return make_error(ErrorCode::kInternal, "cannot block signals", errno);
  }
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return make_error(ErrorCode::kInternal, "signalfd failed", errno);
  return fd;
}

/// What is said when the memory that SQLite shares with the readers of the database (-shm) is gone:
/// somebody truncated that file, or its disk fails. Written before the handler is installed.
std::string lost_memory_text;

/// A screen's own handler (CursesTerminal) puts the terminal back, and then raises the signal anew
/// (SI_TKILL).
void on_lost_memory(int /*number*/, siginfo_t* info, void* /*context*/) {
  if (info->si_code != BUS_ADRERR && info->si_code != SI_TKILL) {
    signal(SIGBUS, SIG_DFL);  // not of a file: the fault comes again, and ends us
    return;
  }
  (void)!::write(STDERR_FILENO, lost_memory_text.data(), lost_memory_text.size());
  _exit(exit_code(ErrorCode::kOutput));
}

/// SQLite cannot go on after that fault, and nothing of the run can be stored any more.
void end_plainly_on_lost_memory(const std::string& database) {
  lost_memory_text = fmt::format(
      "topspin: the recording ends: {0}-shm was truncated, or its disk fails; ticks stored so far "
      "are in {0}\n",
      sanitize_for_terminal(database));
  struct sigaction action {};
  action.sa_sigaction = on_lost_memory;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

class Recording {
 public:
  Recording(const RecordOptions& options, Settings plan, Onlooker* onlooker, Conductor* conductor)
      : options_(options),
        plan_(std::move(plan)),
        onlooker_(onlooker),
        conductor_(conductor),
        stop_grace_ns_(conductor != nullptr ? conductor->stop_within_ns() : kStopGraceNs) {}

  Result<int> run();

 private:
  Status open();
  Status give_up_privileges(const std::optional<UserIdentity>& user);
  RunInfo run_info(const ClockAnchor& anchor, const std::string& link_type) const;
  Status loop();
  void begin_counting();
  void tick(int64_t due_ns);
  void tick_if_due(int64_t end_ns);
  void note_standstill(int64_t due_ns);
  void look_after_store();
  void fail(const Error& error);
  void drain_samples(bool finishing = false);
  void subject_ended();
  void take_flows();
  void serve_onlooker();
  void tell_event(int64_t elapsed_ns, const std::string& text);
  void handle_signals();
  void end_command(int signal_number);
  void arm_timer(int64_t monotonic_ns) const;
  Result<int> finish();

  const RecordOptions& options_;
  Settings plan_;
  Onlooker* onlooker_;
  Conductor* conductor_;
  int64_t stop_grace_ns_;
  bool command_end_told_ = false;
  UniqueFd signal_fd_, timer_fd_;
  std::unique_ptr<Child> child_;
  std::unique_ptr<Probes> probes_;
  std::unique_ptr<FlowOwners> owners_;
  std::unique_ptr<FlowTracker> tracker_;  // until the capture thread owns it
  std::unique_ptr<CaptureThread> capture_;
  std::unique_ptr<PatientWriter> writer_;
  std::optional<Session> session_;
  std::optional<FlowRowQueue> row_queue_;  // where more rows are shown than stored
  RowBaseline baseline_;
  SelfReading first_self_;
  HeadroomWatch headroom_;
  std::string run_id_, database_;
  RunInfo info_;
  RunTotals totals_;  // by which the run's standing is told
  SourceInfo source_;
  int64_t start_ns_ = 0;
  int64_t next_due_ns_ = 0;
  int64_t next_place_check_ns_ = 0;
  bool place_told_ = false;
  std::optional<int64_t> kill_at_ns_;  // when the command's grace ends
  int stop_signal_ = 0;                // that asked us to stop
  bool stopping_ = false;
  bool command_ended_by_us_ = false;
  bool ends_family_ = false;  // we adopt what the command leaves behind
  bool subject_end_told_ = false;
  uint64_t lines_ = 0;
  RecentLatencies recent_;          // of the lines
  std::optional<FlowKey> watched_;  // whose packets are copied for the onlooker
  std::optional<Error> failure_;    // the first error that ended the recording
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
  if (!options_.command.empty()) {
    ChildSetting setting;
    if (conductor_ != nullptr) setting = conductor_->child_setting();
    if (onlooker_ != nullptr) {
      setting.streams = {onlooker_->command_stdin_fd(), onlooker_->command_stdout_fd()};
    }
    std::optional<UserIdentity> command_user = user;
    if (!options_.command_user.empty()) {
      TOPSPIN_ASSIGN(command_user, find_user(options_.command_user));
    }
    TOPSPIN_ASSIGN(child_, Child::prepare(options_.command, command_user, setting));
    plan_.subject.pid = child_->pid();
  }
  if (!options_.netns.empty()) TOPSPIN_TRY(enter_network_namespace(options_.netns));
  TOPSPIN_ASSIGN(probes_, Probes::open(plan_.subject, plan_.probes));
  FlowOwnerLimits limits;
  limits.walk_ns_per_resolve = std::min(limits.walk_ns_per_resolve, plan_.live.interval_ns / 5);
  owners_ = FlowOwners::open(plan_.subject, plan_.probes, limits);
  TOPSPIN_ASSIGN(tracker_, FlowTracker::open_live(plan_.live, plan_.table));
  timer_fd_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_fd_) return make_error(ErrorCode::kInternal, "timerfd_create failed", errno);
  TOPSPIN_TRY(give_up_privileges(user));

  // The database is made by whoever we are now, so it belongs to the user who asked.
  const ClockAnchor anchor = take_clock_anchor();
  info_ = run_info(anchor, tracker_->link_type());
  const RunInfo& info = info_;
  run_id_ = info.id;
  if (options_.store) {
    database_ = database_path(options_.observe.db);
    end_plainly_on_lost_memory(database_);
    WriterOptions writer_options;
    writer_options.max_flow_rows = options_.max_stored_flows;
    // A screen is shown every row, and stores as many a tick as a recording without one.
    const uint64_t rows_a_tick = RecordOptions{}.max_rows_per_interval;
    if (options_.max_rows_per_interval > rows_a_tick) row_queue_.emplace(rows_a_tick);
    writer_options.busy_timeout_ms = kStoreWaitMs;
    TOPSPIN_ASSIGN(auto writer, RunWriter::create(database_, info, writer_options));
    writer_ = std::make_unique<PatientWriter>(std::move(writer), monotonic_now_ns, [this] {
      pollfd signals{signal_fd_.get(), POLLIN, 0};
      poll(&signals, 1, 50);
      handle_signals();
      return true;
    });
  }
  if (onlooker_ != nullptr) TOPSPIN_TRY(onlooker_->on_start(info));
  begin_counting();
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
    if (before.changed_threads.size() < plan_.probes.max_thread_rows_per_interval) break;
  }
  first_self_ = read_self();
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
  info.labels = plan_.labels;
  info.command = options_.command;
  info.settings.interface = plan_.live.interface;
  info.settings.filter = plan_.live.filter;
  info.settings.link_type = link_type;
  info.settings.period_ns = plan_.table.period_ns;
  info.settings.window_ns = plan_.table.window_ns;
  info.settings.interval_ns = plan_.live.interval_ns;
  info.settings.reply_timeout_ns = plan_.table.reply_timeout_ns;
  info.settings.duration_ns = plan_.duration_ns;
  info.settings.max_flows = plan_.table.max_flows;
  info.settings.max_stored_flows = options_.max_stored_flows;
  info.settings.subject = plan_.subject_text;
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
      plan_.subject.kind == SubjectSpec::Kind::kProcessTree && !probes.subject_alive;
  session_->add_probes(std::move(probes), read_self(), due_ns, read_ns);
  for (const std::string& event : probes_->take_events()) tell_event(due_ns - start_ns_, event);
  if (subject_gone && !child_) subject_ended();  // a command's end is told by waitpid
}

/// One tick for all that is due, so that a recorder which stood still makes one long interval. What
/// is due at the very end is finish()'s.
void Recording::tick_if_due(int64_t end_ns) {
  const int64_t now_ns = std::min(monotonic_now_ns(), end_ns - 1);
  if (next_due_ns_ > now_ns) return;
  const int64_t interval_ns = plan_.live.interval_ns;
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

/// The first error counts, and ends the recording.
void Recording::fail(const Error& error) {
  if (!failure_) failure_ = error;
  stopping_ = true;
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
    stopping_ = true;
  } else if (!subject_end_told_) {
    subject_end_told_ = true;
    if (child_)
      onlooker_->on_command_end(*child_->poll_exit());
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
    session_->add_flows(std::move(interval));
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

void Recording::drain_samples(bool finishing) {
  auto sample = session_->next_sample();
  while (sample) {
    auto following = session_->next_sample();
    owners_->resolve(*sample);
    if (!options_.quiet) {
      if (lines_++ % kTickLinesPerHeader == 0)
        error_outlet().write(fmt::format("{}\n", tick_line_header()));
      error_outlet().write(fmt::format("{}\n", tick_line(*sample, recent_)));
    }
    totals_.add(*sample);
    if (onlooker_ != nullptr) onlooker_->on_sample(*sample);
    if (writer_) {
      if (row_queue_)
        sample->changed_flows =
            row_queue_->exchange(std::move(sample->changed_flows), finishing && !following);
      if (auto status = writer_->append(*sample); !status.ok()) return fail(status.error());
    }
    for (const std::string& warning : headroom_.observe(*sample))
      tell_event(sample->elapsed_ns, warning);
    sample = std::move(following);
  }
}

/// Asks the command to end, and remembers when patience ends.
void Recording::end_command(int signal_number) {
  if (!child_ || child_->poll_exit() || kill_at_ns_) return;
  // What it leaves behind comes to us, and is ended too (finish()).
  ends_family_ = adopt_orphans().ok();
  child_->send_signal(signal_number);
  command_ended_by_us_ = true;
  kill_at_ns_ = monotonic_now_ns() + stop_grace_ns_;
}

void Recording::handle_signals() {
  signalfd_siginfo info{};
  while (read(signal_fd_.get(), &info, sizeof info) == sizeof info) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD) continue;  // the loop asks the child itself
    if (number == SIGWINCH || number == SIGTSTP || number == SIGCONT) {
      onlooker_->on_signal(number);
      continue;
    }
    if (stop_signal_ != 0) {  // the second one: at once, saving nothing more
      if (child_) child_->send_signal(SIGKILL);
      if (onlooker_ != nullptr) onlooker_->abandon();
      _exit(128 + number);
    }
    stop_signal_ = number;
    stopping_ = true;
    // A Ctrl-C at the terminal (sent by the kernel) has reached the command already. Under a
    // conductor the load ends before the command does.
    if (conductor_ != nullptr) continue;
    if (info.ssi_code == SI_KERNEL) {
      if (child_ && !child_->poll_exit()) kill_at_ns_ = monotonic_now_ns() + stop_grace_ns_;
      command_ended_by_us_ = true;
    } else {
      end_command(number);
    }
  }
}

Status Recording::loop() {
  next_due_ns_ = start_ns_ + plan_.live.interval_ns;
  const int64_t end_ns = plan_.duration_ns ? start_ns_ + *plan_.duration_ns : kNever;
  while (!stopping_) {
    arm_timer(std::min(next_due_ns_, end_ns));
    std::array<pollfd, 8> fds{{{signal_fd_.get(), POLLIN, 0},
                               {timer_fd_.get(), POLLIN, 0},
                               {capture_->event_fd(), POLLIN, 0},
                               {onlooker_ != nullptr ? onlooker_->input_fd() : -1, POLLIN, 0},
                               {onlooker_ != nullptr ? onlooker_->output_fd() : -1, POLLIN, 0},
                               {conductor_ != nullptr ? conductor_->wake_fd() : -1, POLLIN, 0},
                               {conductor_ != nullptr ? conductor_->output_fd() : -1, POLLIN, 0},
                               {probes_->event_fd(), POLLIN, 0}}};
    const int timeout_ms = onlooker_ != nullptr ? onlooker_->refresh_ms() : -1;
    if (poll(fds.data(), fds.size(), timeout_ms) < 0 && errno != EINTR) {
      return make_error(ErrorCode::kInternal, fmt::format("poll: {}", std::strerror(errno)), errno);
    }
    handle_signals();
    if (fds[7].revents != 0) probes_->handle_events();
    tick_if_due(end_ns);
    take_flows();
    drain_samples();
    look_after_store();
    if (conductor_ != nullptr && !stopping_) {
      if (fds[6].revents != 0) conductor_->on_output();
      if (child_->poll_exit() && !command_end_told_) {
        command_end_told_ = true;
        conductor_->on_command_end(*child_->poll_exit());
      }
      conductor_->on_pass(monotonic_now_ns());
      if (conductor_->wants_stop()) stopping_ = true;
    } else if (conductor_ == nullptr && child_ && child_->poll_exit()) {
      subject_ended();
    }
    if (onlooker_ != nullptr) {
      if (fds[3].revents != 0) onlooker_->on_input();
      if (fds[4].revents != 0) onlooker_->on_output();
      serve_onlooker();
      onlooker_->on_pass();
      if (onlooker_->wants_stop()) stopping_ = true;
    }
    if (monotonic_now_ns() >= end_ns) stopping_ = true;
  }
  return {};
}

Result<int> Recording::finish() {
  if (conductor_ != nullptr) conductor_->stop(stop_signal_);
  int64_t end_ns = monotonic_now_ns();
  if (plan_.duration_ns) end_ns = std::min(end_ns, start_ns_ + *plan_.duration_ns);
  // Only what ended before the last reading is in the probes' sums as a whole.
  std::optional<CommandUsage> usage;
  if (child_ && child_->poll_exit()) usage = child_->usage();
  // A load that is waited for is no standstill.
  if (conductor_ == nullptr && next_due_ns_ != 0 && next_due_ns_ < end_ns)
    note_standstill(next_due_ns_);
  tick(end_ns);
  session_->add_end_losses(probes_->end_losses());
  capture_->stop(end_ns);
  take_flows();
  session_->finish();
  drain_samples(true);

  if (onlooker_ != nullptr) onlooker_->close();
  // The command does not outlive its recording: first asked, then made to end.
  end_command(SIGTERM);
  while (child_ && !child_->poll_exit()) {
    const int64_t left_ns = *kill_at_ns_ - monotonic_now_ns();
    if (left_ns <= 0) {
      child_->send_signal(SIGKILL);
      kill_at_ns_ = monotonic_now_ns() + stop_grace_ns_;
    }
    // What the command prints while it ends must find a reader, else it never ends.
    std::array<pollfd, 3> fds{{{signal_fd_.get(), POLLIN, 0},
                               {onlooker_ != nullptr ? onlooker_->output_fd() : -1, POLLIN, 0},
                               {conductor_ != nullptr ? conductor_->output_fd() : -1, POLLIN, 0}}};
    poll(fds.data(), fds.size(),
         static_cast<int>(std::clamp<int64_t>(left_ns / kNanosPerMilli, 1, 100)));
    if (fds[1].revents != 0) onlooker_->on_output();
    if (fds[2].revents != 0) conductor_->on_output();
    handle_signals();
  }
  if ((conductor_ != nullptr || ends_family_) && !end_family(stop_grace_ns_))
    say("some processes of the subject cannot be ended from here");

  RunEnd end;
  end.duration_ns = end_ns - start_ns_;
  if (child_) end.exit_status = child_->poll_exit();
  LossInterval losses = session_->loss_totals();
  if (writer_) losses.ticks_unstored += writer_->ticks_given_up();
  end.invalid_reasons = judge_losses(losses, session_->flow_totals(), session_->ticks());
  end.doubts = doubts_of(session_->flow_totals());
  if (auto doubt = doubt_of_guessed_ends(session_->ends_guessed()))
    end.doubts.push_back(*std::move(doubt));
  for (std::string& doubt : probes_->doubts(child_ != nullptr, usage))
    end.doubts.push_back(std::move(doubt));
  if (auto doubt = session_->split_doubt()) end.doubts.push_back(*std::move(doubt));
  if (failure_) {
    end.status = RunStatus::kFailed;
    end.invalid_reasons.push_back(failure_->message);
  }
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

  if (session_->flow_totals().packets == 0 && !options_.quiet) {
    const std::string where = plan_.live.interface;
    say(plan_.live.filter.empty()
            ? fmt::format("0 packets came on {}", where)
            : fmt::format("0 packets matched '{}' on {}", plan_.live.filter, where));
  }
  const RunStanding standing = standing_of(info_, end, totals_);
  const bool clean = end.invalid_reasons.empty() && end.doubts.empty();
  if (options_.store && (!clean || !options_.quiet)) {
    std::string line = "the run is " + standing_text(standing, end.status);
    if (!standing.reasons.empty()) line += fmt::format(": {}", fmt::join(standing.reasons, "; "));
    say(line);
  }
  if (options_.store && (!options_.quiet || onlooker_ != nullptr)) {
    say(fmt::format("{} ticks, {} flows, {} packets kept in {} as run {}", session_->ticks(),
                    session_->flow_totals().new_flows, session_->flow_totals().packets, database_,
                    run_id_));
  }
  if (stop_signal_ != 0) return 128 + stop_signal_;
  if (onlooker_ != nullptr && onlooker_->output_failed()) {
    return make_error(ErrorCode::kOutput, "cannot write to standard output");
  }
  if (conductor_ != nullptr) return 0;
  if (end.exit_status && !command_ended_by_us_) {
    if (*end.exit_status > 128)
      say(fmt::format("the command was ended by signal {}", *end.exit_status - 128));
    else if (*end.exit_status != 0)
      say(fmt::format("the command exited with status {}", *end.exit_status));
    return *end.exit_status;
  }
  if (!child_ && options_.store && !end.invalid_reasons.empty())
    return exit_code(ErrorCode::kInvalidRun);
  return 0;
}

Result<int> Recording::run() {
  TOPSPIN_TRY(open());
  std::vector<ProbeStatus> probes = probes_->status();
  probes.push_back(owners_->status());
  std::string without_subject;  // one line for all of them
  for (const ProbeStatus& probe : probes) {
    const bool unasked = probe.rung == Rung::kNone && probe.reason.starts_with("not asked for");
    if (probe.rung == Rung::kNone && probe.reason.starts_with("no subject")) {
      without_subject += (without_subject.empty() ? "" : ", ") + probe.name;
      continue;
    }
    if (!options_.quiet && !probe.reason.empty() && !unasked) {
      say(fmt::format("probe {} by {}: {}", probe.name, rung_name(probe.rung), probe.reason));
    }
  }
  if (!options_.quiet && !without_subject.empty()) {
    say(fmt::format("no subject (name a command, --pid or --cgroup), so not measured: {}",
                    without_subject));
  }
  session_.emplace(start_ns_, plan_.live.interval_ns, first_self_, plan_.table.reply_timeout_ns);
  {
    auto capture = CaptureThread::start(std::move(tracker_), start_ns_);
    if (!capture.ok()) {
      if (writer_) {
        (void)writer_->finish({RunStatus::kFailed, 0, {}, {capture.error().message}, {}}).ok();
      }
      if (onlooker_ != nullptr) onlooker_->close();
      return std::move(capture).error();
    }
    capture_ = std::move(capture).value();
  }
  if (child_) {
    if (auto released = child_->release(); !released.ok()) failure_ = released.error();
  }
  if (!failure_ && conductor_ != nullptr) {
    if (auto started = conductor_->on_start(start_ns_, child_->pid(), *writer_); !started.ok())
      failure_ = started.error();
  }
  if (!failure_) {
    if (auto looped = loop(); !looped.ok() && !failure_) failure_ = looped.error();
  }
  return finish();
}

}  // namespace

int record(const RecordOptions& options, Onlooker* onlooker) {
  auto settings = make_settings(options);
  if (!settings.ok()) return fail(settings.error());
  Recording recording(options, std::move(settings).value(), onlooker, nullptr);
  const auto code = recording.run();
  if (onlooker != nullptr) onlooker->close();
  return code.ok() ? *code : fail(code.error());
}

int record(const RecordOptions& options, Conductor& conductor) {
  auto settings = make_settings(options);
  if (!settings.ok()) return fail(settings.error());
  CHECK(!options.command.empty() && options.store);
  Recording recording(options, std::move(settings).value(), nullptr, &conductor);
  const auto code = recording.run();
  return code.ok() ? *code : fail(code.error());
}

}  // namespace topspin
