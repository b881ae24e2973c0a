// Two recordings of the same packets, made from a simulated network whose clocks and delays are
// known: what is said about the clocks, the packets and the replies must have the truth within it.
#include <algorithm>
#include <cmath>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "capture/ends/clock_bounds.h"
#include "capture/ends/two_recordings.h"
#include "capture/packet/packet.h"
#include "tests/capture/scratch_file.h"
#include "tests/capture/times.h"
#include "tests/support/pcap_writer.h"

namespace topspin {
namespace {

using test::PcapWriter;
using test::ScratchFile;
using testing::HasSubstr;

constexpr int64_t kUs = 1000;

/// The server's clock: what it shows at a time of the client's.
struct ServerClock {
  int64_t offset_ns = 0;  // at kStart
  double drift = 0;
  int64_t step_ns = 0;  // added from step_at_ns on
  int64_t step_at_ns = INT64_MAX;

  int64_t offset_at(int64_t client_ns) const {
    return offset_ns +
           static_cast<int64_t>(std::llround(drift * static_cast<double>(client_ns - kStart))) +
           (client_ns >= step_at_ns ? step_ns : 0);
  }
  int64_t at(int64_t client_ns) const { return client_ns + offset_at(client_ns); }
};

int64_t rounded_down(int64_t ns, int64_t step_ns) { return ns - ns % step_ns; }

// --- the clocks ---

struct Exchange {
  std::vector<ClockPoint> points;
  int64_t end_ns = kStart;
};

/// Packets there and back with random delays, which may differ much between the directions.
Exchange random_exchange(std::mt19937_64& random, const ServerClock& clock, int packets,
                         int64_t client_step_ns, int64_t server_step_ns) {
  const auto any = [&](int64_t from, int64_t to) {
    return std::uniform_int_distribution<int64_t>(from, to)(random);
  };
  const int64_t least_out = any(1, 50'000 * kUs), least_back = any(1, 50'000 * kUs);
  const int64_t spread = any(1, 20'000 * kUs);
  const int64_t pause = any(1 * kMs, 2 * kS);
  Exchange exchange;
  int64_t now = kStart;
  for (int i = 0; i < packets; ++i) {
    now += any(1, pause);
    const bool is_out = any(0, 1) == 0;
    const int64_t delay = (is_out ? least_out : least_back) + any(0, spread);
    const int64_t client_ns = rounded_down(is_out ? now : now + delay, client_step_ns);
    const int64_t server_ns = rounded_down(clock.at(is_out ? now + delay : now), server_step_ns);
    exchange.points.push_back({client_ns, server_ns - client_ns, is_out});
    exchange.end_ns = std::max(exchange.end_ns, client_ns);
  }
  std::sort(exchange.points.begin(), exchange.points.end(),
            [](const ClockPoint& a, const ClockPoint& b) { return a.client_ns < b.client_ns; });
  return exchange;
}

TEST(ClockBounds, AlwaysHaveTheTruthWithinThem) {
  for (uint64_t seed = 0; seed < 600; ++seed) {
    std::mt19937_64 random(seed);
    ServerClock clock;
    clock.offset_ns =
        std::uniform_int_distribution<int64_t>(-1'000'000 * kS, 1'000'000 * kS)(random);
    clock.drift = std::uniform_real_distribution<double>(-900e-6, 900e-6)(random);
    const int64_t client_step = seed % 3 == 0 ? kUs : 1, server_step = seed % 5 == 0 ? kUs : 1;
    const int packets = static_cast<int>(2 + seed % 400);
    const Exchange e = random_exchange(random, clock, packets, client_step, server_step);
    const auto found = ClockBounds::find(e.points, client_step, server_step, kStart, e.end_ns);
    if (!found.ok()) {
      EXPECT_THAT(found.error().message, HasSubstr("only one direction")) << seed;
      continue;
    }
    ASSERT_EQ(found->pieces().size(), 1u) << seed;
    const ClockPiece& piece = found->pieces()[0];
    EXPECT_LE(std::abs(piece.drift - clock.drift), piece.drift_error + 1e-12) << seed;
    for (int i = 0; i <= 100; ++i) {
      const int64_t at_ns = kStart + (e.end_ns - kStart) / 100 * i;
      const auto offset = found->at(at_ns);
      ASSERT_TRUE(offset) << seed;
      ASSERT_LE(std::abs(offset->ns - clock.offset_at(at_ns)), offset->error_ns)
          << seed << " at " << i;
      const auto back = found->client_time(clock.at(at_ns), 0);
      ASSERT_LE(std::abs(back.ns - at_ns), back.error_ns + 2) << seed;
    }
    // No packet takes less than no time.
    for (const ClockPoint& p : e.points) {
      const int64_t way = p.difference_ns - found->at(p.client_ns)->ns;
      ASSERT_GE(p.is_out ? way : -way, -(client_step + server_step + 1)) << seed;
    }
  }
}

TEST(ClockBounds, AreAsTightAsTheShortestWays) {
  // Each way takes at least 100 us, and often just that: the error is half of both.
  std::vector<ClockPoint> points;
  for (int i = 0; i < 1000; ++i) {
    const int64_t at = kStart + i * 10 * kMs;
    points.push_back({at, 5 * kS + 100 * kUs + (i % 7) * kUs, true});
    points.push_back({at + kMs, 5 * kS - 100 * kUs - (i % 5) * kUs, false});
  }
  const auto found = ClockBounds::find(points, 1, 1, kStart, kStart + 10 * kS);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->pieces().size(), 1u);
  EXPECT_NEAR(static_cast<double>(found->pieces()[0].offset_ns), 5e9, 100);
  EXPECT_NEAR(static_cast<double>(found->pieces()[0].offset_error_ns), 100e3, 1e3);
  EXPECT_NEAR(found->pieces()[0].drift * 1e6, 0, 0.1);
  EXPECT_NEAR(found->pieces()[0].drift_error * 1e6, 20, 2);  // 200 us in 10 s
}

/// The line with the greatest value at x is one through two of the points.
TEST(ClockBounds, AreThoseOfAllPossibleLines) {
  using Real = long double;
  int compared = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    const ServerClock clock{kS, 300e-6};
    const Exchange e = random_exchange(random, clock, 12, 1, 1);
    const auto found = ClockBounds::find(e.points, 1, 1, kStart, e.end_ns);
    if (!found.ok()) continue;
    std::vector<std::pair<Real, Real>> at;  // of each point: time, and the bound there
    for (const ClockPoint& p : e.points)
      at.emplace_back(p.client_ns - kStart, p.difference_ns + (p.is_out ? 1 : -1));
    const auto is_possible = [&](Real slope, Real level) {
      if (std::abs(slope) > ClockBounds::kDriftMax + 1e-15L) return false;
      for (size_t i = 0; i < at.size(); ++i) {
        const Real above = at[i].second - (level + slope * at[i].first);
        if ((e.points[i].is_out ? above : -above) < -0.01L) return false;
      }
      return true;
    };
    for (const int64_t x : {kStart, e.end_ns}) {
      Real most = -1e30L, least = 1e30L;
      const auto try_line = [&](Real slope, size_t through) {
        const Real level = at[through].second - slope * at[through].first;
        if (!is_possible(slope, level)) return;
        most = std::max(most, level + slope * static_cast<Real>(x - kStart));
        least = std::min(least, level + slope * static_cast<Real>(x - kStart));
      };
      for (size_t i = 0; i < at.size(); ++i) {
        try_line(ClockBounds::kDriftMax, i);
        try_line(-ClockBounds::kDriftMax, i);
        for (size_t j = 0; j < i; ++j) {
          if (at[i].first == at[j].first) continue;
          try_line((at[i].second - at[j].second) / (at[i].first - at[j].first), i);
        }
      }
      ASSERT_LE(least, most) << seed;
      const auto offset = found->at(x);
      ASSERT_TRUE(offset) << seed;
      const auto line = static_cast<Real>(offset->ns);
      EXPECT_NEAR(static_cast<double>(std::max(most - line, line - least)),
                  static_cast<double>(offset->error_ns), 6)
          << seed;
      ++compared;
    }
  }
  EXPECT_GT(compared, 500);
}

TEST(ClockBounds, AreDividedWhereAClockWasSet) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    ServerClock clock;
    clock.drift = 20e-6;
    clock.step_ns = (seed % 2 == 0 ? 1 : -1) * 10 * kS;
    Exchange e = random_exchange(random, clock, 300, 1, 1);
    clock.step_at_ns = e.points[150].client_ns;
    random.seed(seed);
    e = random_exchange(random, clock, 300, 1, 1);
    const auto found = ClockBounds::find(e.points, 1, 1, kStart, e.end_ns);
    // A packet is up to 70 ms on its way: what lasts hardly longer may have no certain time.
    const bool is_long = e.end_ns - kStart > 30 * kS;
    if (!is_long && !found.ok()) continue;
    ASSERT_TRUE(found.ok()) << seed;
    if (is_long) {
      EXPECT_EQ(found->pieces().size(), 2u) << seed;
    }
    int known = 0;
    for (int i = 0; i <= 1000; ++i) {
      const int64_t at_ns = kStart + (e.end_ns - kStart) / 1000 * i;
      const auto offset = found->at(at_ns);
      known += offset.has_value();
      if (offset) {
        EXPECT_LE(std::abs(offset->ns - clock.offset_at(at_ns)), offset->error_ns)
            << seed << " at " << i;
      }
    }
    if (is_long) {
      EXPECT_GT(known, 900) << seed;  // all but the time around the step
    }
  }
}

