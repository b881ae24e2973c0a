// udp-pingpong and udp-flood with real sockets on loopback, against a server that counts what it
// drops, delays and duplicates. The accounts must equal its counts.
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "core/base/unique_fd.h"
#include "load/engine/validity.h"
#include "load/load.h"
#include "tests/load/misbehaving_udp_server.h"

namespace topspin {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMs = kNanosPerMilli;

const std::atomic<bool> kNeverStop{false};

LoadOptions pingpong(const std::string& target, std::string_view stages) {
  LoadOptions options;
  options.target = target;
  const auto parsed = parse_stages(stages);
  EXPECT_TRUE(parsed.ok());
  options.stages = *parsed;
  return options;
}

/// A busy machine may make the load invalid, which these tests ignore. The accounts must balance
/// all the same.
void expect_balanced(const LoadResult& result) {
  for (const std::string& reason : result.invalid_reasons) {
    EXPECT_THAT(reason, testing::Not(HasSubstr("balance")));
  }
  AccountsContext context;
  context.expects_replies = result.expects_replies;
  context.is_tcp = result.tcp.has_value();
  context.planned = result.planned;
  context.has_plan = result.has_plan;
  EXPECT_THAT(find_imbalances(result.total.accounts, result.tcp.value_or(TcpAccounts{}), context),
              testing::IsEmpty());
}

/// From due to answered is from due to sent, plus from sent to answered. The sums agree exactly.
void expect_latencies_meet(const LoadPart& part) {
  EXPECT_EQ(part.latency_intended.sum(), part.latency_actual.sum() + part.own_lateness.sum());
  EXPECT_EQ(part.own_lateness.count(), part.accounts.sent);
}

size_t open_descriptors() {
  size_t n = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    n += !entry.path().empty();
  return n;
}

struct Case {
  const char* name;
  WireProfile wire;
  SocketMode sockets;
  const char* host;
};

class Pingpong : public testing::TestWithParam<Case> {};

TEST_P(Pingpong, AccountsEqualTheTruthOfAServerThatDropsDelaysAndDuplicates) {
  UdpMisbehaviour behaviour;
  behaviour.drop_permille = 100;
  behaviour.delay_permille = 100;
  behaviour.delay_ns = 320 * kMs;
  behaviour.duplicate_permille = 150;
  behaviour.foreign_permille = 100;
  behaviour.echo = GetParam().wire != WireProfile::kPing4;
  const size_t before = open_descriptors();
  {
    MisbehavingUdpServer server(behaviour, GetParam().host);
    LoadOptions options = pingpong(server.target(), "0:200 over 500ms, hold 1s, 200:0 over 500ms");
    options.wire = GetParam().wire;
    options.sockets = GetParam().sockets;
    options.message_bytes = 40;
    options.period_ns = 500 * kMs;
    options.timeout_ns = 200 * kMs;
    const auto result = run_load(options, kNeverStop, {});
    ASSERT_TRUE(result.ok()) << result.error().message;
    const UdpTruth& truth = server.stop();
    const LoadAccounts& a = result->total.accounts;
    expect_balanced(*result);
    EXPECT_EQ(result->clients_max, 200u);
    EXPECT_EQ(truth.flows, 200u);
    EXPECT_EQ(a.sent, truth.received);
    EXPECT_GT(a.sent, 500u);
    // A client closes when its last ping has timed out, so a late answer to that ping counts as
    // lost. The sum of all is exact. If the machine stalls for 200 ms, other replies are late too.
    EXPECT_EQ(a.replied + a.late_replies + a.lost, truth.received);
    EXPECT_GE(a.lost, truth.dropped);
    EXPECT_LE(a.lost, truth.dropped + truth.delayed);
    EXPECT_GE(a.lost + a.late_replies, truth.dropped + truth.delayed);
    EXPECT_GT(a.late_replies, 0u);
    EXPECT_LE(a.duplicates, truth.duplicated);
    EXPECT_GE(a.duplicates + result->clients_joined, truth.duplicated);
    EXPECT_GT(a.duplicates, 0u);
    EXPECT_GT(a.unexpected, 0u);
    // A shared socket also receives what arrives for clients that have left.
    const bool shared = GetParam().sockets == SocketMode::kShared;
    EXPECT_LE(a.unexpected, truth.foreign + (shared ? truth.delayed + truth.duplicated : 0));
    EXPECT_EQ(result->total.latency_intended.count(), a.sent);
    expect_latencies_meet(result->total);
    EXPECT_EQ(result->total.latency_actual.count(), a.sent);
    EXPECT_EQ(result->own.shared_sockets, shared);
  }
  EXPECT_EQ(open_descriptors(), before);
}

INSTANTIATE_TEST_SUITE_P(
    Wires, Pingpong,
    testing::Values(Case{"own_ping4", WireProfile::kPing4, SocketMode::kOwn, "127.0.0.1"},
                    Case{"own_fixed32", WireProfile::kFixed32, SocketMode::kOwn, "127.0.0.1"},
                    Case{"own_numbered", WireProfile::kNumbered, SocketMode::kOwn, "127.0.0.1"},
                    Case{"own_numbered_ipv6", WireProfile::kNumbered, SocketMode::kOwn, "::1"},
                    Case{"shared_ping4", WireProfile::kPing4, SocketMode::kShared, "127.0.0.1"},
                    Case{"shared_numbered", WireProfile::kNumbered, SocketMode::kShared,
                         "127.0.0.1"}),
    [](const auto& which) { return which.param.name; });

TEST(UdpPingpong, ExactSharesOfLossWhileClientsStay) {
  // All clients stay to the end and the server delays nothing, so exactly the dropped pings are
  // lost. On a busy machine a reply may still be late.
  UdpMisbehaviour behaviour;
  behaviour.drop_permille = 80;
  behaviour.duplicate_permille = 80;
  behaviour.echo = true;
  MisbehavingUdpServer server(behaviour);
  LoadOptions options = pingpong(server.target(), "100:100 over 2s");
  options.wire = WireProfile::kNumbered;
  options.period_ns = 100 * kMs;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  const UdpTruth& truth = server.stop();
  expect_balanced(*result);
  const LoadAccounts& a = result->total.accounts;
  EXPECT_EQ(a.scheduled, 2000u);
  EXPECT_EQ(a.sent, truth.received);
  EXPECT_EQ(a.lost, truth.dropped);
  EXPECT_EQ(a.replied + a.late_replies, truth.received - truth.dropped);
  EXPECT_GT(truth.dropped, 50u);
  // A lost reply is recorded with at least the timeout.
  EXPECT_GE(result->total.latency_actual.max(), 1000u * kMs);
}

TEST(UdpPingpong, OpenLoopShowsAStallToEveryClientThatWasDueInIt) {
  UdpMisbehaviour behaviour;
  behaviour.stall_after_ns = 700 * kMs;
  behaviour.stall_ns = 500 * kMs;
  behaviour.echo = true;
  MisbehavingUdpServer server(behaviour);
  LoadOptions options = pingpong(server.target(), "200:200 over 3s");
  options.wire = WireProfile::kNumbered;
  options.timeout_ns = 2 * kNanosPerSecond;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  server.stop();
  expect_balanced(*result);
  const Histogram& latency = result->total.latency_intended;
  // 200 pings per second, so 100 are due while the server stalls. They wait 250 ms on average.
  uint64_t over_50ms = 0;
  for (uint32_t i = topspin_histogram_index(50 * kMs); i < kHistogramBuckets; ++i) {
    over_50ms += latency.cell(i);
  }
  EXPECT_GE(over_50ms, 88u);
  EXPECT_GE(latency.max(), 480u * kMs);
  const LoadAccounts& a = result->total.accounts;
  EXPECT_EQ(a.replied + a.late_replies + a.never_scheduled, 600u);
  EXPECT_EQ(a.lost, 0u);
}

TEST(UdpPingpong, WhatIsSentBehindTimeIsLateFromTheIntendedMoment) {
  // All clients are due at the same moments, and one thread can only send one ping after another.
  MisbehavingUdpServer server({});
  LoadOptions options = pingpong(server.target(), "300:300 over 1s");
  options.period_ns = 250 * kMs;
  options.grid_ns = 250 * kMs;
  options.late_after_ns = 0;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  expect_balanced(*result);
  EXPECT_EQ(result->total.accounts.scheduled, 1200u);
  expect_latencies_meet(result->total);
  for (const LoadPart& stage : result->stages) expect_latencies_meet(stage);
  // 299 of each 300 pings wait for the system calls of others, which take at least a microsecond.
  EXPECT_GT(result->total.own_lateness.sum() / 1200, 20'000u);
  EXPECT_EQ(result->total.accounts.sent_late, result->total.accounts.sent);
}

TEST(UdpPingpong, AClosedLoopParksAClientForEveryLostReply) {
  UdpMisbehaviour behaviour;
  behaviour.drop_permille = 100;
  MisbehavingUdpServer server(behaviour);
  LoadOptions options = pingpong(server.target(), "50:50 over 3s");
  options.closed_loop = true;
  options.period_ns = 200 * kMs;
  options.timeout_ns = kNanosPerSecond;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  const UdpTruth& truth = server.stop();
  expect_balanced(*result);
  const LoadAccounts& a = result->total.accounts;
  EXPECT_EQ(a.sent, truth.received);
  EXPECT_EQ(a.lost, truth.dropped);
  EXPECT_EQ(a.dead_clients, truth.dropped);  // a dead client sends nothing more
  EXPECT_GT(a.dead_clients, 10u);
  EXPECT_EQ(a.scheduled, 50u * 15);  // what an open loop would have sent
  EXPECT_EQ(a.never_scheduled, a.blocked);
  EXPECT_GT(a.never_scheduled, 0u);
}

TEST(UdpPingpong, RampDownClosesSocketsWhileOthersStay) {
  MisbehavingUdpServer server({});
  LoadOptions options =
      pingpong(server.target(), "0:300 over 0s, hold 500ms, 300:5 over 0s, hold 1500ms");
  options.period_ns = 100 * kMs;
  options.timeout_ns = 200 * kMs;
  options.progress_ns = 100 * kMs;
  const size_t before = open_descriptors();
  size_t most = 0, last = 0;
  const auto result = run_load(options, kNeverStop, [&](const LoadProgress& line) {
    last = open_descriptors();
    most = std::max(most, last);
    if (line.elapsed_ns > 1400 * kMs && line.elapsed_ns < 1900 * kMs) {
      EXPECT_LE(last, before + 5 + 3);
    }
  });
  ASSERT_TRUE(result.ok());
  EXPECT_GE(most, before + 300);
  EXPECT_EQ(open_descriptors(), before);
  expect_balanced(*result);
}

TEST(UdpPingpong, NobodyListens) {
  std::string target;
  { target = MisbehavingUdpServer({}).target(); }  // a port that was free just now
  LoadOptions options = pingpong(target, "20:20 over 1s");
  options.period_ns = 100 * kMs;
  options.timeout_ns = 100 * kMs;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok());
  expect_balanced(*result);
  EXPECT_EQ(result->total.accounts.lost, 200u);
  EXPECT_GT(result->port_unreachable, 150u);
}

TEST(UdpPingpong, ToldToStopItKeepsWhatWasDone) {
  MisbehavingUdpServer server({});
  LoadOptions options = pingpong(server.target(), "0:100 over 500ms, hold 100s");
  options.period_ns = 50 * kMs;
  std::atomic<bool> stop{false};
  options.progress_ns = 100 * kMs;
  const auto result = run_load(options, stop, [&](const LoadProgress& line) {
    if (line.elapsed_ns > 800 * kMs) stop.store(true);
  });
  ASSERT_TRUE(result.ok());
  const UdpTruth& truth = server.stop();
  EXPECT_TRUE(result->stopped_early);
  EXPECT_LT(result->own.wall_ns, 30 * kNanosPerSecond);
  EXPECT_EQ(result->total.accounts.sent, truth.received);
  EXPECT_EQ(result->stages.size(), 2u);
  expect_balanced(*result);
}

TEST(UdpPingpong, ThreadsShareTheClients) {
  for (const SocketMode sockets : {SocketMode::kOwn, SocketMode::kShared}) {
    MisbehavingUdpServer server({});
    LoadOptions options =
        pingpong(server.target(), "0:200 over 300ms, hold 300ms, 200:0 over 200ms");
    options.period_ns = 50 * kMs;
    options.sockets = sockets;
    options.threads = 2;
    const auto result = run_load(options, kNeverStop, {});
    ASSERT_TRUE(result.ok()) << result.error().message;
    const UdpTruth& truth = server.stop();
    expect_balanced(*result);
    expect_latencies_meet(result->total);
    const LoadAccounts& a = result->total.accounts;
    EXPECT_EQ(a.sent, truth.received);
    EXPECT_EQ(a.replied + a.late_replies, truth.received);
    EXPECT_EQ(truth.flows, 200u);
    EXPECT_EQ(result->clients_joined, 200u);
    ASSERT_EQ(result->workers.size(), 2u);
    for (const WorkerPart& thread : result->workers) EXPECT_GT(thread.accounts.sent, 500u);
  }
}

TEST(UdpPingpong, RepeatsReuseSlotsOfSharedSockets) {
  MisbehavingUdpServer server({});
  LoadOptions options =
      pingpong(server.target(), "4x(0:100 over 100ms, hold 200ms, 100:0 over 100ms)");
  options.period_ns = 100 * kMs;
  options.sockets = SocketMode::kShared;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok());
  const UdpTruth& truth = server.stop();
  expect_balanced(*result);
  EXPECT_EQ(result->clients_joined, 400u);
  EXPECT_EQ(result->clients_max, 100u);
  EXPECT_EQ(truth.flows, 100u);
  EXPECT_EQ(result->total.accounts.lost, 0u);
  EXPECT_EQ(result->total.accounts.sent, truth.received);
}

