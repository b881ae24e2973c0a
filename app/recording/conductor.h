// Conductor: somebody who leads what is recorded, on the recording's own loop and thread: when the
// subject counts as ready, when a load comes and goes, and when it is over.
//
// record and live have none; `topspin run` has the Experiment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/host/child.h"
#include "core/base/result.h"
#include "core/run/run.h"
#include "store/run_store.h"

namespace topspin {

class Conductor {
 public:
  virtual ~Conductor() = default;

  /// How the command is to be started.
  virtual ChildSetting child_setting() = 0;

  /// The command was let go; the run's clock began at `start_ns` (monotonic). `writer` lives until
  /// finish() has returned.
  virtual Status on_start(int64_t start_ns, pid_t command, RunWriter& writer) = 0;

  /// Descriptors to wait for beside the recording's own; -1: none.
  virtual int wake_fd() const = 0;
  virtual int output_fd() const = 0;  // what the command prints arrives here
  virtual void on_output() = 0;

  /// Once in each pass of the loop.
  virtual void on_pass(int64_t now_ns) = 0;
  /// Once, when the command itself has ended.
  virtual void on_command_end(int exit_status) = 0;
  /// What was to be observed is over, or has failed.
  virtual bool wants_stop() const = 0;

  /// The recording ends, for whatever reason (`stop_signal`, or 0): the load stops, which may take
  /// as long as its timeout. Before the last tick.
  virtual void stop(int stop_signal) = 0;
  /// How long the command has from SIGTERM to SIGKILL.
  virtual int64_t stop_within_ns() const = 0;
  /// Everything has ended: the last rows, and what the end of the run must say.
  virtual Status finish(RunEnd& end) = 0;
};

}  // namespace topspin
