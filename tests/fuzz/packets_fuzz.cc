// Fuzz target: a link type, a key mode and packets, through the parser and a small flow table.
//
// The input is laid out like a pcap file, so captures can serve as seeds. Bytes 20 and 21 choose
// the link type, as in a pcap header, byte 3 chooses the key mode, and byte 5 the limits of the
// table. From byte 24 on come records: a header of 16 bytes (seconds, fraction, captured, length:
// little-endian) and the captured bytes.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "capture/flows/flow_table.h"
#include "capture/packet/packet_parser.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/pcap_writer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  constexpr int kLinks[] = {0,   1,   9,   12,  50,  51,  104, 105, 107, 108, 113,
                            119, 127, 163, 204, 205, 206, 219, 228, 229, 276};
  if (size < 24) return 0;
  int dlt = data[20] | data[21] << 8;
  if (!is_supported_link_type(dlt)) dlt = kLinks[data[20] % std::size(kLinks)];
  const auto mode = static_cast<KeyMode>(data[3] % 3);
  FlowTableOptions options;
  options.max_flows = 1 + data[5] % 8;
  options.idle_timeout_ns = data[5] % 2 == 0 ? 0 : 1'000'000'000;
  auto table = FlowTable::create(options, 4, HashSeed::fixed(1));
  std::vector<FlowRow> rows;
  for (size_t at = 24; at + 16 <= size;) {
    uint32_t header[4];
    std::memcpy(header, data + at, sizeof header);
    at += sizeof header;
    const auto captured = static_cast<uint32_t>(std::min<size_t>(header[2], size - at));
    const std::vector<uint8_t> bytes(data + at, data + at + captured);
    at += captured;
    const PacketView view{header[0] * int64_t{1'000'000'000} + header[1], bytes.data(), captured,
                          header[3]};
    const ParsedPacket packet = parse_packet(static_cast<LinkType>(dlt), mode, view);
    ParsedPacket general;
    parse_any_packet(static_cast<LinkType>(dlt), mode, view, general);
    CHECK(packet == general);
    (*table)->observe({&packet, 1});
    if (header[1] % 4 == 0) (*table)->take_changed(rows);
  }
  (*table)->take_interval((*table)->now_ns());
  (*table)->for_each_flow([](const FlowRow&) {});
  return 0;
}

std::vector<std::string> fuzz_seeds() { return {topspin::test::five_pings().bytes()}; }
