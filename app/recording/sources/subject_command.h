// SubjectCommand: the command that is recorded, and how it comes to its end: it is asked, has its
// grace, and is killed. It does not outlive its recording. Lives on the recording's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "app/host/child.h"

namespace topspin {

class SubjectCommand {
 public:
  /// `grace_ns`: how long it has from being asked to end until it is killed.
  SubjectCommand(std::unique_ptr<Child> child, int64_t grace_ns)
      : child_(std::move(child)), grace_ns_(grace_ns) {}

  pid_t pid() const { return child_->pid(); }
  Status release() { return child_->release(); }
  /// nullopt: it runs. Else its status, or 128 + signal.
  std::optional<int> exit_status() { return child_->poll_exit(); }
  /// What the kernel charged it; nullopt while it runs.
  std::optional<CommandUsage> usage();

  /// Asks it to end, unless it was asked before. What it leaves behind comes to us from now on.
  void ask_to_end(int signal_number);
  /// The terminal has asked it already (Ctrl-C).
  void was_asked_to_end();
  /// Whether it was asked, by us or by the terminal: then its exit status says nothing.
  bool was_asked() const { return kill_at_ns_.has_value(); }
  /// Kills it if its grace is over; answers how long to wait until the next call. REQUIRES: it was
  /// asked to end.
  int64_t kill_if_due(int64_t now_ns);
  void kill_now() const;
  /// What it leaves behind is ours to end.
  bool leaves_family_to_us() const { return adopts_; }

 private:
  std::unique_ptr<Child> child_;
  int64_t grace_ns_;
  std::optional<int64_t> kill_at_ns_;  // when its grace is over
  bool adopts_ = false;
};

}  // namespace topspin
