// FailedWork: how much of the work failed: connections that were refused or never completed, and
// requests that were not answered in time. Each failure counts once.
//
// The number of connections that wait for an answer to their SYN is known only at the end of each
// tick. Those that wait for about a second count as failed. With a distant server, some are always
// waiting, and the number that its handshakes explain does not count. A value; pure.
#pragma once

#include <cstdint>
#include <deque>

#include "core/tick/sample.h"

namespace topspin {

class FailedWork {
 public:
  /// Adds the next tick.
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
    double under_way = 0;  // in the tick before it: the average number of handshakes at once
  };

  uint64_t count_hanging() const;

  std::deque<Reading> readings_;  // as many as are needed to span kHangsAfterNs
  int64_t now_ns_ = 0;
  uint64_t now_ = 0;
  uint64_t total_ = 0;
  uint64_t hanging_ = 0;
  uint64_t counted_ = 0;  // half-open ones that are already in total_
};

}  // namespace topspin