/// Runs `body` on a thread in a new network namespace, whose loopback is up and whose ephemeral
/// ports are `range`. Returns false if that is not allowed here.
template <typename Body>
bool in_namespace_with_ports(const std::string& range, const Body& body) {
  bool allowed = true;
  std::thread thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      allowed = false;
      return;
    }
    const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq up{};
    std::strcpy(up.ifr_name, "lo");
    up.ifr_flags = IFF_UP;
    ASSERT_EQ(ioctl(fd.get(), SIOCSIFFLAGS, &up), 0);
    std::ofstream("/proc/sys/net/ipv4/ip_local_port_range") << range;
    body();
  });
  thread.join();
  return allowed;
}

TEST(UdpPingpong, OwnSocketsSpreadTheirAddressesWhenPortsAreFew) {
  const bool allowed = in_namespace_with_ports("40000 40999", [] {
    MisbehavingUdpServer server({});
    LoadOptions options = pingpong(server.target(), "0:2000 over 500ms, hold 1s");
    options.sockets = SocketMode::kOwn;
    const auto result = run_load(options, kNeverStop, {});
    ASSERT_TRUE(result.ok()) << result.error().message;
    const UdpTruth& truth = server.stop();
    expect_balanced(*result);
    EXPECT_EQ(result->total.accounts.send_errors, 0u);
    EXPECT_EQ(truth.flows, 2000u);
    EXPECT_EQ(truth.received, result->total.accounts.sent);

    // Over IPv6 there is only one source address, so the ports limit the number of clients.
    MisbehavingUdpServer server6({}, "::1");
    options.target = server6.target();
    const auto refused = run_load(options, kNeverStop, {});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(refused.error().message, HasSubstr("ip_local_port_range"));
  });
  if (!allowed) GTEST_SKIP() << "needs CAP_SYS_ADMIN for a network namespace of its own";
}

