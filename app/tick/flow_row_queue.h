// FlowRowQueue: chooses which flow rows are stored with a tick, if a screen shows more of them.
//
// The screen needs every changed flow in every tick. The database takes a bounded number per tick,
// and those that have waited longest come first, as in a recording without a screen. Pure; one
// thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/tick/sample.h"

namespace topspin {

class FlowRowQueue {
 public:
  explicit FlowRowQueue(uint64_t rows_a_tick) : rows_a_tick_(rows_a_tick) {}

  /// Takes the rows that changed in a tick, and returns those to store with it (with the last tick,
  /// all).
  std::vector<FlowRow> exchange(const std::vector<FlowRow>& changed, bool last) {
    for (const FlowRow& row : changed) {
      const auto [at, is_new] = waiting_.insert_or_assign(row.id, row);
      if (is_new) order_.push_back(row.id);
    }
    const uint64_t most = last ? order_.size() : std::min<uint64_t>(rows_a_tick_, order_.size());
    std::vector<FlowRow> rows;
    rows.reserve(most);
    for (uint64_t count = 0; count < most; ++count) {
      auto node = waiting_.extract(order_.front());
      order_.pop_front();
      rows.push_back(std::move(node.mapped()));
    }
    return rows;
  }

 private:
  uint64_t rows_a_tick_;
  std::deque<uint64_t> order_;  // of ids, longest waiting first
  std::unordered_map<uint64_t, FlowRow> waiting_;
};

}  // namespace topspin
