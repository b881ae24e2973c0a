// Writes small pcap files byte by byte, independently of libpcap: nanosecond stamps, Ethernet,
// IPv4, UDP and TCP.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace topspin::test {

class PcapWriter {
 public:
  explicit PcapWriter(uint32_t link_type = 1) {
    put32(0xa1b23c4d);
    put16(2);
    put16(4);
    put32(0);
    put32(0);
    put32(262144);
    put32(link_type);
  }

  /// From now on, this port is one of 127.0.0.2.
  void set_other_host(uint16_t port) { other_host_port_ = port; }

  void packet(int64_t time_ns, const std::vector<uint8_t>& bytes) {
    put32(static_cast<uint32_t>(time_ns / 1'000'000'000));
    put32(static_cast<uint32_t>(time_ns % 1'000'000'000));
    put32(static_cast<uint32_t>(bytes.size()));
    put32(static_cast<uint32_t>(bytes.size()));
    data_.insert(data_.end(), bytes.begin(), bytes.end());
  }

  /// One UDP datagram between 127.0.0.1 ports in an Ethernet frame.
  void udp(int64_t time_ns, uint16_t from, uint16_t to, const std::string& payload) {
    std::vector<uint8_t> b = ip_header(17, 8 + payload.size(), from, to);
    put_network(b, from, 2);
    put_network(b, to, 2);
    put_network(b, 8 + payload.size(), 2);
    put_network(b, 0, 2);
    b.insert(b.end(), payload.begin(), payload.end());
    packet(time_ns, b);
  }

  /// One TCP segment, likewise.
  void tcp(int64_t time_ns, uint16_t from, uint16_t to, uint32_t sequence, uint8_t flags,
           const std::string& payload) {
    std::vector<uint8_t> b = ip_header(6, 20 + payload.size(), from, to);
    put_network(b, from, 2);
    put_network(b, to, 2);
    put_network(b, sequence, 4);
    put_network(b, 1, 4);
    put_network(b, 0x5000u | flags, 2);
    put_network(b, 0xffff, 2);
    put_network(b, 0, 4);
    b.insert(b.end(), payload.begin(), payload.end());
    packet(time_ns, b);
  }

  std::string bytes() const { return {data_.begin(), data_.end()}; }
  void save(const std::string& path) const {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(data_.data()),
               static_cast<std::streamsize>(data_.size()));
  }

 private:
  static void put_network(std::vector<uint8_t>& bytes, size_t value, int size) {
    for (int i = size - 1; i >= 0; --i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
  /// Ethernet and IPv4, for this many bytes.
  std::vector<uint8_t> ip_header(uint8_t protocol, size_t bytes, uint16_t from, uint16_t to) const {
    std::vector<uint8_t> b(12, 0);
    put_network(b, 0x0800, 2);
    put_network(b, 0x4500, 2);
    put_network(b, 20 + bytes, 2);
    put_network(b, 0x4000, 4);
    put_network(b, 0x4000u | protocol, 2);
    put_network(b, 0, 2);
    for (const uint16_t port : {from, to})
      b.insert(b.end(), {127, 0, 0, static_cast<uint8_t>(port == other_host_port_ ? 2 : 1)});
    return b;
  }
  void put16(uint16_t v) {
    data_.push_back(static_cast<uint8_t>(v));
    data_.push_back(static_cast<uint8_t>(v >> 8));
  }
  void put32(uint32_t v) {
    put16(static_cast<uint16_t>(v));
    put16(static_cast<uint16_t>(v >> 16));
  }
  uint16_t other_host_port_ = 0;
  std::vector<uint8_t> data_;
};

/// One client that pings port 8888 five times, a second apart; each reply takes 90 us.
inline PcapWriter five_pings() {
  PcapWriter writer;
  for (int s = 1; s <= 5; ++s) {
    writer.udp(s * 1'000'000'000ll, 1000, 8888, "PING");
    writer.udp(s * 1'000'000'000ll + 90'000, 8888, 1000, "PONG");
  }
  return writer;
}

}  // namespace topspin::test
