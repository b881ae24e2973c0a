// The flow table against a naive model on random packets, and against sequences computed by hand.
#include "capture/flow_table.h"

#include <map>
#include <ostream>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace topspin {
namespace {

constexpr int64_t kMs = kNanosPerMilli;
constexpr int64_t kS = kNanosPerSecond;
constexpr int64_t kStart = 1'700'000'000 * kS;

/// A packet between client `client` and the one server.
ParsedPacket packet(int64_t at_ns, uint32_t client, bool from_client, uint32_t payload = 10,
                    uint8_t protocol = kProtocolUdp) {
  ParsedPacket p;
  p.stamp_ns = at_ns;
  std::memcpy(p.key.low.data(), &client, 4);
  p.key.high[0] = 0xff;
  p.key.low_port = 1000;
  p.key.high_port = 8888;
  p.key.kind = protocol;
  p.wire_bytes = 42 + payload;
  p.payload_bytes = payload;
  p.ip_version = 4;
  p.from_low = from_client;
  p.skip = SkipReason::kCount;
  return p;
}

ParsedPacket segment(int64_t at_ns, bool from_client, uint8_t flags, uint32_t sequence,
                     uint32_t payload = 0, uint32_t client = 1) {
  ParsedPacket p = packet(at_ns, client, from_client, payload, kProtocolTcp);
  p.has_tcp_header = true;
  p.tcp_flags = flags;
  p.tcp_sequence = sequence;
  return p;
}

std::unique_ptr<FlowTable> make_table(const FlowTableOptions& options = {}, uint64_t rows = 0) {
  auto table = FlowTable::create(options, rows, HashSeed::fixed(7));
  EXPECT_TRUE(table.ok());
  return std::move(table).value();
}

void observe(FlowTable& table, const ParsedPacket& p) { table.observe({&p, 1}); }

std::vector<FlowRow> rows_of(const FlowTable& table) {
  std::vector<FlowRow> rows;
  table.for_each_flow([&](const FlowRow& row) { rows.push_back(row); });
  return rows;
}

/// What the words say, computed the slow way.
class Model {
 public:
  explicit Model(FlowTableOptions options) : options_(options) {}

  struct Flow {
    uint64_t id;
    int64_t last_ns;
    uint64_t packets = 0;
  };

  void advance(int64_t now_ns) {
    now_ns_ = std::max(now_ns_, now_ns);
    if (options_.idle_timeout_ns == 0) return;
    const int64_t tick = std::max(options_.idle_timeout_ns / 256, kMs);
    std::erase_if(flows_, [&](const auto& f) {
      return (f.second.last_ns / tick + 1) * tick + options_.idle_timeout_ns <= now_ns_;
    });
  }
  void observe(const ParsedPacket& p) {
    advance(p.stamp_ns);
    uint32_t client;
    std::memcpy(&client, p.key.low.data(), 4);
    auto it = flows_.find(client);
    if (it == flows_.end()) {
      if (flows_.size() == options_.max_flows) evict();
      it = flows_.emplace(client, Flow{next_id_++, p.stamp_ns}).first;
    }
    it->second.last_ns = std::max(it->second.last_ns, p.stamp_ns);
    ++it->second.packets;
    auto& second = seconds_[p.stamp_ns / kS];
    second.insert(it->second.id);
    seen_max_ = std::max<uint64_t>(seen_max_, second.size());
    active_max_ = std::max(active_max_, active());
  }
  uint64_t active() const {
    const int64_t bucket_ns = std::min(options_.window_ns / 1000, kMs);
    const int64_t span = options_.window_ns / bucket_ns;
    uint64_t n = 0;
    for (const auto& [client, f] : flows_) n += f.last_ns / bucket_ns > now_ns_ / bucket_ns - span;
    return n;
  }
  void evict() {
    const auto order = [](const Flow& f) {
      return std::tuple(f.packets > 1, f.last_ns, f.id);  // one-packet UDP first, then by silence
    };
    auto victim = flows_.begin();
    for (auto it = flows_.begin(); it != flows_.end(); ++it) {
      if (order(it->second) < order(victim->second)) victim = it;
    }
    flows_.erase(victim);
    ++evicted_;
  }

