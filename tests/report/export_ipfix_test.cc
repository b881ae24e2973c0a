// IPFIX, decoded by a reader that was written only from the RFC, and by nfcapd.
#include <fstream>
#include <sstream>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>

#include "core/base/unique_fd.h"
#include "exported_run.h"
#include "store/sqlite/sqlite.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;

/// Does not know our templates; takes them from the file.
constexpr const char* kReadIpfix = R"(
import json, struct, sys
data = open(sys.argv[1], 'rb').read()
templates, records, sequences, at = {}, [], [], 0
while at < len(data):
    version, length, seconds, sequence, domain = struct.unpack_from('>HHIII', data, at)
    assert version == 10 and 16 <= length <= 1400 and at + length <= len(data)
    assert sequence == len(records), (sequence, len(records))
    end, position = at + length, at + 16
    while position < end:
        set_id, set_length = struct.unpack_from('>HH', data, position)
        assert set_length >= 4 and position + set_length <= end
        p, set_end = position + 4, position + set_length
        if set_id == 2:
            while p < set_end:
                template, fields = struct.unpack_from('>HH', data, p); p += 4
                templates[template] = []
                for _ in range(fields):
                    element, size = struct.unpack_from('>HH', data, p); p += 4
                    enterprise = 0
                    if element & 0x8000:
                        enterprise, = struct.unpack_from('>I', data, p); p += 4
                    templates[template].append((enterprise, element & 0x7fff, size))
        else:
            size = sum(s for _, _, s in templates[set_id])
            assert (set_end - p) % size == 0
            while p < set_end:
                record = {}
                for enterprise, element, s in templates[set_id]:
                    value = data[p:p + s]; p += s
                    name = '%d/%d' % (enterprise, element)
                    record[name] = value.hex() if element in (8, 12, 27, 28) else int.from_bytes(value, 'big')
                records.append(record)
        position = set_end
    at = end
print(json.dumps(sorted(records, key=lambda r: r['0/148'])))
)";

class ExportIpfix : public testing::Test {
 protected:
  std::string db() const { return dir_.file("t.db"); }
  TempDir dir_;
};

