// pcapng files made here: sections in both byte orders, interfaces of different kinds in one file,
// every kind of packet block, and nonsense.
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "capture/source/packet_source.h"
#include "core/base/clock.h"

namespace topspin {
namespace {

class Writer {
 public:
  explicit Writer(bool big = false) { section(big); }

  void section(bool big) {
    big_ = big;
    block(0x0a0d0d0a, n(0x1a2b3c4d, 4) + n(1, 2) + n(0, 2) + n(UINT64_MAX, 8));
  }
  void interface(uint16_t link, uint32_t snaplen = 0, const std::string& options = "") {
    block(1, n(link, 2) + n(0, 2) + n(snaplen, 4) + options);
  }
  std::string option(uint16_t code, std::string value) const {
    const size_t length = value.size();
    value.resize((length + 3) / 4 * 4);
    return n(code, 2) + n(length, 2) + value;
  }
  void packet(uint32_t interface, uint64_t units, const std::string& frame) {
    block(6, n(interface, 4) + n(units >> 32, 4) + n(units, 4) + n(frame.size(), 4) +
                 n(frame.size(), 4) + padded(frame));
  }
  void obsolete_packet(uint16_t interface, uint64_t units, const std::string& frame) {
    block(2, n(interface, 2) + n(0, 2) + n(units >> 32, 4) + n(units, 4) + n(frame.size(), 4) +
                 n(frame.size(), 4) + padded(frame));
  }
  void simple_packet(const std::string& frame) { block(3, n(frame.size(), 4) + padded(frame)); }
  void block(uint32_t type, const std::string& body) {
    const size_t total = body.size() + 12;
    bytes += n(type, 4) + n(total, 4) + body + n(total, 4);
  }
  std::string n(uint64_t value, size_t size) const {
    std::string out;
    for (size_t i = 0; i < size; ++i) {
      out += static_cast<char>(value >> (8 * (big_ ? size - 1 - i : i)));
    }
    return out;
  }
  std::string bytes;

