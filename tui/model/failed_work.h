// FailedWork: how much of what was asked for failed: connections that were refused or never
// completed, and requests without an answer in time. Each failure counts once.
//
// How many connections wait for an answer to their SYN is known at the end of each tick only. Those
// that wait for about a second count as failed. A server that is far away always has some under
// way: as many as its handshakes explain are left out. A value; pure.
#pragma once

#include <cstdint>
#include <deque>

#include "core/tick/sample.h"

namespace topspin {

class FailedWork {
 public:
  /// The next tick.
  void add(const Sample& sample);

  /// What failed in the last tick, or was found out then to have failed.
  uint64_t now() const { return now_; }
  uint64_t total() const { return total_; }
  /// Something failed in the last tick, or connections still hang.
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