TEST(ClockBounds, NeedBothDirections) {
  const auto one_way =
      ClockBounds::find({{kStart, 1, true}, {kStart + 1, 1, true}}, 1, 1, 0, kStart);
  ASSERT_FALSE(one_way.ok());
  EXPECT_THAT(one_way.error().message, HasSubstr("only one direction"));
  const auto none = ClockBounds::find({}, 1, 1, 0, kStart);
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, HasSubstr("no packet can be told from all others"));
}

TEST(ClockBounds, OfNoiseEndInAnError) {
  std::mt19937_64 random(1);
  std::vector<ClockPoint> points;
  for (int i = 0; i < 20'000; ++i) {
    points.push_back(
        {kStart + i * kMs, std::uniform_int_distribution<int64_t>(-kS, kS)(random), i % 2 == 0});
  }
  const auto found = ClockBounds::find(points, 1, 1, kStart, kStart + 20 * kS);
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(found.error().message, HasSubstr("contradict"));
}

TEST(ClockBounds, TakeAnyStamps) {
  constexpr int64_t kFar = INT64_MAX / 3;
  const std::vector<ClockPoint> points = {
      {0, kFar, true}, {0, -5, false}, {kFar / 2, 0, true}, {kFar, -kFar, false}, {kFar, 0, true}};
  (void)ClockBounds::find(points, kMs, kMs, 0, kFar);
}