 private:
  static std::string padded(std::string frame) {
    frame.resize((frame.size() + 3) / 4 * 4);
    return frame;
  }
  bool big_ = false;
};

std::string udp(uint16_t port) {
  std::string ip("\x45\0\0\x20\0\0\0\0\x40\x11\0\0\x0a\0\0\1\x0a\0\0\2", 20);
  ip += static_cast<char>(port >> 8);
  ip += static_cast<char>(port);
  return ip + std::string("\x22\xb8\0\x0c\0\0data", 10);
}
std::string ethernet(const std::string& ip) {
  return std::string(12, '\2') + std::string("\x08\0", 2) + ip;
}

constexpr uint16_t kEthernet = 1, kRaw = 101, kUsb = 189;

struct ReadFile {
  std::vector<std::pair<int64_t, uint16_t>> packets;  // stamp, source port; 0: in no flow
  std::string error;
  bool opened = false;
};

ReadFile read(const std::string& bytes, const std::string& filter = "") {
  char name[] = "/tmp/topspin-pcapng-XXXXXX";
  const int fd = mkstemp(name);
  EXPECT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  close(fd);
  ReadFile first;
  for (const FileReader reader : {FileReader::kFastest, FileReader::kMapped}) {
    ReadFile out;
    auto source = open_file_source(name, filter, reader);
    if (!source.ok()) {
      out.error = source.error().message;
    } else {
      out.opened = true;
      struct Context {
        ReadFile* out;
        LinkType link;
      } context{&out, {}};
      while (true) {
        context.link = (*source)->link_type();
        auto outcome = (*source)->read(
            [](void* user, const PacketView& view) {
              auto* c = static_cast<Context*>(user);
              const ParsedPacket p = parse_packet(c->link, KeyMode::kOuter, view);
              const uint16_t port = p.from_low ? p.key.low_port : p.key.high_port;
              c->out->packets.emplace_back(view.stamp_ns, p.in_flow() ? port : uint16_t{0});
            },
            &context);
        if (!outcome.ok()) out.error = outcome.error().message;
        if (!outcome.ok() || *outcome == StepOutcome::kEnd) break;
      }
    }
    if (reader == FileReader::kFastest) {
      first = out;
    } else {
      EXPECT_EQ(out.packets, first.packets);
      EXPECT_EQ(out.error, first.error);
    }
  }
  unlink(name);
  return first;
}

using Packets = std::vector<std::pair<int64_t, uint16_t>>;

TEST(Pcapng, InterfacesOfDifferentLinkTypeSnaplenAndClock) {
  Writer w;
  w.interface(kEthernet, 65'535);
  w.interface(kRaw, 96, w.option(9, "\x09") + w.option(14, w.n(100, 8)) + w.option(0, ""));
  w.interface(kRaw, 0, w.option(9, "\x83"));  // eighths of a second
  w.packet(0, 5'000'000, ethernet(udp(1)));
  w.packet(1, 6'000'000'007, udp(2));
  w.packet(0, 7'000'001, ethernet(udp(3)));
  w.packet(2, 65, udp(4));
  const ReadFile all = read(w.bytes);
  EXPECT_EQ(all.error, "");
  const Packets expected{
      {5'000'000'000, 1}, {106'000'000'007, 2}, {7'000'001'000, 3}, {8'125'000'000, 4}};
  EXPECT_EQ(all.packets, expected);
  // The filter is compiled for each link type.
  EXPECT_EQ(read(w.bytes, "udp src port 2 or udp src port 3").packets,
            (Packets{expected[1], expected[2]}));
}

TEST(Pcapng, SectionsOfBothByteOrders) {
  Writer w;
  w.interface(kEthernet);
  w.packet(0, 1, ethernet(udp(1)));
  w.section(true);
  w.interface(kRaw, 0, w.option(9, "\x06"));
  w.packet(0, 2, udp(2));
  w.section(false);
  w.interface(kEthernet);
  w.obsolete_packet(0, 3, ethernet(udp(3)));
  w.simple_packet(ethernet(udp(4)));
  const ReadFile all = read(w.bytes);
  EXPECT_EQ(all.error, "");
  // A simple packet has no stamp. It gets that of the packet before.
  EXPECT_EQ(all.packets, (Packets{{1000, 1}, {2000, 2}, {3000, 3}, {3000, 4}}));
}

TEST(Pcapng, BlocksThatSayNothingOfPacketsAreSteppedOverHoweverLong) {
  Writer w;
  w.block(5, std::string(40, 'x'));
  w.interface(kEthernet);
  w.block(0x0bad, std::string(3 << 20, 'x'));
  w.packet(0, 1, ethernet(udp(1)));
  w.block(4, std::string(600'000, 'y'));
  w.packet(0, 2, ethernet(udp(2)));
  const ReadFile all = read(w.bytes);
  EXPECT_EQ(all.error, "");
  EXPECT_EQ(all.packets.size(), 2u);
}

TEST(Pcapng, AnInterfaceThatCannotBeReadLeavesTheOthers) {
  Writer w;
  w.interface(kUsb);
  w.interface(kEthernet);
  w.packet(0, 1, "usb!");
  w.packet(1, 2, ethernet(udp(2)));
  EXPECT_EQ(read(w.bytes).packets, (Packets{{1000, 0}, {2000, 2}}));
  Writer usb;
  usb.interface(kUsb);
  usb.packet(0, 1, "usb!");
  EXPECT_NE(read(usb.bytes).error.find("unsupported link type 189"), std::string::npos);
}

TEST(Pcapng, ACutFileGivesThePartBeforeTheCutAndTheError) {
  Writer w;
  w.interface(kEthernet);
  for (uint16_t i = 1; i <= 3; ++i) w.packet(0, i, ethernet(udp(i)));
  const size_t one = (w.bytes.size() - Writer().bytes.size() - 20) / 3;
  for (size_t cut = 1; cut < w.bytes.size(); ++cut) {
    const ReadFile part = read(w.bytes.substr(0, w.bytes.size() - cut));
    EXPECT_EQ(part.packets.size(), cut < 3 * one ? (3 * one - cut) / one : 0) << cut;
    EXPECT_EQ(part.error.empty(), cut % one == 0 && cut <= 3 * one) << cut << part.error;
  }
}

TEST(Pcapng, NonsenseIsAnErrorAfterWhatCameBefore) {
  const auto with = [](const std::function<void(Writer&)>& damage) {
    Writer w;
    w.interface(kEthernet);
    w.packet(0, 1, ethernet(udp(1)));
    damage(w);
    const ReadFile all = read(w.bytes);
    EXPECT_EQ(all.packets.size(), 1u);
    EXPECT_NE(all.error.find("what came before it counts"), std::string::npos) << all.error;
  };
  with([](Writer& w) { w.bytes += w.n(6, 4) + w.n(8, 4); });  // shorter than a block is
  with([](Writer& w) { w.bytes += w.n(6, 4) + w.n(UINT32_MAX - 3, 4); });
  with([](Writer& w) { w.bytes += w.n(77, 4) + w.n(33, 4) + std::string(30, '\0'); });
  with([](Writer& w) { w.block(6, w.n(0, 4)); });
  with([](Writer& w) { w.packet(3, 1, "?"); });  // no such interface
  with([](Writer& w) { w.block(6, std::string(12, '\0') + w.n(9999, 4) + w.n(9999, 4)); });
  with([](Writer& w) { w.interface(kEthernet, 0, w.option(9, "\x7f")); });  // 10^-127 s
  with([](Writer& w) { w.interface(kEthernet, 0, w.n(9, 2) + w.n(500, 2)); });
  with([](Writer& w) { w.bytes += w.n(0x0a0d0d0a, 4) + w.n(28, 4) + std::string(20, 'x'); });
  Writer none;
  none.packet(0, 1, "x");
  EXPECT_FALSE(read(none.bytes).opened);
  EXPECT_FALSE(read(Writer().bytes).opened);
  Writer extreme;
  extreme.interface(
      kRaw, 0,
      extreme.option(9, std::string(1, '\0')) + extreme.option(14, extreme.n(INT64_MAX, 8)));
  extreme.packet(0, UINT64_MAX, udp(1));
  EXPECT_EQ(read(extreme.bytes).packets, (Packets{{INT64_MAX, 1}}));
}

}  // namespace
}  // namespace topspin
