// OpenRequests holds the open requests of all flows, except each flow's oldest, which is in its
// record.
//
// The requests are in one array, linked into one queue per flow, oldest first. A queue is one word
// in the flow's record (UDP) or in its backlog (TCP). Most flows have at most one request open, so
// the array stays small. push() returns false after kFlowMax requests of a flow, or kAllMax of all
// flows (16 MiB). Pure, one thread; owned by FlowTable.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/check.h"

namespace topspin {

struct OpenRequest {
  int64_t stamp_ns = 0;
  uint32_t tag = 0;
  bool deferred = false;  // as kRequestDeferred
  bool passed = false;    // as HotRecord::is_passed_over
};

class OpenRequests {
 public:
  using Queue = uint32_t;  // 0: empty; else its size (8 bits) and the index of its last (24 bits)
  static constexpr uint32_t kFlowMax = 63;
  static constexpr uint32_t kAllMax = 1 << 20;

  static uint32_t size(Queue queue) { return queue >> kIndexBits; }

  /// Appends the newest. False: there is no room.
  bool push(Queue& queue, const OpenRequest& request) {
    if (size(queue) == kFlowMax) return false;
    uint32_t at = free_;
    if (at != 0) {
      free_ = nodes_[at].next();
    } else {
      if (nodes_.size() >= kAllMax) return false;
      if (nodes_.empty()) nodes_.emplace_back();  // index 0 means none
      at = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
    }
    Node& node = nodes_[at];
    node.stamp_ns = request.stamp_ns;
    node.tag = request.tag;
    uint32_t first = at;
    if (queue != 0) {
      Node& last = nodes_[index(queue)];
      first = last.next();
      last.set_next(at);
    }
    node.next_and_marks =
        first << kMarkBits | (request.deferred ? kDeferred : 0) | (request.passed ? kPassed : 0);
    queue = (size(queue) + 1) << kIndexBits | at;
    return true;
  }

  /// Removes the `place`-th oldest, from 0. REQUIRES: place < size(queue). O(place).
  OpenRequest take(Queue& queue, uint32_t place) {
    CHECK(place < size(queue));
    uint32_t before = index(queue);
    for (uint32_t i = 0; i < place; ++i) before = nodes_[before].next();
    const uint32_t at = nodes_[before].next();
    const OpenRequest taken = nodes_[at].request();
    const uint32_t left = size(queue) - 1;
    const uint32_t last = at == index(queue) ? before : index(queue);
    nodes_[before].set_next(nodes_[at].next());
    queue = left == 0 ? 0 : left << kIndexBits | last;
    nodes_[at].set_next(free_);
    free_ = at;
    return taken;
  }

  /// Marks the `count` oldest as passed over, because a later request has been answered.
  /// REQUIRES: count <= size(queue).
  void mark_passed(Queue queue, uint32_t count) {
    CHECK(count <= size(queue));
    uint32_t at = index(queue);
    for (; count != 0; --count) {
      at = nodes_[at].next();
      nodes_[at].next_and_marks |= kPassed;
    }
  }

  /// Oldest first.
  template <typename Visit>
  void for_each(Queue queue, Visit visit) const {
    uint32_t at = index(queue);
    for (uint32_t left = size(queue); left != 0; --left) {
      at = nodes_[at].next();
      visit(nodes_[at].request());
    }
  }

 private:
  struct Node {
    int64_t stamp_ns = 0;
    uint32_t tag = 0;
    uint32_t next_and_marks = 0;

    uint32_t next() const { return next_and_marks >> kMarkBits; }
    void set_next(uint32_t at) {
      next_and_marks = at << kMarkBits | (next_and_marks & (kDeferred | kPassed));
    }
    OpenRequest request() const {
      return {stamp_ns, tag, (next_and_marks & kDeferred) != 0, (next_and_marks & kPassed) != 0};
    }
  };
  static constexpr int kIndexBits = 24;
  static constexpr int kMarkBits = 2;
  static constexpr uint32_t kDeferred = 1, kPassed = 2;
  static uint32_t index(Queue queue) { return queue & ((1u << kIndexBits) - 1); }

  std::vector<Node> nodes_;
  uint32_t free_ = 0;
};

}  // namespace topspin