TEST_F(ExportIpfix, AFileReadsBackByTheRfcAlone) {
  store_hostile_run(db(), 1000);
  const std::string file = dir_.file("flows.ipfix");
  const Outcome run = topspin({"export", "--db", db(), "--format", "ipfix", "-o", file});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json records = python(kReadIpfix, file);
  ASSERT_EQ(records.size(), 1000u);
  for (size_t i = 0; i < records.size(); ++i) {
    const Json& record = records[i];
    const uint64_t id = record["0/148"];
    EXPECT_EQ(id, i + 1);
    EXPECT_EQ(record["0/7"], 10'000 + id) << "the initiator's port";
    EXPECT_EQ(record["0/11"], 8888);
    EXPECT_EQ(record["0/4"], id % 2 == 0 ? 17 : 6);
    EXPECT_EQ(record["0/136"], id % 3 == 0 ? 3 : 4);
    EXPECT_EQ(record["0/2"], 10 + id);
    EXPECT_EQ(record["0/1"], 1000 + id) << "raw IP has no link-layer header";
    EXPECT_EQ(record["0/352"], 1000 + id);
    EXPECT_EQ(record["29305/2"], 5 + id);
    EXPECT_EQ(record["29305/1"], 500 + id);
    EXPECT_EQ(record["29305/352"], 500 + id);
    EXPECT_EQ(record["0/152"], (kStart + 100'000'000) / 1'000'000);
    EXPECT_EQ(record["0/153"], (kStart + 1'900'000'000) / 1'000'000);
    if (id % 4 == 0)
      EXPECT_EQ(record["0/27"], "fd000000000000000000000000000002");
    else
      EXPECT_EQ(record["0/8"], "7f000002");
  }
}

/// octetDeltaCount counts octets of IP packets (RFC 5102). The captured bytes include link-layer
/// headers.
TEST_F(ExportIpfix, OctetsAreOfIpWhereTheLinkTypeTells) {
  const std::pair<const char*, uint64_t> links[] = {
      {"EN10MB", 14}, {"LINUX_SLL", 16}, {"LINUX_SLL2", 20}, {"NULL", 4}, {"IPV4", 0}};
  for (const auto& [link, header] : links) {
    SCOPED_TRACE(link);
    const std::string db = dir_.file(std::string(link) + ".db"), file = dir_.file("flows.ipfix");
    store_hostile_run(db, 20, link);
    ASSERT_EQ(topspin({"export", "--db", db, "--format", "ipfix", "-o", file}).exit_code, 0);
    const Json records = python(kReadIpfix, file);
    ASSERT_EQ(records.size(), 20u);
    for (const Json& record : records) {
      const uint64_t id = record["0/148"];
      EXPECT_EQ(record["0/1"], 1000 + id - header * (10 + id));
      EXPECT_EQ(record["29305/1"], 500 + id - header * (5 + id));
      EXPECT_EQ(record["0/352"], 1000 + id);
    }
  }
  for (const char* link : {"IEEE802_11_RADIO", "", "PPP"}) {
    SCOPED_TRACE(link);
    const std::string db = dir_.file("no" + std::string(link) + ".db"),
                      file = dir_.file("flows.ipfix");
    store_hostile_run(db, 3, link);
    ASSERT_EQ(topspin({"export", "--db", db, "--format", "ipfix", "-o", file}).exit_code, 0);
    const Json records = python(kReadIpfix, file);
    ASSERT_EQ(records.size(), 3u);
    EXPECT_FALSE(records[0].contains("0/1")) << "a number that is not known is left out";
    EXPECT_EQ(records[0]["0/352"], 1001);
  }
}

/// The flows of a recording have times of the monotonic clock. IPFIX needs the time of day.
TEST_F(ExportIpfix, TimesOfARecordingAreTheTimeOfDay) {
  const std::string id = store_hostile_run(db(), 3);
  {
    auto connection = Connection::open(db(), Access::kWrite);
    ASSERT_TRUE(connection.ok());
    // kStart on the wall clock is 5 s on the monotonic one.
    ASSERT_TRUE((*connection)
                    ->execute("UPDATE flow SET first_ns = first_ns - " + std::to_string(kStart) +
                              " + 5000000000, last_ns = last_ns - " + std::to_string(kStart) +
                              " + 5000000000")
                    .ok());
  }
  const std::string file = dir_.file("flows.ipfix");
  ASSERT_EQ(topspin({"export", "--db", db(), "--format", "ipfix", "-o", file}).exit_code, 0);
  const Json records = python(kReadIpfix, file);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0]["0/152"], (kStart + 100'000'000) / 1'000'000);
  EXPECT_EQ(records[0]["0/153"], (kStart + 1'900'000'000) / 1'000'000);
}

TEST_F(ExportIpfix, ARunWithoutFlowsStillSaysItsTemplates) {
  store_hostile_run(db(), 0);
  const std::string file = dir_.file("flows.ipfix");
  ASSERT_EQ(topspin({"export", "--db", db(), "--format", "ipfix", "-o", file}).exit_code, 0);
  EXPECT_GT(std::filesystem::file_size(file), 100u);
  EXPECT_EQ(python(kReadIpfix, file).size(), 0u);
}

uint16_t free_udp_port() {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd.get(), raw, length) != 0 || ::getsockname(fd.get(), raw, &length) != 0) return 0;
  return ntohs(address.sin_port);
}

bool listens(uint16_t port) {
  std::ifstream table("/proc/net/udp");
  char wanted[16];
  std::snprintf(wanted, sizeof wanted, ":%04X ", port);
  std::stringstream text;
  text << table.rdbuf();
  return text.str().find(wanted) != std::string::npos;
}

TEST_F(ExportIpfix, NfcapdCollectsEveryFlow) {
  TOPSPIN_NEEDS_PROGRAM("nfcapd", "nfdump");
  constexpr uint64_t kFlows = 500;  // 45 kB, which fit the collector's socket if it reads late
  store_hostile_run(db(), kFlows, "EN10MB");
  const auto ip_octets = [](uint64_t octets, uint64_t packets) {
    return std::to_string(octets - std::min(octets, 14 * packets));
  };
  const uint16_t port = free_udp_port();
  std::filesystem::create_directory(dir_.file("flows"));
  Process collector({"nfcapd", "-b", "127.0.0.1", "-p", std::to_string(port), "-w",
                     dir_.file("flows"), "-t", "3600"});
  for (int i = 0; i < 100 && !listens(port); ++i) usleep(50'000);
  ASSERT_TRUE(listens(port));
  const Outcome run = topspin({"export", "--db", db(), "--format", "ipfix", "--collector",
                               "127.0.0.1:" + std::to_string(port)});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  usleep(500'000);  // lets the collector read its socket's buffer
  kill(collector.pid(), SIGTERM);
  const Outcome collected = collector.finish(std::chrono::seconds(20));
  const Outcome dump = test::run({"nfdump", "-R", dir_.file("flows"), "-q", "-N", "-6", "-o",
                                  "fmt:%sa|%sp|%da|%dp|%pr|%ipkt|%ibyt|%opkt|%obyt"});
  ASSERT_EQ(dump.exit_code, 0) << dump.err << collected.err;
  std::map<std::string, std::vector<std::string>> by_port;
  std::istringstream lines(dump.out);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> cells;
    std::istringstream cell_stream(line);
    for (std::string cell; std::getline(cell_stream, cell, '|');) {
      cell.erase(0, cell.find_first_not_of(' '));
      cell.erase(cell.find_last_not_of(' ') + 1);
      cells.push_back(cell);
    }
    if (cells.size() == 9) by_port[cells[1]] = cells;
  }
  ASSERT_EQ(by_port.size(), kFlows) << dump.out.substr(0, 2000) << collected.err;
  for (uint64_t id = 1; id <= kFlows; ++id) {
    const auto& cells = by_port[std::to_string(10'000 + id)];
    ASSERT_EQ(cells.size(), 9u);
    EXPECT_EQ(cells[0], id % 4 == 0 ? "fd00::2" : "127.0.0.2");
    EXPECT_EQ(cells[2], id % 4 == 0 ? "fd00::1" : "127.0.0.1");
    EXPECT_EQ(cells[3], "8888");
    EXPECT_EQ(cells[5], std::to_string(10 + id));
    EXPECT_EQ(cells[6], ip_octets(1000 + id, 10 + id));
    EXPECT_EQ(cells[7], std::to_string(5 + id)) << "the reverse direction";
    EXPECT_EQ(cells[8], ip_octets(500 + id, 5 + id));
  }
}

}  // namespace
}  // namespace topspin::test
