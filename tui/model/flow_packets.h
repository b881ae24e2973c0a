// FlowPackets: the last packets of the flow whose page is open. A value; pure.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "core/flow/packet_copy.h"

namespace topspin {

class FlowPackets {
 public:
  static constexpr size_t kMaxPackets = 1000;

  FlowPackets() = default;
  explicit FlowPackets(uint64_t flow_id) : flow_id_(flow_id) {}

  void add(PacketCopies copies) {
    dropped_ += copies.dropped;
    for (PacketCopy& copy : copies.packets) {
      packets_.push_back(std::move(copy));
      if (packets_.size() <= kMaxPackets) continue;
      packets_.pop_front();
      ++first_number_;
    }
  }

  uint64_t flow_id() const { return flow_id_; }
  const std::deque<PacketCopy>& packets() const { return packets_; }
  /// The number of packets().front(). Packets are numbered from 0 since the page was opened.
  uint64_t first_number() const { return first_number_; }
  /// Packets that were dropped on their way here for lack of room.
  uint64_t dropped() const { return dropped_; }

  std::string note;  // why there are none, if known

 private:
  uint64_t flow_id_ = 0;  // 0: none
  std::deque<PacketCopy> packets_;
  uint64_t first_number_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace topspin
