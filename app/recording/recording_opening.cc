#include <algorithm>
#include <filesystem>
#include <future>
#include <span>

#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "app/host/git.h"
#include "app/host/host.h"
#include "app/host/network_namespace.h"
#include "app/host/outlet.h"
#include "app/host/privileges.h"
#include "app/recording/recording_run.h"
#include "app/recording/sources/packet_output.h"
#include "app/recording/sources/signals.h"
#include "app/sandbox/sandbox.h"
#include "app/version.h"

namespace topspin {
namespace {

/// The longest wait of the loop for another program's lock on the database. After that, ticks wait
/// in memory.
constexpr int kStoreWaitMs = 20;

}  // namespace

Status Recording::open() {
  TOPSPIN_ASSIGN(signal_fd_, open_signal_fd(onlooker_ != nullptr ? onlooker_->signals()
                                                                 : std::span<const int>()));
  std::optional<UserIdentity> user = invoking_user();
  if (!options_.user.empty()) {
    TOPSPIN_ASSIGN(user, find_user(options_.user));
  }
  const MetricsPlaces places = {options_.textfile, options_.listen, options_.otlp};
  TOPSPIN_ASSIGN(metrics_, MetricsOutput::start(places, user));
  // Before other threads run, because these start git.
  forget_git_environment();
  std::optional<SourceQuestion> source;
  if (!options_.source && options_.store) {
    std::error_code ignored;
    source.emplace(std::filesystem::current_path(ignored), user);
  }
  if (!options_.command.empty()) TOPSPIN_TRY(prepare_command(user));
  if (!options_.netns.empty()) TOPSPIN_TRY(enter_network_namespace(options_.netns));
  if (settings_.network_of && !shares_network_namespace(*settings_.network_of))
    TOPSPIN_TRY(enter_network_namespace(std::to_string(*settings_.network_of)));
  FlowOwnerLimits limits;
  limits.walk_ns_per_resolve = std::min(limits.walk_ns_per_resolve, settings_.live.interval_ns / 5);
  // The kernel checks their programs while it checks those of the probes.
  auto owners = std::async(std::launch::async, [this, &limits] {
    return FlowOwners::open(settings_.subject, settings_.probes, limits);
  });
  TOPSPIN_ASSIGN(probes_, Probes::open(settings_.subject, settings_.probes));
  owners_ = owners.get();
  if (owners_->knows_parts()) {
    settings_.table.subject_parts = owners_.get();
    hidden_.emplace(settings_.live.interface, settings_.live.filter);
  }
  TOPSPIN_ASSIGN(tracker_, FlowTracker::open_live(settings_.live, settings_.table));
  if (!options_.packet_file.empty()) TOPSPIN_TRY(open_packets());
  if (onlooker_ != nullptr && onlooker_->packet_ring() != nullptr)
    tracker_->keep_packets_in(onlooker_->packet_ring());
  if (metrics_) TOPSPIN_TRY(metrics_->open(places));
  timer_fd_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_fd_) return make_error(ErrorCode::kInternal, "timerfd_create failed", errno);
  if (options_.source) source_ = *options_.source;
  if (source) source_ = source->answer();
  source.reset();  // while it may still be ended
  TOPSPIN_TRY(give_up_privileges(user));

