// Conductor: controls a recording from within its loop, on its thread. It decides when the subject
// is ready, when a load starts and ends, and when the recording is over.
//
// record and live have no conductor. That of `topspin run` is the Experiment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/host/child.h"
#include "core/base/result.h"
#include "core/run/run.h"
#include "core/tick/sample.h"
#include "store/run_store.h"

namespace topspin {

class Conductor {
 public:
  virtual ~Conductor() = default;

  /// How to start the command.
  virtual ChildSetting child_setting() = 0;

  /// The command now executes, and the run's clock started at `start_ns` (monotonic). `writer`
  /// lives until finish() has returned.
  virtual Status on_start(int64_t start_ns, pid_t command, RunWriter& writer) = 0;

  /// Descriptors that the loop waits for in addition to the recording's own; -1 if there is none.
  virtual int wake_fd() const = 0;
  virtual int output_fd() const = 0;  // what the command prints arrives here
  virtual void on_output() = 0;

  /// Called once in each pass of the loop.
  virtual void on_pass(int64_t now_ns) = 0;
  /// A tick of the run was stored.
  virtual void on_tick(const Sample& tick, const RunInfo& run) = 0;
  /// Called once, when the command itself has ended.
  virtual void on_command_end(int exit_status) = 0;
  /// Whether the experiment is over or has failed.
  virtual bool wants_stop() const = 0;

  /// The recording ends, because of `stop_signal` or (0) for another reason. Stops the load, which
  /// may take as long as its timeout. Called before the last tick.
  virtual void stop(int stop_signal) = 0;
  /// How long the command has from SIGTERM to SIGKILL.
  virtual int64_t stop_within_ns() const = 0;
  /// Everything has ended. Stores the last rows and completes the end of the run.
  virtual Status finish(RunEnd& end) = 0;
};

}  // namespace topspin
