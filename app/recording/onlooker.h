// Onlooker: watches a recording from within its loop, on its thread.
//
// live is one; record has none. It sees each Sample after it was stored, with all its flow rows
// (the database takes a bounded number of them per tick). It does not change a Sample.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/flow/packet_copy.h"
#include "core/run/run.h"
#include "core/tick/sample.h"
#include "report/export/export.h"

namespace topspin {

class PacketRing;

class Onlooker {
 public:
  virtual ~Onlooker() = default;

  /// Everything is open, and nothing has been seen yet. From now until close(), nothing else writes
  /// to the terminal.
  virtual Status on_start(const RunInfo& run) = 0;
  virtual void on_sample(const Sample& sample) = 0;
  /// The capture has moved to another interface.
  virtual void on_interface(const std::string& name) = 0;
  /// "interface lo went down", ...
  virtual void on_event(std::string_view text) = 0;
  virtual void on_command_end(int exit_status) = 0;
  /// The subject has ended. It was not a command that topspin started.
  virtual void on_subject_gone() = 0;

  /// Descriptors that the loop waits for in addition to the recording's own; -1 if there is none.
  virtual int input_fd() const = 0;
  virtual int output_fd() const = 0;  // what the command prints arrives here
  virtual void on_input() = 0;
  virtual void on_output() = 0;
  /// The signals that it wants, in addition to those that end a recording.
  virtual std::span<const int> signals() const = 0;
  /// Handles one of them. On SIGTSTP it must stop the process.
  virtual void on_signal(int number) = 0;
  /// Called once in each pass of the loop, after all of the above. This is the time to draw.
  virtual void on_pass() = 0;

  /// The longest time until the next pass; -1: no limit.
  virtual int refresh_ms() const = 0;

  /// The flow whose packets should be copied; nullopt if none is.
  virtual std::optional<FlowKey> watched_flow() const = 0;
  virtual void on_packets(PacketCopies packets) = 0;
  /// The interface that the capture should move to; nullopt if it should stay.
  virtual std::optional<std::string> take_interface_wish() = 0;

  /// Where the capture keeps its packets; nullptr: nowhere. It must outlive the recording.
  virtual PacketRing* packet_ring() { return nullptr; }
  /// The directory within which it renames files; -1: none. Asked for after on_start().
  virtual int rename_directory_fd() const { return -1; }

  /// What it adds to the numbers that leave a recording while it runs.
  virtual LiveFacts live_facts() const { return {}; }
  /// What it adds to their log; each is returned once.
  virtual std::vector<LiveEvent> take_live_events() { return {}; }

  /// Whether the user wants to quit.
  virtual bool wants_stop() const = 0;
  /// Whether its terminal is gone.
  virtual bool is_hung_up() const { return false; }
  /// Whether output failed, for example on a full disk.
  virtual bool output_failed() const = 0;
  /// Whether to continue after the command or subject has ended.
  virtual bool stays() const = 0;

  /// The recording has ended or failed. Restores the terminal.
  virtual void close() = 0;
  /// The process is about to end without running destructors.
  virtual void abandon() = 0;

  /// The command's standard input and output instead of ours; -1: ours.
  virtual int command_stdin_fd() const = 0;
  virtual int command_stdout_fd() const = 0;
};

}  // namespace topspin