  FlowTableOptions options_;
  std::map<uint32_t, Flow> flows_;
  std::map<int64_t, std::set<uint64_t>> seconds_;
  int64_t now_ns_ = 0;
  uint64_t next_id_ = 1, seen_max_ = 0, active_max_ = 0, evicted_ = 0;
};

struct Stream {
  const char* name;
  uint32_t clients;
  uint64_t max_flows;
  int64_t step_ns;      // between packets, at most
  bool goes_backwards;  // by up to 5 s
  int64_t idle_timeout_ns;
};

void PrintTo(const Stream& stream, std::ostream* out) { *out << stream.name; }

class AgainstModel : public testing::TestWithParam<Stream> {};

TEST_P(AgainstModel, EverythingThatIsCountedAgrees) {
  const Stream stream = GetParam();
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    std::mt19937_64 random(seed);
    FlowTableOptions options;
    options.max_flows = stream.max_flows;
    options.idle_timeout_ns = stream.idle_timeout_ns;
    options.window_ns = (1 + random() % 3) * 500 * kMs;
    auto table = make_table(options, 1000);
    Model model(options);
    int64_t now_ns = kStart;
    std::vector<ParsedPacket> batch;
    for (int i = 0; i < 4000; ++i) {
      // Whole milliseconds now and then: the edges of buckets and of the window.
      now_ns += random() % 4 == 0
                    ? static_cast<int64_t>(random() % 3) * 250 * kMs * (random() % 8 == 0)
                    : static_cast<int64_t>(random() % static_cast<uint64_t>(stream.step_ns));
      int64_t at_ns = now_ns;
      if (stream.goes_backwards && random() % 10 == 0) {
        at_ns -= static_cast<int64_t>(random() % (5 * kS));
      }
      batch.push_back(packet(at_ns, static_cast<uint32_t>(random() % stream.clients), true));
      if (random() % 5 != 0) continue;
      table->observe(batch);
      for (const auto& p : batch) model.observe(p);
      batch.clear();
      if (random() % 7 == 0) {
        now_ns += static_cast<int64_t>(random() % (2 * kS));
        table->advance(now_ns);
        model.advance(now_ns);
      }
      ASSERT_EQ(table->active_flows(), model.active()) << "seed " << seed << " packet " << i;
      ASSERT_EQ(table->flow_count(), model.flows_.size()) << "seed " << seed << " packet " << i;
    }
    const FlowInterval interval = table->take_interval(table->now_ns());
    EXPECT_EQ(interval.new_flows, model.next_id_ - 1);
    EXPECT_EQ(interval.seen_flows_per_second_max, model.seen_max_);
    EXPECT_EQ(interval.active_flows_max, model.active_max_);
    EXPECT_EQ(interval.evicted_flows, model.evicted_);
    std::map<uint64_t, std::pair<int64_t, uint64_t>> wanted, got;
    for (const auto& [client, f] : model.flows_) wanted[f.id] = {f.last_ns, f.packets};
    uint64_t previous = 0;
    for (const FlowRow& row : rows_of(*table)) {
      got[row.id] = {row.last_ns, row.packets[0]};
      EXPECT_GT(row.id, previous);
      previous = row.id;
    }
    EXPECT_EQ(got, wanted) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(
    FlowTable, AgainstModel,
    testing::Values(Stream{"Few", 10, 1000, 50 * kMs, false, 0},
                    Stream{"Many", 2000, 100'000, 2 * kMs, false, 0},
                    Stream{"Backwards", 100, 1000, 20 * kMs, true, 0},
                    Stream{"Evicting", 200, 40, 20 * kMs, false, 0},
                    // Ticks of 2.3 s: many wait in one for eviction, and speak meanwhile.
                    Stream{"EvictingCoarsely", 60, 40, 20 * kMs, false, 600 * kS},
                    Stream{"EvictingAndIdle", 200, 60, 20 * kMs, false, 3 * kS},
                    Stream{"Idle", 300, 1000, 30 * kMs, false, 2 * kS}),
    [](const testing::TestParamInfo<Stream>& one) { return one.param.name; });

TEST(FlowTable, WindowEdgeIsExactToAMillisecond) {
  auto table = make_table();
  observe(*table, packet(kStart, 1, true));
  table->advance(kStart + 999 * kMs);
  EXPECT_EQ(table->active_flows(), 1u);
  table->advance(kStart + 1000 * kMs);
  EXPECT_EQ(table->active_flows(), 0u);
}

TEST(FlowTable, DeclaredPeriodGivesLatenessAndMissedTicks) {
  FlowTableOptions options;
  options.period_ns = kS;
  auto table = make_table(options);
  // Gaps: 1.2 s, 0.9 s, 3.1 s (two ticks missed, 0.1 late), 1.0 s.
  int64_t at = kStart;
  observe(*table, packet(at, 1, true));
  for (const int64_t gap : {1200 * kMs, 900 * kMs, 3100 * kMs, 1000 * kMs}) {
    at += gap;
    observe(*table, packet(at, 1, true));
  }
  const FlowInterval i = table->take_interval(at);
  EXPECT_EQ(i.lateness.count(), 4u);
  EXPECT_EQ(i.lateness.sum(), 200 * kMs - 100 * kMs + 100 * kMs + 0);
  EXPECT_EQ(*i.lateness.max(), 200 * kMs);
  EXPECT_EQ(*i.lateness.min(), -100 * kMs);
  EXPECT_EQ(i.missed_ticks, 2u);
  EXPECT_EQ(i.late_flows, 1u);  // 200 ms is more than a tenth, 100 ms is not
  const FlowRow row = rows_of(*table).front();
  EXPECT_EQ(row.period_ns, kS);
  EXPECT_EQ(row.lateness_last_ns, 0);
  EXPECT_EQ(row.lateness_max_ns, 200 * kMs);
  EXPECT_EQ(row.missed_ticks, 2u);
}

TEST(FlowTable, HalfAPeriodLateIsAMissedTick) {
  FlowTableOptions options;
  options.period_ns = 100;
  auto table = make_table(options);
  observe(*table, packet(kStart, 1, true));
  observe(*table, packet(kStart + 149, 1, true));        // k = 1, 49 late
  observe(*table, packet(kStart + 149 + 150, 1, true));  // k = 2, 50 early
  const FlowInterval i = table->take_interval(kStart + 300);
  EXPECT_EQ(i.missed_ticks, 1u);
  EXPECT_EQ(i.lateness.sum(), 49 - 50);
}

TEST(FlowTable, LearnsTheMedianGap) {
  auto table = make_table();
  int64_t at = kStart;
  observe(*table, packet(at, 1, true));
  // Three gaps teach: median 1.0 s. The fourth is judged by it, the fifth by the median of four.
  for (const int64_t gap : {1000, 1200, 900}) observe(*table, packet(at += gap * kMs, 1, true));
  EXPECT_EQ(table->take_interval(at).lateness.count(), 0u);
  EXPECT_EQ(rows_of(*table).front().period_ns, kS);
  observe(*table, packet(at += 1100 * kMs, 1, true));
  EXPECT_EQ(table->take_interval(at).lateness.sum(), 100 * kMs);
  EXPECT_EQ(rows_of(*table).front().period_ns, 1050 * kMs);  // of 900 1000 1100 1200
  observe(*table, packet(at += 1050 * kMs, 1, true));
  EXPECT_EQ(table->take_interval(at).lateness.sum(), 0);
  EXPECT_EQ(rows_of(*table).front().period_ns, 1050 * kMs);  // of five
  // Two missed ticks among five gaps do not change what was learned.
  observe(*table, packet(at += 2100 * kMs, 1, true));
  EXPECT_EQ(table->take_interval(at).missed_ticks, 1u);
  EXPECT_EQ(rows_of(*table).front().period_ns, 1100 * kMs);
}

TEST(FlowTable, RepliesAnswerTheOldestRequest) {
  auto table = make_table();
  observe(*table, packet(kStart, 1, true));
  observe(*table, packet(kStart + 10 * kMs, 1, true));   // the first stays the open one
  observe(*table, packet(kStart + 30 * kMs, 1, false));  // 30 ms
  observe(*table, packet(kStart + 40 * kMs, 1, false));  // answers nothing
  observe(*table, packet(kStart + 900 * kMs, 1, true));
  observe(*table, packet(kStart + 901 * kMs, 1, false, 0));  // no payload
  observe(*table, packet(kStart + 905 * kMs, 1, false));     // 5 ms
  const FlowInterval i = table->take_interval(kStart + kS);
  EXPECT_EQ(i.reply_latency.count(), 2u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(35 * kMs));
  EXPECT_EQ(i.unanswered, 0u);
  const FlowRow row = rows_of(*table).front();
  EXPECT_EQ(row.replies, 2u);
  EXPECT_EQ(row.reply_latency_sum_ns, 35 * kMs);
  EXPECT_EQ(row.reply_latency_max_ns, 30 * kMs);
  EXPECT_EQ(row.reply_latency_last_ns, 5 * kMs);
}

TEST(FlowTable, ARequestRunsOutOnceAndALateReplyAnswersNothing) {
  auto table = make_table();
  observe(*table, packet(kStart, 1, true));
  table->advance(kStart + 999 * kMs);
  EXPECT_EQ(table->take_interval(kStart + 999 * kMs).unanswered, 0u);
  EXPECT_EQ(table->take_interval(kStart + 1000 * kMs).unanswered, 1u);
  EXPECT_EQ(rows_of(*table).front().unanswered, 1u);
  observe(*table, packet(kStart + 1500 * kMs, 1, false));
  observe(*table, packet(kStart + 1600 * kMs, 1, true));
  observe(*table, packet(kStart + 1700 * kMs, 1, false));
  const FlowInterval i = table->take_interval(kStart + 1700 * kMs);
  EXPECT_EQ(i.unanswered, 0u);
  EXPECT_EQ(i.reply_latency.count(), 1u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(100 * kMs));
  EXPECT_EQ(rows_of(*table).front().unanswered, 1u);
  EXPECT_EQ(table->totals().unanswered, 1u);
}

TEST(FlowTable, TcpConnectionFromHandshakeToFin) {
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpSyn, 100));
  EXPECT_EQ(table->take_interval(kStart + kMs).tcp_half_open, 1u);
  observe(*table, segment(kStart + 5 * kMs, false, kTcpSyn | kTcpAck, 500));
  observe(*table, segment(kStart + 8 * kMs, true, kTcpAck, 101));
  observe(*table, segment(kStart + 10 * kMs, true, kTcpAck, 101, 50));
  observe(*table, segment(kStart + 17 * kMs, false, kTcpAck, 501, 70));
  observe(*table, segment(kStart + 20 * kMs, true, kTcpAck, 151, 50));  // kept alive: another
  observe(*table, segment(kStart + 22 * kMs, false, kTcpAck, 571, 70));
  observe(*table, segment(kStart + 30 * kMs, false, kTcpAck, 571, 70));  // retransmitted
  observe(*table, segment(kStart + 40 * kMs, true, kTcpAck, 200, 1));    // keep-alive probe
  observe(*table, segment(kStart + 50 * kMs, true, kTcpFin | kTcpAck, 201));
  EXPECT_EQ(rows_of(*table).front().ended, false);
  observe(*table, segment(kStart + 51 * kMs, false, kTcpFin | kTcpAck, 641));
  const FlowInterval i = table->take_interval(kStart + 60 * kMs);
  EXPECT_EQ(i.tcp_half_open, 0u);
  EXPECT_EQ(i.tcp_handshakes, 1u);
  EXPECT_EQ(i.tcp_handshake.sum(), static_cast<uint64_t>(8 * kMs));
  EXPECT_EQ(i.reply_latency.count(), 2u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(9 * kMs));
  EXPECT_EQ(i.tcp_retransmissions, 1u);
  EXPECT_EQ(i.tcp_out_of_order, 0u);
  EXPECT_EQ(i.ended_flows, 1u);
  EXPECT_EQ(i.live_flows, 0u);
  EXPECT_EQ(rows_of(*table).front().retransmissions, 1u);
  EXPECT_TRUE(rows_of(*table).front().ended);
  // The same ends again: the same flow, alive again.
  observe(*table, segment(kStart + 100 * kMs, true, kTcpSyn, 9000));
  const FlowInterval again = table->take_interval(kStart + 101 * kMs);
  EXPECT_EQ(again.new_flows, 0u);
  EXPECT_EQ(again.live_flows, 1u);
  EXPECT_EQ(again.tcp_half_open, 1u);
  EXPECT_EQ(again.tcp_retransmissions, 0u);
}

TEST(FlowTable, RefusedResetAndRepeatedSyn) {
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpSyn, 100));
  observe(*table, segment(kStart + kMs, true, kTcpSyn, 100));
  observe(*table, segment(kStart + 2 * kMs, false, kTcpRst | kTcpAck, 0));
  observe(*table, segment(kStart, true, kTcpAck, 7, 5, 2));
  observe(*table, segment(kStart + kMs, true, kTcpRst, 12, 0, 2));
  const FlowInterval i = table->take_interval(kStart + 10 * kMs);
  EXPECT_EQ(i.tcp_refused, 1u);
  EXPECT_EQ(i.tcp_resets, 2u);
  EXPECT_EQ(i.tcp_retransmissions, 1u);
  EXPECT_EQ(i.tcp_half_open, 0u);
  EXPECT_EQ(i.ended_flows, 2u);
}

