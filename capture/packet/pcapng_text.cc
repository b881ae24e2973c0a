#include "capture/packet/pcapng_text.h"

#include <algorithm>
#include <cstring>

namespace topspin {
namespace {

constexpr uint32_t kSectionBlock = 0x0a0d0d0a;
constexpr uint32_t kInterfaceBlock = 1;
constexpr uint32_t kPacketBlock = 6;
constexpr uint32_t kByteOrder = 0x1a2b3c4d;

constexpr uint16_t kOptionEnd = 0;
constexpr uint16_t kOptionComment = 1;
constexpr uint16_t kSectionOs = 3;
constexpr uint16_t kSectionApplication = 4;
constexpr uint16_t kInterfaceName = 2;
constexpr uint16_t kInterfaceResolution = 9;
constexpr uint16_t kInterfaceFilter = 11;
constexpr size_t kLongestOption = 65'532;  // with its padding it still fits into 16 bits

template <typename Number>
void put_number(std::string& out, Number number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void pad(std::string& out, size_t length) { out.append((4 - length % 4) % 4, '\0'); }

void put_option(std::string& out, uint16_t code, std::string_view value) {
  value = value.substr(0, kLongestOption);
  put_number(out, code);
  put_number(out, static_cast<uint16_t>(value.size()));
  out += value;
  pad(out, value.size());
}
void put_text_option(std::string& out, uint16_t code, std::string_view text) {
  if (!text.empty()) put_option(out, code, text);
}
void put_end_of_options(std::string& out) {
  put_number(out, kOptionEnd);
  put_number(out, uint16_t{0});
}

/// A block has its length at both ends.
size_t begin_block(std::string& out, uint32_t type) {
  const size_t begin = out.size();
  put_number(out, type);
  put_number(out, uint32_t{0});
  return begin;
}
void end_block(std::string& out, size_t begin) {
  const auto length = static_cast<uint32_t>(out.size() - begin + sizeof(uint32_t));
  put_number(out, length);
  std::memcpy(out.data() + begin + sizeof(uint32_t), &length, sizeof length);
}

}  // namespace

void append_pcapng_section(std::string& out, const PcapngSection& section) {
  const size_t begin = begin_block(out, kSectionBlock);
  put_number(out, kByteOrder);
  put_number(out, uint16_t{1});  // version 1.0
  put_number(out, uint16_t{0});
  put_number(out, int64_t{-1});  // the section's length: not said
  put_text_option(out, kOptionComment, section.comment);
  put_text_option(out, kSectionOs, section.os);
  put_text_option(out, kSectionApplication, section.application);
  put_end_of_options(out);
  end_block(out, begin);
}

void append_pcapng_interface(std::string& out, const PcapngInterface& interface) {
  const size_t begin = begin_block(out, kInterfaceBlock);
  put_number(out, static_cast<uint16_t>(link_type_in_files(interface.link)));
  put_number(out, uint16_t{0});
  put_number(out, interface.snaplen);
  put_text_option(out, kInterfaceName, interface.name);
  put_option(out, kInterfaceResolution, "\x09");  // 10^-9 s
  // A filter begins with its kind: 0 is the text of libpcap's language.
  if (!interface.filter.empty())
    put_option(out, kInterfaceFilter, std::string(1, '\0') + interface.filter);
  put_end_of_options(out);
  end_block(out, begin);
}

void append_pcapng_packet(std::string& out, const PcapngPacket& packet, std::string_view comment) {
  const size_t begin = begin_block(out, kPacketBlock);
  const auto stamp = static_cast<uint64_t>(packet.wall_ns);
  put_number(out, packet.interface);
  put_number(out, static_cast<uint32_t>(stamp >> 32));
  put_number(out, static_cast<uint32_t>(stamp));
  put_number(out, packet.captured);
  put_number(out, packet.length);
  out.append(reinterpret_cast<const char*>(packet.bytes), packet.captured);
  pad(out, packet.captured);
  if (!comment.empty()) {
    put_option(out, kOptionComment, comment);
    put_end_of_options(out);
  }
  end_block(out, begin);
}

}  // namespace topspin
