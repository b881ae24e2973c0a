// PacketTap copies the packets of one flow while its page is open.
//
// While no flow is selected, nothing is copied, and the cost is one comparison with null per
// packet. If more than kPacketsMax packets come between two takes, the oldest are dropped and
// counted. At most kBytesMax bytes of a packet are kept. The capture thread offers and exchanges;
// any thread selects and takes. They share a mutex, locked once per step and never per packet.
#pragma once

#include <algorithm>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "capture/packet/packet.h"
#include "core/flow/packet_copy.h"

namespace topspin {

class PacketTap {
 public:
  static constexpr size_t kPacketsMax = 512;
  static constexpr size_t kBytesMax = 2048;

  /// Any thread. nullopt selects no flow. Copies of another flow are discarded.
  void select(const std::optional<FlowKey>& flow) {
    const std::lock_guard lock(mutex_);
    if (flow == asked_) return;
    asked_ = flow;
    copies_.clear();
    dropped_ = 0;
  }

  /// Any thread.
  PacketCopies take() {
    const std::lock_guard lock(mutex_);
    PacketCopies out;
    out.packets.assign(std::make_move_iterator(copies_.begin()),
                       std::make_move_iterator(copies_.end()));
    out.dropped = std::exchange(dropped_, 0);
    copies_.clear();
    return out;
  }

  /// Capture thread, once per step: hands over the copies and reads which flow is selected. False:
  /// none is, and offer() must not be called.
  bool exchange() {
    const std::lock_guard lock(mutex_);
    if (asked_ != flow_) {
      flow_ = asked_;
      fresh_.clear();
      fresh_dropped_ = 0;
      return flow_.has_value();
    }
    for (PacketCopy& copy : fresh_) keep(copies_, std::move(copy), dropped_);
    fresh_.clear();
    dropped_ += std::exchange(fresh_dropped_, 0);
    return flow_.has_value();
  }

  /// Capture thread. REQUIRES: exchange() returned true.
  void offer(const PacketView& packet, const ParsedPacket& parsed) {
    if (!parsed.in_flow() || parsed.key.low_port != flow_->low.port ||
        parsed.key.high_port != flow_->high.port || parsed.key.to_flow_key() != *flow_) {
      return;
    }
    PacketCopy copy;
    copy.stamp_ns = packet.stamp_ns;
    copy.from_low = parsed.from_low;
    copy.wire_bytes = parsed.wire_bytes;
    copy.payload_bytes = parsed.payload_bytes;
    copy.has_tcp_header = parsed.has_tcp_header;
    copy.tcp_flags = parsed.tcp_flags;
    copy.tcp_sequence = parsed.tcp_sequence;
    copy.bytes.assign(packet.bytes, packet.bytes + std::min<size_t>(packet.captured, kBytesMax));
    keep(fresh_, std::move(copy), fresh_dropped_);
  }

 private:
  static void keep(std::deque<PacketCopy>& copies, PacketCopy copy, uint64_t& dropped) {
    if (copies.size() == kPacketsMax) {
      copies.pop_front();
      ++dropped;
    }
    copies.push_back(std::move(copy));
  }

  // Of the capture thread.
  std::optional<FlowKey> flow_;
  std::deque<PacketCopy> fresh_;
  uint64_t fresh_dropped_ = 0;

  std::mutex mutex_;
  // All below guarded by mutex_.
  std::optional<FlowKey> asked_;
  std::deque<PacketCopy> copies_;
  uint64_t dropped_ = 0;
};

}  // namespace topspin