TEST(FlowTable, AHoleFilledAtOnceIsOutOfOrder) {
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpAck, 100, 10));
  observe(*table, segment(kStart + kMs, true, kTcpAck, 120, 10));
  observe(*table, segment(kStart + 2 * kMs, true, kTcpAck, 110, 10));
  const FlowInterval i = table->take_interval(kStart + 10 * kMs);
  EXPECT_EQ(i.tcp_out_of_order, 1u);
  EXPECT_EQ(i.tcp_retransmissions, 0u);
}

TEST(FlowTable, TheInitiatorIsWhoSentTheSyn) {
  auto table = make_table();
  observe(*table, segment(kStart, false, kTcpSyn | kTcpAck, 500));  // capture began midway
  EXPECT_TRUE(rows_of(*table).front().initiator_is_low);
  // Leftovers of an old connection from the server, then a SYN from the client.
  observe(*table, segment(kStart, false, kTcpAck, 900, 10, 2));
  EXPECT_FALSE(rows_of(*table).back().initiator_is_low);
  observe(*table, segment(kStart + kMs, true, kTcpSyn, 100, 0, 2));
  const FlowRow row = rows_of(*table).back();
  EXPECT_TRUE(row.initiator_is_low);
  EXPECT_EQ(row.packets[0], 1u);
  EXPECT_EQ(row.packets[1], 1u);
}

