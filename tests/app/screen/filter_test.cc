// Compares the filter of the screen's rows with libpcap's. A row passes exactly when libpcap lets a
// packet of its initiator pass.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>
#include <netdb.h>

#include "capture/source/packet_source.h"
#include "tui/flows/flow_filter.h"

namespace topspin {
namespace {

constexpr int kDltRaw = 12;  // packets that begin with the IP header

/// A packet from the row's initiator: only headers.
std::vector<uint8_t> packet_of(const FlowRow& row) {
  const Endpoint& from = row.initiator();
  const Endpoint& to = row.responder();
  std::vector<uint8_t> bytes;
  if (row.key.ip_version == 4) {
    bytes = {0x45, 0, 0, 40, 0, 0, 0, 0, 64, row.key.protocol, 0, 0};
    bytes.insert(bytes.end(), from.address.begin(), from.address.begin() + 4);
    bytes.insert(bytes.end(), to.address.begin(), to.address.begin() + 4);
  } else {
    bytes = {0x60, 0, 0, 0, 0, 20, row.key.protocol, 64};
    bytes.insert(bytes.end(), from.address.begin(), from.address.end());
    bytes.insert(bytes.end(), to.address.begin(), to.address.end());
  }
  for (const uint16_t port : {from.port, to.port}) {
    bytes.push_back(static_cast<uint8_t>(port >> 8));
    bytes.push_back(static_cast<uint8_t>(port));
  }
  bytes.resize(bytes.size() + 16);
  return bytes;
}

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  size_t below(size_t count) { return engine_() % count; }
  std::string of(std::vector<std::string> words) { return words[below(words.size())]; }

  std::string host() {
    return of({"10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.7.1", "::1", "fd00::2"});
  }
  std::string port() { return of({"80", "443", "8888"}); }

  std::string test() {
    switch (below(10)) {
      case 0: return of({"ip", "ip6", "tcp", "udp"});
      case 1: return "host " + host();
      case 2:
        return of({"src ", "dst ", "src or dst ", "src and dst "}) + of({"", "host "}) + host();
      case 3:
        return of({"", "src ", "dst "}) + "net " +
               of({"10", "10.0", "10.0.1", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.0/31",
                   "10.0.0.0 mask 255.255.254.0", "fd00::/16"});
      case 4:
        return of({"", "tcp ", "udp "}) + of({"", "src ", "dst ", "dst or src ", "dst and src "}) +
               "port " + port();
      case 5:
        return of({"", "src ", "dst "}) + "portrange " +
               of({"80-443", "443-80", "8000-9000", "1-65535"});
      case 6: return of({"ip ", "ip6 "}) + "proto " + of({"6", "17", tcp_by_name_});
      case 7: return of({"ip ", ""}) + "src host " + of({"10.0.0.1", "10.0.0.2"});
      case 8: return "port " + port() + " or " + port();
      default: return host();
    }
  }
  std::string expression(int depth) {
    if (depth == 0) return test();
    switch (below(5)) {
      case 0: return "not " + expression(0);
      case 1: return "! (" + expression(depth - 1) + ")";
      case 2:
        return "(" + expression(depth - 1) + ") " + of({"and ", "or ", "&& ", "|| "}) +
               expression(depth - 1);
      default: return expression(depth - 1) + of({" and ", " or "}) + expression(depth - 1);
    }
  }
  FlowRow row() {
    FlowRow row;
    row.key.ip_version = below(3) == 0 ? 6 : 4;
    row.key.protocol = below(2) == 0 ? kProtocolTcp : kProtocolUdp;
    const auto end = [&] {
      Endpoint e;
      if (row.key.ip_version == 4) {
        const std::array<std::array<uint8_t, 4>, 5> hosts = {
            {{10, 0, 0, 1}, {10, 0, 0, 2}, {10, 0, 1, 1}, {10, 1, 0, 1}, {192, 168, 7, 1}}};
        std::copy_n(hosts[below(hosts.size())].begin(), 4, e.address.begin());
      } else if (below(2) == 0) {
        e.address[15] = 1;
      } else {
        e.address[0] = 0xfd;
        e.address[15] = 2;
      }
      const std::array<uint16_t, 5> ports = {80, 443, 8888, 442, 40'000};
      e.port = ports[below(ports.size())];
      return e;
    };
    row.key.low = end();
    row.key.high = end();
    row.initiator_is_low = below(2) == 0;
    return row;
  }

 private:
  std::mt19937 engine_;
  // Without /etc/protocols libpcap silently takes the name for no protocol at all.
  const char* tcp_by_name_ = getprotobyname("tcp") != nullptr ? "\\tcp" : "6";
};

TEST(FlowFilter, LetsThroughWhatPcapLetsThrough) {
  Random random(11);
  int compared = 0;
  for (int i = 0; i < 1500; ++i) {
    const std::string text = random.expression(static_cast<int>(random.below(4)));
    const auto pcap = PacketFilter::compile(text, kDltRaw, 256);
    // pcap refuses what can never match, such as "host ::1 and ip". The filter of rows may accept
    // it.
    if (!pcap.ok()) continue;
    const auto ours = FlowFilter::parse(text);
    ASSERT_TRUE(ours.ok()) << text << ": " << ours.error().message;
    for (int j = 0; j < 60; ++j) {
      const FlowRow row = random.row();
      const std::vector<uint8_t> bytes = packet_of(row);
      const auto size = static_cast<uint32_t>(bytes.size());
      ASSERT_EQ(ours->matches(row, {}), (*pcap)->matches({0, bytes.data(), size, size}))
          << text << ": " << format_protocol(row.key.protocol) << ' '
          << format_endpoint(row.initiator(), row.key.ip_version) << " to "
          << format_endpoint(row.responder(), row.key.ip_version);
      ++compared;
    }
  }
  EXPECT_GT(compared, 30'000);
}

// Conditions that apply to packets but not to flows are refused with that reason.
TEST(FlowFilter, RefusesWhatIsAboutPackets) {
  for (const char* text :
       {"tcp[13] & 2 != 0", "less 100", "greater 100", "len > 5", "ether host 0:1:2:3:4:5", "icmp",
        "vlan 3", "inbound", "port 80 and tcp[tcpflags]=tcp-syn"}) {
    const auto filter = FlowFilter::parse(text);
    ASSERT_FALSE(filter.ok()) << text;
    EXPECT_NE(filter.error().message.find("about packets"), std::string::npos)
        << filter.error().message;
  }
  for (const char* text :
       {"port http", "host localhost", "portrange x", "net 10.0.0.0/33", "ip port 80",
        "tcp host 10.0.0.1", "src", "port 80 or", "(tcp", "net 10.0.0.0 mask 255.0.255.0",
        "port 65536", "proto 256", "src proto 6"}) {
    EXPECT_FALSE(FlowFilter::parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace topspin
