// PacketCopy: a captured packet of the flow whose page is open.
//
// Packets are copied only while that page is open. Nothing is counted from them. Plain values.
#pragma once

#include <cstdint>
#include <vector>

namespace topspin {

struct PacketCopy {
  int64_t stamp_ns = 0;   // on the clock of the flow rows' times
  bool from_low = false;  // sent by the key's low end
  uint32_t wire_bytes = 0;
  uint32_t payload_bytes = 0;  // of the transport, by the headers' lengths
  bool has_tcp_header = false;
  uint8_t tcp_flags = 0;
  uint32_t tcp_sequence = 0;
  std::vector<uint8_t> bytes;  // from the link-layer header on, as many as were captured and kept
};

struct PacketCopies {
  std::vector<PacketCopy> packets;  // in the order of their arrival
  uint64_t dropped = 0;             // older ones dropped for lack of room since the last take
};

}  // namespace topspin
