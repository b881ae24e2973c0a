// The blocks of a pcapng file that holds packets (draft-ietf-opsawg-pcapng), in the byte order of
// this machine, with stamps in nanoseconds. Each function appends one block. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "capture/packet/packet_parser.h"

namespace topspin {

/// What a section says of itself. A text that is empty is left out; one that is longer than an
/// option can be is cut. The texts must be UTF-8.
struct PcapngSection {
  std::string application;  // shb_userappl
  std::string os;           // shb_os
  std::string comment;
};
void append_pcapng_section(std::string& out, const PcapngSection& section);

struct PcapngInterface {
  LinkType link = LinkType::kEthernet;
  uint32_t snaplen = 0;
  std::string name;
  std::string filter;  // in libpcap's language
};
/// The interfaces of a section are numbered from 0, in their order.
void append_pcapng_interface(std::string& out, const PcapngInterface& interface);

struct PcapngPacket {
  uint32_t interface = 0;
  int64_t wall_ns = 0;
  const uint8_t* bytes = nullptr;
  uint32_t captured = 0;
  uint32_t length = 0;  // on the wire
};
void append_pcapng_packet(std::string& out, const PcapngPacket& packet, std::string_view comment);

}  // namespace topspin
