// Fuzz target: two capture files that are matched with each other. Whatever is in them, each packet
// is in one count, and the parts of a reply add up.
#include <sys/mman.h>
#include <unistd.h>

#include "capture/ends/two_recordings.h"
#include "core/base/check.h"
#include "core/base/unique_fd.h"
#include "report/json/reports.h"
#include "report/text/text_report.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/pcap_writer.h"

namespace topspin {
namespace {

/// Two bytes with the length of the first file, then both.
std::string pair_of(const std::string& client, const std::string& server) {
  return std::string{static_cast<char>(client.size()), static_cast<char>(client.size() >> 8)} +
         client + server;
}

UniqueFd file_of(std::string_view bytes) {
  UniqueFd file(memfd_create("capture", MFD_CLOEXEC));
  CHECK(write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return file;
}

std::string path_of(const UniqueFd& file) { return "/proc/self/fd/" + std::to_string(file.get()); }

void check_counts(const EndsPackets& of) {
  CHECK(of.packets == of.matched + of.cut_anew + of.missing + of.outside + of.unclear);
}

/// Both ends of TCP and UDP, with a lost, a repeated and a split segment.
std::string seed_of_both_ends() {
  constexpr int64_t kMs = 1'000'000, kAhead = 700 * kMs;
  constexpr uint8_t kSyn = 2, kAck = 16;
  test::PcapWriter client, server;
  client.set_other_host(80);
  server.set_other_host(80);
  for (int i = 0; i < 8; ++i) {
    const int64_t at = 1'000'000'000 + i * 10 * kMs;
    const std::string text = "number " + std::to_string(i / 2);
    client.udp(at, 4000, 80, text);
    server.udp(at + kMs + kAhead, 4000, 80, text);
    server.udp(at + 2 * kMs + kAhead, 80, 4000, text + "!");
    if (i != 3) client.udp(at + 3 * kMs, 80, 4000, text + "!");
    const auto sequence = static_cast<uint32_t>(100 * i);
    client.tcp(at, 4001, 80, sequence, i == 0 ? kSyn : kAck, std::string(i == 0 ? 0 : 100, 'x'));
    server.tcp(at + kMs + kAhead, 4001, 80, sequence, i == 0 ? kSyn : kAck,
               std::string(i == 0 ? 0 : 50, 'x'));
    server.tcp(at + 2 * kMs + kAhead, 80, 4001, sequence, kAck, "y");
    client.tcp(at + 3 * kMs, 80, 4001, sequence, kAck, "y");
  }
  return pair_of(client.bytes(), server.bytes());
}

}  // namespace
}  // namespace topspin

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  if (size < 2) return 0;
  const std::string_view bytes = fuzz_text(data, size).substr(2);
  const size_t first = std::min<size_t>(data[0] | data[1] << 8, bytes.size());
  const UniqueFd client = file_of(bytes.substr(0, first)), server = file_of(bytes.substr(first));
  TwoRecordings recordings;
  recordings.client.path = path_of(client);
  recordings.client.seed = 1;
  recordings.server.path = path_of(server);
  recordings.table.max_flows = 1000;
  const auto ends = compare_two_ends(recordings);
  if (!ends.ok()) return 0;
  for (const EndsDirection* way : {&ends->out, &ends->back}) {
    check_counts(way->sent);
    check_counts(way->arrived);
    CHECK(way->sent.matched == way->arrived.matched);
  }
  CHECK(ends->replies == ends->split() + ends->request_not_matched + ends->reply_not_matched +
                             ends->clock_unknown + ends->contradictory);
  CHECK(!two_ends_text(*ends).empty() && !two_ends_json(*ends).empty());
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  const std::string pings = topspin::test::five_pings().bytes();
  return {topspin::seed_of_both_ends(), topspin::pair_of(pings, pings)};
}
