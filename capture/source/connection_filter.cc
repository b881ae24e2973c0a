#include "capture/source/connection_filter.h"

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "capture/packet/packet.h"
#include "capture/source/packet_source.h"

namespace topspin {
namespace {

constexpr int kEthernet = 1;  // DLT_EN10MB
constexpr size_t kPayloadBytes = 16;

class FrameWriter {
 public:
  void byte(uint8_t value) { bytes_.push_back(value); }
  void number(uint16_t value) {
    byte(static_cast<uint8_t>(value >> 8));
    byte(static_cast<uint8_t>(value));
  }
  void zeros(size_t count) { bytes_.resize(bytes_.size() + count); }
  void address(const Endpoint& end, uint8_t ip_version) {
    bytes_.insert(bytes_.end(), end.address.begin(),
                  end.address.begin() + (ip_version == 6 ? 16 : 4));
  }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

/// A frame with every header field that a filter can test. The checksums are 0.
std::vector<uint8_t> make_frame(uint8_t protocol, uint8_t ip_version, const Endpoint& from,
                                const Endpoint& to, uint8_t tcp_flags, size_t payload) {
  const size_t transport = (protocol == kProtocolTcp ? 20 : 8) + payload;
  FrameWriter frame;
  frame.zeros(12);  // the addresses on lo
  frame.number(ip_version == 6 ? 0x86dd : 0x0800);
  if (ip_version == 6) {
    frame.byte(0x60);
    frame.zeros(3);
    frame.number(static_cast<uint16_t>(transport));
    frame.byte(protocol);
    frame.byte(64);
  } else {
    frame.byte(0x45);
    frame.byte(0);
    frame.number(static_cast<uint16_t>(20 + transport));
    frame.zeros(4);
    frame.byte(64);
    frame.byte(protocol);
    frame.zeros(2);
  }
  frame.address(from, ip_version);
  frame.address(to, ip_version);
  frame.number(from.port);
  frame.number(to.port);
  if (protocol == kProtocolTcp) {
    frame.zeros(8);
    frame.byte(5 << 4);
    frame.byte(tcp_flags);
    frame.number(1024);
    frame.zeros(4);
  } else {
    frame.number(static_cast<uint16_t>(transport));
    frame.zeros(2);
  }
  frame.zeros(payload);
  return frame.bytes();
}

struct Shape {
  uint8_t tcp_flags;
  size_t payload;
};

}  // namespace

ConnectionFilter::ConnectionFilter(std::unique_ptr<PacketFilter> filter)
    : filter_(std::move(filter)) {}
ConnectionFilter::ConnectionFilter(ConnectionFilter&&) noexcept = default;
ConnectionFilter& ConnectionFilter::operator=(ConnectionFilter&&) noexcept = default;
ConnectionFilter::~ConnectionFilter() = default;

std::optional<ConnectionFilter> ConnectionFilter::compile(const std::string& filter) {
  auto compiled = PacketFilter::compile(filter, kEthernet, 65'535);
  if (!compiled.ok()) return std::nullopt;
  return ConnectionFilter(std::move(compiled).value());
}

bool ConnectionFilter::shows(uint8_t protocol, uint8_t ip_version, const Endpoint& one,
                             const Endpoint& other) const {
  constexpr std::array<Shape, 5> kShapes = {{{kTcpSyn, 0},
                                             {kTcpSyn | kTcpAck, 0},
                                             {kTcpAck, kPayloadBytes},
                                             {kTcpFin | kTcpAck, 0},
                                             {kTcpRst, 0}}};
  const auto matches = [&](const Endpoint& from, const Endpoint& to, const Shape& shape) {
    const auto frame = make_frame(protocol, ip_version, from, to, shape.tcp_flags, shape.payload);
    const auto length = static_cast<uint32_t>(frame.size());
    return filter_->matches({0, frame.data(), length, length});
  };
  for (const Shape& shape : kShapes) {
    if (matches(one, other, shape) || matches(other, one, shape)) return true;
  }
  return false;
}

}  // namespace topspin
