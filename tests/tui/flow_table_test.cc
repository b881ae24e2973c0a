// The flow table: filter, order, groups and search. The visible rows must be those of a full sort.
#include "tui/flows/flow_table.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "tests/tui/synthetic.h"

namespace topspin {
namespace {

using test::Synthetic;

FlowFilter filter(std::string_view text) {
  auto parsed = FlowFilter::parse(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed.ok() ? *parsed : FlowFilter();
}

std::vector<uint64_t> ids(const FlowPage& page) {
  std::vector<uint64_t> result;
  for (const TableRow& row : page.page) result.push_back(row.entry.row.id);
  return result;
}

TEST(FlowTableView, APageIsThatOfAFullSortForEachColumn) {
  const Model model = Synthetic{.flows = 500}.model(27);
  for (const FlowColumnInfo& column : flow_columns()) {
    for (const bool reverse : {false, true}) {
      FlowQuery query;
      query.sort = column.column;
      query.reverse = reverse;
      const FlowPage all = query_flows(model, query, 0, 500);
      ASSERT_EQ(all.page.size(), 500u);
      for (size_t i = 1; i < all.page.size(); ++i) {
        const auto key = [&](size_t at) {
          const auto index = static_cast<uint32_t>(*model.find_flow(all.page[at].entry.row.id));
          return flow_sort_key(column.column, reverse, all.page[at].entry, is_silent(index, model),
                               model, index);
        };
        ASSERT_TRUE(key(i - 1) < key(i)) << column.title << ' ' << i;
      }
      for (const uint64_t first : {0u, 1u, 37u, 250u, 490u, 499u, 600u}) {
        const FlowPage page = query_flows(model, query, first, 20);
        EXPECT_EQ(page.first, std::min<uint64_t>(first, 480));
        const auto whole = ids(all);
        const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(page.first);
        EXPECT_EQ(ids(page), std::vector<uint64_t>(begin, begin + 20));
        EXPECT_EQ(page.matching, 500u);
      }
    }
  }
}

TEST(FlowTableView, SilentFlowsStandOnTopWhateverIsSortedBy) {
  const Model model = Synthetic{.flows = 200}.model(40);
  for (const FlowColumnInfo& column : flow_columns()) {
    for (const bool reverse : {false, true}) {
      FlowQuery query;
      query.sort = column.column;
      query.reverse = reverse;
      const FlowPage page = query_flows(model, query, 0, 10);
      for (size_t i = 0; i < page.page.size(); ++i)
        EXPECT_EQ(page.page[i].entry.row.silent, i < 5) << column.title << ' ' << i;
      for (uint64_t at = 0; at < 5; ++at)
        EXPECT_EQ(position_of(model, query, page.page[at].entry.row.id), at);
    }
  }
}

TEST(FlowTableView, SilentFlowsStayWhileTheyAreTracked) {
  Model model(ModelLimits{.silent_drop_ns = 5 * test::kSecond});
  const Synthetic synthetic{.flows = 50};
  for (uint64_t tick = 1; tick <= 60; ++tick) model.add(synthetic.sample(tick));
  ASSERT_TRUE(model.find_flow(5));
  Sample last = synthetic.sample(61);
  for (FlowRow& row : last.changed_flows) row.ended = row.silent;
  model.add(last);
  for (uint64_t tick = 62; tick <= 75; ++tick) {
    Sample sample = synthetic.sample(tick);
    std::erase_if(sample.changed_flows, [](const FlowRow& row) { return row.silent; });
    model.add(sample);
  }
  EXPECT_FALSE(model.find_flow(5));
}

TEST(FlowTableView, AReplayShowsOfAMomentOnlyWhatIsOfIt) {
  Model model;
  model.scene.flows_are_final = true;
  const Synthetic synthetic{.flows = 3};
  Sample first = synthetic.sample(2);
  first.changed_flows = {synthetic.row(1, 40)};  // as it was at the end of the run
  model.add(first);
  const TableRow row{model.flows()[0], 1, 0};
  for (const FlowColumn column : {FlowColumn::kRate, FlowColumn::kPacketRate, FlowColumn::kSeen,
                                  FlowColumn::kLate, FlowColumn::kReply})
    EXPECT_EQ(flow_cell(column, row, model, {}), "-") << flow_column(column).title;
  EXPECT_EQ(flow_cell_role(FlowColumn::kSize, row.entry, model), Role::kDim);
  EXPECT_NE(flow_cell(FlowColumn::kAge, row, model, {}), "-");

  Sample end = synthetic.sample(40);
  end.changed_flows.clear();
  model.add(end);
  const TableRow then{model.flows()[0], 1, 0};
  EXPECT_NE(flow_cell(FlowColumn::kSeen, then, model, {}), "-");
  EXPECT_NE(flow_cell(FlowColumn::kReply, then, model, {}), "-");
  EXPECT_EQ(flow_cell_role(FlowColumn::kSize, then.entry, model), Role::kNormal);
}

TEST(FlowTableView, NumbersSortDownwardsTextUpwardsAbsentLast) {
  Model model;
  Sample sample;
  sample.tick = 1;
  for (uint64_t id = 1; id <= 3; ++id) {
    FlowRow row;
    row.id = id;
    if (id != 2) row.lateness_last_ns = id == 1 ? -5 : 7;
    row.key.low.address[3] = static_cast<uint8_t>(10 - id);
    sample.changed_flows.push_back(row);
  }
  model.add(sample);
  FlowQuery query;
  query.sort = FlowColumn::kLate;
  EXPECT_EQ(ids(query_flows(model, query, 0, 9)), (std::vector<uint64_t>{3, 1, 2}));
  query.reverse = true;
  EXPECT_EQ(ids(query_flows(model, query, 0, 9)), (std::vector<uint64_t>{1, 3, 2}));
  query = {};
  query.sort = FlowColumn::kSource;
  EXPECT_EQ(ids(query_flows(model, query, 0, 9)), (std::vector<uint64_t>{3, 2, 1}));
}

TEST(FlowTableView, PositionsAgreeWithPages) {
  const Model model = Synthetic{.flows = 100}.model(5);
  FlowQuery query;
  query.sort = FlowColumn::kReply;
  const auto order = ids(query_flows(model, query, 0, 100));
  for (uint64_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(position_of(model, query, order[i]), i);
  }
  EXPECT_EQ(position_of(model, query, 12345), std::nullopt);
  query.filter = filter("tcp");
  EXPECT_EQ(position_of(model, query, 1), std::nullopt);
}

TEST(FlowTableView, GroupsAddUpToAllFlows) {
  const Model model = Synthetic{.flows = 200}.model(5);
  for (const Grouping grouping :
       {Grouping::kResponder, Grouping::kInitiatorHost, Grouping::kNets}) {
    FlowQuery query;
    query.grouping = grouping;
    const FlowPage page = query_flows(model, query, 0, 10'000);
    uint64_t flows = 0, packets = 0;
    for (const TableRow& row : page.page) {
      flows += row.flows;
      packets += row.entry.row.packets[0];
    }
    EXPECT_EQ(flows, 200u);
    EXPECT_EQ(packets, 1000u);
    EXPECT_EQ(page.matching, 200u);
    EXPECT_LT(page.rows, 200u);
  }
}

TEST(FlowTableView, SearchGoesRoundInTheOrder) {
  const Model model = Synthetic{.flows = 50}.model(5);
  FlowQuery query;
  query.sort = FlowColumn::kReply;
  std::vector<uint64_t> expected;
  const auto order = query_flows(model, query, 0, 50);
  for (const TableRow& row : order.page) {
    if (row_contains(row.entry.row, {}, ":4001")) expected.push_back(row.entry.row.id);
  }
  ASSERT_EQ(expected.size(), 10u);
  std::vector<uint64_t> found;
  auto next = search_flows(model, query, ":4001", 0, true);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(next);
    found.push_back(next->id);
    EXPECT_EQ(position_of(model, query, next->id), next->position);
    next = search_flows(model, query, ":4001", next->position, false);
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(next->id, expected.front());
  EXPECT_EQ(search_flows(model, query, "no such text", 0, true), std::nullopt);
}

TEST(FlowFilterTest, Words) {
  const Synthetic synthetic;
  const FlowRow udp = synthetic.row(1, 5), tcp = synthetic.row(10, 5), late = synthetic.row(3, 25);
  EXPECT_TRUE(filter("").matches(udp, {}));
  EXPECT_TRUE(filter("udp").matches(udp, {}));
  EXPECT_FALSE(filter("udp").matches(tcp, {}));
  EXPECT_TRUE(filter("not udp").matches(tcp, {}));
  EXPECT_TRUE(filter("! udp && tcp").matches(tcp, {}));
  EXPECT_TRUE(filter("port 8888").matches(udp, {}));
  EXPECT_TRUE(filter("dst port 8888").matches(udp, {}));
  EXPECT_FALSE(filter("src port 8888").matches(udp, {}));
  EXPECT_TRUE(filter("host 192.168.7.1").matches(udp, {}));
  EXPECT_TRUE(filter("dst net 192.168.0.0/16").matches(udp, {}));
  EXPECT_FALSE(filter("src net 192.168.0.0/16").matches(udp, {}));
  EXPECT_TRUE(filter("net 0.0.0.0/0").matches(udp, {}));
  EXPECT_FALSE(filter("ip6").matches(udp, {}));
  EXPECT_TRUE(filter("late").matches(late, {}));
  EXPECT_FALSE(filter("late").matches(udp, {}));
  EXPECT_TRUE(filter("10.0.0").matches(udp, {}));
  EXPECT_TRUE(filter("tcp or port 8888 and udp").matches(udp, {}));
  EXPECT_FALSE(filter("(tcp or port 8888) and not udp").matches(udp, {}));
  EXPECT_TRUE(filter("ip6 and net 2001:db8::/33").matches(Synthetic{.ipv6 = true}.row(1, 2), {}));
  EXPECT_FALSE(filter("net 2001:db8:8000::/33").matches(Synthetic{.ipv6 = true}.row(1, 2), {}));
}

TEST(FlowFilterTest, TextFindsProcessesToo) {
  OwnerTable owners;
  owners.set({.number = 7, .pid = 4242, .start_time_ns = 1, .name = "node"});
  FlowRow row = Synthetic{}.row(1, 5);
  EXPECT_FALSE(filter("node").matches(row, owners));
  row.owners[1] = 7;
  EXPECT_TRUE(filter("node").matches(row, owners));
  EXPECT_TRUE(filter("udp and node and not late").matches(row, owners));
  EXPECT_TRUE(row_contains(row, owners, "4242"));
  EXPECT_FALSE(row_contains(row, owners, "python"));
  EXPECT_FALSE(row_contains(row, {}, "node"));
}

TEST(FlowFilterTest, NonsenseIsRefusedWithAReason) {
  for (const char* text :
       {"port", "port x", "port 65536", "host 1.2.3", "net 10.0.0.0/33", "net ::/129", "(", "( tcp",
        "tcp )", "and", "tcp and", "not", "src tcp", "or or", "()"}) {
    const auto parsed = FlowFilter::parse(text);
    EXPECT_FALSE(parsed.ok()) << text;
    if (!parsed.ok()) {
      EXPECT_EQ(parsed.error().code, ErrorCode::kUsage);
    }
  }
  EXPECT_FALSE(FlowFilter::parse(std::string(100'000, '(')).ok());
  EXPECT_FALSE(FlowFilter::parse([] {
                 std::string many;
                 for (int i = 0; i < 10'000; ++i) many += "not ";
                 return many;
               }())
                   .ok());
}

TEST(FlowColumns, TheTableIsInOrderAndNamed) {
  for (const FlowColumnInfo& info : flow_columns()) {
    EXPECT_EQ(&flow_column(info.column), &info);
    EXPECT_LE(static_cast<int>(info.title.size()), info.width);
    EXPECT_FALSE(info.what.empty());
  }
}

TEST(FlowColumns, Counts) {
  EXPECT_EQ(format_count(9999), "9999");
  EXPECT_EQ(format_count(10'000), "10.0k");
  EXPECT_EQ(format_count(1'250'000), "1.25M");
  EXPECT_EQ(format_count(UINT64_MAX), "18.4E");
}

TEST(FlowColumns, EndpointsReadAsCoreWritesThem) {
  for (const bool ipv6 : {false, true}) {
    for (uint64_t id = 1; id < 400; id += 7) {
      const FlowRow row = Synthetic{.ipv6 = ipv6}.row(id, 2);
      for (const Endpoint* end : {&row.key.low, &row.key.high}) {
        char buffer[kEndpointTextMax];
        const size_t length = write_endpoint(*end, row.key.ip_version, buffer);
        EXPECT_EQ(std::string(buffer, length), format_endpoint(*end, row.key.ip_version));
      }
    }
  }
}

}  // namespace
}  // namespace topspin
