#include "app/recording/sources/subject_command.h"

#include <csignal>

#include "app/host/family.h"
#include "core/base/clock.h"

namespace topspin {

std::optional<CommandUsage> SubjectCommand::usage() {
  if (!child_->poll_exit()) return std::nullopt;
  return child_->usage();
}

void SubjectCommand::ask_to_end(int signal_number) {
  if (child_->poll_exit() || kill_at_ns_) return;
  adopts_ = adopt_orphans().ok();
  child_->send_signal(signal_number);
  kill_at_ns_ = monotonic_now_ns() + grace_ns_;
}

void SubjectCommand::was_asked_to_end() {
  if (!child_->poll_exit()) kill_at_ns_ = monotonic_now_ns() + grace_ns_;
}

int64_t SubjectCommand::kill_if_due(int64_t now_ns) {
  CHECK(kill_at_ns_.has_value());
  if (now_ns >= *kill_at_ns_) {
    kill_now();
    kill_at_ns_ = now_ns + grace_ns_;
  }
  return *kill_at_ns_ - now_ns;
}

void SubjectCommand::kill_now() const { child_->send_signal(SIGKILL); }

}  // namespace topspin