TEST(FlowTable, CountsPayloadOnlyWhenAskedAndKeepsItWithItsEnd) {
  FlowTableOptions options;
  options.max_flows = 1;
  options.count_payload = true;
  auto table = make_table(options);
  // Joined midway: the server speaks first, then a SYN names the client the initiator.
  observe(*table, segment(kStart, false, kTcpAck, 500, 300));
  EXPECT_EQ(rows_of(*table).front().payload_bytes[0], 300u);
  observe(*table, segment(kStart + kMs, true, kTcpSyn, 10));
  observe(*table, segment(kStart + 2 * kMs, true, kTcpAck, 11, 20));
  observe(*table, segment(kStart + 3 * kMs, true, kTcpAck, 11, 20));  // sent again
  EXPECT_EQ(rows_of(*table).front().payload_bytes[0], 40u);
  EXPECT_EQ(rows_of(*table).front().payload_bytes[1], 300u);
  // The next flow in the same slot begins at 0.
  observe(*table, packet(kStart + 4 * kMs, 2, true, 7));
  EXPECT_EQ(rows_of(*table).front().payload_bytes[0], 7u);
  EXPECT_EQ(rows_of(*table).front().payload_bytes[1], 0u);

  auto without = make_table();
  observe(*without, packet(kStart, 1, true, 7));
  EXPECT_EQ(rows_of(*without).front().payload_bytes[0], std::nullopt);
}

