// The recording itself, behind record().
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "app/recording/hidden_connections.h"
#include "app/recording/record_settings.h"
#include "app/recording/recording.h"
#include "app/recording/recording_state.h"
#include "app/recording/sources/capture_thread.h"
#include "app/recording/sources/event_loop.h"
#include "app/recording/sources/subject_command.h"
#include "app/scrape/metrics_output.h"
#include "app/tick/row_baseline.h"
#include "app/tick/tick_builder.h"
#include "app/tick/tick_joiner.h"
#include "capture/source/packet_file.h"
#include "ci/metrics/standing.h"
#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "core/run/headroom_watch.h"
#include "core/run/run.h"
#include "probes/owners/flow_owner.h"
#include "store/runs/patient_writer.h"
#include "tui/tick_line.h"

namespace topspin {

/// One recording, on the main thread. Its functions are in recording_opening.cc, recording_loop.cc
/// and recording_ending.cc.
class Recording {
 public:
  Recording(const RecordOptions& options, RecordSettings settings, Onlooker* onlooker,
            Conductor* conductor)
      : options_(options),
        settings_(std::move(settings)),
        onlooker_(onlooker),
        conductor_(conductor),
        stop_grace_ns_(conductor != nullptr ? conductor->stop_within_ns() : kCommandGraceNs) {}

  Result<int> run();

  /// How long a command has from SIGTERM to SIGKILL if there is no conductor.
  static constexpr int64_t kCommandGraceNs = 5 * kNanosPerSecond;

 private:
  // Opening.
  Status open();
  Status prepare_command(const std::optional<UserIdentity>& user);
  Status open_packets();
  Status open_store();
  Status give_up_privileges(const std::optional<UserIdentity>& user);
  RunInfo run_info(const ClockAnchor& anchor, const std::string& link_type) const;
  void begin_counting();
  Status note_start();
  void begin_ticks();
  void resolve_owners(Sample& sample);
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
  uint64_t count_unwritten(uint64_t packets);
  LossInterval store(const Sample& sample);
  void look_after_store();
  void follow_command();
  void subject_ended();
  void serve_onlooker();
  void tell_event(int64_t elapsed_ns, const std::string& text);
  LiveFacts live_facts() const;
  void update_metrics(const Sample& sample);
  void handle_signals();
  void handle_stop_signal(int number, bool from_terminal);

  // Ending.
  void make_last_tick();
  void end_packets();
  void drain_pass();
  Result<int> finish();
  void remove_old_runs() const;
  void end_metrics();
  int exit_code_of(const RunEnd& end) const;

  const RecordOptions& options_;
  RecordSettings settings_;
  Onlooker* onlooker_;    // may be null
  Conductor* conductor_;  // may be null
  int64_t stop_grace_ns_;
  RecordingEnding ending_;
  EventLoop sources_;           // used while the recording runs
  EventLoop draining_sources_;  // used while the command ends
  UniqueFd signal_fd_, timer_fd_;
  std::optional<SubjectCommand> command_;
  std::unique_ptr<Probes> probes_;
  std::unique_ptr<FlowOwners> owners_;
  std::optional<HiddenConnections> hidden_;  // nullopt: connections are not known
  std::unique_ptr<PacketFile> packet_file_;  // for -w; outlives the capture
  std::unique_ptr<FlowTracker> tracker_;     // until the capture thread owns it
  std::unique_ptr<CaptureThread> capture_;
  std::unique_ptr<PatientWriter> writer_;
  std::optional<TickJoiner> joiner_;
  std::optional<TickBuilder> ticks_;
  RowBaseline baseline_;
  const UsageReader usage_;
  SelfReading first_self_;
  HeadroomWatch headroom_;
  std::unique_ptr<MetricsOutput> metrics_;  // may be null
  std::string database_;
  RunInfo info_;
  std::shared_ptr<RunFolds> folds_ = std::make_shared<RunFolds>();  // of the ticks
  SourceInfo source_;
  int64_t start_ns_ = 0;
  int64_t end_ns_ = std::numeric_limits<int64_t>::max();  // the latest end; after the last tick the
                                                          // actual end
  int64_t next_due_ns_ = 0;
  int64_t next_place_check_ns_ = 0;
  bool place_told_ = false;
  bool subject_end_told_ = false;
  int lines_ = 0;
  TickLineMemory memory_;                      // for the tick lines
  std::optional<FlowKey> watched_;             // its packets are copied for the onlooker
  std::optional<CommandUsage> command_usage_;  // of a command that ended before the last reading
  std::string packets_text_;                   // of packet_file_: its length, then its end
  uint64_t packets_unwritten_ = 0;             // not in packet_file_, as counted by ticks so far
};

}  // namespace topspin
