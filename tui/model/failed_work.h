// FailedWork: how much of the work failed: connections that were refused or never completed, and
// requests that were not answered in time. Each failure counts once.
//
// The number of connections that wait for an answer to their SYN is known only at the end of each
// tick. Those that wait for about a second count as failed. With a distant server, some are always
// waiting; as many as its handshakes explain do not count. A value; pure.
#pragma once

#include <cstdint>
#include <deque>

#include "core/tick/sample.h"

namespace topspin {

class FailedWork {
 public:
  /// The next tick.
  void add(const Sample& sample);

  /// The failures of the last tick, including those that were noticed in it.
  uint64_t now() const { return now_; }
  uint64_t total() const { return total_; }
  /// Whether something failed in the last tick, or connections still wait.
  bool goes_on() const { return now_ > 0 || hanging_ > 0; }

 private:
  struct Reading {
    int64_t end_ns = 0;
    uint64_t half_open = 0;
    double under_way = 0;  // of the tick before it: handshakes at once, on average
  };

  uint64_t count_hanging() const;

  std::deque<Reading> readings_;  // as few as it takes to span the time that counts
  int64_t now_ns_ = 0;
  uint64_t now_ = 0;
  uint64_t total_ = 0;
  uint64_t hanging_ = 0;
  uint64_t counted_ = 0;  // of those that are half open: in total_ already
};

}  // namespace topspin