// --- packets and replies ---

/// Writes what crosses the network into two files.
class Network {
 public:
  explicit Network(ServerClock clock = {}) : clock_(clock) {}

  static constexpr uint16_t kServer = 8080;

  /// From now on, as files with such stamps do.
  void round_stamps(int64_t step_ns) { step_ns_ = step_ns; }

  void udp(bool out, uint16_t client, const std::string& payload, int64_t sent_ns,
           int64_t arrived_ns) {
    add(out, sent_ns, arrived_ns, [=](PcapWriter& file, int64_t stamp) {
      file.udp(stamp, out ? client : kServer, out ? kServer : client, payload);
    });
  }
  void tcp(bool out, uint16_t client, uint32_t sequence, uint8_t flags, const std::string& payload,
           int64_t sent_ns, int64_t arrived_ns) {
    add(out, sent_ns, arrived_ns, [=](PcapWriter& file, int64_t stamp) {
      file.tcp(stamp, out ? client : kServer, out ? kServer : client, sequence, flags, payload);
    });
  }

  TwoEnds ends(bool exchanged = false) {
    const auto file = [](std::vector<Frame>& frames) {
      std::stable_sort(frames.begin(), frames.end(),
                       [](const Frame& a, const Frame& b) { return a.stamp_ns < b.stamp_ns; });
      PcapWriter writer;
      writer.set_other_host(kServer);
      for (const Frame& frame : frames) frame.write(writer, frame.stamp_ns);
      return ScratchFile(writer.bytes());
    };
    const ScratchFile client = file(client_), server = file(server_);
    TwoRecordings recordings;
    recordings.client.path = exchanged ? server.path() : client.path();
    recordings.server.path = exchanged ? client.path() : server.path();
    auto found = compare_two_ends(recordings);
    EXPECT_TRUE(found.ok()) << found.error().message;
    return found.ok() ? std::move(*found) : TwoEnds();
  }