LoadOptions flood(const std::string& target) {
  LoadOptions options;
  options.workload = WorkloadKind::kUdpFlood;
  options.target = target;
  options.duration_ns = kNanosPerSecond;
  options.message_bytes = 18;
  return options;
}

TEST(UdpFlood, AtARateItSendsExactlyWhatIsDue) {
  MisbehavingUdpServer server({});
  LoadOptions options = flood(server.target());
  options.packets_per_s = 3000;
  options.flows = 7;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  const UdpTruth& truth = server.stop();
  expect_balanced(*result);
  EXPECT_EQ(result->total.accounts.scheduled, 3000u);
  EXPECT_EQ(truth.flows, 7u);
  // Other programs may add to the kernel's counter.
  EXPECT_LE(truth.received, result->total.accounts.sent);
  EXPECT_GE(truth.received + result->kernel.udp_rcvbuf_errors.value_or(0),
            result->total.accounts.sent);
  EXPECT_EQ(result->total.own_lateness.count(), result->total.accounts.sent);
}

TEST(UdpFlood, FlatOutEveryDatagramIsWithTheServerOrInTheKernelsDrops) {
  for (const bool gso : {false, true}) {
    MisbehavingUdpServer server({});
    LoadOptions options = flood(server.target());
    options.gso = gso;
    options.duration_ns = 300 * kMs;
    const auto result = run_load(options, kNeverStop, {});
    ASSERT_TRUE(result.ok()) << result.error().message;
    const UdpTruth& truth = server.stop();
    expect_balanced(*result);
    EXPECT_GT(truth.received, 0u);
    EXPECT_LE(truth.received, result->total.accounts.sent);
    ASSERT_TRUE(result->kernel.udp_rcvbuf_errors.has_value());
    EXPECT_GE(truth.received + *result->kernel.udp_rcvbuf_errors, result->total.accounts.sent);
  }
}

