// FlightRecorder: `topspin watch`, as an onlooker of a recording that stores nothing itself.
//
// Each tick goes into the ring and to the rules. When a rule is met, or on SIGUSR1, the ring and
// the ticks of the next `after_ns` become an incident, which another thread stores. One thread,
// that of the recording.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/recording/onlooker.h"
#include "app/watch/flight_ring.h"
#include "app/watch/incident_writer.h"
#include "app/watch/journal_notice.h"
#include "app/watch/service_notice.h"
#include "app/watch/trigger.h"
#include "app/watch/watch_lock.h"
#include "ci/slo/rule_watch.h"
#include "store/retention/retention.h"

namespace topspin {

struct FlightSettings {
  std::string database;
  std::vector<WatchRule> rules;
  int64_t keep_ns = 0;
  int64_t after_ns = 0;
  int64_t hold_off_ns = 0;
  int64_t window_ns = 0;  // of rules
  uint64_t ring_bytes = 0;
  uint64_t packet_bytes = 0;  // of the ring of packets; 0: none is kept
  RetentionLimits limits;
  bool quiet = false;
};

class FlightRecorder final : public Onlooker {
 public:
  explicit FlightRecorder(FlightSettings settings);
  ~FlightRecorder() override { close(); }

  Status on_start(const RunInfo& run) override;
  void on_sample(const Sample& sample) override;
  void on_interface(const std::string& /*name*/) override {}
  void on_event(std::string_view text) override;
  void on_command_end(int /*exit_status*/) override {}
  void on_subject_gone() override {}
  int input_fd() const override { return -1; }
  int output_fd() const override { return -1; }
  void on_input() override {}
  void on_output() override {}
  std::span<const int> signals() const override;
  void on_signal(int number) override;
  void on_pass() override {}
  int refresh_ms() const override { return -1; }
  std::optional<FlowKey> watched_flow() const override { return std::nullopt; }
  void on_packets(PacketCopies /*packets*/) override {}
  std::optional<std::string> take_interface_wish() override { return std::nullopt; }
  PacketRing* packet_ring() override { return packets_ ? &*packets_ : nullptr; }
  int rename_directory_fd() const override {
    return writer_.packet_directory() ? writer_.packet_directory()->fd() : -1;
  }
  LiveFacts live_facts() const override;
  std::vector<LiveEvent> take_live_events() override { return writer_.take_events(); }
  bool wants_stop() const override { return false; }
  bool output_failed() const override { return false; }
  bool stays() const override { return false; }
  /// Stores the incident that is under way, with the ticks that it has.
  void close() override;
  void abandon() override {}
  int command_stdin_fd() const override { return -1; }
  int command_stdout_fd() const override { return -1; }

 private:
  void begin_incident(IncidentCause cause);
  void end_incident();
  void tell(const std::string& text, const std::optional<LiveEvent>& event) const;
  void tell_messages();
  void tell_summary();

  FlightSettings settings_;
  WatchLock lock_;
  RunInfo run_;
  FlightRing ring_;
  std::optional<PacketRing> packets_;
  std::optional<RuleWatch> rules_;
  Trigger trigger_;
  IncidentWriter writer_;
  ServiceNotice service_;
  JournalNotice journal_;
  std::optional<Incident> incident_;  // under way
  bool freeze_asked_ = false;         // before there was a tick
  bool started_ = false;
  bool closed_ = false;
};

}  // namespace topspin
