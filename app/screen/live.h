// Live: the screen, as an onlooker of a recording. Without a terminal, or if the user asked for
// plain text, it prints the same numbers to standard output.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>

#include "app/recording/onlooker.h"
#include "app/screen/look.h"
#include "app/watch/flight_ring.h"
#include "app/watch/incident_writer.h"
#include "core/base/unique_fd.h"
#include "tui/tick_line.h"

namespace topspin {

/// Whether there is a terminal and the user did not ask for plain text.
bool screen_is_possible(const LookOptions& options);

class Live final : public Onlooker {
 public:
  /// `stay`: continues after the command has ended. `name_process`: start_outside_of_sandbox(),
  /// because a recording cannot look names up itself.
  /// The key F stores the last minute in `database`.
  Live(const LookOptions& options, bool with_command, bool stay, UniqueFd name_process,
       const std::string& database);
  ~Live() override { close(); }

  Status on_start(const RunInfo& run) override;
  void on_sample(const Sample& sample) override;
  void on_interface(const std::string& name) override;
  void on_event(std::string_view text) override;
  void on_command_end(int exit_status) override;
  void on_subject_gone() override;
  int input_fd() const override { return look_.input_fd(); }
  int output_fd() const override { return output_read_.get(); }
  void on_input() override;
  void on_output() override;
  std::span<const int> signals() const override;
  void on_signal(int number) override { look_.on_signal(number); }
  void on_pass() override;
  std::optional<FlowKey> watched_flow() const override { return look_.watched_flow(); }
  void on_packets(PacketCopies packets) override { look_.add_packets(std::move(packets)); }
  std::optional<std::string> take_interface_wish() override {
    return std::exchange(interface_wish_, std::nullopt);
  }
  /// The user can choose another subject: a new observation begins after this one.
  void let_subject_change() { can_change_subject_ = screen_; }
  /// The process to observe from now on; nullopt if the user quit.
  std::optional<int32_t> subject_wish() const { return subject_wish_; }
  int refresh_ms() const override { return look_.refresh_ms(); }
  bool wants_stop() const override { return stop_ || look_.wants_stop(); }
  bool is_hung_up() const override { return look_.is_hung_up(); }
  bool output_failed() const override { return output_failed_; }
  bool stays() const override { return stay_ && !stop_; }
  void close() override;
  /// The last plain screen, to be printed after the recording.
  const std::string& last_text() const { return last_text_; }
  void abandon() override { restore_terminal_now(); }
  int command_stdin_fd() const override { return null_.get(); }
  int command_stdout_fd() const override { return output_write_.get(); }

 private:
  /// How much of the command's output is kept while the screen is shown, to be printed afterwards.
  static constexpr size_t kMaxOutputBytes = 256 << 10;

  /// What the key F keeps: the last minute, in at most so much memory, with so many flow rows a
  /// tick.
  static constexpr int64_t kKeptNs = 60'000'000'000;
  static constexpr uint64_t kMostKeptBytes = 64u << 20;
  static constexpr size_t kMostKeptRows = 2'500;

  void watch(int32_t pid);
  void keep_last_minute();
  void print_output();
  void subject_ended(const std::string& state);
  void freeze_after_the_end(const Sample& sample);
  /// At most once per second.
  void read_processes_if_shown(int64_t now_ns);

  Look look_;
  RunInfo run_;
  FlightRing ring_{kKeptNs, kMostKeptBytes, kMostKeptRows};
  IncidentWriter writer_;
  bool stay_;
  bool screen_;  // there is a terminal, and a screen was requested
  bool stop_ = false;
  std::optional<int64_t> subject_end_ns_;  // until the tick that contains it has been shown
  int printed_ = 0;
  TickLineMemory memory_;  // for the tick lines
  std::string last_text_;
  bool output_failed_ = false;  // standard output could not be written
  UniqueFd null_, output_read_, output_write_;
  std::string output_;
  bool output_cut_ = false;
  std::optional<std::string> interface_wish_;
  bool can_change_subject_ = false;
  std::optional<int32_t> subject_wish_;
  int64_t interfaces_read_ns_ = 0;
  int64_t processes_read_ns_ = 0;
};

}  // namespace topspin