  static constexpr int64_t kNever = INT64_MIN;  // lost by the network, or by a capture

 private:
  struct Frame {
    int64_t stamp_ns;
    std::function<void(PcapWriter&, int64_t)> write;
  };
  void add(bool out, int64_t sent_ns, int64_t arrived_ns,
           const std::function<void(PcapWriter&, int64_t)>& write) {
    const int64_t client_ns = out ? sent_ns : arrived_ns, server_ns = out ? arrived_ns : sent_ns;
    if (client_ns != kNever) client_.push_back({rounded_down(client_ns, step_ns_), write});
    if (server_ns != kNever)
      server_.push_back({rounded_down(clock_.at(server_ns), step_ns_), write});
  }

  ServerClock clock_;
  int64_t step_ns_ = 1;
  std::vector<Frame> client_;
  std::vector<Frame> server_;
};

/// A request and its reply with these parts. Returns when the reply has come.
int64_t exchange(Network& network, uint16_t client, int number, int64_t at_ns, int64_t out_ns,
                 int64_t server_ns, int64_t back_ns) {
  const std::string id = std::to_string(number);
  const int64_t arrived = at_ns + out_ns, left = arrived + server_ns;
  network.udp(true, client, "request " + id, at_ns, arrived);
  network.udp(false, client, "reply " + id, left, left + back_ns);
  return left + back_ns;
}

void expect_balance(const TwoEnds& ends) {
  for (const EndsDirection* way : {&ends.out, &ends.back}) {
    for (const EndsPackets* of : {&way->sent, &way->arrived})
      EXPECT_EQ(of->packets, of->matched + of->cut_anew + of->missing + of->outside + of->unclear);
    EXPECT_EQ(way->sent.matched, way->arrived.matched);
  }
  EXPECT_EQ(ends.replies, ends.split() + ends.request_not_matched + ends.reply_not_matched +
                              ends.clock_unknown + ends.contradictory);
}