TEST(FlowTable, SuperPacketsAreFramesWhoseLengthProvesIt) {
  const auto of = [](FlowTable& table) {
    const FlowInterval got = table.take_interval(kStart + kMs);
    return std::pair(got.super_packets, got.super_packet_segments);
  };
  const auto show = [](FlowTable& table) {
    for (const uint32_t payload : {512u, 513u, 5000u, 60'000u}) {
      observe(table, packet(kStart, 1, true, payload));
    }
    ParsedPacket left_out = segment(kStart, true, kTcpAck, 1, 3000);
    left_out.lengths_left_out = true;
    observe(table, left_out);
  };
  const std::pair<uint64_t, uint64_t> none_but_left_out{1, 1}, declared{4, 2 + 10 + 118 + 6},
      ethernet{3, 4 + 41 + 3};
  auto unknown = make_table();
  show(*unknown);
  EXPECT_EQ(of(*unknown), none_but_left_out);

  FlowTableOptions options;
  options.segment_bytes = 512;
  auto told = make_table(options);
  told->set_mtu(65'536);  // what was declared counts
  show(*told);
  EXPECT_EQ(of(*told), declared);

  auto by_mtu = make_table();
  by_mtu->set_mtu(1500);
  show(*by_mtu);
  EXPECT_EQ(of(*by_mtu), ethernet);
}

TEST(FlowTable, ClearedItEndsAllAndBeginsAnew) {
  FlowTableOptions options;
  options.idle_timeout_ns = 2 * kS;
  auto table = make_table(options, 100);
  for (uint32_t client = 0; client < 50; ++client) {
    observe(*table, packet(kStart + client * kMs, client, true));
  }
  observe(*table, segment(kStart + 60 * kMs, true, kTcpSyn, 5, 0, 77));
  table->clear();
  EXPECT_EQ(table->flow_count(), 0u);
  EXPECT_EQ(table->active_flows(), 0u);
  // The same ends again are flows again, and expire as before.
  for (uint32_t client = 0; client < 50; ++client) {
    observe(*table, packet(kStart + 100 * kMs, client, true));
  }
  EXPECT_EQ(table->active_flows(), 50u);
  FlowInterval interval = table->take_interval(kStart + 200 * kMs);
  EXPECT_EQ(interval.live_flows, 50u);
  EXPECT_EQ(interval.new_flows, 101u);
  EXPECT_EQ(interval.ended_flows, 51u);
  EXPECT_EQ(interval.tcp_half_open, 0u);
  EXPECT_EQ(interval.evicted_flows, 0u);
  std::vector<FlowRow> rows;
  table->take_changed(rows);
  interval = table->take_interval(kStart + 10 * kS);
  EXPECT_EQ(interval.live_flows, 0u);
  EXPECT_EQ(interval.ended_flows, 50u);
  EXPECT_EQ(interval.unanswered, 50u);
}

TEST(FlowTable, EvictionTakesTheWeakFirstAndSaysSo) {
  FlowTableOptions options;
  options.max_flows = 3;
  auto table = make_table(options, 100);
  for (int i = 0; i < 2; ++i) observe(*table, packet(kStart + i, 1, true));  // a talker, oldest
  observe(*table, packet(kStart + 10, 2, true));
  observe(*table, segment(kStart + 20, true, kTcpSyn, 1, 0, 3));
  for (uint32_t client = 4; client < 1000; ++client) {
    observe(*table, segment(kStart + client * 100, true, kTcpSyn, 1, 0, client));
  }
  const FlowInterval i = table->take_interval(kStart + kMs);
  EXPECT_EQ(i.evicted_flows, 996u);
  EXPECT_EQ(table->flow_count(), 3u);
  EXPECT_EQ(i.active_flows, 3u);
  EXPECT_TRUE(i.active_is_lower_bound);
  EXPECT_EQ(i.tcp_half_open, 2u);
  EXPECT_EQ(rows_of(*table).front().packets[0], 2u) << "the talker stayed";
  // The flag falls when the last evicted flow would have left the window anyway.
  EXPECT_TRUE(table->take_interval(kStart + 500 * kMs).active_is_lower_bound);
  table->take_interval(kStart + 2 * kS);
  EXPECT_FALSE(table->take_interval(kStart + 3 * kS).active_is_lower_bound);
  std::vector<FlowRow> rows;
  const uint64_t left = table->take_changed(rows) + table->take_rows_lost();
  EXPECT_EQ(rows.size() + left, 999u) << "those that were evicted are handed over or counted too";
}

TEST(FlowTable, ChangedRowsComeOnceOldestFirst) {
  auto table = make_table({}, 3);
  for (uint32_t client = 0; client < 5; ++client) observe(*table, packet(kStart, client, true));
  std::vector<FlowRow> rows;
  EXPECT_EQ(table->take_changed(rows), 2u);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].id, 1u);
  observe(*table, packet(kStart, 0, true));
  EXPECT_EQ(table->take_changed(rows), 0u);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].id, 4u);
  EXPECT_EQ(rows[2].id, 1u);
  EXPECT_EQ(table->take_changed(rows), 0u);
  EXPECT_TRUE(rows.empty());
  for (uint32_t client = 0; client < 5; ++client) observe(*table, packet(kStart, client, true));
  table->take_all_changed(rows);
  EXPECT_EQ(rows.size(), 5u) << "at the end there is no limit";
}

