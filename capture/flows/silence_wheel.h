// SilenceWheel keeps flows in order of their last packet, for idle expiry and eviction.
//
// It is a ring of ticks, each a list of flows linked through their records. push() files a flow
// under the tick of its last packet, and later packets do not move it. The caller of take_oldest()
// looks at each flow's last packet and pushes back those that have sent since, so a flow moves at
// most once per revolution. When the last packets span more ticks than the ring has, the length of
// a tick doubles. Pure, one thread; owned by FlowTable.
#pragma once

#include <array>
#include <cstdint>

#include "capture/flows/flow_record.h"

namespace topspin {

class SilenceWheel {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  /// `records` must outlive the wheel.
  SilenceWheel(HotRecord* records, int64_t tick_ns) : records_(records), tick_ns_(tick_ns) {
    heads_.fill(kNone);
    tails_.fill(kNone);
  }

  bool empty() const { return size_ == 0; }
  int64_t tick_ns() const { return tick_ns_; }

  /// Files a flow under its last packet. REQUIRES: it is in no list.
  void push(uint32_t slot) { push_as_of(slot, records_[slot].last_ns); }

  /// The same, as if its last packet had come at `spoke_ns`.
  void push_as_of(uint32_t slot, int64_t spoke_ns) {
    int64_t tick = spoke_ns / tick_ns_;
    if (size_ == 0) {
      oldest_ = newest_ = tick;
    } else if (tick > newest_) {
      while (tick - oldest_ >= kTicks) {
        coarsen();
        tick = spoke_ns / tick_ns_;
      }
      newest_ = std::max(newest_, tick);
    } else if (tick < oldest_) {
      // Older than everything here (time went backwards): goes as far back as the ring reaches.
      tick = std::max(tick, newest_ - kTicks + 1);
      oldest_ = std::min(oldest_, tick);
    }
    append(tick, slot, slot);
    ++size_;
  }

  /// The end of the oldest tick that has flows. REQUIRES: !empty().
  int64_t oldest_end_ns() const { return (oldest_ + 1) * tick_ns_; }

  /// Takes the whole list of that tick. Returns its first flow; `link` leads to the next, up to
  /// kNone. REQUIRES: !empty().
  uint32_t take_oldest() {
    uint32_t& head = heads_[position(oldest_)];
    const uint32_t list = head;
    head = kNone;
    for (uint32_t slot = list; slot != kNone; slot = records_[slot].link) --size_;
    while (oldest_ < newest_ && heads_[position(oldest_)] == kNone) ++oldest_;
    return list;
  }

 private:
  static constexpr int64_t kTicks = 1024;

  static size_t position(int64_t tick) { return static_cast<size_t>(tick & (kTicks - 1)); }

  void append(int64_t tick, uint32_t first, uint32_t last) {
    const size_t at = position(tick);
    records_[last].link = kNone;
    if (heads_[at] == kNone) {
      heads_[at] = first;
    } else {
      records_[tails_[at]].link = first;
    }
    tails_[at] = last;
  }

  void coarsen() {
    const auto heads = heads_;
    const auto tails = tails_;
    heads_.fill(kNone);
    for (int64_t tick = oldest_; tick <= newest_; ++tick) {
      const size_t from = position(tick);
      if (heads[from] != kNone) append(tick / 2, heads[from], tails[from]);
    }
    oldest_ /= 2;
    newest_ /= 2;
    tick_ns_ *= 2;
  }

  HotRecord* records_;
  int64_t tick_ns_;
  int64_t oldest_ = 0;
  int64_t newest_ = 0;
  uint64_t size_ = 0;
  std::array<uint32_t, kTicks> heads_;
  std::array<uint32_t, kTicks> tails_;
};

}  // namespace topspin
