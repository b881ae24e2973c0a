// tcp-connect, http and accept-queue with real sockets on loopback, against a server that counts
// how it treats its connections. The accounts must equal its counts.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "load/load.h"
#include "load/share/load_threads.h"
#include "tests/load/misbehaving_tcp_server.h"

namespace topspin {
namespace {

using ::testing::IsEmpty;

constexpr int64_t kMs = kNanosPerMilli;

const std::atomic<bool> kNeverStop{false};

LoadOptions tcp_load(WorkloadKind kind, const std::string& target, std::string_view stages) {
  LoadOptions options;
  options.workload = kind;
  options.target = target;
  options.stages = *parse_stages(stages);
  return options;
}

void expect_balanced(const LoadResult& result) {
  AccountsContext context;
  context.is_tcp = true;
  context.planned = result.planned;
  EXPECT_THAT(find_imbalances(result.total.accounts, *result.tcp, context), IsEmpty());
}

size_t open_descriptors() {
  size_t n = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    n += !entry.path().empty();
  }
  return n;
}

TEST(TcpConnect, EveryFateHasItsAccount) {
  TcpMisbehaviour behaviour;
  behaviour.fates = {TcpFate::kWhole,       TcpFate::kTruncated,  TcpFate::kWhole,
                     TcpFate::kResetBefore, TcpFate::kResetAfter, TcpFate::kSilence};
  const size_t before = open_descriptors();
  {
    MisbehavingTcpServer server(behaviour);
    LoadOptions options = tcp_load(WorkloadKind::kTcpConnect, server.target(),
                                   "0:60 over 300ms, hold 700ms, 60:0 over 300ms");
    options.period_ns = 200 * kMs;
    options.timeout_ns = kNanosPerSecond;
    options.expect_bytes = 64;
    const auto result = run_load(options, kNeverStop, {});
    ASSERT_TRUE(result.ok()) << result.error().message;
    auto truth = server.stop();
    expect_balanced(*result);
    const TcpAccounts& tcp = *result->tcp;
    const LoadAccounts& a = result->total.accounts;
    EXPECT_EQ(a.sent, truth.connections);
    EXPECT_GT(a.sent, 200u);
    // The client may not notice that a connection was established if the server resets it at once,
    // with or without bytes: the reset discards what came before.
    EXPECT_GE(tcp.connected, truth.connections - truth.fates[TcpFate::kResetBefore] -
                                 truth.fates[TcpFate::kResetAfter]);
    EXPECT_EQ(a.replied, truth.fates[TcpFate::kWhole]);
    EXPECT_EQ(tcp.truncated, truth.fates[TcpFate::kTruncated]);
    EXPECT_EQ(tcp.timeouts, truth.fates[TcpFate::kSilence]);
    EXPECT_EQ(tcp.reset_before_bytes + tcp.reset_after_bytes,
              truth.fates[TcpFate::kResetBefore] + truth.fates[TcpFate::kResetAfter]);
    EXPECT_GE(tcp.reset_before_bytes, truth.fates[TcpFate::kResetBefore]);
    EXPECT_EQ(tcp.refused, 0u);
    EXPECT_EQ(a.late_replies, 0u);
    ASSERT_TRUE(result->kernel.tcp_passive_opens.has_value());
    EXPECT_GE(*result->kernel.tcp_passive_opens, truth.connections);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(TcpConnect, NobodyListens) {
  std::string target;
  { target = MisbehavingTcpServer({false, {}, 1, false}).target(); }
  LoadOptions options = tcp_load(WorkloadKind::kTcpConnect, target, "10:10 over 500ms");
  options.period_ns = 100 * kMs;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  expect_balanced(*result);
  // 50, or fewer on a busy host that leaves no time to send them all.
  const uint64_t sent = result->total.accounts.sent;
  EXPECT_GT(sent, 0u);
  EXPECT_EQ(result->tcp->refused, sent);
  EXPECT_EQ(result->total.accounts.lost, sent);
  EXPECT_EQ(result->tcp->connected, 0u);
}

TEST(Http, KeepAliveAndEveryFate) {
  for (const bool keep_alive : {true, false}) {
    TcpMisbehaviour behaviour;
    behaviour.http = true;
    behaviour.fates = {TcpFate::kWhole,      TcpFate::kChunked, TcpFate::kUntilClose,
                       TcpFate::kTruncated,  TcpFate::kWhole,   TcpFate::kResetBefore,
                       TcpFate::kResetAfter, TcpFate::kWhole,   TcpFate::kSilence};
    MisbehavingTcpServer server(behaviour);
    LoadOptions options =
        tcp_load(WorkloadKind::kHttp, server.target(), "0:40 over 200ms, hold 1s, 40:0 over 200ms");
    options.period_ns = 100 * kMs;
    options.timeout_ns = 150 * kMs;
    options.http.requests_per_connection = keep_alive ? 0 : 1;
    const auto result = run_load(options, kNeverStop, {});
    ASSERT_TRUE(result.ok()) << result.error().message;
    auto truth = server.stop();
    expect_balanced(*result);
    const TcpAccounts& tcp = *result->tcp;
    const LoadAccounts& a = result->total.accounts;
    const uint64_t good = truth.fates[TcpFate::kWhole] + truth.fates[TcpFate::kChunked] +
                          truth.fates[TcpFate::kUntilClose];
    EXPECT_GT(good, 100u);
    // On a busy machine a good answer may come after the timeout. The sum of both is exact.
    EXPECT_LE(a.replied, good);
    EXPECT_EQ(a.replied + tcp.timeouts, good + truth.fates[TcpFate::kSilence]);
    EXPECT_EQ(tcp.truncated, truth.fates[TcpFate::kTruncated]);
    EXPECT_EQ(tcp.reset_before_bytes + tcp.reset_after_bytes,
              truth.fates[TcpFate::kResetBefore] + truth.fates[TcpFate::kResetAfter]);
    EXPECT_EQ(tcp.failed, 0u);
    EXPECT_EQ(result->http->statuses.at(200), a.replied);
    EXPECT_EQ(result->http->body_bytes, 64 * a.replied);
    if (keep_alive) {
      EXPECT_LT(tcp.connected, a.sent);
    } else {
      EXPECT_LE(tcp.connected, a.sent);
      EXPECT_GE(tcp.connected + tcp.timeouts, a.sent);
    }
  }
}

TEST(Http, StatusesAreCountedByClassAndByStage) {
  TcpMisbehaviour behaviour;
  behaviour.http = true;
  behaviour.fates = {TcpFate::kWhole, TcpFate::kError, TcpFate::kNotFound, TcpFate::kError};
  MisbehavingTcpServer server(behaviour);
  LoadOptions options =
      tcp_load(WorkloadKind::kHttp, server.target(), "10:10 over 400ms, hold 400ms");
  options.period_ns = 50 * kMs;
  options.timeout_ns = 5 * kNanosPerSecond;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  auto truth = server.stop();
  const HttpAccounts& http = *result->http;
  EXPECT_EQ(http.of_class(2), truth.fates[TcpFate::kWhole]);
  EXPECT_EQ(http.of_class(4), truth.fates[TcpFate::kNotFound]);
  EXPECT_EQ(http.of_class(5), truth.fates[TcpFate::kError]);
  const LoadAccounts& a = result->total.accounts;
  EXPECT_EQ(a.http_errors, truth.fates[TcpFate::kNotFound] + truth.fates[TcpFate::kError]);
  EXPECT_EQ(a.http_errors, http.error_statuses());
  EXPECT_EQ(a.done(), truth.fates[TcpFate::kWhole]);
  EXPECT_EQ(a.lost, 0u);
  ASSERT_EQ(result->stages.size(), 2u);
  EXPECT_GT(result->stages[0].accounts.http_errors, 0u);
  EXPECT_EQ(result->stages[0].accounts.http_errors + result->stages[1].accounts.http_errors,
            a.http_errors);
}

TEST(Http, AUrlSaysWhatIsAskedForAndTheHostHasNoZone) {
  TcpMisbehaviour behaviour;
  behaviour.http = true;
  behaviour.fates = {TcpFate::kWhole};
  MisbehavingTcpServer server(behaviour);
  LoadOptions options =
      tcp_load(WorkloadKind::kHttp, "http://" + server.target() + "/deep?x=1", "1:1 over 100ms");
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  const std::string request = server.stop().first_request;
  EXPECT_TRUE(request.starts_with("GET /deep?x=1 HTTP/1.1\r\n")) << request;
  EXPECT_NE(request.find("\r\nHost: " + server.target() + "\r\n"), std::string::npos) << request;
}

TEST(Http, AServerThatAnswersNothingMakesTheLoadInvalid) {
  TcpMisbehaviour behaviour;
  behaviour.http = true;
  behaviour.fates = {TcpFate::kSilence};
  MisbehavingTcpServer server(behaviour);
  LoadOptions options = tcp_load(WorkloadKind::kHttp, server.target(), "2:2 over 200ms");
  options.timeout_ns = 100 * kMs;
  options.period_ns = 100 * kMs;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_FALSE(result->valid());
  EXPECT_THAT(result->invalid_reasons,
              testing::Contains(testing::HasSubstr("nothing was answered")));
}

TEST(Http, RepliesThatAreNotHttpAreCalledSo) {
  MisbehavingTcpServer server(TcpMisbehaviour{false, {TcpFate::kWhole}});
  LoadOptions options = tcp_load(WorkloadKind::kHttp, server.target(), "2:2 over 200ms");
  options.period_ns = 100 * kMs;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->http->malformed, result->tcp->failed);
  EXPECT_GT(result->http->malformed, 0u);
  EXPECT_THAT(result->invalid_reasons,
              testing::Contains(testing::AllOf(
                  testing::StartsWith("nothing was answered in HTTP, of 4 messages: 4 replies were "
                                      "not HTTP, the first began \""),
                  testing::HasSubstr("check what serves " + server.target()))));
}

/// A request that is never answered blocks its client's next ones, for longer than --late-after.
TEST(Http, AServerThatDropsEverySecondRequestDoesNotMakeTheGeneratorLate) {
  TcpMisbehaviour behaviour;
  behaviour.http = true;
  behaviour.fates = {TcpFate::kWhole, TcpFate::kSilence};
  MisbehavingTcpServer server(behaviour);
  LoadOptions options = tcp_load(WorkloadKind::kHttp, server.target(), "10:10 over 2s");
  options.period_ns = 50 * kMs;
  options.timeout_ns = 300 * kMs;
  options.late_after_ns = 100 * kMs;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  expect_balanced(*result);
  const LoadPart& total = result->total;
  for (const std::string& reason : result->invalid_reasons)
    EXPECT_THAT(reason, testing::Not(testing::HasSubstr("sent late")));
  EXPECT_GT(result->tcp->timeouts, 20u);
  EXPECT_GT(total.accounts.blocked, 0u);
  EXPECT_LT(total.accounts.sent_late, total.accounts.sent / 10);
  // The clients waited 300 ms again and again. The server's latency must include that.
  EXPECT_GT(total.latency_intended.sum(),
            total.latency_actual.sum() + total.own_lateness.sum() + 5 * kNanosPerSecond);
  EXPECT_GT(total.accounts.asked(), 2 * total.accounts.done());
}

TEST(Http, AWholeServerLosesNothingAndKeepsItsConnections) {
  TcpMisbehaviour behaviour;
  behaviour.http = true;
  behaviour.fates = {TcpFate::kWhole, TcpFate::kChunked};
  MisbehavingTcpServer server(behaviour);
  LoadOptions options = tcp_load(WorkloadKind::kHttp, server.target(), "20:20 over 1s");
  options.period_ns = 50 * kMs;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  auto truth = server.stop();
  expect_balanced(*result);
  EXPECT_EQ(truth.connections, 20u);
  EXPECT_EQ(result->tcp->connected, 20u);
  EXPECT_EQ(result->total.accounts.scheduled, 400u);
  EXPECT_EQ(result->total.accounts.replied + result->total.accounts.never_scheduled, 400u);
}

TEST(Http, AClosedLoopAsksAgainAPeriodAfterEachAnswer) {
  for (const bool keep_alive : {true, false}) {
    TcpMisbehaviour behaviour;
    behaviour.http = true;
    behaviour.fates = {TcpFate::kWhole, TcpFate::kChunked, TcpFate::kResetBefore, TcpFate::kWhole};
    MisbehavingTcpServer server(behaviour);
    LoadOptions options = tcp_load(WorkloadKind::kHttp, server.target(), "4:4 over 500ms");
    options.period_ns = kMs;
    options.closed_loop = true;
    options.http.requests_per_connection = keep_alive ? 0 : 1;
    const auto result = run_load(options, kNeverStop, {});
    ASSERT_TRUE(result.ok()) << result.error().message;
    auto truth = server.stop();
    AccountsContext context;
    context.is_tcp = true;
    context.has_plan = false;
    EXPECT_THAT(find_imbalances(result->total.accounts, *result->tcp, context), IsEmpty());
    const LoadAccounts& a = result->total.accounts;
    EXPECT_TRUE(result->closed_loop);
    EXPECT_FALSE(result->has_plan);
    EXPECT_EQ(a.replied, truth.fates[TcpFate::kWhole] + truth.fates[TcpFate::kChunked]);
    EXPECT_EQ(a.lost, truth.fates[TcpFate::kResetBefore]);
    EXPECT_EQ(a.never_scheduled, 0u);
    // At most one request per client and period.
    EXPECT_GT(a.scheduled, 20u);
    EXPECT_LE(a.scheduled, 4u * 500u);
  }
}

TEST(Http, PathsThatWouldBreakTheRequestAreRefused) {
  for (const char* path : {"", "x", "/a b", "/a\r\nHost: evil", "/\x01"}) {
    LoadOptions options = tcp_load(WorkloadKind::kHttp, "127.0.0.1:9", "1:1 over 1s");
    options.http.path = path;
    const auto result = run_load(options, kNeverStop, {});
    ASSERT_FALSE(result.ok()) << path;
    EXPECT_EQ(result.error().code, ErrorCode::kUsage);
  }
}

TEST(AcceptQueue, BeyondTheBacklogSynsAreSentAgainAndTimeOut) {
  TcpMisbehaviour behaviour;
  behaviour.backlog = 8;
  behaviour.accepts = false;
  const size_t before = open_descriptors();
  {
    MisbehavingTcpServer server(behaviour);
    LoadOptions options =
        tcp_load(WorkloadKind::kAcceptQueue, server.target(), "0:40 over 200ms, hold 500ms");
    options.timeout_ns = 1500 * kMs;
    const auto result = run_load(options, kNeverStop, {});
    ASSERT_TRUE(result.ok()) << result.error().message;
    expect_balanced(*result);
    EXPECT_EQ(result->total.accounts.sent, 40u);
    EXPECT_GE(result->tcp->connected, 8u);
    EXPECT_LT(result->tcp->connected, 40u);
    EXPECT_EQ(result->tcp->connected + result->tcp->timeouts, 40u);
    EXPECT_GE(*result->kernel.tcp_passive_opens, 9u);  // the kernel accepts backlog + 1
    EXPECT_GT(*result->kernel.tcp_listen_overflows, 0u);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(AcceptQueue, ARoomyBacklogTakesAllAndTheyAreClosedAtTheEnd) {
  TcpMisbehaviour behaviour;
  behaviour.fates = {TcpFate::kSilence};
  MisbehavingTcpServer server(behaviour);
  LoadOptions options = tcp_load(WorkloadKind::kAcceptQueue, server.target(),
                                 "0:200 over 200ms, hold 300ms, 200:0 over 200ms");
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  auto truth = server.stop();
  expect_balanced(*result);
  EXPECT_EQ(truth.connections, 200u);
  EXPECT_EQ(result->total.accounts.replied, 200u);
  EXPECT_EQ(result->tcp->syn_retries, 0u);
}

TEST(LoadThreads, TcpIsSharedAndStopsAtOneMoment) {
  TcpMisbehaviour behaviour;
  behaviour.fates = {TcpFate::kWhole, TcpFate::kTruncated, TcpFate::kWhole};
  MisbehavingTcpServer server(behaviour);
  LoadOptions options = tcp_load(WorkloadKind::kTcpConnect, server.target(), "40:40 over 60s");
  options.period_ns = 50 * kMs;
  options.timeout_ns = 10 * kNanosPerSecond;
  options.expect_bytes = 64;
  options.threads = 3;
  options.progress_ns = 50 * kMs;
  std::atomic<bool> stop{false};
  const auto result = run_load(options, stop, [&](const LoadProgress& line) {
    if (line.accounts.sent > 100) stop.store(true);
  });
  ASSERT_TRUE(result.ok()) << result.error().message;
  const auto truth = server.stop();
  expect_balanced(*result);  // with what the schedule asks for until that moment
  EXPECT_TRUE(result->stopped_early);
  EXPECT_LT(result->total.end_ns, 60 * kNanosPerSecond);
  EXPECT_EQ(result->total.accounts.sent, truth.connections);
  EXPECT_EQ(result->workers.size(), 3u);
  EXPECT_EQ(result->tcp->truncated, truth.fates.at(TcpFate::kTruncated));
}

TEST(LoadThreads, TheDefaultIsWhatTheRateNeeds) {
  LoadOptions options = tcp_load(WorkloadKind::kHttp, "127.0.0.1:1", "0:100 over 1s");
  options.period_ns = kNanosPerSecond;
  EXPECT_EQ(threads_for(options, false, 8), 1u);
  options.stages.front().to = 100'000;
  EXPECT_EQ(threads_for(options, false, 8), 4u);
  EXPECT_EQ(threads_for(options, false, 2), 2u);
  EXPECT_EQ(threads_for(options, true, 4), 2u);  // the server needs the others
  EXPECT_EQ(threads_for(options, true, 1), 1u);
  options.closed_loop = true;
  EXPECT_EQ(threads_for(options, false, 8), 1u);
  options.closed_loop = false;
  options.workload = WorkloadKind::kAcceptQueue;
  EXPECT_EQ(threads_for(options, false, 8), 1u);
}

}  // namespace
}  // namespace topspin