TEST(TwoEnds, SplitRepliesIntoTheTrueParts) {
  std::mt19937_64 random(7);
  const auto any = [&](int64_t from, int64_t to) {
    return std::uniform_int_distribution<int64_t>(from, to)(random);
  };
  for (const int64_t offset : {200 * kMs, -3600 * kS, int64_t{0}}) {
    Network network({offset, 50e-6});
    struct Truth {
      int64_t at, out, server, back;
    };
    std::vector<Truth> truths;
    int64_t now = kStart;
    for (int i = 0; i < 1000; ++i) {
      Truth t{now, 2 * kMs + any(0, kMs), any(kUs, 5 * kMs), 300 * kUs + any(0, kMs)};
      if (i % 100 == 42) t.back += (50 + i / 100) * kMs;
      now = exchange(network, 4000, i, t.at, t.out, t.server, t.back) + any(0, 5 * kMs);
      truths.push_back(t);
    }
    const TwoEnds ends = network.ends();
    expect_balance(ends);
    ASSERT_EQ(ends.clock.size(), 1u);
    EXPECT_EQ(ends.split(), 1000u);
    EXPECT_EQ(ends.replies, 1000u);
    EXPECT_NEAR(ends.clock[0].drift, 50e-6, ends.clock[0].drift_error);
    // The shortest way out is longer than the one back: the offset is off, as the error says.
    EXPECT_GT(ends.clock[0].offset_error_ns, kMs);
    ASSERT_EQ(ends.slowest.size(), kSlowestListed);
    for (const EndsReply& reply : ends.slowest) {
      const auto truth = std::find_if(truths.begin(), truths.end(),
                                      [&](const Truth& t) { return t.at == reply.request_ns; });
      ASSERT_NE(truth, truths.end());
      EXPECT_EQ(reply.whole_ns(), truth->out + truth->server + truth->back);
      EXPECT_LE(std::abs(reply.out_ns - truth->out), reply.error_ns);
      EXPECT_LE(std::abs(reply.back_ns - truth->back), reply.error_ns);
      EXPECT_NEAR(static_cast<double>(reply.server_ns), static_cast<double>(truth->server), 300);
    }
    ASSERT_TRUE(ends.slow);
    EXPECT_EQ(ends.slow->replies, 10u);
    EXPECT_GT(ends.slow->excess_ns(2), 45 * kMs);  // what was longer does not depend on the offset
    EXPECT_LT(ends.slow->excess_ns(0), kMs);
    EXPECT_LT(ends.slow->excess_ns(1), 4 * kMs);
  }
}

TEST(TwoEnds, CountWhatIsLostByDirection) {
  Network network;
  int64_t now = kStart;
  for (int i = 0; i < 1000; ++i, now += 10 * kMs) {
    const std::string id = std::to_string(i);
    const bool lost_out = i % 100 == 50, lost_back = i % 50 == 10, unseen = i % 200 == 7;
    network.udp(true, 4000, "request " + id, unseen ? Network::kNever : now,
                lost_out ? Network::kNever : now + kMs);
    if (lost_out) continue;
    network.udp(false, 4000, "reply " + id, now + 2 * kMs,
                lost_back ? Network::kNever : now + 3 * kMs);
  }
  const TwoEnds ends = network.ends();
  expect_balance(ends);
  EXPECT_EQ(ends.out.sent.missing, 10u);
  EXPECT_EQ(ends.out.arrived.missing, 5u);
  EXPECT_EQ(ends.back.sent.missing, 20u);
  EXPECT_EQ(ends.back.arrived.missing, 0u);
  EXPECT_EQ(ends.out.sent.packets, 995u);
  EXPECT_EQ(ends.out.arrived.packets, 990u);
}

TEST(TwoEnds, DoNotCallLostWhatTheOtherFileCouldNotHave) {
  Network network({kS, 0});
  uint64_t arrived = 0, left = 0;
  for (int i = 0; i < 1000; ++i) {
    const int64_t now = kStart + i * 10 * kMs;
    // The server's file begins later and ends earlier, while packets are on their way.
    const auto seen = [](int64_t at_ns) {
      return at_ns >= kStart + kS && at_ns < kStart + 9 * kS ? at_ns : Network::kNever;
    };
    const std::string id = std::to_string(i);
    network.udp(true, 4000, "request " + id, now, seen(now + 45 * kMs));
    network.udp(false, 4000, "reply " + id, seen(now + 50 * kMs), now + 85 * kMs);
    arrived += seen(now + 45 * kMs) != Network::kNever;
    left += seen(now + 50 * kMs) != Network::kNever;
  }
  const TwoEnds ends = network.ends();
  expect_balance(ends);
  EXPECT_EQ(ends.out.sent.missing, 0u);
  EXPECT_EQ(ends.out.sent.outside, 1000 - arrived);
  EXPECT_EQ(ends.back.arrived.missing, 0u);
  EXPECT_EQ(ends.back.arrived.outside, 1000 - left);
  EXPECT_EQ(ends.split() + ends.request_not_matched + ends.reply_not_matched, 1000u);
}

