// Compares the flow table with a naive model on random packets, and with numbers computed by hand.
#include "capture/flows/flow_table.h"

#include <fstream>
#include <functional>
#include <map>
#include <ostream>
#include <random>
#include <set>
#include <string_view>

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/capture/times.h"

namespace topspin {
namespace {

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

/// The packet, with a payload that begins with `head`.
ParsedPacket saying(std::string_view head, ParsedPacket p) {
  p.payload_head = 0;
  std::memcpy(&p.payload_head, head.data(), std::min(head.size(), sizeof p.payload_head));
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

/// The definitions of the numbers, computed in the slow way.
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
      // Some steps are multiples of 250 ms, to hit the edges of buckets and of the window.
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
                    // Ticks of 2.3 s: many wait in one for eviction, and send meanwhile.
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

/// Sends messages of client 1 after the gaps. Returns the time of the last.
int64_t send_after(FlowTable& table, int64_t at_ns, const std::vector<int64_t>& gaps_us) {
  for (const int64_t gap : gaps_us) observe(table, packet(at_ns += gap * 1000, 1, true));
  return at_ns;
}

TEST(FlowTable, LearnsAPeriodFromTenRegularGaps) {
  auto table = make_table();
  observe(*table, packet(kStart, 1, true));
  int64_t at = send_after(*table, kStart, std::vector<int64_t>(9, 1'000'000));
  EXPECT_EQ(rows_of(*table).front().period_ns, std::nullopt);
  at = send_after(*table, at, {1'000'000});
  EXPECT_EQ(rows_of(*table).front().period_ns, kS);
  FlowInterval i = table->take_interval(at);
  EXPECT_EQ(i.lateness.count(), 0u) << "what teaches is not judged";
  EXPECT_EQ(i.periodic_flows, 1u);

  at = send_after(*table, at, {1'100'000});
  i = table->take_interval(at);
  EXPECT_EQ(i.lateness.sum(), 100 * kMs);
  EXPECT_EQ(i.late_flows, 0u);
  // The period moves by a sixteenth of the lateness. It does not move after missed ticks, or after
  // a message that is late by more than a quarter of it.
  EXPECT_EQ(rows_of(*table).front().period_ns, kS + 100 * kMs / 16);
  at = send_after(*table, at, {5'000'000, 1'450'000, 700'000, 1'000'000});
  i = table->take_interval(at);
  EXPECT_EQ(i.missed_ticks, 4u);
  EXPECT_EQ(i.lateness.count(), 4u);
  EXPECT_TRUE(rows_of(*table).front().period_ns);
}

TEST(FlowTable, OrdinaryTrafficHasNoPeriod) {
  const auto period_after = [](const std::vector<int64_t>& gaps_us) {
    auto table = make_table();
    observe(*table, packet(kStart, 1, true));
    const int64_t at = send_after(*table, kStart, gaps_us);
    const FlowInterval i = table->take_interval(at + 100 * kS);
    EXPECT_EQ(i.lateness.count(), 0u);
    EXPECT_EQ(i.missed_ticks, 0u);
    EXPECT_EQ(i.late_flows, 0u);
    EXPECT_EQ(i.periodic_flows, 0u);
    EXPECT_EQ(i.silent_flows, 0u);
    const FlowRow row = rows_of(*table).front();
    EXPECT_EQ(row.lateness_last_ns, std::nullopt);
    EXPECT_EQ(row.missed_ticks, 0u);
    EXPECT_FALSE(row.silent);
    return row.period_ns;
  };
  std::vector<int64_t> equal(30, 0), fast(30, 900), mixed, random_gaps;
  equal.push_back(20'000'000);
  fast.push_back(5'000'000);
  std::mt19937_64 random(5);
  for (int i = 0; i < 40; ++i) {
    mixed.push_back(i % 2 == 0 ? 3000 : 997'000);
    random_gaps.push_back(1000 + static_cast<int64_t>(random() % 2'000'000));
  }
  EXPECT_EQ(period_after(equal), std::nullopt) << "stamps that are the same";
  EXPECT_EQ(period_after(fast), std::nullopt) << "gaps below a millisecond";
  EXPECT_EQ(period_after(mixed), std::nullopt) << "two messages a second";
  EXPECT_EQ(period_after(random_gaps), std::nullopt);
}

TEST(FlowTable, AClientThatWaitsForItsReplyHasNoPeriod) {
  auto table = make_table();
  int64_t at = kStart;
  for (int i = 0; i < 100; ++i) {  // a reply takes 5 ms; the next request comes 50 us later
    observe(*table, packet(at, 1, true));
    observe(*table, packet(at + 5 * kMs, 1, false));
    at += 5 * kMs + 50'000;
  }
  EXPECT_EQ(rows_of(*table).front().period_ns, std::nullopt);
  EXPECT_EQ(table->take_interval(at + kS).missed_ticks, 0u);
}

TEST(FlowTable, AClientThatWaitsHasNoPeriodThoughItIsHeldUpNowAndThen) {
  // Turns of 100 us for 4 ms. Then the client is off its CPU for 4 ms, at regular times.
  const int64_t kTurn = 100'000;
  auto table = make_table();
  int64_t at = kStart;
  for (int i = 0; i < 100; ++i) {
    for (int turn = 0; turn < 40; ++turn, at += kTurn) {
      observe(*table, packet(at, 1, true));
      observe(*table, packet(at + kTurn / 2, 1, false));
    }
    at += 4 * kMs;
  }
  EXPECT_EQ(rows_of(*table).front().period_ns, std::nullopt);
  // Turns of 5 ms. In every fourth, the reply is faster and a pause follows.
  table = make_table();
  for (int i = 0; i < 400; ++i) {
    const bool pauses = i % 4 == 3;
    observe(*table, packet(at, 1, true));
    observe(*table, packet(at + (pauses ? 2 : 5) * kMs, 1, false));
    at += 5 * kMs + 50'000;
  }
  EXPECT_EQ(rows_of(*table).front().period_ns, std::nullopt);
  // A client with a timer that sends three requests per tick, one after the other, has a period.
  table = make_table();
  for (int i = 0; i < 20; ++i, at += 100 * kMs) {
    for (int turn = 0; turn < 3; ++turn) {
      observe(*table, packet(at + turn * kTurn, 1, true));
      observe(*table, packet(at + turn * kTurn + kTurn / 2, 1, false));
    }
  }
  EXPECT_EQ(rows_of(*table).front().period_ns, 100 * kMs);
}

/// A client and its server, described by the distributions of their times.
struct PingPong {
  int64_t period_ns = 0;  // of the client's timer; 0: it works on each reply, then sends again
  double work_ns = 0;     // on each reply
  double work_spread = 0;
  double reply_ns = 0;
  double reply_spread = 0;
  double tardiness_ns = 0;  // of the timer, at most a few times this
};

/// How many of 25 such clients have a period after `requests` requests.
int clients_with_a_period(const PingPong& what, int requests, bool is_tcp) {
  int with_period = 0;
  for (unsigned seed = 0; seed < 25; ++seed) {
    std::mt19937_64 random(seed);
    std::lognormal_distribution<double> reply(0, what.reply_spread), work(0, what.work_spread);
    std::exponential_distribution<double> tardiness(1);
    auto table = make_table();
    uint32_t sent = 1, got = 1;
    int64_t at = kStart;
    for (int i = 0; i < requests; ++i) {
      const auto replied = at + static_cast<int64_t>(what.reply_ns * reply(random));
      if (is_tcp) {
        observe(*table, segment(at, true, kTcpAck, sent, 10));
        observe(*table, segment(replied, false, kTcpAck, got, 10));
        sent += 10;
        got += 10;
      } else {
        observe(*table, packet(at, 1, true));
        observe(*table, packet(replied, 1, false));
      }
      at = what.period_ns == 0
               ? replied + static_cast<int64_t>(what.work_ns * work(random))
               : std::max(replied, kStart + (i + 1) * what.period_ns +
                                       static_cast<int64_t>(what.tardiness_ns * tardiness(random)));
    }
    with_period += rows_of(*table).front().period_ns.has_value();
  }
  return with_period;
}

TEST(FlowTable, AClientThatWorksOnEachReplyHasNoPeriod) {
  constexpr double kMsD = kMs;
  for (const bool is_tcp : {false, true}) {
    for (const double work_spread : {.02, .1}) {
      for (const double reply : {.1, .4}) {  // of the 2 ms of work
        const PingPong loop{0, 2 * kMsD, work_spread, reply * 2 * kMsD, .3, 0};
        EXPECT_LE(clients_with_a_period(loop, 1000, is_tcp), 4)
            << "work varies by " << work_spread << ", a reply takes " << reply << " of it";
      }
    }
  }
}

TEST(FlowTable, AClientWithATimerHasAPeriodHoweverLongItsRepliesTake) {
  constexpr double kMsD = kMs;
  for (const bool is_tcp : {false, true}) {
    for (const double reply : {.001, .05, .3}) {  // of the period
      for (const double spread : {.05, .2}) {
        const PingPong timer{50 * kMs, 0, 0, reply * 50 * kMsD, spread, .04 * kMsD};
        EXPECT_GE(clients_with_a_period(timer, 11, is_tcp), 22) << reply << ' ' << spread;
        EXPECT_EQ(clients_with_a_period(timer, 100, is_tcp), 25) << reply << ' ' << spread;
      }
    }
  }
  // A client that sleeps for 20 ms after each reply is as regular as its sleep.
  const PingPong sleeper{0, 20 * kMsD, .003, .1 * kMsD, .2, 0};
  EXPECT_EQ(clients_with_a_period(sleeper, 11, false), 25);
}

TEST(FlowTable, APeriodThatNoLongerFitsIsForgotten) {
  auto table = make_table();
  observe(*table, packet(kStart, 1, true));
  int64_t at = send_after(*table, kStart, std::vector<int64_t>(10, 1'000'000));
  at = send_after(*table, at, std::vector<int64_t>(7, 300'000));
  EXPECT_TRUE(rows_of(*table).front().period_ns);
  at = send_after(*table, at, {1'000'000});  // fits, so counting starts again
  at = send_after(*table, at, std::vector<int64_t>(8, 300'000));
  EXPECT_EQ(rows_of(*table).front().period_ns, std::nullopt);
  at = send_after(*table, at, std::vector<int64_t>(10, 300'000));
  EXPECT_EQ(rows_of(*table).front().period_ns, 300 * kMs);
}

TEST(FlowTable, ABurstIsOneMessage) {
  auto table = make_table();
  int64_t at = kStart;
  for (int i = 0; i < 12; ++i) {  // five datagrams every 33 ms
    for (int k = 0; k < 5; ++k) observe(*table, packet(at + k * 20'000, 1, true));
    at += 33 * kMs;
  }
  EXPECT_EQ(rows_of(*table).front().period_ns, 33 * kMs);
  const FlowInterval i = table->take_interval(at);
  EXPECT_EQ(i.lateness.count(), 1u);
  EXPECT_EQ(i.lateness.sum(), 0);
}

TEST(FlowTable, OnlyPayloadOfTheInitiatorIsAMessage) {
  FlowTableOptions options;
  options.period_ns = kS;
  auto table = make_table(options);
  observe(*table, segment(kStart, true, kTcpSyn, 0));
  observe(*table, segment(kStart + kMs, false, kTcpSyn | kTcpAck, 0));
  observe(*table, segment(kStart + 2 * kMs, true, kTcpAck, 1));
  int64_t at = kStart + 10 * kMs;
  uint32_t sent = 1, got = 1;
  for (int i = 0; i < 5; ++i) {  // a request of two segments, one of which is sent again
    observe(*table, segment(at, true, kTcpAck, sent, 100));
    observe(*table, segment(at + 100'000, true, kTcpAck, sent + 100, 50));
    observe(*table, segment(at + 5 * kMs, true, kTcpAck, sent + 100, 50));  // retransmitted
    sent += 150;
    observe(*table, segment(at + 6 * kMs, false, kTcpAck, got, 70));
    got += 70;
    observe(*table, segment(at + 46 * kMs, true, kTcpAck, sent));          // acknowledged
    observe(*table, segment(at + 500 * kMs, true, kTcpAck, sent - 1, 1));  // keep-alive probe
    at += kS;
  }
  observe(*table, segment(at - 200 * kMs, true, kTcpFin | kTcpAck, sent));
  const FlowInterval i = table->take_interval(at);
  EXPECT_EQ(i.lateness.count(), 4u);
  EXPECT_EQ(i.lateness.sum(), 0);
  EXPECT_EQ(i.missed_ticks, 0u);
  EXPECT_EQ(i.requests, 5u);
  EXPECT_EQ(i.reply_latency.count(), 5u);
  EXPECT_EQ(i.unanswered, 0u);
}

TEST(FlowTable, AConnectionOnAReusedPortHasNoGapBeforeIt) {
  FlowTableOptions options;
  options.period_ns = kS;
  auto table = make_table(options);
  int64_t at = kStart;
  for (uint32_t connection = 0; connection < 3; ++connection) {
    const uint32_t isn = 1000 * (connection + 1);
    observe(*table, segment(at, true, kTcpSyn, isn));
    observe(*table, segment(at + kMs, true, kTcpAck, isn + 1, 10));
    observe(*table, segment(at + 2 * kMs, false, kTcpAck, isn, 10));
    observe(*table, segment(at + 3 * kMs, true, kTcpRst, isn + 11));
    at += 30 * kS;
  }
  const FlowInterval i = table->take_interval(at);
  EXPECT_EQ(i.missed_ticks, 0u);
  EXPECT_EQ(i.lateness.count(), 0u);
  EXPECT_EQ(i.new_flows, 3u);
  EXPECT_EQ(i.ended_flows, 3u);
  EXPECT_EQ(i.live_flows, 0u);
  EXPECT_EQ(i.tcp.flows, 1u) << "one 5-tuple";
}

TEST(FlowTable, OneStampFromThePastMissesNoTicks) {
  FlowTableOptions options;
  options.period_ns = kS;
  auto table = make_table(options);
  for (int i = 0; i < 10; ++i) {
    observe(*table, packet(kStart + i * kS - (i == 5 ? 3600 * kS : 0), 1, true));
  }
  const FlowInterval i = table->take_interval(kStart + 9 * kS);
  EXPECT_EQ(i.missed_ticks, 0u);
  EXPECT_EQ(i.lateness.count(), 7u) << "none over the odd one";
  EXPECT_EQ(i.time_steps, 1u);
}

TEST(FlowTable, APeriodicClientOfAStalledServerIsOnTimeAndEachRequestWaits) {
  FlowTableOptions options;
  options.period_ns = kS;
  auto table = make_table(options);
  uint32_t sequence = 1;
  for (int i = 0; i < 6; ++i) {
    observe(*table, segment(kStart + i * kS, true, kTcpAck, sequence, 10));
    sequence += 10;
  }
  observe(*table, segment(kStart + 5500 * kMs, false, kTcpAck, 1, 10));
  table->finish(kStart + 6 * kS);
  const FlowInterval i = table->take_interval(kStart + 6 * kS);
  EXPECT_EQ(i.lateness.count(), 5u);
  EXPECT_EQ(i.missed_ticks, 0u);
  EXPECT_EQ(i.requests, 6u);
  EXPECT_EQ(i.overlapping_requests, 0u);
  EXPECT_EQ(i.reply_latency.count(), 5u) << "the last is still waited for";
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(5500 * kMs + 4 * kS));
  EXPECT_EQ(i.late_replies, 1u);
  EXPECT_EQ(i.unanswered, 5u);
}

TEST(FlowTable, RequestsOnOneConnectionIntoSilenceCountEachInItsTick) {
  auto table = make_table({}, 100);
  std::vector<uint64_t> unanswered;
  for (uint32_t i = 0; i < 5; ++i) {
    const int64_t at = kStart + i * 1700 * kMs;
    for (uint32_t client = 0; client < 10; ++client) {
      observe(*table, segment(at, true, kTcpAck, 1 + i * 10, 10, client));
    }
    unanswered.push_back(table->take_interval(at + 1100 * kMs).unanswered);
  }
  EXPECT_EQ(unanswered, std::vector<uint64_t>(5, 10));
  table->finish(kStart + 20 * kS);
  table->take_interval(kStart + 20 * kS);
  EXPECT_EQ(table->totals().requests, 50u);
  EXPECT_EQ(table->totals().unanswered, 50u);
  EXPECT_EQ(table->totals().reply_latency.count(), 50u);
  for (const FlowRow& row : rows_of(*table)) EXPECT_EQ(row.unanswered, 5u);
}

TEST(FlowTable, ATcpServerThatIsAlwaysLateIsNotFast) {
  for (const int64_t gap : {1000, 1700}) {
    for (const uint32_t segments : {1u, 3u}) {  // of a reply
      std::multimap<int64_t, std::pair<bool, uint32_t>> wire;
      for (uint32_t i = 0; i < 20; ++i) {
        const int64_t at = kStart + i * gap * kMs;
        wire.emplace(at, std::pair(true, i * 10));
        for (uint32_t k = 0; k < segments; ++k) {
          wire.emplace(at + 2500 * kMs + k * 20'000, std::pair(false, (i * segments + k) * 10));
        }
      }
      auto table = make_table();
      for (const auto& [at, what] : wire) {
        observe(*table, segment(at, what.first, kTcpAck, 1 + what.second, 10));
      }
      table->finish(wire.rbegin()->first + 5 * kS);
      const FlowInterval i = table->take_interval(wire.rbegin()->first + 5 * kS);
      EXPECT_EQ(i.requests, 20u);
      EXPECT_EQ(i.unanswered, 20u);
      EXPECT_EQ(i.late_replies, 20u);
      EXPECT_EQ(i.reply_latency.count(), 20u);
      EXPECT_EQ(*i.reply_latency.min(), static_cast<uint64_t>(2500 * kMs));
      EXPECT_EQ(*i.reply_latency.max(), static_cast<uint64_t>(2500 * kMs));
    }
  }
}

TEST(FlowTable, AnUploadIsOneRequestHoweverLong) {
  auto table = make_table();
  for (uint32_t i = 0; i < 100; ++i) {
    observe(*table, segment(kStart + i * 100 * kMs, true, kTcpAck, 1 + i * 10, 10));
  }
  observe(*table, segment(kStart + 10 * kS, false, kTcpAck, 1, 10));
  const FlowInterval i = table->take_interval(kStart + 11 * kS);
  EXPECT_EQ(i.late_replies, 1u);
  EXPECT_EQ(i.unanswered, 1u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(10 * kS));
}

TEST(FlowTable, AnUploadThatIsPacedHasNoPeriodButAHeartbeatHas) {
  // 200 messages of `payload` bytes that nothing answers, one every 300 ms.
  const auto observe_stream = [](uint32_t payload, uint8_t protocol) {
    auto table = make_table();
    for (uint32_t i = 0; i < 200; ++i) {
      const int64_t at_ns = kStart + i * 300 * kMs;
      observe(*table, protocol == kProtocolUdp
                          ? packet(at_ns, 1, true, payload)
                          : segment(at_ns, true, kTcpAck, 1 + i * payload, payload));
      if (protocol == kProtocolTcp) observe(*table, segment(at_ns + kMs, false, kTcpAck, 1));
    }
    observe(*table, packet(kStart + 60 * kS, 1, false, 10, protocol));
    return table->take_interval(kStart + 60 * kS);
  };
  const FlowInterval upload = observe_stream(16'384, kProtocolTcp);
  EXPECT_EQ(upload.periodic_flows, 0u);
  EXPECT_EQ(upload.lateness.count(), 0u);
  EXPECT_EQ(upload.missed_ticks, 0u);
  EXPECT_EQ(upload.requests, 1u) << "it is one request, however long";
  EXPECT_EQ(upload.reply_latency.count(), 1u);
  EXPECT_EQ(observe_stream(100, kProtocolTcp).periodic_flows, 1u);
  EXPECT_EQ(observe_stream(100, kProtocolUdp).periodic_flows, 1u);
  EXPECT_EQ(observe_stream(1'400, kProtocolUdp).periodic_flows, 1u);
}

TEST(FlowTable, WhatGoesOneWayUntilTheClientsFinIsNoRequestButOneOfHttpIs) {
  for (const bool is_http : {false, true}) {
    // The client closes at once, after a wait for a CPU, or after it has given up.
    for (const int64_t wait : {kMs / 10, 15 * kMs, 100 * kMs}) {
      auto table = make_table();
      for (uint32_t i = 0; i < 10; ++i) {
        ParsedPacket p = segment(kStart + i * 20 * kMs, true, kTcpAck, 1 + i * 1000, 1000);
        if (i == 0 && is_http) std::memcpy(&p.payload_head, "POST /up", 8);
        observe(*table, p);
      }
      observe(*table, segment(kStart + 180 * kMs + wait, true, kTcpFin | kTcpAck, 10'001));
      observe(*table, segment(kStart + 181 * kMs + wait, false, kTcpFin | kTcpAck, 1));
      table->finish(kStart + 5 * kS);
      const FlowInterval i = table->take_interval(kStart + 5 * kS);
      const bool is_request = is_http || wait == 100 * kMs;
      EXPECT_EQ(i.requests, is_request ? 1u : 0u);
      EXPECT_EQ(i.unanswered, is_request ? 1u : 0u);
      EXPECT_EQ(i.reply_latency.count(), is_request ? 1u : 0u);
      EXPECT_EQ(i.ended_flows, 1u);
    }
  }
}

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(FlowTable, AFloodOfSynsTakesTheMemoryOfTheTableAndNoMore) {
  constexpr uint64_t kFlows = 50'000, kSyns = 1'000'000;
  FlowTableOptions options;
  options.max_flows = kFlows;
  options.idle_timeout_ns = 60 * kS;
  const int64_t before = resident_bytes();
  auto table = make_table(options, 10'000);
  std::vector<FlowRow> rows;
  int64_t most = 0;
  uint64_t given_up = 0;
  for (uint32_t i = 0; i < kSyns; ++i) {
    const int64_t at_ns = kStart + i * kMs / 100;
    observe(*table, segment(at_ns, true, kTcpSyn, i * 7, 0, i));
    if (i % 100'000 != 99'999) continue;
    given_up += *table->take_interval(at_ns).tcp_never_completed;
    table->take_changed(rows);
    most = std::max(most, resident_bytes() - before);
  }
  table->finish(table->now_ns() + kS);
  given_up += *table->take_interval(table->now_ns()).tcp_never_completed;
  EXPECT_EQ(table->flow_count(), kFlows);
  EXPECT_EQ(table->totals().new_flows, kSyns);
  EXPECT_EQ(table->totals().evicted_flows, kSyns - kFlows);
  EXPECT_GT(given_up, 0u);
  // 192 bytes per flow, the rows of an interval twice, and what the allocator keeps.
  EXPECT_LT(most, static_cast<int64_t>(kFlows * 192 + 2 * 10'000 * sizeof(FlowRow)) + (32 << 20));
}

TEST(FlowTable, MissedTicksOfASilentFlowGrowWithTheClock) {
  FlowTableOptions options;
  options.period_ns = kS;
  auto table = make_table(options, 100);
  for (uint32_t client = 0; client < 3; ++client) {
    observe(*table, packet(kStart, client, true));
    observe(*table, packet(kStart + 1, client, false));
  }
  std::vector<FlowRow> rows;
  std::vector<uint64_t> missed, silent;
  for (int second = 1; second <= 6; ++second) {
    const int64_t at = kStart + second * kS;
    if (second < 6) observe(*table, packet(at, 0, true));   // one client goes on until then
    if (second == 5) observe(*table, packet(at, 1, true));  // one client comes back
    const FlowInterval i = table->take_interval(at + kMs);
    missed.push_back(i.missed_ticks);
    silent.push_back(i.silent_flows);
    EXPECT_EQ(i.periodic_flows, 3u);
    table->take_changed(rows);
    if (second == 3) {
      ASSERT_EQ(rows.size(), 3u) << "silent flows are handed over as they grow";
      EXPECT_FALSE(rows[0].silent);
      EXPECT_TRUE(rows[1].silent);
      EXPECT_EQ(rows[1].missed_ticks, 2u);
    }
  }
  // A tick counts as missed when half a period has passed after it.
  EXPECT_EQ(missed, (std::vector<uint64_t>{0, 2, 2, 2, 2, 1}));
  EXPECT_EQ(silent, (std::vector<uint64_t>{0, 0, 2, 2, 1, 1}));
  const std::vector<FlowRow> all = rows_of(*table);
  EXPECT_EQ(all[0].missed_ticks, 0u);
  EXPECT_EQ(all[1].missed_ticks, 4u);
  EXPECT_FALSE(all[1].silent);
  EXPECT_EQ(all[2].missed_ticks, 5u);
  EXPECT_EQ(table->totals().missed_ticks, 9u);
  EXPECT_EQ(table->totals().silent_flows, 1u);
}

TEST(FlowTable, WhatASilentFlowMissedStaysCountedWhenItLeaves) {
  FlowTableOptions options;
  options.period_ns = kS;
  options.idle_timeout_ns = 10 * kS;
  auto table = make_table(options, 100);
  observe(*table, packet(kStart, 1, true));
  EXPECT_EQ(table->take_interval(kStart + 5 * kS).missed_ticks, 4u);
  std::vector<FlowRow> rows;
  table->take_changed(rows);
  const FlowInterval gone = table->take_interval(kStart + 20 * kS);
  EXPECT_EQ(gone.ended_flows, 1u);
  EXPECT_EQ(gone.silent_flows, 0u);
  table->take_changed(rows);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].missed_ticks, 4u + gone.missed_ticks);
  EXPECT_GE(rows[0].missed_ticks, 9u);
  EXPECT_TRUE(rows[0].ended);
  EXPECT_FALSE(rows[0].silent);
}

TEST(FlowTable, RepliesAnswerTheOldestRequest) {
  auto table = make_table();
  observe(*table, packet(kStart, 1, true));
  observe(*table, packet(kStart + 10 * kMs, 1, true));
  observe(*table, packet(kStart + 30 * kMs, 1, false));  // 30 ms
  observe(*table, packet(kStart + 45 * kMs, 1, false));  // 35 ms
  observe(*table, packet(kStart + 50 * kMs, 1, false));  // answers nothing
  observe(*table, packet(kStart + 900 * kMs, 1, true));
  observe(*table, packet(kStart + 901 * kMs, 1, false, 0));  // no payload
  observe(*table, packet(kStart + 905 * kMs, 1, false));     // 5 ms
  const FlowInterval i = table->take_interval(kStart + kS);
  EXPECT_EQ(i.requests, 3u);
  EXPECT_EQ(i.reply_latency.count(), 3u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(70 * kMs));
  EXPECT_EQ(i.unanswered, 0u);
  EXPECT_EQ(i.overlapping_requests, 0u);
  const FlowRow row = rows_of(*table).front();
  EXPECT_EQ(row.replies, 3u);
  EXPECT_EQ(row.reply_latency_sum_ns, 70 * kMs);
  EXPECT_EQ(row.reply_latency_max_ns, 35 * kMs);
  EXPECT_EQ(row.reply_latency_last_ns, 5 * kMs);
}

TEST(FlowTable, ARequestRunsOutOnceAndALateReplyHasItsRealLatency) {
  auto table = make_table();
  observe(*table, packet(kStart, 1, true));
  EXPECT_EQ(table->take_interval(kStart + 1000 * kMs).unanswered, 0u);
  EXPECT_EQ(table->take_interval(kStart + 1002 * kMs).unanswered, 1u);
  EXPECT_EQ(rows_of(*table).front().unanswered, 1u);
  observe(*table, packet(kStart + 1500 * kMs, 1, false));
  observe(*table, packet(kStart + 1600 * kMs, 1, true));
  observe(*table, packet(kStart + 1700 * kMs, 1, false));
  const FlowInterval i = table->take_interval(kStart + 1700 * kMs);
  EXPECT_EQ(i.unanswered, 0u);
  EXPECT_EQ(i.late_replies, 1u);
  EXPECT_EQ(i.reply_latency.count(), 2u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(1600 * kMs));
  EXPECT_EQ(rows_of(*table).front().unanswered, 1u);
  EXPECT_EQ(table->totals().unanswered, 1u);
  EXPECT_EQ(table->totals().requests, 2u);
}

TEST(FlowTable, AReplyAtExactlyTheTimeoutAnswers) {
  for (const int64_t begin : {kStart, kStart + 1, kStart + 999'999}) {
    for (const int64_t over : {0, 1, 999'999}) {
      auto table = make_table();
      observe(*table, packet(begin, 1, true));
      observe(*table, packet(begin + kS + over, 1, false));
      const FlowInterval i = table->take_interval(begin + 2 * kS);
      EXPECT_EQ(i.unanswered, over == 0 ? 0u : 1u);
      EXPECT_EQ(i.late_replies, over == 0 ? 0u : 1u);
      EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(kS + over));
      EXPECT_EQ(rows_of(*table).front().unanswered, over == 0 ? 0u : 1u);
    }
  }
}

TEST(FlowTable, AStallOfAllPingsShowsEveryWait) {
  auto table = make_table();
  for (const int64_t at : {0, 1000, 2000, 3000})
    observe(*table, packet(kStart + at * kMs, 1, true));
  for (int i = 0; i < 4; ++i) observe(*table, packet(kStart + 3600 * kMs, 1, false));
  const FlowInterval i = table->take_interval(kStart + 3700 * kMs);
  EXPECT_EQ(i.requests, 4u);
  EXPECT_EQ(i.reply_latency.count(), 4u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>((3600 + 2600 + 1600 + 600) * kMs));
  EXPECT_EQ(i.unanswered, 3u);
  EXPECT_EQ(i.late_replies, 3u);
}

TEST(FlowTable, OneLostPingDelaysNoOther) {
  auto table = make_table();
  uint64_t timeouts = 0;
  for (int i = 0; i < 10; ++i) {
    const int64_t at = kStart + i * kS;
    observe(*table, packet(at, 1, true));
    if (i != 2) observe(*table, packet(at + kMs, 1, false));
    const FlowInterval tick = table->take_interval(at + 500 * kMs);
    // The reply to the next ping has come. After the reply to the one after it, nobody waits for
    // the lost one.
    if (tick.reply_latency.count() == 2) {
      EXPECT_EQ(i, 4);
      EXPECT_EQ(*tick.reply_latency.max(), static_cast<uint64_t>(kS));
      ++timeouts;
    }
  }
  EXPECT_EQ(timeouts, 1u);
  EXPECT_EQ(table->totals().unanswered, 1u);
  EXPECT_EQ(table->totals().late_replies, 0u);
  EXPECT_EQ(table->totals().reply_latency.sum(), static_cast<uint64_t>(kS + 9 * kMs));
}

TEST(FlowTable, OneLostPingShiftsNoReplyToTheNext) {
  auto table = make_table();
  for (int i = 0; i < 50; ++i) {
    const int64_t at = kStart + i * 100 * kMs;
    observe(*table, packet(at, 1, true));
    if (i != 20) observe(*table, packet(at + kMs, 1, false));
  }
  const FlowInterval i = table->take_interval(kStart + 5 * kS);
  EXPECT_EQ(i.requests, 50u);
  EXPECT_EQ(i.reply_latency.count(), 50u);
  EXPECT_EQ(i.unanswered, 1u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(kS + 49 * kMs));
}

TEST(FlowTable, PingsThatAServerMissedBeforeItCameUpShiftNoReply) {
  auto table = make_table();
  for (int i = 0; i < 20; ++i) {
    const int64_t at = kStart + i * 500 * kMs;
    observe(*table, packet(at, 1, true));
    if (i >= 4) observe(*table, packet(at + 20 * kMs, 1, false));
    if (i == 3) (void)table->take_interval(at + 10 * kMs);
  }
  const FlowInterval i = table->take_interval(kStart + 11 * kS);
  EXPECT_EQ(i.reply_latency.min(), static_cast<uint64_t>(20 * kMs));
  EXPECT_EQ(table->totals().unanswered, 4u);
  EXPECT_EQ(table->totals().reply_latency.sum(), static_cast<uint64_t>(4 * kS + 16 * 20 * kMs));
}

TEST(FlowTable, ASlowServerUnderFastPingsShowsItsRealLatency) {
  auto table = make_table();
  std::multimap<int64_t, bool> wire;
  for (int i = 0; i < 50; ++i) {
    const int64_t at = kStart + i * 100 * kMs;
    wire.emplace(at, true);
    wire.emplace(at + (i < 10 ? 1 : 430) * kMs, false);
  }
  for (const auto& [at, from_client] : wire) observe(*table, packet(at, 1, from_client));
  const FlowInterval i = table->take_interval(kStart + 6 * kS);
  EXPECT_EQ(i.unanswered, 0u);
  EXPECT_EQ(i.reply_latency.count(), 50u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>((10 + 40 * 430) * kMs));
}

/// Pings of one flow, `gap` apart. Ping i is answered after `reply_after(i)`; negative: never.
FlowInterval ping(int count, int64_t gap, const std::function<int64_t(int)>& reply_after) {
  auto table = make_table();
  std::multimap<int64_t, bool> wire;
  for (int i = 0; i < count; ++i) {
    const int64_t at = kStart + i * gap;
    wire.emplace(at, true);
    if (reply_after(i) >= 0) wire.emplace(at + reply_after(i), false);
  }
  for (const auto& [at, from_client] : wire) observe(*table, packet(at, 1, from_client));
  const int64_t end = wire.rbegin()->first + 10 * kS;
  table->finish(end);
  return table->take_interval(end);
}

TEST(FlowTable, AServerThatIsAlwaysLateIsNotFast) {
  for (const int64_t gap : {kS, 500 * kMs, 700 * kMs}) {
    for (const int64_t reply : {1300, 1700, 2500, 4200}) {
      if (reply * kMs % gap < gap / 8) continue;  // indistinguishable from an immediate reply
      const FlowInterval i = ping(30, gap, [&](int) { return reply * kMs; });
      EXPECT_EQ(i.requests, 30u);
      EXPECT_EQ(i.unanswered, 30u) << reply << " ms, every " << gap / kMs;
      EXPECT_EQ(i.late_replies, 30u) << reply << " ms, every " << gap / kMs;
      EXPECT_EQ(i.reply_latency.count(), 30u);
      EXPECT_EQ(*i.reply_latency.min(), static_cast<uint64_t>(reply * kMs));
      EXPECT_EQ(*i.reply_latency.max(), static_cast<uint64_t>(reply * kMs));
    }
  }
}

TEST(FlowTable, AServerThatBecomesLateIsFollowed) {
  // At once, and little by little, through all lengths of wait.
  FlowInterval i = ping(40, kS, [](int n) { return (n < 10 ? 1 : 2500) * kMs; });
  EXPECT_EQ(i.late_replies, 30u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>((10 + 30 * 2500) * kMs));
  i = ping(40, kS, [](int n) { return (n < 10 ? 1 : n < 13 ? 2300 : 2050 + n * 37 % 300) * kMs; });
  EXPECT_EQ(i.late_replies, 30u) << "once it is steady, it may come close to the next request";
  i = ping(40, kS, [](int n) { return (1 + 100 * n) * kMs; });
  EXPECT_EQ(i.late_replies, 30u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>((40 + 100 * 780) * kMs));
}

TEST(FlowTable, LossShiftsNoReplyHoweverMuchIsLost) {
  for (const unsigned lost : {1u, 10u, 50u}) {
    for (unsigned seed = 1; seed <= 20; ++seed) {
      std::mt19937_64 random(seed);
      uint64_t answered = 0;
      const FlowInterval i = ping(200, kS, [&, was = std::map<int, bool>()](int n) mutable {
        if (!was.contains(n)) {
          was[n] = random() % 100 >= lost;
          answered += was[n];
        }
        return was[n] ? kMs + n % 7 * 100'000 : -1;
      });
      EXPECT_EQ(i.requests, 200u);
      EXPECT_EQ(i.unanswered, 200 - answered) << lost << "%, seed " << seed;
      EXPECT_EQ(i.late_replies, 0u) << lost << "%, seed " << seed;
      EXPECT_EQ(i.reply_latency.count(), 200u);
    }
  }
}

TEST(FlowTable, AfterAStallRepliesGoOnAsBefore) {
  const auto stall = [](int n, int64_t reply) { return n >= 10 && n < 14 ? reply : kMs; };
  // At the end of the stall, all pings of it are answered, or none, or the second half.
  FlowInterval i = ping(30, kS, [&](int n) { return stall(n, (14 - n) * kS - 300 * kMs); });
  EXPECT_EQ(i.unanswered, 3u);
  EXPECT_EQ(i.late_replies, 3u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>((26 + 3700 + 2700 + 1700 + 700) * kMs));
  i = ping(30, kS, [&](int n) { return stall(n, -1); });
  EXPECT_EQ(i.unanswered, 4u);
  EXPECT_EQ(i.late_replies, 0u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(26 * kMs + 4 * kS));
  i = ping(30, kS,
           [&](int n) { return n < 12 ? stall(n, -1) : stall(n, (14 - n) * kS - 300 * kMs); });
  EXPECT_EQ(i.requests, 30u);
  EXPECT_EQ(i.reply_latency.count(), 30u);
  EXPECT_LE(i.late_replies, 2u) << "which two of the four were lost nothing tells";
  EXPECT_EQ(i.unanswered - i.late_replies, 2u);
}

TEST(FlowTable, ADeadServerLeavesNoRequestUncounted) {
  auto table = make_table();
  for (int i = 0; i < 200; ++i) observe(*table, packet(kStart + i * kS, 1, true));
  const int64_t end = kStart + 199 * kS + 500 * kMs;
  table->finish(end);
  const FlowInterval i = table->take_interval(end);
  EXPECT_EQ(i.requests, 200u);
  EXPECT_EQ(i.unanswered, 199u) << "the last is still waited for";
  EXPECT_EQ(i.reply_latency.count(), 199u);
  EXPECT_EQ(*i.reply_latency.min(), static_cast<uint64_t>(kS));
  EXPECT_EQ(i.overlapping_requests, 0u);
  EXPECT_EQ(rows_of(*table).front().unanswered, 199u);
}

TEST(FlowTable, AFloodBeyondItsRoomIsCountedAsOverlapping) {
  auto table = make_table();
  for (int i = 0; i < 1000; ++i) observe(*table, packet(kStart + i * 100, 1, true));
  table->finish(kStart + 2 * kS);
  const FlowInterval i = table->take_interval(kStart + 2 * kS);
  EXPECT_EQ(i.requests, 1000u);
  EXPECT_EQ(i.overlapping_requests, 1000u - 64);
  EXPECT_EQ(i.unanswered, 64u);
  EXPECT_EQ(i.reply_latency.count(), 64u);
}

TEST(FlowTable, RepliesThatBeginAsTheirRequestsAreMatchedByThat) {
  const auto query = [](int64_t at_ms, bool from_client, uint64_t id) {
    ParsedPacket p = packet(kStart + at_ms * kMs, 1, from_client);
    // DNS: the id, then flags that differ between query and answer.
    p.payload_head = id | (from_client ? 0x0001'0001ull : 0x8180'8001ull) << 16;
    return p;
  };
  auto table = make_table();
  observe(*table, query(0, true, 0x1111));
  observe(*table, query(1, true, 0x2222));
  observe(*table, query(5, false, 0x2222));   // 4 ms
  observe(*table, query(30, false, 0x1111));  // 30 ms
  observe(*table, query(100, true, 0x3333));
  observe(*table, query(1900, true, 0x4444));
  observe(*table, query(2400, false, 0x3333));  // 2.3 s: late, although another request waits
  observe(*table, query(2500, false, 0x4444));  // 0.6 s
  const FlowInterval i = table->take_interval(kStart + 3 * kS);
  EXPECT_EQ(i.requests, 4u);
  EXPECT_EQ(i.reply_latency.count(), 4u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>((4 + 30 + 2300 + 600) * kMs));
  EXPECT_EQ(*i.reply_latency.min(), static_cast<uint64_t>(4 * kMs));
  EXPECT_EQ(*i.reply_latency.max(), static_cast<uint64_t>(2300 * kMs));
  EXPECT_EQ(i.unanswered, 1u);
  EXPECT_EQ(i.late_replies, 1u);
}

/// A client sends 20 requests, each as soon as the previous one is answered. The server takes 10
/// ms, and each reply arrives a second time, 1 ms later. Returns what the table saw.
FlowInterval with_doubled_replies(const std::function<uint64_t(uint64_t)>& request_head,
                                  const std::function<uint64_t(uint64_t)>& reply_head) {
  auto table = make_table();
  const auto send = [&](int64_t at_ns, bool from_client, uint64_t head) {
    ParsedPacket p = packet(at_ns, 1, from_client);
    p.payload_head = head;
    observe(*table, p);
  };
  for (uint64_t i = 0; i < 20; ++i) {
    const int64_t at_ns = kStart + static_cast<int64_t>(i) * 10 * kMs;
    send(at_ns, true, request_head(i));
    if (i > 0) send(at_ns + kMs, false, reply_head(i - 1));
    send(at_ns + 10 * kMs - 1, false, reply_head(i));
  }
  return table->take_interval(kStart + kS);
}

TEST(FlowTable, AReplyThatComesTwiceAnswersNoOtherRequest) {
  const auto echo = [](uint64_t i) { return 0x1122'3344'5566'7700 + i; };
  const FlowInterval of_echo = with_doubled_replies(echo, echo);
  EXPECT_EQ(of_echo.repeated_replies, 19u);
  EXPECT_EQ(of_echo.reply_latency.count(), 20u);
  EXPECT_GE(of_echo.reply_latency.min(), static_cast<uint64_t>(9 * kMs));
  EXPECT_EQ(of_echo.unanswered, 0u);

  // DNS: only the id is the same. From the second reply on, it is known that replies repeat the id.
  const auto query = [](uint64_t i) { return 0x0100'0000'0000'3333 + i * 0x101; };
  const auto answer = [](uint64_t i) { return 0x8180'0001'0001'3333 + i * 0x101; };
  const FlowInterval of_dns = with_doubled_replies(query, answer);
  EXPECT_EQ(of_dns.repeated_replies, 18u);
  EXPECT_EQ(of_dns.reply_latency.count(), 20u);
  EXPECT_EQ(of_dns.reply_latency.sum(), static_cast<uint64_t>((19 * 10 + 1) * kMs) - 19);
}

TEST(FlowTable, RepliesThatAreAllAlikeAreNoRepeatedOnes) {
  const auto numbered = [](uint64_t i) { return i; };
  const auto text = [](uint64_t i) { return 0x1122'3344'5566'7700 + i * 7; };
  // The last constant equals a request by chance. This costs no more than that one reply.
  for (const uint64_t constant : {uint64_t{0}, uint64_t{0x4b4f}, uint64_t{0x1122'3344'5566'7700}}) {
    const uint64_t mistaken = constant == 0x1122'3344'5566'7700;
    auto table = make_table();
    int64_t at_ns = kStart;
    for (const auto& head : {std::function<uint64_t(uint64_t)>(numbered), {text}}) {
      for (uint64_t i = 0; i < 20; ++i) {
        ParsedPacket p = packet(at_ns += 10 * kMs, 1, true);
        p.payload_head = head(i);
        observe(*table, p);
        p = packet(at_ns + kMs, 1, false);
        p.payload_head = constant;
        observe(*table, p);
      }
    }
    const FlowInterval i = table->take_interval(table->now_ns());
    EXPECT_EQ(i.reply_latency.count(), 40u - mistaken) << constant;
    EXPECT_EQ(i.repeated_replies, mistaken);
  }
}

TEST(FlowTable, ARepeatedReplyAnswersNoneOfSeveralOpenRequests) {
  auto table = make_table();
  const auto send = [&](int64_t at_ms, bool from_client, uint64_t id) {
    ParsedPacket p = packet(kStart + at_ms * kMs, 1, from_client);
    p.payload_head = id | (from_client ? 0x0001'0001ull : 0x8180'8001ull) << 16;
    observe(*table, p);
  };
  send(0, true, 1);
  send(0, true, 2);
  send(0, true, 3);
  send(10, false, 1);
  send(11, false, 1);
  send(20, false, 2);
  send(21, false, 2);
  send(30, false, 3);
  const FlowInterval i = table->take_interval(kStart + kS);
  EXPECT_EQ(i.repeated_replies, 2u);
  EXPECT_EQ(i.reply_latency.count(), 3u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>((10 + 20 + 30) * kMs));
}

TEST(FlowTable, WhatIsSentToAGroupIsNoRequest) {
  auto table = make_table();
  ParsedPacket p = packet(kStart, 1, true);
  p.key.high = {224, 0, 0, 251};
  observe(*table, p);
  p.key.high = {255, 255, 255, 255};
  observe(*table, p);
  p.key.high = {0xff, 2};
  p.key.kind |= PacketKey::kIpv6;
  observe(*table, p);
  table->finish(kStart + 5 * kS);
  const FlowInterval i = table->take_interval(kStart + 5 * kS);
  EXPECT_EQ(i.udp.flows, 3u);
  EXPECT_EQ(i.requests, 0u);
  EXPECT_EQ(i.unanswered, 0u);
}

TEST(FlowTable, WhatASocketSendsToItselfIsNoRequest) {
  for (const uint8_t protocol : {kProtocolUdp, kProtocolTcp}) {
    auto table = make_table();
    for (uint32_t i = 0; i < 100; ++i) {
      ParsedPacket p = protocol == kProtocolTcp
                           ? segment(kStart + i * kMs, true, kTcpAck, 1 + i * 10, 10)
                           : packet(kStart + i * kMs, 1, true);
      p.key.high = p.key.low;
      p.key.high_port = p.key.low_port;
      observe(*table, p);
    }
    table->finish(kStart + 5 * kS);
    const FlowInterval i = table->take_interval(kStart + 5 * kS);
    EXPECT_EQ(i.requests, 0u);
    EXPECT_EQ(i.unanswered, 0u);
    EXPECT_EQ(i.overlapping_requests, 0u);
  }
}

TEST(FlowTable, TunnelsAndOneWayReportsAreNoRequests) {
  const auto observe_stream = [](uint8_t protocol, uint16_t port, uint64_t head) {
    auto table = make_table();
    for (uint32_t i = 0; i < 20; ++i) {
      ParsedPacket p = packet(kStart + i * 100 * kMs, 1, true, 148, protocol);
      p.key.low_port = 51820;
      p.key.high_port = port;
      p.has_tcp_header = protocol == kProtocolTcp;
      p.tcp_flags = kTcpAck;
      p.tcp_sequence = 1 + i * 148;
      p.payload_head = head;
      observe(*table, p);
    }
    table->finish(kStart + 9 * kS);
    return table->take_interval(kStart + 9 * kS);
  };
  constexpr uint64_t kWireguard = 0x1234'5678'0000'0001, kText = 0x3a61'3e34'333c;
  const struct {
    uint8_t protocol;
    uint16_t port;
    uint64_t head;
    bool is_request;
  } cases[] = {{kProtocolUdp, 514, kText, false},        {kProtocolUdp, 8125, kText, false},
               {kProtocolUdp, 4789, 8, false},           {kProtocolUdp, 8472, 8, false},
               {kProtocolUdp, 51820, kWireguard, false}, {kProtocolUdp, 7777, kText, true},
               {kProtocolTcp, 514, kText, false},        {kProtocolTcp, 8125, kText, true}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.port);
    const FlowInterval i = observe_stream(c.protocol, c.port, c.head);
    EXPECT_EQ(i.requests > 0, c.is_request);
    EXPECT_EQ(i.unanswered > 0, c.is_request);
    EXPECT_EQ(i.reply_latency.empty(), !c.is_request);
    EXPECT_EQ(i.periodic_flows, 1u);
  }
}

TEST(FlowTable, APortOfReportsThatAnswersServesSomethingElse) {
  auto table = make_table();
  for (uint32_t i = 0; i < 20; ++i) {
    for (const bool from_client : {true, false}) {
      ParsedPacket p = packet(kStart + i * 100 * kMs + (from_client ? 0 : kMs), 1, from_client, 20);
      p.key.low_port = 8125;
      p.key.high_port = 40'000;
      p.from_low = !from_client;
      if (from_client || i != 19) observe(*table, p);
    }
  }
  table->finish(kStart + 9 * kS);
  const FlowInterval i = table->take_interval(kStart + 9 * kS);
  EXPECT_EQ(i.requests, 20u);
  EXPECT_EQ(i.unanswered, 1u);
  EXPECT_EQ(i.reply_latency.count(), 20u);
}

TEST(FlowTable, ARequestCutOffByTheEndOfItsConnectionIsUnansweredOnce) {
  for (const uint8_t end : {kTcpRst, kTcpFin}) {
    auto table = make_table();
    observe(*table, segment(kStart, true, kTcpAck, 100, 10));
    observe(*table, segment(kStart + 10 * kMs, false, end | kTcpAck, 500));
    if (end == kTcpFin) observe(*table, segment(kStart + 11 * kMs, true, end | kTcpAck, 110));
    observe(*table, segment(kStart + 12 * kMs, true, kTcpAck, 110, 10));  // was on its way already
    table->finish(kStart + 5 * kS);
    const FlowInterval i = table->take_interval(kStart + 5 * kS);
    EXPECT_EQ(i.requests, 1u);
    EXPECT_EQ(i.unanswered, 1u);
    EXPECT_EQ(i.reply_latency.count(), 1u);
    EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(kS)) << "at least the timeout";
    EXPECT_EQ(rows_of(*table).front().unanswered, 1u);
    EXPECT_EQ(rows_of(*table).front().replies, 0u);
  }
}

TEST(FlowTable, AGoodbyeIsNoRequestUnlessItIsAnswered) {
  for (const bool answered : {false, true}) {
    auto table = make_table();
    observe(*table, saying("quit\n", segment(kStart, true, kTcpAck, 100, 5)));
    observe(*table, segment(kStart + 20'000, true, kTcpFin | kTcpAck, 105));
    if (answered) observe(*table, segment(kStart + 30 * kMs, false, kTcpAck, 500, 50));
    observe(*table, segment(kStart + 40 * kMs, false, kTcpFin | kTcpAck, answered ? 550 : 500));
    table->finish(kStart + 5 * kS);
    const FlowInterval i = table->take_interval(kStart + 5 * kS);
    EXPECT_EQ(i.requests, answered ? 1u : 0u);
    EXPECT_EQ(i.unanswered, 0u);
    EXPECT_EQ(i.reply_latency.count(), answered ? 1u : 0u);
    EXPECT_EQ(i.reply_latency.sum(), answered ? static_cast<uint64_t>(30 * kMs) : 0u);
  }
  // On a half-closed connection that nobody answers, the client waited.
  auto table = make_table();
  observe(*table, saying("quit\n", segment(kStart, true, kTcpAck, 100, 5)));
  observe(*table, segment(kStart, true, kTcpFin | kTcpAck, 105));
  table->finish(kStart + 5 * kS);
  EXPECT_EQ(table->take_interval(kStart + 5 * kS).unanswered, 1u);
}

/// Commands of memcached with "noreply". A request begins with the next command that wants a reply.
TEST(FlowTable, ACommandThatAsksForNoReplyIsNoRequest) {
  enum Next { kGet, kGetAtOnce, kClose, kReset, kNothing };
  for (const Noreply noreply : {Noreply::kNone, Noreply::kBegins, Noreply::kWhole}) {
    for (const Next next : {kGet, kGetAtOnce, kClose, kReset, kNothing}) {
      const auto what = testing::Message() << static_cast<int>(noreply) << ' ' << next;
      auto table = make_table();
      observe(*table, segment(kStart, true, kTcpSyn, 99));
      observe(*table, segment(kStart, false, kTcpSyn | kTcpAck, 499));
      observe(*table, segment(kStart, true, kTcpAck, 100, 10));
      observe(*table, segment(kStart + kMs, false, kTcpAck, 500, 10));
      ParsedPacket set = saying("set k 0 ", segment(kStart + 100 * kMs, true, kTcpAck, 110, 25));
      set.memcached_noreply = noreply;
      observe(*table, set);
      int64_t at = kStart + 100 * kMs + kMs / 10;
      uint32_t sent = 135;
      if (noreply == Noreply::kBegins) {
        observe(*table, segment(at, true, kTcpAck, sent, 90));
        sent += 90;
      }
      at += next == kGetAtOnce ? kMs / 10 : 300 * kMs;
      if (next == kGet || next == kGetAtOnce) {
        observe(*table, saying("get k\r\n", segment(at, true, kTcpAck, sent, 7)));
        observe(*table, segment(at + 2 * kMs, false, kTcpAck, 510, 10));
      }
      if (next == kClose || next == kReset) {
        observe(*table, segment(at, true, next == kReset ? kTcpRst : kTcpFin | kTcpAck, sent));
        if (next == kClose) observe(*table, segment(at, false, kTcpFin | kTcpAck, 510));
      }
      table->finish(kStart + 5 * kS);
      const FlowInterval i = table->take_interval(kStart + 5 * kS);
      const bool asked = noreply == Noreply::kNone;
      const bool got = next == kGet || next == kGetAtOnce;
      EXPECT_EQ(i.requests, asked || got ? 2u : 1u) << what;
      EXPECT_EQ(i.unanswered, asked && !got ? 1u : 0u) << what;
      EXPECT_EQ(i.reply_latency.count(), i.requests) << what;
      if (!asked && next == kGet) {
        EXPECT_EQ(i.reply_latency.max(), uint64_t{2 * kMs}) << what;
      }
    }
  }
}

TEST(FlowTable, AGoodbyeMayBeAnsweredByClosing) {
  enum Ends { kOrderly, kNotAnswered, kReset, kAfterTheTimeout, kClientStays, kReplyBehindFin };
  for (const Ends ends :
       {kOrderly, kNotAnswered, kReset, kAfterTheTimeout, kClientStays, kReplyBehindFin}) {
    for (const int64_t wait : {3, 50}) {
      auto table = make_table();
      const bool answered = ends != kNotAnswered;
      observe(*table, segment(kStart, true, kTcpSyn, 99));
      observe(*table, segment(kStart, false, kTcpSyn | kTcpAck, 499));
      if (answered) {
        observe(*table, segment(kStart, true, kTcpAck, 100, 10));
        observe(*table, segment(kStart + kMs, false, kTcpAck, 500, 10));
      }
      const uint32_t sent = answered ? 110 : 100, replied = answered ? 510 : 500;
      const int64_t at = kStart + 500 * kMs;
      observe(*table, saying("QUIT\r", segment(at, true, kTcpAck, sent, 5)));
      table->take_interval(at + kMs);
      const int64_t closed = at + (ends == kAfterTheTimeout ? 1500 * kMs : wait * kMs);
      const uint8_t how = ends == kReset ? kTcpRst : kTcpFin;
      const uint32_t behind = ends == kReplyBehindFin ? 20 : 0;
      observe(*table, segment(closed, false, how | kTcpAck, replied + behind));
      if (behind != 0) observe(*table, segment(closed + kMs, false, kTcpAck, replied, behind));
      if (ends != kReset && ends != kClientStays) {
        observe(*table, segment(closed + 2 * kMs, true, kTcpFin | kTcpAck, sent + 5));
      }
      // Another connection, so that there are requests to count.
      observe(*table, segment(closed + 5 * kMs, true, kTcpAck, 100, 10, 2));
      observe(*table, segment(closed + 6 * kMs, false, kTcpAck, 500, 10, 2));
      table->finish(kStart + 5 * kS);
      table->take_interval(kStart + 5 * kS);
      const FlowInterval& t = table->totals();
      const bool is_request = ends == kReset || ends == kAfterTheTimeout || behind != 0;
      EXPECT_EQ(t.requests, 1u + answered + is_request) << ends;
      EXPECT_EQ(t.unanswered, is_request && behind == 0 ? 1u : 0u) << ends;
      EXPECT_EQ(t.reply_latency.count(), t.requests) << ends;
    }
  }
}

TEST(FlowTable, OnlyAGoodbyeIsAnsweredByClosing) {
  using namespace std::string_view_literals;
  enum First { kServer, kClient, kBusyClient, kClientLater };
  const std::vector<std::pair<std::string_view, bool>> messages = {
      {"QUIT\r\n"sv, true},   {"quit\n"sv, true},       {"X\0\0\0\4"sv, true},
      {"\1\0\0\0\1"sv, true}, {"0\5\2\1\3B\0"sv, true}, {"</stream"sv, true},
      {"GET / HT"sv, false},  {"ping 123"sv, false},    {"QUITTING"sv, false},
      {"X\0\0\0\5"sv, false}, {"\1\0\0\0\2"sv, false},  {"SELECT 1"sv, false},
  };
  for (const auto& [message, is_goodbye] : messages) {
    for (const First first : {kServer, kClient, kBusyClient, kClientLater}) {
      auto table = make_table();
      const auto bytes = static_cast<uint32_t>(message.size());
      observe(*table, segment(kStart, true, kTcpSyn, 99));
      observe(*table, segment(kStart, false, kTcpSyn | kTcpAck, 499));
      observe(*table, segment(kStart, true, kTcpAck, 100, 10));
      observe(*table, segment(kStart + kMs, false, kTcpAck, 500, 10));
      const int64_t at = kStart + 500 * kMs;
      observe(*table, saying(message, segment(at, true, kTcpAck, 110, bytes)));
      const int64_t wait = first == kClientLater  ? 300 * kMs
                           : first == kBusyClient ? 200 * kMs
                                                  : kMs / 5;
      const int64_t closed = at + wait;
      observe(*table, segment(closed, first != kServer, kTcpFin | kTcpAck,
                              first == kServer ? 510 : 110 + bytes));
      observe(*table, segment(closed + kMs / 5, first == kServer, kTcpFin | kTcpAck,
                              first == kServer ? 110 + bytes : 510));
      table->finish(kStart + 5 * kS);
      table->take_interval(kStart + 5 * kS);
      const bool is_request = !is_goodbye || first == kClientLater;
      EXPECT_EQ(table->totals().requests, 1u + is_request) << message << first;
      EXPECT_EQ(table->totals().unanswered, is_request ? 1u : 0u) << message << first;
      EXPECT_EQ(table->totals().reply_latency.count(), 1u + is_request) << message << first;
    }
  }
}

/// One-shot clients send a request and close their sending side at once (nc -N, socat).
TEST(FlowTable, AHalfClosedRequestIsUnansweredWhateverEndsIt) {
  for (const bool http : {false, true})
    for (const uint8_t how : {kTcpFin, kTcpRst, uint8_t{0}}) {
      if (how == kTcpFin && !http) continue;  // the message may have needed no reply
      auto table = make_table();
      observe(*table, segment(kStart, true, kTcpSyn, 99));
      observe(*table, segment(kStart, false, kTcpSyn | kTcpAck, 499));
      observe(*table,
              saying(http ? "GET / HT" : "ping 123", segment(kStart, true, kTcpAck, 100, 20)));
      observe(*table, segment(kStart + kMs / 5, true, kTcpFin | kTcpAck, 120));
      if (how != 0) observe(*table, segment(kStart + 50 * kMs, false, how | kTcpAck, 500));
      // It counts when the timeout passes, not when the recording ends.
      observe(*table, segment(kStart + 3 * kS, true, kTcpSyn, 99, 0, 2));
      table->take_interval(kStart + 3 * kS);
      EXPECT_EQ(table->totals().requests, 1u) << int{how};
      EXPECT_EQ(table->totals().unanswered, 1u) << int{how};
      table->finish(kStart + 5 * kS);
      table->take_interval(kStart + 5 * kS);
      EXPECT_EQ(table->totals().unanswered, 1u) << int{how};
      EXPECT_EQ(table->totals().reply_latency.count(), 1u) << int{how};
    }
}

TEST(FlowTable, ARequestThatFollowsTheServersEndIsNotAnswered) {
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpAck, 100, 10));
  observe(*table, segment(kStart + kMs, false, kTcpAck, 500, 10));
  observe(*table, segment(kStart + 2 * kMs, false, kTcpFin | kTcpAck, 510));
  observe(*table, segment(kStart + 9 * kMs, true, kTcpAck, 110, 10));
  observe(*table, segment(kStart + 10 * kMs, false, kTcpRst, 511));
  table->finish(kStart + 5 * kS);
  EXPECT_EQ(table->take_interval(kStart + 5 * kS).unanswered, 1u);
}

TEST(FlowTable, RefusedConnectionsEnterNoLatency) {
  auto table = make_table();
  for (uint32_t i = 0; i < 3; ++i) {
    observe(*table, segment(kStart + i * kS, true, kTcpSyn, 100));
    observe(*table, segment(kStart + i * kS + kMs, false, kTcpRst | kTcpAck, 0));
  }
  table->finish(kStart + 10 * kS);
  FlowInterval i = table->take_interval(kStart + 10 * kS);
  EXPECT_EQ(i.tcp_refused, 3u);
  EXPECT_EQ(i.tcp_retransmissions, 2u);
  EXPECT_EQ(i.new_flows, 1u);
  EXPECT_EQ(i.ended_flows, 1u);
  EXPECT_EQ(i.live_flows, 0u);
  EXPECT_EQ(i.requests, 0u);
  EXPECT_TRUE(i.reply_latency.empty());
  // The fourth try is accepted.
  observe(*table, segment(kStart + 11 * kS, true, kTcpSyn, 100));
  observe(*table, segment(kStart + 11 * kS + kMs, false, kTcpSyn | kTcpAck, 7));
  observe(*table, segment(kStart + 11 * kS + 2 * kMs, true, kTcpAck, 101));
  i = table->take_interval(kStart + 12 * kS);
  EXPECT_EQ(i.new_flows, 1u);
  EXPECT_EQ(i.live_flows, 1u);
  EXPECT_EQ(i.tcp_handshakes, 1u);
  EXPECT_EQ(i.tcp_half_open, 0u);
}

/// A segment whose payload begins with these bytes.
ParsedPacket told(int64_t at_ns, bool from_client, uint32_t sequence, uint32_t payload,
                  const std::vector<uint8_t>& head) {
  ParsedPacket p = segment(at_ns, from_client, kTcpAck, sequence, payload);
  std::memcpy(&p.payload_head, head.data(), std::min(head.size(), sizeof p.payload_head));
  return p;
}

std::vector<uint8_t> ascii(std::string_view text) { return {text.begin(), text.end()}; }

TEST(FlowTable, AnUploadOfHttpInSmallPiecesIsOneRequestAndHasNoPeriod) {
  // 200 bytes at a time. With the longest pause, each piece comes after the timeout of the one
  // before.
  for (const int64_t pause_ms : {20, 300, 1500}) {
    SCOPED_TRACE(pause_ms);
    auto table = make_table();
    int64_t at_ns = kStart;
    uint32_t sequence = 1;
    for (uint32_t request = 0; request < 2; ++request) {
      observe(*table, told(at_ns, true, sequence, 150, ascii("POST /up")));
      sequence += 150;
      for (uint32_t i = 0; i < 100; ++i, sequence += 200) {
        at_ns += pause_ms * kMs;
        observe(*table, told(at_ns, true, sequence, 200, ascii("{\"a\": 1}")));
        observe(*table, segment(at_ns + kMs / 2, false, kTcpAck, 1 + request * 80));
      }
      observe(*table, told(at_ns + kMs, false, 1 + request * 80, 80, ascii("HTTP/1.1")));
      at_ns += 10 * kMs;
    }
    table->finish(at_ns + 10 * kS);
    const FlowInterval i = table->take_interval(at_ns + 10 * kS);
    EXPECT_EQ(i.periodic_flows, 0u);
    EXPECT_EQ(i.lateness.count(), 0u);
    EXPECT_EQ(i.missed_ticks, 0u);
    EXPECT_EQ(i.requests, 2u);
    EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(2 * (pause_ms * 100 + 1) * kMs));
  }
}

TEST(FlowTable, AClientThatPollsInTwoPiecesHasItsPeriod) {
  auto table = make_table();
  for (uint32_t i = 0; i < 30; ++i) {
    const int64_t at_ns = kStart + i * kS;
    observe(*table, told(at_ns, true, 1 + i * 200, 150, ascii("POST /up")));
    observe(*table, told(at_ns + 5 * kMs, true, 151 + i * 200, 50, ascii("{\"a\": 1}")));
    observe(*table, told(at_ns + 20 * kMs, false, 1 + i * 80, 80, ascii("HTTP/1.1")));
  }
  const FlowInterval i = table->take_interval(kStart + 29 * kS + 30 * kMs);
  EXPECT_EQ(i.periodic_flows, 1u);
  EXPECT_EQ(i.lateness.count(), 19u);
  EXPECT_EQ(i.lateness.sum(), 0);
  EXPECT_EQ(i.missed_ticks, 0u);
  EXPECT_EQ(i.requests, 30u);
  EXPECT_EQ(i.overlapping_requests, 0u);
}

TEST(FlowTable, WhatComesAfterAnEarlyReplyOfHttpIsNoRequest) {
  auto table = make_table();
  observe(*table, told(kStart, true, 1, 150, ascii("PUT /a H")));
  observe(*table, told(kStart + kMs, true, 151, 1448, ascii("xxxxxxxx")));
  observe(*table, told(kStart + 2 * kMs, false, 1, 80, ascii("HTTP/1.1")));  // 413
  observe(*table, told(kStart + 5 * kMs, true, 1599, 1448, ascii("xxxxxxxx")));
  observe(*table, told(kStart + kS, true, 3047, 150, ascii("PROPFIND")));
  observe(*table, told(kStart + kS + 4 * kMs, false, 81, 80, ascii("HTTP/1.1")));
  table->finish(kStart + 9 * kS);
  const FlowInterval i = table->take_interval(kStart + 9 * kS);
  EXPECT_EQ(i.requests, 2u);
  EXPECT_EQ(i.unanswered, 0u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>((2 + 4) * kMs));
}

TEST(FlowTable, AContinueIsNoReply) {
  auto table = make_table();
  const auto replies = [&](int64_t at_ns, uint32_t sequence, uint32_t payload, uint16_t status) {
    ParsedPacket p = told(at_ns, false, sequence, payload, ascii("HTTP/1.1"));
    p.http_status = status;
    observe(*table, p);
  };
  observe(*table, told(kStart, true, 1, 150, ascii("POST /up")));
  replies(kStart + 2 * kMs, 1, 25, 100);
  observe(*table, told(kStart + 3 * kMs, true, 151, 500, ascii("field=va")));
  replies(kStart + 50 * kMs, 26, 80, 0);
  // A reply in the same segment as the 100 counts.
  observe(*table, told(kStart + kS, true, 651, 150, ascii("POST /up")));
  replies(kStart + kS + 7 * kMs, 106, 105, 100);
  table->finish(kStart + 9 * kS);
  const FlowInterval i = table->take_interval(kStart + 9 * kS);
  EXPECT_EQ(i.requests, 2u);
  EXPECT_EQ(i.reply_latency.count(), 2u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>((50 + 7) * kMs));
  EXPECT_EQ(i.unanswered, 0u);
}

TEST(FlowTable, ConnectionsThatWereNeverCompletedAreCountedOnceGivenUp) {
  FlowTableOptions options;
  options.idle_timeout_ns = 10 * kS;
  auto table = make_table(options);
  const auto syn = [&](int64_t at_ns, uint32_t client, uint32_t sequence) {
    observe(*table, segment(at_ns, true, kTcpSyn, sequence, 0, client));
  };
  for (uint32_t client = 1; client <= 4; ++client) syn(kStart, client, 10);
  syn(kStart + kS, 1, 10);  // sent again: the same attempt
  observe(*table, segment(kStart + kS, false, kTcpSyn | kTcpAck, 20, 0, 2));
  observe(*table, segment(kStart + kS, false, kTcpRst | kTcpAck, 0, 0, 3));
  syn(kStart + kS, 4, 99);  // another attempt from the same port
  EXPECT_EQ(table->take_interval(kStart + 2 * kS).tcp_never_completed, 1u);
  // 1 and the second attempt of 4 are purged. Of the last two, one has only just begun.
  syn(kStart + 140 * kS, 5, 10);
  EXPECT_EQ(table->take_interval(kStart + 140 * kS).tcp_never_completed, 2u);
  syn(kStart + 142 * kS - 1, 6, 10);
  table->finish(kStart + 142 * kS);
  EXPECT_EQ(table->take_interval(kStart + 142 * kS).tcp_never_completed, 1u);
  EXPECT_EQ(table->totals().tcp_never_completed, 4u);
  EXPECT_EQ(table->totals().tcp_refused, 1u);
}

/// New flows have ended, were evicted, or are live. Each attempt completes, is refused, or never
/// completes.
void expect_balance(const FlowInterval& all, uint64_t attempts) {
  EXPECT_EQ(all.new_flows, attempts);
  EXPECT_EQ(all.new_flows, all.ended_flows + all.evicted_flows + all.live_flows);
  EXPECT_EQ(*all.tcp_never_completed + all.tcp_refused + all.tcp_handshakes, attempts);
}

TEST(FlowTable, ASynThatIsSentAgainIsOneAttemptHoweverLate) {
  for (const int64_t idle_s : {1, 5, 60, 600}) {
    SCOPED_TRACE(idle_s);
    FlowTableOptions options;
    options.idle_timeout_ns = idle_s * kS;
    auto table = make_table(options);
    // The gaps that Linux leaves, up to the longest.
    int64_t at_ns = kStart;
    for (const int64_t gap_s : {0, 1, 2, 4, 8, 16, 32, 64, 120, 120}) {
      at_ns += gap_s * kS;
      for (const uint32_t client : {1u, 2u, 3u})
        observe(*table, segment(at_ns, true, kTcpSyn, 7, 0, client));
    }
    observe(*table, segment(at_ns + kMs, false, kTcpSyn | kTcpAck, 7, 0, 2));
    observe(*table, segment(at_ns + 2 * kMs, true, kTcpAck, 8, 0, 2));
    observe(*table, segment(at_ns + kMs, false, kTcpRst | kTcpAck, 0, 0, 3));
    FlowInterval all = table->take_interval(at_ns + 2 * kMs);
    EXPECT_EQ(all.new_flows, 3u);
    EXPECT_EQ(all.tcp_retransmissions, 3u * 9);
    EXPECT_EQ(all.tcp_half_open, 1u);
    EXPECT_EQ(all.tcp_never_completed, 0u);

    // The answered flow leaves when it is idle, like any other.
    table->advance(at_ns + idle_s * kS * 257 / 256 + 3 * kMs);
    EXPECT_EQ(table->flow_count(), idle_s < 130 ? 1u : 0u);
    at_ns += std::max<int64_t>(idle_s, 130) * kS * 257 / 256 + 3 * kMs;
    table->advance(at_ns);
    EXPECT_EQ(table->flow_count(), 0u);
    all.merge(table->take_interval(at_ns));
    expect_balance(all, 3);
  }
}

TEST(FlowTable, AHalfOpenFlowThatIsIdleGivesWayWithoutLoss) {
  FlowTableOptions options;
  options.idle_timeout_ns = 60 * kS;
  options.max_flows = 100;
  auto table = make_table(options);
  for (uint32_t client = 0; client < 300; ++client) {
    observe(*table, segment(kStart + client * kS, true, kTcpSyn, 7, 0, client));
  }
  table->finish(kStart + 302 * kS);
  const FlowInterval all = table->take_interval(kStart + 302 * kS);
  EXPECT_EQ(all.evicted_flows, 0u);
  EXPECT_EQ(all.live_flows, 100u);
  EXPECT_EQ(all.tcp_half_open, 100u);
  expect_balance(all, 300);
}

TEST(FlowTable, AConnectionThatIsRefusedAndTriedAgainFailsOnce) {
  auto table = make_table();
  int64_t at_ns = kStart;
  for (const uint32_t sequence : {100u, 100u, 900'000u}) {
    observe(*table, segment(at_ns, true, kTcpSyn, sequence));
    if (at_ns == kStart) observe(*table, segment(at_ns + kMs, false, kTcpRst | kTcpAck, 0));
    at_ns += kS;
  }
  table->finish(at_ns + kS);
  expect_balance(table->take_interval(at_ns + kS), 2);
}

TEST(FlowTable, FastOpenThatIsTriedAgainWithoutItsDataIsOneConnection) {
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpSyn, 99, 50));
  observe(*table, segment(kStart + kS, true, kTcpSyn, 99));
  observe(*table, segment(kStart + kS + kMs, false, kTcpSyn | kTcpAck, 7));
  observe(*table, segment(kStart + kS + 2 * kMs, true, kTcpAck, 100, 50));
  observe(*table, segment(kStart + kS + 3 * kMs, false, kTcpAck, 8, 10));
  // The first SYN arrives at last, by another path.
  observe(*table, segment(kStart + kS + 4 * kMs, true, kTcpSyn, 99, 50));
  FlowInterval i = table->take_interval(kStart + 2 * kS);
  EXPECT_EQ(i.new_flows, 1u);
  EXPECT_EQ(i.tcp_retransmissions, 3u);
  EXPECT_EQ(i.requests, 1u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(kS + 3 * kMs)) << "from the first SYN on";

  // A refused SYN is not a request.
  observe(*table, segment(kStart + 3 * kS, true, kTcpSyn, 99, 50, 2));
  observe(*table, segment(kStart + 3 * kS + kMs, false, kTcpRst | kTcpAck, 0, 0, 2));
  table->finish(kStart + 9 * kS);
  i = table->take_interval(kStart + 9 * kS);
  EXPECT_EQ(i.tcp_refused, 1u);
  EXPECT_EQ(i.requests, 0u);
  EXPECT_EQ(i.unanswered, 0u);
  EXPECT_TRUE(i.reply_latency.empty());
}

TEST(FlowTable, ZeroWindowsAreCountedButNotThoseOfResets) {
  auto table = make_table();
  const auto closed_window = [&](int64_t at_ns, uint8_t flags) {
    ParsedPacket p = segment(at_ns, false, flags, 500);
    p.tcp_zero_window = true;
    observe(*table, p);
  };
  observe(*table, segment(kStart, true, kTcpAck, 100, 10));
  closed_window(kStart + kMs, kTcpAck);
  closed_window(kStart + 2 * kMs, kTcpAck);
  closed_window(kStart + 3 * kMs, kTcpRst);
  EXPECT_EQ(table->take_interval(kStart + kS).tcp_zero_windows, 2u);
  EXPECT_EQ(table->take_interval(kStart + 2 * kS).tcp_zero_windows, 0u) << "seen none, not unseen";
}

TEST(FlowTable, ResetsOfTheServerAreThoseOfOpenConnectionsThatItSends) {
  auto table = make_table();
  const auto connection = [&](uint16_t id, int64_t at_ns) {
    observe(*table, segment(at_ns, true, kTcpSyn, 0, 0, id));
    observe(*table, segment(at_ns + kMs, false, kTcpSyn | kTcpAck, 0, 0, id));
    observe(*table, segment(at_ns + 2 * kMs, true, kTcpAck, 1, 0, id));
  };
  connection(1, kStart);  // reset by the server, which also answers later segments with a reset
  observe(*table, segment(kStart + 3 * kMs, false, kTcpRst, 1, 0, 1));
  observe(*table, segment(kStart + 4 * kMs, false, kTcpRst, 1, 0, 1));
  connection(2, kStart + 10 * kMs);  // by the client
  observe(*table, segment(kStart + 13 * kMs, true, kTcpRst, 1, 0, 2));
  observe(*table, segment(kStart + 20 * kMs, true, kTcpSyn, 0, 0, 3));  // refused
  observe(*table, segment(kStart + 21 * kMs, false, kTcpRst | kTcpAck, 0, 0, 3));
  const FlowInterval i = table->take_interval(kStart + kS);
  EXPECT_EQ(i.tcp_server_resets, 1u);
  EXPECT_EQ(i.tcp_resets, 4u);
  EXPECT_EQ(i.tcp_refused, 1u);
}

TEST(FlowTable, ConnectionsAreTurnedAwayBeforeTheServerHasReadAnything) {
  const auto turned_away = [](const auto& rest) {
    auto table = make_table();
    observe(*table, segment(kStart, true, kTcpSyn, 0));
    observe(*table, segment(kStart + kMs, false, kTcpSyn | kTcpAck, 0));
    observe(*table, segment(kStart + 2 * kMs, true, kTcpAck, 1));
    rest([&](int64_t after_ns, bool from_initiator, uint8_t flags, uint32_t sequence,
             uint32_t payload) {
      observe(*table,
              segment(kStart + 2 * kMs + after_ns, from_initiator, flags, sequence, payload));
    });
    return *table->take_interval(kStart + 9 * kS).tcp_turned_away;
  };
  constexpr uint8_t kEnd = kTcpFin | kTcpAck;
  // memcached, whose client asks only later, which the kernel answers with a reset.
  EXPECT_EQ(turned_away([](auto send) {
              send(kMs, false, kTcpAck, 1, 33);
              send(kMs, false, kEnd, 34, 0);
              send(50 * kMs, true, kTcpAck, 1, 7);
              send(50 * kMs, false, kTcpRst, 35, 0);
            }),
            1u);
  // The same with a client that has already asked: the request is not read.
  EXPECT_EQ(turned_away([](auto send) {
              send(kMs, true, kTcpAck, 1, 7);
              send(2 * kMs, false, kTcpAck, 1, 33);
              send(2 * kMs, false, kTcpRst, 34, 0);
            }),
            1u);
  // The same once more: the client reads why, and closes before the server does.
  EXPECT_EQ(turned_away([](auto send) {
              send(kMs, true, kTcpAck, 1, 7);
              send(2 * kMs, false, kTcpAck, 1, 33);
              send(3 * kMs, true, kEnd, 8, 0);
              send(4 * kMs, false, kTcpRst, 34, 0);
            }),
            1u);
  // A server that answers and closes has read the request.
  EXPECT_EQ(turned_away([](auto send) {
              send(kMs, true, kTcpAck, 1, 7);
              send(2 * kMs, false, kTcpAck, 1, 33);
              send(2 * kMs, false, kEnd, 34, 0);
              send(3 * kMs, true, kEnd, 8, 0);
            }),
            0u);
  // Neither a client that leaves first, nor one that said nothing for a long time.
  EXPECT_EQ(turned_away([](auto send) {
              send(kMs, true, kEnd, 1, 0);
              send(2 * kMs, false, kEnd, 1, 0);
            }),
            0u);
  EXPECT_EQ(turned_away([](auto send) { send(5 * kS, false, kEnd, 1, 0); }), 0u);
  // A reset in a conversation is one, soon or not.
  EXPECT_EQ(turned_away([](auto send) {
              for (uint32_t i = 0; i < 2; ++i) {
                send(10 * kMs * i + kMs, true, kTcpAck, 1 + 7 * i, 7);
                send(10 * kMs * i + 2 * kMs, false, kTcpAck, 1 + 33 * i, 33);
              }
              send(13 * kMs, false, kTcpRst, 67, 0);
            }),
            0u);
}

TEST(FlowTable, TlsMayBeginAfterAPlainTurn) {
  // PostgreSQL: SSLRequest and its answer, then TLS 1.2, one request, an alert and FIN.
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpSyn, 0));
  observe(*table, told(kStart + 1 * kMs, true, 1, 8, {0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f}));
  observe(*table, told(kStart + 2 * kMs, false, 1, 1, {'S'}));
  observe(*table, told(kStart + 3 * kMs, true, 9, 200, {0x16, 3, 1, 0, 195, 1, 0, 0}));
  observe(*table, told(kStart + 5 * kMs, false, 2, 1000, {0x16, 3, 3, 3, 0xe0, 2, 0, 0}));
  observe(*table, told(kStart + 6 * kMs, true, 209, 90, {0x16, 3, 3, 0, 70, 16, 0, 0}));
  observe(*table, told(kStart + 8 * kMs, false, 1002, 50, {0x14, 3, 3, 0, 1, 1, 0x16, 3}));
  observe(*table, told(kStart + 9 * kMs, true, 299, 100, {0x17, 3, 3, 0, 95, 1, 2, 3}));
  observe(*table, told(kStart + 14 * kMs, false, 1052, 300, {0x17, 3, 3, 1, 0, 1, 2, 3}));
  observe(*table, told(kStart + 20 * kMs, true, 399, 31, {0x15, 3, 3, 0, 26, 1, 2, 3}));
  observe(*table, segment(kStart + 25 * kMs, true, kTcpFin | kTcpAck, 430));
  observe(*table, segment(kStart + 26 * kMs, false, kTcpFin | kTcpAck, 1352));
  table->finish(kStart + 5 * kS);
  const FlowInterval i = table->take_interval(kStart + 5 * kS);
  EXPECT_EQ(i.handshake_turns, 2u);
  EXPECT_EQ(i.requests, 2u) << "the plain one and the one within TLS";
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>((1 + 5) * kMs));
  EXPECT_EQ(i.unanswered, 0u);
}

TEST(FlowTable, TurnsOfATlsHandshakeAreNoReplies) {
  // TLS 1.2: hello, key exchange, then data; at the end an alert and FIN.
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpSyn, 0));
  observe(*table, told(kStart + 1 * kMs, true, 1, 200, {0x16, 3, 1, 0, 195, 1, 0, 0}));
  observe(*table, told(kStart + 3 * kMs, false, 1, 1000, {0x16, 3, 3, 3, 0xe0, 2, 0, 0}));
  observe(*table, told(kStart + 4 * kMs, true, 201, 90, {0x16, 3, 3, 0, 70, 16, 0, 0}));
  observe(*table, told(kStart + 6 * kMs, false, 1001, 50, {0x14, 3, 3, 0, 1, 1, 0x16, 3}));
  observe(*table, told(kStart + 7 * kMs, true, 291, 100, {0x17, 3, 3, 0, 95, 1, 2, 3}));
  observe(*table, told(kStart + 12 * kMs, false, 1051, 300, {0x17, 3, 3, 1, 0, 1, 2, 3}));
  observe(*table, told(kStart + 20 * kMs, true, 391, 31, {0x15, 3, 3, 0, 26, 1, 2, 3}));
  observe(*table, segment(kStart + 25 * kMs, true, kTcpFin | kTcpAck, 422));
  observe(*table, segment(kStart + 26 * kMs, false, kTcpFin | kTcpAck, 1351));
  table->finish(kStart + 5 * kS);
  FlowInterval i = table->take_interval(kStart + 5 * kS);
  EXPECT_EQ(i.handshake_turns, 2u);
  EXPECT_EQ(i.requests, 1u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(5 * kMs));
  EXPECT_EQ(i.unanswered, 0u);

  // TLS 1.3: the first answer after the handshake may be tickets.
  table = make_table();
  observe(*table, told(kStart, true, 1, 500, {0x16, 3, 1, 1, 0xef, 1, 0, 0}));
  observe(*table, told(kStart + 2 * kMs, false, 1, 1000, {0x16, 3, 3, 0, 90, 2, 0, 0}));
  observe(*table, told(kStart + 3 * kMs, true, 501, 64, {0x14, 3, 3, 0, 1, 1, 0x17, 3}));
  observe(*table, told(kStart + 4 * kMs, true, 565, 100, {0x17, 3, 3, 0, 95, 1, 2, 3}));
  observe(*table, told(kStart + 5 * kMs, false, 1001, 500, {0x17, 3, 3, 0, 250, 1, 2, 3}));
  observe(*table, told(kStart + 9 * kMs, false, 1501, 500, {0x17, 3, 3, 0, 250, 1, 2, 3}));
  observe(*table, told(kStart + 20 * kMs, true, 665, 100, {0x17, 3, 3, 0, 95, 1, 2, 3}));
  observe(*table, told(kStart + 26 * kMs, false, 2001, 500, {0x17, 3, 3, 0, 250, 1, 2, 3}));
  observe(*table, told(kStart + 40 * kMs, true, 765, 24, {0x17, 3, 3, 0, 19, 1, 2, 3}));
  table->finish(kStart + 5 * kS);
  i = table->take_interval(kStart + 5 * kS);
  EXPECT_EQ(i.handshake_turns, 2u);
  EXPECT_EQ(i.requests, 1u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(6 * kMs));
  EXPECT_EQ(i.unanswered, 0u);

  // A server that never sends its hello keeps the client waiting.
  table = make_table();
  observe(*table, told(kStart, true, 1, 500, {0x16, 3, 1, 1, 0xef, 1, 0, 0}));
  table->finish(kStart + 5 * kS);
  i = table->take_interval(kStart + 5 * kS);
  EXPECT_EQ(i.handshake_turns, 0u);
  EXPECT_EQ(i.requests, 1u);
  EXPECT_EQ(i.unanswered, 1u);
  EXPECT_EQ(i.reply_latency.count(), 1u);
}

TEST(FlowTable, TurnsOfMultiplexedConnectionsAreCountedApart) {
  const auto bytes = [](std::string_view text) {
    return std::vector<uint8_t>(text.begin(), text.end());
  };
  for (const std::string_view greeting : {"PRI * HTTP/2.0", "SSH-2.0-x", "AMQP0091"}) {
    auto table = make_table();
    for (uint32_t i = 0; i < 4; ++i) {
      observe(*table, told(kStart + i * kS, true, 1 + i * 50, 50,
                           i == 0 ? bytes(greeting) : std::vector<uint8_t>{0, 0, 4, 8}));
      if (i < 3) observe(*table, told(kStart + i * kS + kMs, false, 1 + i * 50, 50, {0, 0, 4, 8}));
    }
    table->finish(kStart + 10 * kS);
    const FlowInterval i = table->take_interval(kStart + 10 * kS);
    EXPECT_EQ(i.multiplexed_turns, 3u) << greeting;
    EXPECT_EQ(i.requests, 0u) << greeting;
    EXPECT_EQ(i.unanswered, 0u) << greeting;
    EXPECT_TRUE(i.reply_latency.empty()) << greeting;
  }
  // WebSocket: HTTP up to the reply that ends it. Then the server pushes, and answers nobody.
  {
    auto table = make_table();
    observe(*table, segment(kStart, true, kTcpSyn, 0));
    observe(*table, told(kStart + kMs, true, 1, 50, bytes("GET /ws ")));
    ParsedPacket reply = told(kStart + 3 * kMs, false, 1, 50, bytes("HTTP/1.1"));
    reply.http_status = 101;
    observe(*table, reply);
    for (uint32_t i = 0; i < 14; ++i) {
      observe(*table, told(kStart + kS + i * 100 * kMs, true, 51 + i * 14, 14, {0x82, 0x88}));
      observe(*table, told(kStart + kS + (i * 100 + 40) * kMs, false, 51 + i * 10, 10, {0x82, 8}));
    }
    table->finish(kStart + 10 * kS);
    const FlowInterval i = table->take_interval(kStart + 10 * kS);
    EXPECT_EQ(i.requests, 1u);
    EXPECT_EQ(i.reply_latency.count(), 1u);
    EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(2 * kMs));
    EXPECT_EQ(i.multiplexed_turns, 14u);
    EXPECT_EQ(i.unanswered, 0u);
  }
  // SSH: the server sends first.
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpSyn, 0));
  observe(*table, told(kStart + kMs, false, 1, 20, bytes("SSH-2.0-y")));
  observe(*table, told(kStart + 2 * kMs, true, 1, 20, {1, 2, 3}));
  observe(*table, told(kStart + 3 * kMs, false, 21, 20, {1, 2, 3}));
  EXPECT_EQ(table->take_interval(kStart + kS).multiplexed_turns, 1u);
  // In NATS, too, and its publisher is never answered. If joined midway, PUB shows the protocol.
  for (const bool from_the_start : {true, false}) {
    table = make_table();
    if (from_the_start) {
      observe(*table, segment(kStart, true, kTcpSyn, 0));
      observe(*table, told(kStart + kMs, false, 1, 300, bytes("INFO {\"s")));
      observe(*table, told(kStart + 2 * kMs, true, 1, 100, bytes("CONNECT ")));
    }
    for (uint32_t i = 0; i < 5; ++i)
      observe(*table, told(kStart + i * kS + 3 * kMs, true, 101 + i * 20, 20, bytes("PUB a 5\r")));
    table->finish(kStart + 10 * kS);
    const FlowInterval nats = table->take_interval(kStart + 10 * kS);
    EXPECT_EQ(nats.requests, 0u) << from_the_start;
    EXPECT_EQ(nats.unanswered, 0u) << from_the_start;
  }
  // QUIC.
  table = make_table();
  ParsedPacket initial = packet(kStart, 1, true, 1200);
  initial.payload_head = 0x01'0000'00c3;
  observe(*table, initial);
  observe(*table, packet(kStart + kMs, 1, true));
  observe(*table, packet(kStart + 2 * kMs, 1, false));
  table->finish(kStart + 10 * kS);
  const FlowInterval i = table->take_interval(kStart + 10 * kS);
  EXPECT_EQ(i.multiplexed_turns, 1u);
  EXPECT_EQ(i.requests + i.unanswered + i.reply_latency.count(), 0u);
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
  // The same ends again are another connection of the same flow.
  observe(*table, segment(kStart + 100 * kMs, true, kTcpSyn, 9000));
  const FlowInterval again = table->take_interval(kStart + 101 * kMs);
  EXPECT_EQ(again.new_flows, 1u);
  EXPECT_EQ(again.tcp.flows, 0u);
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

TEST(FlowTable, ReorderingIsNoRetransmission) {
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpAck, 100, 10));
  for (const uint32_t sequence : {140u, 110u, 130u, 120u, 150u}) {
    observe(*table, segment(kStart + sequence * 1000, true, kTcpAck, sequence, 10));
  }
  FlowInterval i = table->take_interval(kStart + 10 * kMs);
  EXPECT_EQ(i.tcp_out_of_order, 3u);
  EXPECT_EQ(i.tcp_retransmissions, 0u);
  // Nothing is missing any more, so the next is a retransmission. Each side's bytes are separate.
  observe(*table, segment(kStart + 11 * kMs, true, kTcpAck, 120, 10));
  observe(*table, segment(kStart + 12 * kMs, false, kTcpAck, 500, 10));
  observe(*table, segment(kStart + 12 * kMs, false, kTcpAck, 520, 10));
  observe(*table, segment(kStart + 12 * kMs, true, kTcpAck, 130, 10));
  i = table->take_interval(kStart + 20 * kMs);
  EXPECT_EQ(i.tcp_out_of_order, 0u);
  EXPECT_EQ(i.tcp_retransmissions, 2u);
}

/// A pure ACK for what comes next.
ParsedPacket acknowledgment(int64_t at_ns, bool from_client, uint32_t number) {
  ParsedPacket p = segment(at_ns, from_client, kTcpAck, 1);
  p.tcp_acknowledgment = number;
  return p;
}

/// A client's connection on a fast network. The handshake took 200 us; the client sent 10 bytes,
/// and the 10 bytes after them are missing.
std::unique_ptr<FlowTable> with_a_hole() {
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpSyn, 99));
  observe(*table, segment(kStart + 1'000, false, kTcpSyn | kTcpAck, 0));
  observe(*table, segment(kStart + 200'000, true, kTcpAck, 100));
  observe(*table, segment(kStart + kMs, true, kTcpAck, 100, 10));
  observe(*table, acknowledgment(kStart + kMs + 1'000, false, 110));
  observe(*table, segment(kStart + 2 * kMs, true, kTcpAck, 120, 10));
  return table;
}

TEST(FlowTable, ALostSegmentThatIsSentAgainAtOnceIsARetransmission) {
  const auto counts_of = [](FlowTable& table) {
    const FlowInterval i = table.take_interval(kStart + kS);
    return std::pair(i.tcp_retransmissions, i.tcp_out_of_order);
  };
  using Counts = std::pair<uint64_t, uint64_t>;
  const int64_t at = kStart + 2 * kMs;
  // The receiver asked for the segment.
  auto table = with_a_hole();
  for (int i = 1; i <= 3; ++i) {
    observe(*table, acknowledgment(at + i * 20'000, false, 110));
    observe(*table, segment(at + i * 20'000 + 5'000, true, kTcpAck, 120u + 10u * i, 10));
  }
  observe(*table, segment(at + 70'000, true, kTcpAck, 110, 10));
  EXPECT_EQ(counts_of(*table), Counts(1, 0));
  // The receiver's ACKs were not captured, and there was time to ask.
  table = with_a_hole();
  observe(*table, segment(at + 290'000, true, kTcpAck, 130, 10));
  observe(*table, segment(at + 300'000, true, kTcpAck, 110, 10));
  EXPECT_EQ(counts_of(*table), Counts(1, 0));
  // One ACK, and no time to send again: the segment took another path.
  table = with_a_hole();
  observe(*table, acknowledgment(at + 20'000, false, 110));
  observe(*table, segment(at + 40'000, true, kTcpAck, 110, 10));
  EXPECT_EQ(counts_of(*table), Counts(0, 1));
  // ACKs beyond the hole say nothing about it, nor do ACKs that advance.
  table = with_a_hole();
  for (const uint32_t number : {101u, 104u, 107u, 130u, 130u})
    observe(*table, acknowledgment(at + 20'000, false, number));
  observe(*table, segment(at + 40'000, true, kTcpAck, 110, 10));
  EXPECT_EQ(counts_of(*table), Counts(0, 1));
}

TEST(FlowTable, HolesBehindTheOneThatIsAskedForAreSentAgainWithIt) {
  auto table = with_a_hole();
  const int64_t at = kStart + 2 * kMs;
  observe(*table, segment(at + 10'000, true, kTcpAck, 150, 10));  // a second hole: 130 to 150
  for (int i = 2; i < 5; ++i) observe(*table, acknowledgment(at + i * 10'000, false, 110));
  for (const uint32_t sequence : {140u, 110u, 130u})
    observe(*table, segment(at + 60'000, true, kTcpAck, sequence, sequence == 140 ? 5u : 10u));
  observe(*table, segment(at + 60'000, true, kTcpAck, 145, 5));
  FlowInterval i = table->take_interval(kStart + kS);
  EXPECT_EQ(i.tcp_retransmissions, 4u);
  EXPECT_EQ(i.tcp_out_of_order, 0u);
  // A new hole, which nobody has asked for.
  observe(*table, segment(kStart + 2 * kS, true, kTcpAck, 170, 10));
  observe(*table, segment(kStart + 2 * kS + 1'000, true, kTcpAck, 160, 10));
  i = table->take_interval(kStart + 3 * kS);
  EXPECT_EQ(i.tcp_retransmissions, 0u);
  EXPECT_EQ(i.tcp_out_of_order, 1u);
}

TEST(FlowTable, WhatWasSeenBeforeIsARetransmissionWhateverElseIsMissing) {
  auto table = with_a_hole();
  observe(*table, segment(kStart + 2 * kMs + 10'000, true, kTcpAck, 100, 10));
  observe(*table, segment(kStart + 2 * kMs + 20'000, true, kTcpAck, 110, 10));
  const FlowInterval i = table->take_interval(kStart + kS);
  EXPECT_EQ(i.tcp_retransmissions, 1u);
  EXPECT_EQ(i.tcp_out_of_order, 1u);
}

TEST(TcpHot, KeepsMissingBytesAndTheHandshakeApart) {
  TcpHot tcp{};
  EXPECT_EQ(tcp.handshake_ns(), 0);
  for (int64_t ns = 1; ns < 500 * kMs; ns = ns * 5 / 4 + 1) {
    tcp.set_missing_bytes(0, 1234);
    tcp.set_handshake_ns(ns);
    tcp.set_missing_bytes(1, UINT64_MAX);
    EXPECT_GE(tcp.handshake_ns(), ns);
    EXPECT_LE(tcp.handshake_ns(), ns + ns / 4 + 2'048) << ns;
    EXPECT_EQ(tcp.missing_bytes(0), 1234u);
    EXPECT_EQ(tcp.missing_bytes(1), (1u << 28) - 1);
  }
  for (const int64_t ns : {504 * kMs, kS, 400 * kS, INT64_MAX}) {
    tcp.set_handshake_ns(ns);
    EXPECT_EQ(tcp.handshake_ns(), 0) << "too long to be kept";
    EXPECT_EQ(tcp.missing_bytes(0), 1234u);
  }
}

TEST(FlowTable, AReplyThatWasLostAndSentAgainIsStillTheReply) {
  auto table = make_table();
  observe(*table, segment(kStart, true, kTcpSyn, 99));
  observe(*table, segment(kStart + 1'000, false, kTcpSyn | kTcpAck, 499));
  observe(*table, segment(kStart + 200'000, true, kTcpAck, 100, 10));
  // The reply is lost, but not the FIN behind it. The reply is sent again 200 ms later.
  observe(*table, segment(kStart + kMs, false, kTcpFin | kTcpAck, 520));
  observe(*table, segment(kStart + 201 * kMs, false, kTcpAck, 500, 20));
  observe(*table, segment(kStart + 202 * kMs, true, kTcpFin | kTcpAck, 110));
  table->finish(kStart + 5 * kS);
  const FlowInterval i = table->take_interval(kStart + 5 * kS);
  EXPECT_EQ(i.requests, 1u);
  EXPECT_EQ(i.unanswered, 0u);
  EXPECT_EQ(i.reply_latency.count(), 1u);
  EXPECT_EQ(i.tcp_retransmissions, 1u);
}

TEST(FlowTable, ConnectionsBalanceWhateverTcpDoes) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 20; ++round) {
    FlowTableOptions options;
    options.max_flows = round % 2 == 0 ? 1000 : 30;
    options.idle_timeout_ns = round % 3 == 0 ? 3 * kS : 0;
    auto table = make_table(options, 50);
    int64_t at = kStart;
    std::vector<FlowRow> rows;
    for (int i = 0; i < 3000; ++i) {
      at += static_cast<int64_t>(random() % (20 * kMs));
      constexpr uint8_t kFlags[] = {kTcpSyn, kTcpSyn, kTcpSyn | kTcpAck, kTcpAck,
                                    kTcpAck, kTcpAck, kTcpFin | kTcpAck, kTcpRst};
      const uint8_t flags = kFlags[random() % std::size(kFlags)];
      ParsedPacket p = segment(at, random() % 2 == 0, flags, static_cast<uint32_t>(random() % 5),
                               flags == kTcpAck ? static_cast<uint32_t>(random() % 3) : 0,
                               static_cast<uint32_t>(random() % 60));
      constexpr uint64_t kHeads[] = {0, 0x01'00'00'01'03'16, 0x17'03'03'00'10'17, 0x2d485353};
      p.payload_head = kHeads[random() % std::size(kHeads)];
      observe(*table, p);
      if (random() % 100 != 0) continue;
      if (random() % 50 == 0) table->clear();
      table->take_interval(at);
      table->take_changed(rows);
      const FlowInterval& t = table->totals();
      uint64_t live = 0;
      for (const FlowRow& row : rows_of(*table)) live += !row.ended;
      ASSERT_EQ(t.live_flows, live) << "round " << round << " packet " << i;
      ASSERT_EQ(t.new_flows, t.ended_flows + t.evicted_flows + live)
          << "round " << round << " packet " << i;
    }
  }
}

TEST(FlowTable, NoGaugeUnderflowsWhateverTheStamps) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 random(seed);
    FlowTableOptions options;
    options.max_flows = seed % 2 == 0 ? 1000 : 8;
    options.idle_timeout_ns = seed % 3 == 0 ? 5 * kS : 0;
    if (seed % 5 == 0) options.period_ns = 100 * kMs;
    auto table = make_table(options, 5);
    std::vector<FlowRow> rows;
    int64_t at = seed % 4 == 0 ? 0 : kStart;
    for (int i = 0; i < 2000; ++i) {
      at += static_cast<int64_t>(random() % (40 * kMs));
      switch (random() % 200) {
        case 0: at = 0; break;
        case 1: at -= static_cast<int64_t>(random() % (30 * kS)); break;
        case 2: at = static_cast<int64_t>(random() >> (1 + random() % 60)); break;
        case 3: at += 3600 * kS; break;
        case 4: at = seed % 7 == 0 ? INT64_MIN : -1; break;
        default: break;
      }
      at = std::clamp<int64_t>(at, INT64_MIN, INT64_MAX - 4000 * kS);
      const auto client = static_cast<uint32_t>(random() % 12);
      ParsedPacket p = random() % 2 == 0
                           ? packet(at, client, random() % 3 != 0)
                           : segment(at, random() % 2 == 0, kTcpAck,
                                     static_cast<uint32_t>(random() % 1000), 20, client + 100);
      p.payload_head = random() % 3;
      observe(*table, p);
      if (at == INT64_MIN) at = kStart;
      ASSERT_LE(table->active_flows(), table->flow_count()) << "seed " << seed << " packet " << i;
      if (random() % 40 != 0) continue;
      const FlowInterval tick = table->take_interval(
          random() % 2 == 0 ? table->now_ns() : std::clamp<int64_t>(at, 0, kStart * 2));
      table->take_changed(rows);
      ASSERT_LE(tick.active_flows, table->flow_count());
      ASSERT_LE(tick.active_flows_max, 24u);
      ASSERT_LE(tick.unanswered, 3000u);
      ASSERT_LE(tick.requests, 3000u);
      ASSERT_LE(tick.silent_flows, tick.periodic_flows);
      ASSERT_LE(tick.periodic_flows, tick.live_flows);
    }
    table->finish(table->now_ns());
    table->take_interval(table->now_ns());
    const FlowInterval& t = table->totals();
    ASSERT_LE(t.reply_latency.count() + t.overlapping_requests, t.requests) << "seed " << seed;
    ASSERT_LE(t.unanswered, t.requests) << "seed " << seed;
    ASSERT_LE(t.late_replies, t.unanswered) << "seed " << seed;
    ASSERT_EQ(t.live_flows + t.ended_flows + t.evicted_flows, t.new_flows) << "seed " << seed;
    EXPECT_GT(t.time_steps, 0u);
  }
}

TEST(FlowTable, TheBooksCloseWhateverIsLost) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    std::mt19937_64 random(seed);
    auto table = make_table();
    const int64_t lost = static_cast<int64_t>(random() % 40);  // percent
    int64_t at = kStart;
    uint64_t sent = 0;
    std::multimap<int64_t, ParsedPacket> wire;
    for (int i = 0; i < 3000; ++i) {
      at += static_cast<int64_t>(random() % (50 * kMs));
      const auto client = static_cast<uint32_t>(random() % 20);
      ParsedPacket request = packet(at, client, true);
      request.payload_head = seed % 2 == 0 ? random() : 0;
      wire.emplace(at, request);
      ++sent;
      if (static_cast<int64_t>(random() % 100) < lost) continue;
      ParsedPacket reply = request;
      reply.from_low = false;
      reply.stamp_ns += static_cast<int64_t>(random() % (2 * kS));
      wire.emplace(reply.stamp_ns, reply);
    }
    for (const auto& [when, p] : wire) {
      observe(*table, p);
      at = when;
    }
    at += 10 * kS;
    table->finish(at);
    table->take_interval(at);
    const FlowInterval& t = table->totals();
    EXPECT_EQ(t.requests, sent) << "seed " << seed;
    EXPECT_EQ(t.reply_latency.count(), t.requests - t.overlapping_requests) << "seed " << seed;
    EXPECT_EQ(t.overlapping_requests, 0u) << "seed " << seed;
    uint64_t unanswered = 0;
    for (const FlowRow& row : rows_of(*table)) unanswered += row.unanswered;
    EXPECT_EQ(unanswered, t.unanswered) << "seed " << seed;
  }
}

TEST(FlowTable, StampsThatBeginAtZeroAreStamps) {
  auto table = make_table();
  for (int i = 0; i < 5; ++i) {
    observe(*table, packet(i * 500 * kMs, 1, true));
    observe(*table, packet(i * 500 * kMs, 1, false));
    observe(*table, packet(i * 500 * kMs, 2, true));
    observe(*table, packet(i * 500 * kMs, 2, false));
    EXPECT_EQ(table->active_flows(), 2u);
  }
  const FlowInterval i = table->take_interval(2 * kS);
  EXPECT_EQ(i.active_flows_max, 2u);
  EXPECT_EQ(i.unanswered, 0u);
  EXPECT_EQ(i.reply_latency.count(), 10u);
  EXPECT_EQ(i.time_steps, 0u);
}

TEST(FlowTable, RequestsAndRepliesFromBeforeTheLatestStampAreMatched) {
  auto table = make_table();
  observe(*table, packet(kStart + 3600 * kS, 9, true));  // an hour ahead
  for (int i = 0; i < 300; ++i) {
    observe(*table, packet(kStart + i * 100 * kMs, 1, true));
    observe(*table, packet(kStart + i * 100 * kMs + kMs, 1, false));
  }
  const FlowInterval i = table->take_interval(table->now_ns());
  EXPECT_EQ(i.reply_latency.count(), 300u);
  EXPECT_EQ(i.reply_latency.sum(), static_cast<uint64_t>(300 * kMs));
  EXPECT_EQ(i.requests, 301u);
  EXPECT_EQ(i.unanswered, 0u);
  EXPECT_EQ(i.time_steps, 1u);
  // Packets that are slightly out of order are not a step.
  auto other = make_table();
  observe(*other, packet(kStart + kS, 1, true));
  observe(*other, packet(kStart + kMs, 1, false));
  EXPECT_EQ(other->take_interval(kStart + kS).time_steps, 0u);
}

TEST(FlowTable, TheInitiatorIsWhoSentTheSyn) {
  auto table = make_table();
  observe(*table, segment(kStart, false, kTcpSyn | kTcpAck, 500));  // capture began midway
  EXPECT_TRUE(rows_of(*table).front().initiator_is_low);
  // A late segment of an old connection from the server, then a SYN from the client.
  table = make_table();
  observe(*table, segment(kStart, false, kTcpAck, 900, 10, 2));
  EXPECT_FALSE(rows_of(*table).back().initiator_is_low);
  observe(*table, segment(kStart + kMs, true, kTcpSyn, 100, 0, 2));
  const FlowRow row = rows_of(*table).back();
  EXPECT_TRUE(row.initiator_is_low);
  EXPECT_EQ(row.packets[0], 1u);
  EXPECT_EQ(row.packets[1], 1u);
}

/// A packet between a client and a server with these ports, whose payload begins with `head`.
ParsedPacket between(int64_t at_ns, bool from_client, uint16_t client_port, uint16_t server_port,
                     std::string_view head = {}, uint8_t protocol = kProtocolTcp) {
  static uint32_t sequence = 0;
  ParsedPacket p = packet(at_ns, 1, from_client, 50, protocol);
  p.key.low_port = client_port;
  p.key.high_port = server_port;
  p.has_tcp_header = protocol == kProtocolTcp;
  p.tcp_flags = p.has_tcp_header ? kTcpAck : 0;
  p.tcp_sequence = sequence += 50;
  if (!head.empty())
    std::memcpy(&p.payload_head, head.data(), std::min(head.size(), sizeof p.payload_head));
  return p;
}

TEST(FlowTable, AFlowJoinedAtAReplyIsTurnedByWhatItsPacketsSay) {
  using namespace std::string_view_literals;
  struct Case {
    const char* name;
    uint8_t protocol;
    uint16_t client_port, server_port;
    std::string_view reply, request;
  };
  const Case cases[] = {
      {"a port of a service", kProtocolTcp, 40'000, 80, "", ""},
      {"a port of a program", kProtocolTcp, 40'000, 23'034, "", ""},
      {"the same in UDP", kProtocolUdp, 40'000, 23'034, "", ""},
      {"an HTTP reply", kProtocolTcp, 40'000, 50'000, "HTTP/1.1", ""},
      {"an HTTP request", kProtocolTcp, 40'000, 50'000, "", "GET / HT"},
      {"a hello of TLS", kProtocolTcp, 40'000, 50'000, "\x16\3\3\0\x5a\2\0\0"sv, ""},
      {"a client that is root's, of NFS", kProtocolTcp, 800, 2'049, "HTTP/1.1", ""},
      {"DNS", kProtocolUdp, 53, 53, "\1\2\x81\x80\0\1\0\1"sv, "\1\3\1\0\0\1\0\0"sv},
      {"STUN", kProtocolUdp, 40'000, 50'000, "\1\1\0\x0c\x21\x12\xa4\x42"sv, ""},
  };
  for (const Case& c : cases) {
    auto table = make_table();
    // A server that takes 300 ms, and a client that sends 2 ms after each reply.
    int64_t now = kStart;
    observe(*table, between(now, false, c.client_port, c.server_port, c.reply, c.protocol));
    for (int i = 0; i < 20; ++i) {
      now += 2 * kMs;
      observe(*table, between(now, true, c.client_port, c.server_port, c.request, c.protocol));
      now += 300 * kMs;
      observe(*table, between(now, false, c.client_port, c.server_port, c.reply, c.protocol));
    }
    now += 2 * kMs;  // this one is never answered
    observe(*table, between(now, true, c.client_port, c.server_port, c.request, c.protocol));
    table->finish(now + 5 * kS);
    const FlowInterval i = table->take_interval(now + 5 * kS);
    const FlowRow row = rows_of(*table).front();
    EXPECT_TRUE(row.initiator_is_low) << c.name;
    EXPECT_EQ(row.packets[0], 21u) << c.name;
    EXPECT_EQ(row.packets[1], 21u) << c.name;
    EXPECT_EQ(i.initiator_packets, 21u) << c.name;
    EXPECT_EQ(i.responder_packets, 21u) << c.name;
    EXPECT_EQ(i.reply_latency.count(), 21u) << c.name;
    EXPECT_EQ(i.reply_latency.min(), static_cast<uint64_t>(300 * kMs)) << c.name;
    EXPECT_EQ(i.requests, 21u) << c.name;
    EXPECT_EQ(i.unanswered, 1u) << c.name;
    EXPECT_EQ(i.periodic_flows, 0u) << c.name;
    EXPECT_EQ(i.tcp_retransmissions, 0u) << c.name;
    EXPECT_EQ(table->take_ends_guessed(), 0u) << c.name;
  }
}

TEST(FlowTable, AnEndThatAnswersOnOtherFlowsOrIsSharedByThemIsTheResponder) {
  // The capture sees the server accept one connection. The other was there before.
  auto table = make_table();
  ParsedPacket syn = between(kStart, true, 40'000, 50'000);
  syn.payload_bytes = 0;
  syn.tcp_flags = kTcpSyn;
  observe(*table, syn);
  ParsedPacket accepted = between(kStart, false, 40'000, 50'000);
  accepted.payload_bytes = 0;
  accepted.tcp_flags = kTcpSyn | kTcpAck;
  observe(*table, accepted);
  observe(*table, between(kStart + kMs, false, 40'001, 50'000));
  EXPECT_TRUE(rows_of(*table).back().initiator_is_low);

  // The server is known only because all clients share it.
  for (const uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    table = make_table();
    for (uint16_t client = 0; client < 3; ++client) {
      const auto port = static_cast<uint16_t>(40'000 + client);
      observe(*table, between(kStart + client, false, port, 50'000, {}, protocol));
    }
    for (uint16_t client = 0; client < 3; ++client) {
      const auto port = static_cast<uint16_t>(40'000 + client);
      observe(*table, between(kStart + kMs, true, port, 50'000, {}, protocol));
      observe(*table, between(kStart + 9 * kMs, false, port, 50'000, {}, protocol));
    }
    const FlowInterval i = table->take_interval(kStart + kS);
    for (const FlowRow& row : rows_of(*table)) EXPECT_TRUE(row.initiator_is_low);
    EXPECT_EQ(i.requests, 3u);
    EXPECT_EQ(i.reply_latency.count(), 3u);
    EXPECT_EQ(i.reply_latency.min(), static_cast<uint64_t>(8 * kMs));
    EXPECT_EQ(i.initiator_packets, 3u);
    EXPECT_EQ(table->take_ends_guessed(), 0u);
  }
}

TEST(FlowTable, WhereNothingSaysWhichEndAsksTheFirstSenderDoesAndTheGuessIsCounted) {
  for (const uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    auto table = make_table();
    table->begin(kStart);
    table->note_capture_began();
    observe(*table, between(kStart, false, 40'000, 50'000, {}, protocol));
    EXPECT_EQ(table->take_ends_guessed(), 0u);  // the flow is in no number yet
    observe(*table, between(kStart + kMs, true, 40'000, 50'000, {}, protocol));
    observe(*table, between(kStart + 2 * kMs, false, 40'000, 50'000, {}, protocol));
    observe(*table, between(kStart + 3 * kMs, true, 40'000, 50'000, {}, protocol));
    EXPECT_FALSE(rows_of(*table).front().initiator_is_low);
    EXPECT_EQ(table->take_ends_guessed(), 1u);
    // Late evidence does not change numbers that were handed over.
    observe(*table, between(kStart + 4 * kMs, false, 40'000, 50'000, "HTTP/1.1", protocol));
    EXPECT_FALSE(rows_of(*table).front().initiator_is_low);
    EXPECT_EQ(table->take_ends_guessed(), 0u);
  }
  // The first client is measured before the second shows who the server is. The guess was right, or
  // it stays a guess.
  for (const bool server_is_first : {false, true}) {
    auto table = make_table();
    table->begin(kStart);
    table->note_capture_began();
    int64_t now = kStart;
    const auto ask = [&](uint16_t client, bool asks) {
      observe(*table, between(now += kMs, asks, client, 50'000, {}, kProtocolUdp));
      observe(*table, between(now += kMs, !asks, client, 50'000, {}, kProtocolUdp));
    };
    ask(40'000, !server_is_first);
    EXPECT_EQ(table->take_ends_guessed(), 1u);
    for (uint16_t client = 40'001; client < 40'004; ++client) ask(client, true);
    EXPECT_EQ(table->take_ends_guessed(), server_is_first ? 0 : -1);
    EXPECT_EQ(table->take_ends_guessed(), 0u);
  }
  // A file begins with its first packet, and the flow may begin with it as well.
  auto file = make_table();
  observe(*file, between(kStart, true, 40'000, 50'000, {}, kProtocolUdp));
  observe(*file, between(kStart + kMs, false, 40'000, 50'000, {}, kProtocolUdp));
  EXPECT_EQ(file->take_ends_guessed(), 0u);
  // A UDP flow that begins while the capture runs begins with its initiator, whatever its ports.
  auto table = make_table();
  table->begin(kStart);
  observe(*table, between(kStart + 20 * kS, false, 40'000, 8'888, {}, kProtocolUdp));
  EXPECT_FALSE(rows_of(*table).front().initiator_is_low);
  observe(*table, between(kStart + 21 * kS, true, 40'000, 50'000, {}, kProtocolUdp));
  observe(*table, between(kStart + 21 * kS, false, 40'000, 50'000, {}, kProtocolUdp));
  EXPECT_TRUE(rows_of(*table).back().initiator_is_low);
  EXPECT_EQ(table->take_ends_guessed(), 0u);
}

TEST(FlowTable, MultiplexedConnectionsAreKnownByAnyWholeMessageWhenTheyAreJoinedMidway) {
  using namespace std::string_view_literals;
  struct Case {
    const char* name;
    std::string_view head;
    uint32_t payload;
    bool is_multiplexed;
  };
  const Case cases[] = {
      {"MQTT PUBLISH", "\x30\x10\0\3a/bx"sv, 18, true},
      {"MQTT PINGREQ", "\xc0\0"sv, 2, true},
      {"MQTT PUBACK", "\x40\2\0\1"sv, 4, true},
      {"HTTP/2 HEADERS", "\0\0\x20\1\5\0\0\0"sv, 60, true},
      {"HTTP/2 PING", "\0\0\x08\6\0\0\0\0"sv, 17, true},
      {"WebSocket", "\x82\x88\1\2\3\4ab"sv, 14, true},
      {"a length that is another's", "\x30\x10\0\3a/bx"sv, 50, false},
      {"text", "0123"sv, 50, false},
      {"numbers", "\0\0\0\1\0\0\0\2"sv, 50, false},
  };
  for (const Case& c : cases) {
    for (const bool has_syn : {false, true}) {
      auto table = make_table();
      if (has_syn) observe(*table, segment(kStart, true, kTcpSyn, 0));
      ParsedPacket p = segment(kStart + kMs, true, kTcpAck, 1, c.payload);
      std::memcpy(&p.payload_head, c.head.data(), c.head.size());
      observe(*table, p);
      observe(*table, segment(kStart + 2 * kMs, false, kTcpAck, 1, 30));
      const FlowInterval i = table->take_interval(kStart + kS);
      EXPECT_EQ(i.multiplexed_turns, c.is_multiplexed && !has_syn ? 1u : 0u) << c.name;
      EXPECT_EQ(i.reply_latency.count(), c.is_multiplexed && !has_syn ? 0u : 1u) << c.name;
    }
  }
}

TEST(FlowTable, CountsPayloadOnlyWhenAskedAndKeepsItWithItsEnd) {
  FlowTableOptions options;
  options.max_flows = 1;
  options.count_payload = true;
  auto table = make_table(options);
  // Joined midway: the server sends first, then a SYN shows that the client is the initiator.
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
  told->set_mtu(65'536);  // the declared value counts
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
  // The same ends become flows again, and expire as before.
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
  // The flag clears when the last evicted flow would have left the window anyway.
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
  // The words of these keys cancel out in any hash that xors them without a seed. With a seed,
  // collisions differ from run to run. If all 65,536 keys collided, this would take minutes.
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

TEST(FlowTable, FindsEveryFlowHoweverItsIndexGrew) {
  constexpr uint32_t kFlows = 150'000;
  for (const uint64_t seed : {1, 2, 3}) {
    FlowTableOptions options;
    options.max_flows = kFlows;
    auto table = std::move(FlowTable::create(options, 0, HashSeed::fixed(seed))).value();
    uint32_t checked = 0;
    for (uint32_t client = 0; client < kFlows; ++client) {
      observe(*table, packet(1, client, true));
      if (client < checked + checked / 8 + 100) continue;
      checked = client;
      for (uint32_t known = 0; known <= client; ++known) observe(*table, packet(1, known, false));
      ASSERT_EQ(table->flow_count(), client + 1);  // a flow that is not found would be added again
    }
    EXPECT_EQ(table->take_interval(2).new_flows, kFlows);
    EXPECT_EQ(rows_of(*table).size(), kFlows);
  }
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
