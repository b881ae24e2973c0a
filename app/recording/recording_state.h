// RecordingEnding: how a recording comes to its end: in which state it is, which signal stopped it,
// and which error. Pure: the Recording does what each state asks for.
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/check.h"
#include "core/base/result.h"

namespace topspin {

/// What becomes of a recording, in this order.
enum class RecordingState : uint8_t {
  kRunning,   // ticks are made as they come due
  kEnding,    // something asked for the end: the load stops, and the last tick is made and stored
  kDraining,  // the command is made to end; what it still prints finds a reader
  kDone,
};

class RecordingEnding {
 public:
  RecordingState state() const { return state_; }
  /// The signal that stopped it, or 0.
  int signal() const { return signal_; }
  /// The first error that ended it.
  const std::optional<Error>& failure() const { return failure_; }

  /// The duration, the command, the screen or the conductor asks for the end. Once it ends, this
  /// changes nothing.
  void ask() {
    if (state_ == RecordingState::kRunning) state_ = RecordingState::kEnding;
  }
  /// An error of the capture, the store or the command asks for it. The first one counts.
  void fail(const Error& error) {
    if (!failure_) failure_ = error;
    ask();
  }
  /// A signal asks for it. False: this is the second one, and nothing more is to be saved.
  [[nodiscard]] bool stop_by(int signal_number) {
    if (signal_ != 0) return false;
    signal_ = signal_number;
    ask();
    return true;
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
  std::optional<Error> failure_;
};

}  // namespace topspin
