// SubjectCommand: the command that is recorded, and how it is ended: it gets SIGTERM, a grace
// period, and then SIGKILL. It does not outlive its recording. Used on the recording's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "app/host/child.h"

namespace topspin {

class SubjectCommand {
 public:
  /// `grace_ns` is the time between SIGTERM and SIGKILL.
  SubjectCommand(std::unique_ptr<Child> child, int64_t grace_ns)
      : child_(std::move(child)), grace_ns_(grace_ns) {}

  pid_t pid() const { return child_->pid(); }
  Status release() { return child_->release(); }
  /// Its exit status, or 128 + signal; nullopt while it runs.
  std::optional<int> exit_status() { return child_->poll_exit(); }
  /// The resources that it used, as the kernel counts them; nullopt while it runs.
  std::optional<CommandUsage> usage();

  /// Sends the signal, unless it was asked to end before. From now on we adopt the processes that
  /// it leaves behind.
  void ask_to_end(int signal_number);
  /// The terminal has already asked it to end (Ctrl-C).
  void was_asked_to_end();
  /// Whether we or the terminal asked it to end. If so, its exit status has no meaning.
  bool was_asked() const { return kill_at_ns_.has_value(); }
  /// Kills it if its grace period is over. Returns how long to wait until the next call. REQUIRES:
  /// it was asked to end.
  int64_t kill_if_due(int64_t now_ns);
  void kill_now() const;
  /// Ends the processes that it left behind.
  bool leaves_family_to_us() const { return adopts_; }

 private:
  std::unique_ptr<Child> child_;
  int64_t grace_ns_;
  std::optional<int64_t> kill_at_ns_;  // when its grace period is over
  bool adopts_ = false;
};

}  // namespace topspin
