// Fuzz target: a whole capture file, pcap, pcapng or compressed. Read, and mapped as large files
// are, it must give the same packets.
#include <sys/mman.h>
#include <unistd.h>

#include "capture/source/packet_source.h"
#include "core/base/check.h"
#include "core/base/unique_fd.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/pcap_writer.h"

namespace topspin {
namespace {

struct Seen {
  uint64_t packets = 0;
  uint64_t sum = 0;  // of stamps, lengths and bytes
  bool failed = false;

  bool operator==(const Seen&) const = default;
};

void visit(void* user, const PacketView& packet) {
  Seen& seen = *static_cast<Seen*>(user);
  ++seen.packets;
  const auto add = [&](uint64_t value) { seen.sum = seen.sum * 31 + value; };
  add(static_cast<uint64_t>(packet.stamp_ns));
  add(packet.length);
  for (uint32_t i = 0; i < packet.captured; ++i) add(packet.bytes[i]);
}

Seen read_all(const std::string& path, FileReader reader) {
  Seen seen;
  auto source = open_file_source(path, "", reader);
  seen.failed = !source.ok();
  while (!seen.failed) {
    const auto outcome = (*source)->read(visit, &seen);
    seen.failed = !outcome.ok();
    if (seen.failed) CHECK(!outcome.error().message.empty());
    if (!seen.failed && *outcome == StepOutcome::kEnd) break;
  }
  return seen;
}

std::string number(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

/// A pcapng block, little-endian.
std::string block(uint32_t type, std::string body) {
  body.resize((body.size() + 3) / 4 * 4);
  const std::string length = number(static_cast<uint32_t>(body.size() + 12), 4);
  return number(type, 4) + length + body + length;
}

std::string pcapng() {
  const std::string frame = std::string(12, '\2') + std::string("\x08\0\x45\0", 4);
  const std::string lengths = number(16, 4) + number(16, 4);
  return block(0x0a0d0d0a, number(0x1a2b3c4d, 4) + number(1, 4) + std::string(8, '\xff')) +
         block(1, number(1, 4) + number(0, 4) + number(9, 2) + number(1, 2) + number(9, 4)) +
         block(6, number(0, 4) + number(1, 4) + number(2, 4) + lengths + frame) +
         block(3, number(16, 4) + frame) + block(2, std::string(12, '\0') + lengths + frame);
}

/// A gzip file whose one block is stored as it is.
std::string gzip(const std::string& bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  const size_t size = bytes.size();
  return std::string("\x1f\x8b\x08\0\0\0\0\0\0\3\1", 11) + number(size, 2) +
         number(~size & 0xffff, 2) + bytes + number(~crc, 4) + number(size, 4);
}

}  // namespace
}  // namespace topspin

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  const UniqueFd file(memfd_create("capture", MFD_CLOEXEC));
  CHECK(write(file.get(), data, size) == static_cast<ssize_t>(size));
  const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  CHECK(read_all(path, FileReader::kFastest) == read_all(path, FileReader::kMapped));
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  using topspin::test::five_pings;
  const std::string pcap = five_pings().bytes();
  return {pcap, topspin::pcapng(), topspin::gzip(pcap)};
}