  info_ = run_info(take_clock_anchor(), tracker_->link_type());
  if (options_.store) TOPSPIN_TRY(open_store());
  begin_counting();
  TOPSPIN_TRY(note_start());
  if (onlooker_ != nullptr) TOPSPIN_TRY(onlooker_->on_start(info_));
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

/// Called before privileges are dropped, because the user of -Z may not be allowed to write to the
/// directory.
Status Recording::open_packets() {
  TOPSPIN_ASSIGN(packet_file_,
                 open_packet_file(options_.packet_file,
                                  options_.store ? database_path(options_.observe.db) : ""));
  tracker_->write_packets_to(packet_file_.get());
  packets_text_ =
      fmt::format("packets are written to {}, at most {} bytes of each{}", packet_file_->name(),
                  tracker_->snaplen(), options_.snaplen == 0 ? " (-s BYTES sets how many)" : "");
  return {};
}

/// Privileges are already dropped, so a new database belongs to the invoking user.
Status Recording::open_store() {
  database_ = database_path(options_.observe.db);
  end_plainly_on_lost_memory(database_);
  WriterOptions options;
  options.max_flow_rows = options_.max_stored_flows;
  options.busy_timeout_ms = kStoreWaitMs;
  options.folds = folds_;
  TOPSPIN_ASSIGN(auto writer, RunWriter::create(database_, info_, options));
  writer_ = std::make_unique<PatientWriter>(std::move(writer), monotonic_now_ns, [this] {
    pollfd signals{signal_fd_.get(), POLLIN, 0};
    poll(&signals, 1, 50);
    handle_signals();
    return true;
  });
  return {};
}

/// The run begins. What the probes have counted before, for a subject that was already running, is
/// not part of it.
void Recording::begin_counting() {
  // A probe returns a limited number of thread rows at a time; the rest come with the next call.
  constexpr int kMostReadings = 8;
  for (int i = 0; i < kMostReadings; ++i) {
    const ProbeInterval before = probes_->take_interval();
    baseline_.take(before);
    start_ns_ = before.end_ns;
    owners_->note_processes(probes_->processes());
    if (before.changed_threads.size() < settings_.probes.max_thread_rows_per_interval) break;
  }
  owners_->look_around();
  first_self_ = read_self(usage_);
  next_due_ns_ = start_ns_ + settings_.live.interval_ns;
  if (settings_.duration_ns) end_ns_ = start_ns_ + *settings_.duration_ns;
}

/// The ticks count their time from start_ns_, which is later than what open_store() has stored.
Status Recording::note_start() {
  info_.started_wall_ns = take_clock_anchor().to_wall(start_ns_);
  info_.started_monotonic_ns = start_ns_;
  return writer_ ? writer_->set_start(info_.started_wall_ns, info_.started_monotonic_ns) : Status();
}

void Recording::begin_ticks() {
  TickSettings settings;
  settings.start_ns = start_ns_;
  settings.first_self = first_self_;
  settings.folds = folds_;
  settings.reply_timeout_ns = settings_.table.reply_timeout_ns;
  settings.resolve_owners = [this](Sample& sample) { resolve_owners(sample); };
  if (writer_) {
    settings.store = [this](const Sample& sample) { return store(sample); };
    // A screen gets every row, but stores as many per tick as a recording without a screen.
    const uint64_t stored_rows = RecordOptions{}.max_rows_per_interval;
    if (options_.max_rows_per_interval > stored_rows) settings.stored_rows_per_tick = stored_rows;
  }
  joiner_.emplace(start_ns_, settings_.live.interval_ns);
  ticks_.emplace(std::move(settings));
}

Status Recording::give_up_privileges(const std::optional<UserIdentity>& user) {
  std::vector<int> keep = probes_->capabilities_needed();
  for (const int capability : owners_->capabilities_needed()) keep.push_back(capability);
  // Needed to open the interface again after it went away.
  keep.push_back(CAP_NET_RAW);
  if (!options_.command_user.empty()) keep.push_back(CAP_KILL);  // to end another user's command
  const uid_t uid = user ? user->uid : geteuid();
  if (geteuid() == 0 && uid == 0) {
    // Root needs this to write in another user's directory (a container's work directory, for
    // example).
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

void Recording::tell_missing_probes() const {
  if (options_.quiet) return;
  std::vector<ProbeStatus> probes = probes_->status();
  probes.push_back(owners_->status());
  std::string without_subject;  // shown as one line
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
    say(fmt::format(
        "no subject (name a command, --pid, --cgroup or --container), so not measured: {}",
        without_subject));
  }
}

void Recording::add_sources() {
  const auto on_signal = [this] { handle_signals(); };
  sources_.add([this] { return signal_fd_.get(); }, on_signal);
  sources_.add([this] { return timer_fd_.get(); }, [] {});  // each pass arms it again
  sources_.add([this] { return capture_->event_fd(); }, [this] { take_flows(); });
  sources_.add([this] { return probes_->event_fd(); }, [this] { probes_->handle_events(); });
  draining_sources_.add([this] { return signal_fd_.get(); }, on_signal);
  if (conductor_ != nullptr) {
    const auto output_fd = [this] { return conductor_->output_fd(); };
    const auto on_output = [this] { conductor_->on_output(); };
    sources_.add([this] { return conductor_->wake_fd(); }, [] {});  // each pass calls the conductor
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

/// Starts the capture, then the command, then the conductor.
Status Recording::start() {
  // A conductor generates load, and starts what its plan says.
  if (conductor_ == nullptr) {
    RecordingNeeds needs;
    needs.serves = metrics_ && metrics_->listens();
    const int of_metrics = metrics_ ? metrics_->directory_fd() : -1;
    const int of_onlooker = onlooker_ != nullptr ? onlooker_->rename_directory_fd() : -1;
    for (const int directory : {of_metrics, of_onlooker})
      if (directory >= 0) needs.rename_directories.push_back(directory);
    TOPSPIN_TRY(limit_recording(needs));
  }
  if (metrics_) {
    TOPSPIN_ASSIGN(const auto sentences, metrics_->begin(info_));
    for (const std::string& sentence : sentences) tell_event(0, sentence);
  }
  auto capture = CaptureThread::start(std::move(tracker_), start_ns_);
  if (!capture.ok()) {
    if (writer_) {
      (void)writer_->finish({RunStatus::kFailed, 0, {}, {capture.error().message}, {}}).ok();
    }
    if (onlooker_ != nullptr) onlooker_->close();
    return std::move(capture).error();
  }
  capture_ = std::move(capture).value();
  if (packet_file_) tell_event(0, packets_text_);
  add_sources();
  if (command_) {
    if (auto released = command_->release(); !released.ok()) ending_.fail(released.error());
  }
  if (!ending_.failure() && conductor_ != nullptr) {
    if (auto started = conductor_->on_start(start_ns_, command_->pid(), *writer_); !started.ok())
      ending_.fail(started.error());
  }
  return {};
}

}  // namespace topspin
