#include "core/flow/flow.h"

#include <set>

#include <gtest/gtest.h>

namespace topspin {
namespace {

TEST(Endpoint, OrdersOnAddressThenPort) {
  Endpoint a, b;
  a.address[0] = b.address[0] = 127;
  a.port = 1;
  b.port = 2;
  EXPECT_LT(a, b);
  b.address[0] = 126;
  EXPECT_LT(b, a);
}

TEST(Endpoint, FormatsBothFamilies) {
  Endpoint a;
  a.address = {127, 0, 0, 1};
  a.port = 8888;
  EXPECT_EQ(format_endpoint(a, 4), "127.0.0.1:8888");
  a.address = {};
  a.address[15] = 1;
  EXPECT_EQ(format_endpoint(a, 6), "[::1]:8888");
}

TEST(SkipReason, EveryReasonHasItsOwnName) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kSkipReasonCount; ++i)
    names.insert(skip_reason_name(static_cast<SkipReason>(i)));
  EXPECT_EQ(names.size(), kSkipReasonCount);
  EXPECT_FALSE(names.contains("unknown"));
}

TEST(FlowInterval, MergeAddsCountsAndKeepsTheLaterGauge) {
  FlowInterval a, b;
  a.begin_ns = 1, a.end_ns = 2, a.packets = 3, a.active_flows = 9, a.active_flows_max = 10;
  b.begin_ns = 2, b.end_ns = 5, b.packets = 4, b.active_flows = 7, b.active_flows_max = 8;
  a.merge(b);
  EXPECT_EQ(a.begin_ns, 1);
  EXPECT_EQ(a.end_ns, 5);
  EXPECT_EQ(a.packets, 7u);
  EXPECT_EQ(a.active_flows, 7u);
  EXPECT_EQ(a.active_flows_max, 10u);
}

}  // namespace
}  // namespace topspin
