// The processes that comments of packets name, and the names of files of packets. Pure.
#include "app/watch/packets/packet_owners.h"

#include <gtest/gtest.h>

#include "app/watch/flight_ring.h"
#include "store/sqlite/packet_files.h"
#include "tests/store/store_testing.h"

namespace topspin {
namespace {

constexpr int64_t kOwnerSecond = 1'000'000'000;

FlowKey key_of(uint16_t low, uint16_t high) {
  FlowKey key;
  key.low.port = low;
  key.high.port = high;
  key.protocol = kProtocolTcp;
  return key;
}

Sample tick_with(uint64_t tick, std::vector<FlowRow> rows, std::vector<FlowOwner> owners = {}) {
  Sample sample = make_tick(tick);
  sample.changed_flows = std::move(rows);
  sample.changed_owners = std::move(owners);
  return sample;
}

FlowRow row_of(uint64_t id, int64_t first_ns, int64_t last_ns, OwnerNumbers owners,
               bool initiator_is_low = true) {
  FlowRow row;
  row.id = id;
  row.key = key_of(10, 20);
  row.first_ns = first_ns;
  row.last_ns = last_ns;
  row.owners = owners;
  row.initiator_is_low = initiator_is_low;
  return row;
}

const FlowOwner kClient{1, 11, 0, "client", OwnerQuality::kExact};
const FlowOwner kServer{2, 22, 0, "ser\nver", OwnerQuality::kShared};
const FlowOwner kOther{3, 33, 0, "other", OwnerQuality::kSnapshot};

TEST(PacketOwners, NameWhatIsKnownInThePacketsDirection) {
  FlightRing ring(60 * kOwnerSecond, 64 << 20);
  ring.add(tick_with(1, {row_of(1, 100, 400, {1, std::nullopt})}, {kClient}));
  ring.add(tick_with(2, {row_of(1, 100, 500, {std::nullopt, 2})}, {kServer}));
  const Incident incident = ring.freeze(make_run(), {});
  const PacketOwners owners(incident);
  EXPECT_EQ(owners.words(key_of(10, 20), true, 100),
            "from client (pid 11) to ser\\x0aver (pid 22, one of several)");
  EXPECT_EQ(owners.words(key_of(10, 20), false, 500),
            "from ser\\x0aver (pid 22, one of several) to client (pid 11)");
  EXPECT_EQ(owners.words(key_of(10, 20), true, 99), "") << "before its first packet";
  EXPECT_EQ(owners.words(key_of(10, 20), true, 501), "") << "it may be of a flow without a row";
  EXPECT_EQ(owners.words(key_of(10, 21), true, 100), "") << "another flow";
}

TEST(PacketOwners, AreThoseOfTheFlowAtThatTime) {
  FlightRing ring(2 * kOwnerSecond, 64 << 20);
  // The first one's owner and row have left the ring when it is frozen.
  ring.add(tick_with(1, {row_of(1, 100, 190, {1, std::nullopt})}, {kClient, kOther}));
  ring.add(tick_with(2, {row_of(2, 200, 290, {std::nullopt, 3}, false)}));
  ring.add(tick_with(3, {row_of(3, 300, 390, {std::nullopt, std::nullopt})}));
  ring.add(tick_with(4, {}));
  const Incident incident = ring.freeze(make_run(), {});
  ASSERT_EQ(incident.ticks.size(), 2u);
  const PacketOwners owners(incident);
  EXPECT_EQ(owners.words(key_of(10, 20), true, 150), "from client (pid 11)");
  EXPECT_EQ(owners.words(key_of(10, 20), false, 150), "to client (pid 11)");
  EXPECT_EQ(owners.words(key_of(10, 20), true, 250), "from other (pid 33)");
  EXPECT_EQ(owners.words(key_of(10, 20), true, 350), "") << "of the third, nothing is known";
}

TEST(PacketFiles, HaveNamesThatNoTextOfADatabaseChanges) {
  const std::string id = make_run_id(1);
  const std::string path = "/a/b.db-" + id + ".pcapng";
  EXPECT_EQ(packet_file_of("/a/b.db", id), path);
  EXPECT_EQ(run_of_packet_file("/a/b.db", path), id);
  EXPECT_EQ(run_of_packet_file("/a/c.db", path), std::nullopt);
  EXPECT_EQ(run_of_packet_file("/a/b.db", path + "x"), std::nullopt);
  std::string slash = id, upper = id;
  slash[3] = '/';
  upper[3] = 'A';
  for (const std::string& bad : {std::string(), id + "0", id.substr(1), slash, upper,
                                 std::string("../../../../../../../../etc/passwd..")})
    EXPECT_EQ(packet_file_of("/a/b.db", bad), std::nullopt) << bad;
}

}  // namespace
}  // namespace topspin
