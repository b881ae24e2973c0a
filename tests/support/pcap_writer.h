// Writes small pcap files byte by byte, independently of libpcap: nanosecond stamps, Ethernet, IPv4
// UDP.
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

  void packet(int64_t time_ns, const std::vector<uint8_t>& bytes) {
    put32(static_cast<uint32_t>(time_ns / 1'000'000'000));
    put32(static_cast<uint32_t>(time_ns % 1'000'000'000));
    put32(static_cast<uint32_t>(bytes.size()));
    put32(static_cast<uint32_t>(bytes.size()));
    data_.insert(data_.end(), bytes.begin(), bytes.end());
  }

  /// One UDP datagram between 127.0.0.1 ports in an Ethernet frame.
  void udp(int64_t time_ns, uint16_t from, uint16_t to, const std::string& payload) {
    std::vector<uint8_t> b(12, 0);
    const auto be16 = [&](size_t v) {
      b.push_back(static_cast<uint8_t>(v >> 8));
      b.push_back(static_cast<uint8_t>(v));
    };
    be16(0x0800);
    b.push_back(0x45);
    b.push_back(0);
    be16(28 + payload.size());
    be16(0);
    be16(0x4000);
    b.push_back(64);
    b.push_back(17);
    be16(0);
    for (int i = 0; i < 2; ++i) b.insert(b.end(), {127, 0, 0, 1});
    be16(from);
    be16(to);
    be16(8 + payload.size());
    be16(0);
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
  void put16(uint16_t v) {
    data_.push_back(static_cast<uint8_t>(v));
    data_.push_back(static_cast<uint8_t>(v >> 8));
  }
  void put32(uint32_t v) {
    put16(static_cast<uint16_t>(v));
    put16(static_cast<uint16_t>(v >> 16));
  }
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
