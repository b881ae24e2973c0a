// Runs one observation after another at one terminal, each with its own subject.
//
// An observation gives up its privileges permanently, so the same process cannot open the next one.
// Each observation is a child process. The parent keeps the privileges, opens nothing and only
// waits.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "core/base/unique_fd.h"

namespace topspin {

/// Passes the process to observe next from an observation to its parent.
class SubjectWish {
 public:
  explicit SubjectWish(UniqueFd fd) : fd_(std::move(fd)) {}
  void tell(int32_t pid) const;

 private:
  UniqueFd fd_;
};

/// Calls `observe` in one child process after another, until one ends without naming a next pid.
/// The first gets no pid. Signals that only this process receives are passed on. It stops and
/// continues with the child. Returns the exit code of the last observation. REQUIRES: one thread.
int observe_in_turn(const std::function<int(std::optional<int32_t> pid, SubjectWish&)>& observe);

}  // namespace topspin
