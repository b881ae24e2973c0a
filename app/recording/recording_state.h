// RecordingEnding: the state of a recording on the way to its end, and the signal or error that
// stopped it. Pure: the Recording does the work of each state.
#pragma once

#include <csignal>
#include <cstdint>
#include <optional>
#include <utility>

#include "core/base/check.h"
#include "core/base/result.h"

namespace topspin {

/// The states of a recording, in this order.
enum class RecordingState : uint8_t {
  kRunning,   // ticks are made as they come due
  kEnding,    // the end was requested: the load stops, and the last tick is made and stored
  kDraining,  // the command is being ended, and its output is still read
  kDone,
};

class RecordingEnding {
 public:
  RecordingState state() const { return state_; }
  /// The signal that stopped it, or 0.
  int signal() const { return signal_; }
  /// The first error that ended it.
  const std::optional<Error>& failure() const { return failure_; }

  /// The duration, the command, the screen or the conductor requests the end. Has no effect on a
  /// recording that is already ending.
  void ask() {
    if (state_ == RecordingState::kRunning) state_ = RecordingState::kEnding;
  }
  /// An error of the capture, the store or the command ends the recording. The first one counts.
  void fail(const Error& error) {
    if (!failure_) failure_ = error;
    ask();
  }
  /// A signal ends the recording. Returns false for the second signal: nothing more is saved.
  [[nodiscard]] bool stop_by(int signal_number) {
    if (signal_number == SIGHUP && std::exchange(expects_hang_up_, false)) return true;
    if (signal_ != 0) return false;
    signal_ = signal_number;
    ask();
    return true;
  }
  /// The terminal is gone, which ends a recording as SIGHUP does. A read can find that out before
  /// the kernel has sent the signal, so a SIGHUP that follows is not a second signal.
  void hang_up() {
    if (signal_ != 0) return;
    signal_ = SIGHUP;
    expects_hang_up_ = true;
    ask();
  }

  void last_tick_made() { move(RecordingState::kEnding, RecordingState::kDraining); }
  void command_ended() { move(RecordingState::kDraining, RecordingState::kDone); }

 private:
  void move(RecordingState from, RecordingState to) {
    CHECK(state_ == from);
    state_ = to;
  }

  RecordingState state_ = RecordingState::kRunning;
  int signal_ = 0;
  bool expects_hang_up_ = false;
  std::optional<Error> failure_;
};

}  // namespace topspin
