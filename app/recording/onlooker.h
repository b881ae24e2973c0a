// Onlooker: somebody who looks on while a run is recorded, on the recording's own loop and thread.
//
// record has none; live is one. It sees each Sample after it was stored, with all its flow rows, of
// which the database takes a bounded number per tick. It changes none.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/flow/packet_copy.h"
#include "core/run/run.h"
#include "core/tick/sample.h"

namespace topspin {

class Onlooker {
 public:
  virtual ~Onlooker() = default;

  /// Everything is open and nothing has been seen yet. From here on nothing else writes to the
  /// terminal, until close().
  virtual Status on_start(const RunInfo& run) = 0;
  virtual void on_sample(const Sample& sample) = 0;
  /// The capture went over to another interface.
  virtual void on_interface(const std::string& name) = 0;
  /// "interface lo went down", ...
  virtual void on_event(std::string_view text) = 0;
  virtual void on_command_end(int exit_status) = 0;
  /// The subject, which is no command of ours, has ended.
  virtual void on_subject_gone() = 0;

  /// Descriptors to wait for beside the recording's own; -1: none.
  virtual int input_fd() const = 0;
  virtual int output_fd() const = 0;  // what the command prints arrives here
  virtual void on_input() = 0;
  virtual void on_output() = 0;
  /// SIGWINCH, SIGTSTP, SIGCONT. For SIGTSTP it must stop the process.
  virtual void on_signal(int number) = 0;
  /// Once in each pass of the loop, after all of the above: the time to draw.
  virtual void on_pass() = 0;

  /// The longest time until the next pass, -1: until something happens.
  virtual int refresh_ms() const = 0;

  /// The flow whose packets are to be copied; nullopt: none's.
  virtual std::optional<FlowKey> watched_flow() const = 0;
  virtual void on_packets(PacketCopies packets) = 0;
  /// The interface that the capture should go over to; nullopt: it should stay.
  virtual std::optional<std::string> take_interface_wish() = 0;

  /// The person has seen enough.
  virtual bool wants_stop() const = 0;
  /// What was to be printed could not be, as on a full disk.
  virtual bool output_failed() const = 0;
  /// Whether to go on after the command or subject ended.
  virtual bool stays() const = 0;

  /// The recording has ended, or failed: gives the terminal back.
  virtual void close() = 0;
  /// The process ends at once, without destructors.
  virtual void abandon() = 0;

  /// What the command's standard input and output should be instead of ours; -1: ours.
  virtual int command_stdin_fd() const = 0;
  virtual int command_stdout_fd() const = 0;
};

}  // namespace topspin
