// EventLoop: a list of sources. Each is a descriptor with a handler that is called when there is
// something to read. One thread.
#pragma once

#include <functional>
#include <vector>

#include "core/base/result.h"

namespace topspin {

class EventLoop {
 public:
  /// Adds a source. `descriptor` is called before each wait; -1 means that there is nothing to wait
  /// for now.
  void add(std::function<int()> descriptor, std::function<void()> on_readable);

  /// Waits until a source has something to read or its other end is closed, at most `timeout_ms`
  /// (-1: no limit). Then calls the handlers of all such sources, in the order in which they were
  /// added. A signal that interrupts the wait is no error.
  Status wait(int timeout_ms) const;

 private:
  struct Source {
    std::function<int()> descriptor;
    std::function<void()> on_readable;
  };
  std::vector<Source> sources_;
};

}  // namespace topspin
