// FlowRowQueue: which flow rows a tick stores.
#include "app/tick/flow_row_queue.h"

#include <gtest/gtest.h>

namespace topspin {
namespace {

FlowRow row(uint64_t id, uint64_t packets) {
  FlowRow flow;
  flow.id = id;
  flow.packets[0] = packets;
  return flow;
}

TEST(FlowRowQueue, GivesThoseThatWaitLongestAsTheyStandNowAndAllAtTheEnd) {
  FlowRowQueue queue(2);
  std::vector<FlowRow> stored = queue.exchange({row(1, 10), row(2, 10), row(3, 10)}, false);
  ASSERT_EQ(stored.size(), 2u);
  EXPECT_EQ(stored[0].id, 1u);
  EXPECT_EQ(stored[1].id, 2u);
  stored = queue.exchange({row(1, 20), row(3, 20), row(4, 20)}, false);
  ASSERT_EQ(stored.size(), 2u);
  EXPECT_EQ(stored[0].id, 3u);
  EXPECT_EQ(stored[0].packets[0], 20u);
  EXPECT_EQ(stored[1].id, 1u);
  stored = queue.exchange({row(1, 30), row(2, 30)}, true);
  ASSERT_EQ(stored.size(), 3u);
  EXPECT_EQ(stored[0].id, 4u);
  EXPECT_EQ(stored[1].id, 1u);
  EXPECT_EQ(stored[1].packets[0], 30u);
  EXPECT_TRUE(queue.exchange({}, true).empty());
}

}  // namespace
}  // namespace topspin