TEST(UdpPingpong, WrongOptionsAreRefusedInOneSentence) {
  const auto refused = [](auto change) {
    LoadOptions options = pingpong("127.0.0.1:9", "1:1 over 1s");
    change(options);
    const auto result = run_load(options, kNeverStop, {});
    EXPECT_FALSE(result.ok());
    return result.ok() ? Error{} : result.error();
  };
  for (const char* target : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", ":80",
                             "::1:80", "[::1]", "host.invalid:80"}) {
    const Error error = refused([&](LoadOptions& o) { o.target = target; });
    EXPECT_EQ(error.code, ErrorCode::kUsage) << target;
    EXPECT_THAT(error.message, HasSubstr("the target \"")) << target;
  }
  EXPECT_EQ(refused([](LoadOptions& o) { o.period_ns = 0; }).code, ErrorCode::kUsage);
  EXPECT_EQ(refused([](LoadOptions& o) { o.timeout_ns = 0; }).code, ErrorCode::kUsage);
  EXPECT_EQ(refused([](LoadOptions& o) {
              o.wire = WireProfile::kNumbered;
              o.message_bytes = 15;
            }).code,
            ErrorCode::kUsage);
  EXPECT_EQ(refused([](LoadOptions& o) {
              o.target = "[::1]:9";
              o.sockets = SocketMode::kShared;
            }).code,
            ErrorCode::kUsage);
  // More clients than there can be descriptors.
  const Error error = refused([](LoadOptions& o) {
    o.target = "[::1]:9";
    o.stages = *parse_stages("0:3000000 over 1s");
  });
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_THAT(error.message, HasSubstr("raise it"));
}

}  // namespace
}  // namespace topspin