TEST(FlowTable, KeysThatCollideWithoutASeedDoNot) {
  // Keys whose words cancel in any hash that xors them unseeded: one seed's collisions are not
  // another's. With 65,536 keys a table that collides would take minutes.
  FlowTableOptions options;
  options.max_flows = 100'000;
  auto made = FlowTable::create(options, 0, HashSeed::random());
  ASSERT_TRUE(made.ok());
  FlowTable& table = **made;
  for (uint32_t i = 0; i < 65'536; ++i) {
    ParsedPacket p = packet(kStart, 0, true);
    std::memcpy(p.key.low.data(), &i, 4);
    std::memcpy(p.key.high.data(), &i, 4);
    p.key.high[15] = 1;
    observe(table, p);
  }
  EXPECT_EQ(table.flow_count(), 65'536u);
}

TEST(FlowTable, RefusesOptionsWithoutSense) {
  FlowTableOptions options;
  options.window_ns = 0;
  EXPECT_FALSE(FlowTable::create(options, 0, HashSeed::fixed(1)).ok());
  options = {};
  options.max_flows = 0;
  EXPECT_FALSE(FlowTable::create(options, 0, HashSeed::fixed(1)).ok());
  options = {};
  options.period_ns = -1;
  EXPECT_FALSE(FlowTable::create(options, 0, HashSeed::fixed(1)).ok());
}

TEST(PackedDuration, IsExactWhereItSaysAndNearElsewhere) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t value = random() >> (7 + random() % 56);
    const int64_t back = PackedDuration::unpack(PackedDuration::pack(value));
    const int64_t error = std::abs(back - static_cast<int64_t>(value));
    EXPECT_LE(static_cast<double>(error), static_cast<double>(value) * 1e-8);
    if (value < 134'000'000) {
      EXPECT_EQ(error, 0);
    }
    const auto negative = -static_cast<int64_t>(value);
    const int64_t negative_back =
        PackedSignedDuration::unpack(PackedSignedDuration::pack(negative));
    EXPECT_LE(static_cast<double>(std::abs(negative_back - negative)),
              static_cast<double>(value) * 2e-8);
  }
  EXPECT_EQ(PackedDuration::unpack(PackedDuration::pack(kS)), kS);
}

}  // namespace
}  // namespace topspin
