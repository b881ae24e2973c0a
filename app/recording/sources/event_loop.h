// EventLoop: sources, each a descriptor and what is done when it has something to read. One thread.
#pragma once

#include <functional>
#include <vector>

#include "core/base/result.h"

namespace topspin {

class EventLoop {
 public:
  /// `descriptor` is asked before each wait; -1: nothing to wait for now.
  void add(std::function<int()> descriptor, std::function<void()> on_readable);

  /// Waits until a source has something to read, or its other end is closed, or `timeout_ms` have
  /// passed (-1: without end). Then calls the handlers of all such sources, in the order in which
  /// they were added. A signal that interrupts the wait is no error.
  Status wait(int timeout_ms) const;

 private:
  struct Source {
    std::function<int()> descriptor;
    std::function<void()> on_readable;
  };
  std::vector<Source> sources_;
};

}  // namespace topspin