TEST(TwoEnds, TellPingsThatAreAllAlikeApartByTheirTime) {
  Network network({-7 * kS, -30e-6});
  for (int i = 0; i < 100; ++i) {
    const int64_t now = kStart + i * 100 * kMs;
    exchange(network, 4000, i, now, kMs, kMs, kMs);
    // The first is not in the client's file, and the 50th is lost on the way.
    network.udp(true, 4001, "PING", i == 0 ? Network::kNever : now + 5 * kMs,
                i == 50 ? Network::kNever : now + 6 * kMs);
    if (i != 50) network.udp(false, 4001, "PONG", now + 7 * kMs, now + 8 * kMs);
  }
  const TwoEnds ends = network.ends();
  expect_balance(ends);
  ASSERT_EQ(ends.clock.size(), 1u);
  EXPECT_EQ(ends.out.by_time, 98u);
  EXPECT_EQ(ends.back.by_time, 99u);
  EXPECT_EQ(ends.out.sent.missing, 1u);
  EXPECT_LE(*ends.out.transit.max(), 2 * kMs);
  EXPECT_LE(*ends.back.transit.max(), 2 * kMs);
}

/// The latest one sent before is another one: several are on their way at once.
TEST(TwoEnds, DoNotTellPingsApartThatFollowEachOtherFasterThanTheirWay) {
  Network network;
  for (int i = 0; i < 100; ++i) {
    const int64_t now = kStart + i * 3 * kMs;
    exchange(network, 4000, i, now, 10 * kMs, kMs, 10 * kMs);
    network.udp(true, 4001, "PING", now, now + 10 * kMs);
    network.udp(false, 4001, "PONG", now + 11 * kMs, now + 21 * kMs);
  }
  const TwoEnds ends = network.ends();
  expect_balance(ends);
  ASSERT_EQ(ends.clock.size(), 1u);
  EXPECT_EQ(ends.out.by_time, 0u);
  EXPECT_EQ(ends.out.sent.unclear, 100u);
  EXPECT_EQ(ends.back.arrived.unclear, 100u);
  EXPECT_EQ(ends.out.sent.missing + ends.out.arrived.missing, 0u);
  EXPECT_EQ(ends.split(), 100u);
}

TEST(TwoEnds, KnowThatStampsInMicrosecondsAreRounded) {
  Network network({5 * kS + 600, 0});
  network.round_stamps(kUs);
  for (int i = 0; i < 1000; ++i)
    exchange(network, 4000, i, kStart + i * 10 * kMs + i * 7, 100, 20 * kUs + i % 13 * 100, 150);
  const TwoEnds ends = network.ends();
  expect_balance(ends);
  ASSERT_EQ(ends.clock.size(), 1u);
  EXPECT_LE(std::abs(ends.clock[0].offset_ns - (5 * kS + 600)), ends.clock[0].offset_error_ns);
  EXPECT_EQ(ends.split(), 1000u);
}

TEST(TwoEnds, SayIfAllPacketsAreAlike) {
  Network network;
  for (int i = 0; i < 100; ++i) {
    const int64_t now = kStart + i * 100 * kMs;
    network.udp(true, 4001, "PING", now, now + kMs);
    network.udp(false, 4001, "PONG", now + 2 * kMs, now + 3 * kMs);
  }
  const TwoEnds ends = network.ends();
  EXPECT_TRUE(ends.clock.empty());
  EXPECT_THAT(ends.why_no_clock, HasSubstr("no packet can be told from all others"));
  EXPECT_EQ(ends.split(), 0u);
}

