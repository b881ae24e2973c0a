// One observation after another, each with its own subject, at one terminal.
//
// An observation gives its privileges up for good, so the next one cannot be opened by the same
// process. Each is a child; the parent keeps the privileges, opens nothing and only waits.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "core/base/unique_fd.h"

namespace topspin {

/// How an observation tells its parent which process the next one is of.
class SubjectWish {
 public:
  explicit SubjectWish(UniqueFd fd) : fd_(std::move(fd)) {}
  void tell(int32_t pid) const;

 private:
  UniqueFd fd_;
};

/// Calls `observe` in a child of this process until one ends without a wish. The first gets no pid.
/// Signals that reach this process alone are passed on; it stops and goes on with the child.
/// Returns the exit code of the last observation. REQUIRES: one thread.
int observe_in_turn(const std::function<int(std::optional<int32_t> pid, SubjectWish&)>& observe);

}  // namespace topspin
