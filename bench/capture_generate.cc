// Writes a classic pcap file of generated traffic, for bench/capture_read and for other tools.
//
//   capture_generate FILE --flows N --packets M [--mix]
//
// The traffic is a ping-pong. N UDP clients on 127.0.0.0/8 send 64 bytes once per second, in a
// random order that is the same in each second, with a jitter of up to 1 ms. Each ping is answered
// 100 us later. With --mix, a third of the clients use TCP (with handshakes), and a third IPv6. The
// same arguments give the same bytes.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace {

struct Event {
  int64_t at_ns;
  uint32_t flow;
  /// UDP: even steps are requests, odd ones replies. TCP: 0 SYN, 1 SYN-ACK, 2 ACK; the steps after
  /// them alternate as in UDP, beginning with a request.
  uint32_t step;
  bool operator>(const Event& other) const { return at_ns > other.at_ns; }
};

class Writer {
 public:
  explicit Writer(std::FILE* file) : file_(file) {
    const uint32_t header[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 262'144, 1};
    std::fwrite(header, sizeof header, 1, file_);
  }

  void packet(const Event& e, bool tcp, bool v6, bool from_client, uint8_t flags, uint32_t sequence,
              uint32_t payload) {
    uint8_t b[256] = {};
    put16(b + 12, v6 ? 0x86dd : 0x0800);
    uint8_t* at = b + 14;
    const uint32_t transport = (tcp ? 20 : 8) + payload;
    const uint32_t host = 0x7f000001 + e.flow / 16'384 * 256;
    const auto port = static_cast<uint16_t>(20'000 + e.flow % 16'384);
    const uint16_t server = 8888;
    if (v6) {
      at[0] = 0x60;
      put16(at + 4, transport);
      at[6] = tcp ? 6 : 17;
      at[7] = 64;
      put_v6(at + 8, from_client ? host : 0x7f000001);
      put_v6(at + 24, from_client ? 0x7f000001 : host);
      at += 40;
    } else {
      at[0] = 0x45;
      put16(at + 2, 20 + transport);
      at[8] = 64;
      at[9] = tcp ? 6 : 17;
      put32(at + 12, from_client ? host : 0x7f000001);
      put32(at + 16, from_client ? 0x7f000001 : host);
      at += 20;
    }
    put16(at, from_client ? port : server);
    put16(at + 2, from_client ? server : port);
    if (tcp) {
      put32(at + 4, sequence);
      at[12] = 0x50;
      at[13] = flags;
      at += 20;
    } else {
      put16(at + 4, transport);
      at += 8;
    }
    at += payload;
    const auto length = static_cast<uint32_t>(at - b);
    const uint32_t header[4] = {static_cast<uint32_t>(1'700'000'000 + e.at_ns / 1'000'000'000),
                                static_cast<uint32_t>(e.at_ns % 1'000'000'000 / 1000), length,
                                length};
    std::fwrite(header, sizeof header, 1, file_);
    std::fwrite(b, length, 1, file_);
  }

 private:
  static void put16(uint8_t* at, uint32_t v) {
    at[0] = static_cast<uint8_t>(v >> 8);
    at[1] = static_cast<uint8_t>(v);
  }
  static void put32(uint8_t* at, uint32_t v) {
    put16(at, v >> 16);
    put16(at + 2, v & 0xffff);
  }
  static void put_v6(uint8_t* at, uint32_t host) {
    at[0] = 0xfd;
    put32(at + 12, host);
  }

  std::FILE* file_;
};

}  // namespace

int main(int argc, char** argv) {
  uint32_t flows = 1000;
  uint64_t packets = 1'000'000;
  bool mix = false;
  for (int i = 2; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--flows" && i + 1 < argc) flows = static_cast<uint32_t>(std::stoul(argv[++i]));
    if (option == "--packets" && i + 1 < argc) packets = std::stoull(argv[++i]);
    if (option == "--mix") mix = true;
  }
  if (argc < 2 || argv[1][0] == '-') {  // an option is not a file name
    fmt::print(stderr, "usage: capture_generate FILE --flows N --packets M [--mix]\n");
    return 2;
  }
  std::FILE* file = std::fopen(argv[1], "wb");
  if (file == nullptr) {
    std::perror(argv[1]);
    return 5;
  }
  Writer writer(file);
  std::mt19937_64 random(1);
  std::vector<uint32_t> phase_us(flows);
  for (auto& phase : phase_us) phase = static_cast<uint32_t>(random() % 1'000'000);
  std::priority_queue<Event, std::vector<Event>, std::greater<>> queue;
  for (uint32_t flow = 0; flow < flows; ++flow)
    queue.push({phase_us[flow] * int64_t{1000}, flow, 0});
  std::vector<uint32_t> sequence(flows, 1);
  for (uint64_t n = 0; n < packets; ++n) {
    const Event e = queue.top();
    queue.pop();
    const bool tcp = mix && e.flow % 3 == 1;
    const bool v6 = mix && e.flow % 3 == 2;
    constexpr int64_t kReplyNs = 100'000;
    const bool handshake = tcp && e.step < 3;
    const uint32_t turn = tcp && !handshake ? e.step - 3 : e.step;
    const bool from_client = turn % 2 == 0;
    const uint8_t flags = !handshake ? 0x18 : e.step == 0 ? 0x02 : e.step == 1 ? 0x12 : 0x10;
    const uint32_t payload = handshake ? 0 : 64;
    writer.packet(e, tcp, v6, from_client, flags,
                  sequence[e.flow] - (flags == 0x02 || flags == 0x12 ? 1 : 0), payload);
    Event next{e.at_ns, e.flow, e.step + 1};
    if (handshake || from_client) {
      next.at_ns += kReplyNs;
    } else {
      sequence[e.flow] += 64;
      const auto tick = e.at_ns / 1'000'000'000 + 1;
      next.at_ns = tick * 1'000'000'000 + phase_us[e.flow] * int64_t{1000} +
                   static_cast<int64_t>(random() % 1'000'000);
    }
    queue.push(next);
  }
  if (std::fclose(file) != 0) {
    std::perror(argv[1]);
    return 5;
  }
  return 0;
}