/// Connections with requests in one segment and replies of two, which the client's host received
/// as one (GRO), and requests of two segments that left as one (TSO).
TEST(TwoEnds, FindSegmentsThatOffloadsCutAnew) {
  Network network({kS, 10e-6});
  const uint8_t syn = 0x02, syn_ack = 0x12, ack = 0x18;
  uint32_t out = 1000, back = 5'000'000;
  int64_t now = kStart;
  network.tcp(true, 4000, out++, syn, "", now, now + kMs);
  network.tcp(false, 4000, back++, syn_ack, "", now + kMs, now + 2 * kMs);
  const std::string kilo(1000, 'x');
  for (int i = 0; i < 100; ++i) {
    now += 100 * kMs;
    network.tcp(true, 4000, out, ack, kilo + kilo, now, Network::kNever);
    network.tcp(true, 4000, out, ack, kilo, Network::kNever, now + kMs);
    network.tcp(true, 4000, out + 1000, ack, kilo, Network::kNever, now + kMs + 5 * kUs);
    out += 2000;
    network.tcp(false, 4000, back, ack, kilo, now + 3 * kMs, Network::kNever);
    network.tcp(false, 4000, back + 1000, ack, kilo, now + 3 * kMs + kUs, Network::kNever);
    network.tcp(false, 4000, back, ack, kilo + kilo, Network::kNever, now + 5 * kMs);
    back += 2000;
  }
  const TwoEnds ends = network.ends();
  expect_balance(ends);
  EXPECT_EQ(ends.split(), 100u);
  EXPECT_EQ(ends.out.arrived.cut_anew, 100u);
  EXPECT_EQ(ends.back.sent.cut_anew, 100u);
  EXPECT_EQ(ends.out.sent.missing + ends.out.arrived.missing, 0u);
  EXPECT_EQ(ends.back.sent.missing + ends.back.arrived.missing, 0u);
  EXPECT_NEAR(static_cast<double>(*ends.parts[1].max()), 2e6, 100);
}

TEST(TwoEnds, CountATimeInWhichASegmentWasSentAgainAsTimeOnTheWay) {
  Network network;
  const uint8_t ack = 0x18;
  uint32_t out = 1000, back = 9000;
  int64_t now = kStart;
  network.tcp(true, 4000, out++, 0x02, "", now, now + kMs);
  network.tcp(false, 4000, back++, 0x12, "", now + kMs, now + 2 * kMs);
  for (int i = 0; i < 50; ++i) {
    now += kS / 2;
    const bool is_lost = i % 10 == 5;
    network.tcp(true, 4000, out, ack, "GET /", now, is_lost ? Network::kNever : now + kMs);
    const int64_t again = now + 200 * kMs;
    if (is_lost) network.tcp(true, 4000, out, ack, "GET /", again, again + kMs);
    const int64_t arrived = is_lost ? again + kMs : now + kMs;
    out += 5;
    network.tcp(false, 4000, back, ack, "OK", arrived + kMs, arrived + 2 * kMs);
    back += 2;
  }
  const TwoEnds ends = network.ends();
  expect_balance(ends);
  EXPECT_EQ(ends.split(), 50u);
  EXPECT_EQ(ends.out.sent.missing, 5u);
  EXPECT_NEAR(static_cast<double>(*ends.parts[0].max()), 201e6, 1e6);
  EXPECT_LE(*ends.parts[1].max(), kMs + 1000);
  EXPECT_LE(*ends.parts[2].max(), 2 * kMs + 1000);
}

/// Acknowledgments that say the same again (keep-alives), of which one is lost.
TEST(TwoEnds, DoNotTakeALostAcknowledgmentForALongWay) {
  Network network;
  for (int i = 0; i < 20; ++i) {
    const int64_t now = kStart + i * kS;
    exchange(network, 4000, i, now, kMs, kMs, kMs);
    network.tcp(true, 4001, 7000, 0x10, "", now, i == 9 ? Network::kNever : now + kMs);
    network.tcp(false, 4001, 9000, 0x10, "", now + kMs, now + 2 * kMs);
  }
  const TwoEnds ends = network.ends();
  expect_balance(ends);
  EXPECT_EQ(ends.out.sent.missing, 1u);
  EXPECT_EQ(ends.out.by_time, 19u);
  EXPECT_LE(*ends.out.transit.max(), 3 * kMs);
}

TEST(TwoEnds, KnowTheirFilesApart) {
  Network network;
  for (int i = 0; i < 100; ++i) exchange(network, 4000, i, kStart + i * 10 * kMs, kMs, kMs, kMs);
  const TwoEnds right = network.ends();
  EXPECT_EQ(right.flows_opened_by_server, 0u);
  const TwoEnds wrong = network.ends(true);
  EXPECT_EQ(wrong.flows_opened_by_server, 1u);
  EXPECT_EQ(wrong.replies, 0u);
  EXPECT_EQ(wrong.out.sent.packets, 100u);  // from the first file's host
}

TEST(TwoEnds, LeaveOutRepliesFromWhileAClockWasSet) {
  Network network({0, 0, 3 * kS, kStart + 5 * kS});
  for (int i = 0; i < 1000; ++i) exchange(network, 4000, i, kStart + i * 10 * kMs, kMs, kMs, kMs);
  const TwoEnds ends = network.ends();
  expect_balance(ends);
  EXPECT_EQ(ends.clock.size(), 2u);
  EXPECT_GE(ends.split(), 990u);
  EXPECT_EQ(ends.clock_unknown + ends.split(), 1000u);
  EXPECT_LE(*ends.parts[0].max(), 3 * kMs);
  EXPECT_LE(*ends.parts[2].max(), 3 * kMs);
}

TEST(TwoEnds, NeedFlowsInCommon) {
  PcapWriter one, other;
  one.udp(kStart, 4000, 8080, "x");
  other.udp(kStart, 4001, 8080, "x");
  const ScratchFile a(one.bytes()), b(other.bytes()), empty(PcapWriter().bytes());
  const auto error_of = [](const ScratchFile& client, const ScratchFile& server) {
    TwoRecordings recordings;
    recordings.client.path = client.path();
    recordings.server.path = server.path();
    const auto found = compare_two_ends(recordings);
    return found.ok() ? std::string() : found.error().message;
  };
  EXPECT_THAT(error_of(a, b), HasSubstr("NAT"));
  EXPECT_THAT(error_of(empty, b), HasSubstr("no packets of TCP or UDP flows"));
  EXPECT_THAT(error_of(a, empty), HasSubstr("has no packets"));
}

TEST(TwoEnds, UseWhatWasReadOfABrokenFile) {
  PcapWriter file;
  for (int i = 0; i < 10; ++i) file.udp(kStart + i * kMs, 4000, 8080, std::to_string(i));
  const ScratchFile whole(file.bytes());
  const ScratchFile cut(file.bytes().substr(0, file.bytes().size() - 5));
  TwoRecordings recordings;
  recordings.client.path = whole.path();
  recordings.server.path = cut.path();
  const auto found = compare_two_ends(recordings);
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->client.error);
  EXPECT_TRUE(found->server.error);
  EXPECT_EQ(found->server.packets, 9u);
  recordings.client.max_packets = 4;
  const auto limited = compare_two_ends(recordings);
  ASSERT_TRUE(limited.ok());
  EXPECT_TRUE(limited->client.is_cut_off);
  EXPECT_EQ(limited->client.packets, 4u);
  recordings.client.max_packets = 10;
  const auto exact = compare_two_ends(recordings);
  ASSERT_TRUE(exact.ok());
  EXPECT_FALSE(exact->client.is_cut_off);
}

}  // namespace
}  // namespace topspin
