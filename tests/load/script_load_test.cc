// Scripts in Lua with real sockets on loopback, against servers that count what they do.
#include <atomic>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/run/run_reasons.h"
#include "load/engine/validity.h"
#include "load/load.h"
#include "tests/load/misbehaving_tcp_server.h"
#include "tests/load/misbehaving_udp_server.h"
#include "tests/load/script_options.h"

namespace topspin {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

constexpr int64_t kMs = kNanosPerMilli;

const std::atomic<bool> kGoOn{false};

LoadOptions script(const std::string& target, std::string_view stages, std::string text) {
  return script_options(target, stages, "test.lua", std::move(text));
}

/// Runs it. The accounts must balance, on a busy machine too.
LoadResult run(const LoadOptions& options, const std::atomic<bool>& stop = kGoOn) {
  const auto result = run_load(options, stop, {});
  if (!result.ok()) {
    ADD_FAILURE() << result.error().message;
    return {};
  }
  EXPECT_THAT(result->invalid_reasons, Each(Not(HasSubstr("balance"))));
  EXPECT_TRUE(result->script.has_value());
  const LoadPart& total = result->total;
  EXPECT_EQ(total.latency_intended.count(), total.accounts.sent);
  EXPECT_EQ(total.own_lateness.count(), total.accounts.sent);
  EXPECT_EQ(result->script->script_delay.count(), total.accounts.sent);
  if (result->has_plan) EXPECT_EQ(total.accounts.scheduled, result->planned);
  return *result;
}

std::string error_of(const LoadOptions& options) {
  const auto result = run_load(options, kGoOn, {});
  return result.ok() ? "" : result.error().message;
}

bool says(const LoadResult& result, std::string_view words) {
  return std::any_of(result.invalid_reasons.begin(), result.invalid_reasons.end(),
                     [&](const std::string& r) { return r.find(words) != std::string::npos; });
}

constexpr const char* kPing = R"(
return function(client)
  local socket = client:udp()
  for _ in client:every('200ms') do
    socket:send('PING')
    client:check(socket:recv{timeout = '150ms'} == 'PONG', 'it is the answer')
  end
end
)";

TEST(Script, TheAccountsOfAPingPongAreThoseOfTheServer) {
  UdpMisbehaviour behaviour;
  behaviour.drop_permille = 100;
  behaviour.duplicate_permille = 100;
  behaviour.foreign_permille = 100;
  MisbehavingUdpServer server(behaviour);
  const LoadResult result = run(script(server.target(), "0:100 over 200ms, hold 600ms", kPing));
  const UdpTruth& truth = server.stop();
  const LoadAccounts& a = result.total.accounts;
  EXPECT_EQ(a.sent, truth.received);
  EXPECT_EQ(result.script->messages_sent, truth.received);
  EXPECT_EQ(truth.flows, 100u);
  EXPECT_EQ(result.script->clients_returned, 100u);
  EXPECT_GE(a.lost, truth.dropped);
  EXPECT_GT(truth.dropped, 10u);
  EXPECT_EQ(a.replied + a.late_replies + a.lost, truth.received);
  // A busy machine may make an answer late.
  EXPECT_LE(a.lost, truth.dropped + a.unexpected);
  EXPECT_LE(a.unexpected, truth.duplicated + truth.foreign + a.lost - truth.dropped);
  EXPECT_GT(a.unexpected, 0u);
  EXPECT_THAT(result.script->failures, ElementsAre(Pair("timeout", a.lost)));
  ASSERT_EQ(result.script->checks.size(), 1u);
  EXPECT_EQ(result.script->checks[0].passed + result.script->checks[0].failed, a.sent);
  EXPECT_EQ(result.script->checks[0].failed, a.lost);
}

TEST(Script, ThePlanIsThatOfTheBuiltInPingPong) {
  MisbehavingUdpServer server({});
  const char* const stages = "0:300 over 200ms, hold 250ms, 300:0 over 100ms";
  LoadOptions built_in = script(server.target(), stages, "");
  built_in.workload = WorkloadKind::kUdpPingpong;
  built_in.period_ns = 200 * kMs;
  const auto other = run_load(built_in, kGoOn, {});
  ASSERT_TRUE(other.ok());
  const LoadResult result = run(script(server.target(), stages, kPing));
  EXPECT_EQ(result.planned, other->planned);
  EXPECT_EQ(result.total.accounts.scheduled, other->total.accounts.scheduled);
  ASSERT_EQ(result.stages.size(), other->stages.size());
  for (size_t i = 0; i < result.stages.size(); ++i)
    EXPECT_EQ(result.stages[i].accounts.scheduled, other->stages[i].accounts.scheduled) << i;
  EXPECT_TRUE(result.has_plan);
}

TEST(Script, AServerThatStallsBlocksTurnsAndIsNotTheGeneratorsFault) {
  UdpMisbehaviour behaviour;
  behaviour.stall_after_ns = 300 * kMs;
  behaviour.stall_ns = 500 * kMs;
  MisbehavingUdpServer server(behaviour);
  LoadOptions options = script(server.target(), "50:50 over 1200ms", R"(
    return function(client)
      local socket = client:udp()
      for _ in client:every('100ms') do
        socket:send('PING')
        socket:recv{timeout = 5}
      end
    end)");
  options.timeout_ns = 5 * kNanosPerSecond;
  const LoadResult result = run(options);
  const LoadAccounts& a = result.total.accounts;
  EXPECT_EQ(a.scheduled, 50u * 12);
  EXPECT_EQ(a.lost, 0u);
  // Each client waits 350 ms or more for one answer, so it misses 2 moments or more.
  EXPECT_GE(a.blocked, 50u * 2);
  EXPECT_GE(result.total.latency_intended.max(), 400u * kMs);
  EXPECT_FALSE(says(result, "script was too slow"));
}

TEST(Script, ASlowScriptCannotPassForASlowServer) {
  MisbehavingUdpServer server({});
  const LoadResult slow = run(script(server.target(), "5:5 over 500ms", R"(
    return function(client)
      local socket = client:udp()
      for _ in client:every('250ms') do
        socket:send('PING')
        socket:recv()
        local until_then = os.clock() + 0.03
        while os.clock() < until_then do end
      end
    end)"));
  EXPECT_TRUE(says(slow, "the script was too slow"));
  // On a busy host some turns are skipped.
  const uint64_t turns = slow.total.accounts.sent;
  EXPECT_GE(turns, 2u);
  EXPECT_GE(slow.script->script_ns, static_cast<int64_t>(turns) * 25 * kMs);
  EXPECT_GE(slow.script->script_late, turns - 1);
  // A server that takes as long is no reason against the script.
  UdpMisbehaviour behaviour;
  behaviour.delay_permille = 1000;
  behaviour.delay_ns = 30 * kMs;
  MisbehavingUdpServer late(behaviour);
  const LoadResult result = run(script(late.target(), "5:5 over 500ms", R"(
    return function(client)
      local socket = client:udp()
      for _ in client:every('250ms') do
        socket:send('PING')
        socket:recv()
      end
    end)"));
  EXPECT_FALSE(says(result, "the script was too slow"));
  EXPECT_GE(result.total.latency_actual.min(), 30u * kMs);
  EXPECT_LT(result.script->script_ns, 10 * 25 * kMs);
}

TEST(Script, AnErrorEndsItsClientAndIsCountedByItsPlace) {
  MisbehavingUdpServer server({});
  const LoadResult result = run(script(server.target(), "4:4 over 500ms", R"(
return function(client)
  local socket = client:udp()
  for turn in client:every('100ms') do
    if client.id <= 2 and turn == 2 then
      client:step('wrong', function() return socket.nothing.here end)
    end
    if client.id == 3 and turn == 3 then error({}) end
    socket:send('PING')
    socket:recv()
  end
end)"));
  EXPECT_EQ(result.script->clients_failed, 3u);
  EXPECT_EQ(result.script->clients_returned, 1u);
  EXPECT_THAT(result.script->errors,
              ElementsAre(Pair(HasSubstr("test.lua:6: attempt to index"), 2),
                          Pair("test.lua:8: the error is a table and no text", 1)));
  EXPECT_EQ(result.script->failures.at("the script failed"), 3u);
  ASSERT_EQ(result.script->steps.size(), 1u);
  EXPECT_EQ(result.script->steps[0].accounts.lost, 2u);
  EXPECT_TRUE(says(result, "the script failed, for: 3 of 4 clients"));
  EXPECT_TRUE(says(result, ": mostly test.lua:6: attempt to index"));
}

// wrk itself calls wrk.init(), which calls init(). Scripts of its third version call it there.
TEST(Script, AScriptOfWrkMayCallItsInit) {
  TcpMisbehaviour behaviour;
  behaviour.http = true;
  behaviour.fates = {TcpFate::kWhole};
  MisbehavingTcpServer server(behaviour);
  const LoadResult result = run(script("http://" + server.target() + "/", "2:2 over 300ms", R"(
local calls, page = 0
function init(arguments)
  calls = calls + 1
  assert(wrk.request == nil or calls == 1)
  wrk.init(arguments)
  assert(#wrk.headers['Host'] > 0)
  page = wrk.request()
  wrk.headers['X-Of-Init'] = 'yes'
end
function request()
  assert(calls == 1, 'init was called ' .. calls .. ' times')
  assert(wrk.request():find('X%-Of%-Init: yes'))
  return page
end)"));
  EXPECT_THAT(result.script->errors, testing::IsEmpty());
  EXPECT_GT(result.total.accounts.replied, 0u);
}

TEST(Script, ALoopWithoutAWaitAndAHeapWithoutEndEndOnlyTheirClient) {
  MisbehavingUdpServer server({});
  LoadOptions options = script(server.target(), "3:3 over 1s", R"(
return function(client)
  local socket = client:udp()
  for turn in client:every('100ms') do
    if client.id == 1 and turn >= 2 then while true do pcall(function() while true do end end) end end
    if client.id == 2 then
      local heap = {}
      while true do heap[#heap + 1] = ('x'):rep(100) .. #heap end
    end
    socket:send('PING')
    socket:recv()
  end
end)");
  options.script_memory_bytes = 16 << 20;
  const LoadResult result = run(options);
  EXPECT_THAT(result.script->errors,
              ElementsAre(Pair("test.lua:5: the script ran for 1000 ms without waiting", 1),
                          Pair("test.lua:8: not enough memory", 1)));
  EXPECT_LE(result.script->memory_max_bytes, options.script_memory_bytes);
  EXPECT_EQ(result.script->clients_returned, 1u);
}

TEST(Script, StepsOutsideOfTurnsAreMessagesOfAClosedLoop) {
  MisbehavingUdpServer server({});
  const LoadResult result = run(script(server.target(), "3:3 over 300ms", R"(
return function(client)
  local socket = client:udp()
  while true do
    local answer = client:step('ask', function(what)
      socket:send(what)
      return client:step('wait', function() return socket:recv() end)
    end, 'PING')
    client:check(answer == 'PONG', 'what the step returned')
    client:sleep('10ms')
  end
end)"));
  EXPECT_FALSE(result.has_plan);
  EXPECT_TRUE(result.closed_loop);
  const UdpTruth& truth = server.stop();
  EXPECT_EQ(result.total.accounts.sent, truth.received);
  EXPECT_GT(truth.received, 3u);
  EXPECT_EQ(result.script->clients_left, 3u);
  ASSERT_EQ(result.script->steps.size(), 2u);
  for (const LoadPart& step : result.script->steps)
    EXPECT_EQ(step.accounts.sent, truth.received) << step.name;
  EXPECT_EQ(result.script->checks.at(0).failed, 0u);
  EXPECT_THAT(result.invalid_reasons, Each(Not(HasSubstr("script"))));
}

TEST(Script, WhatAHostileTcpServerDoesIsCountedByReasonAndEndsInTime) {
  TcpMisbehaviour behaviour;
  behaviour.fates = {TcpFate::kWhole, TcpFate::kTruncated, TcpFate::kResetBefore,
                     TcpFate::kResetAfter, TcpFate::kSilence};
  MisbehavingTcpServer server(behaviour);
  LoadOptions options = script(server.target(), "5:5 over 600ms", R"(
return function(client)
  for _ in client:every('300ms') do
    local socket = client:tcp()
    socket:recv{bytes = 64}
    socket:close()
  end
end)");
  options.timeout_ns = 200 * kMs;
  const LoadResult result = run(options);
  const auto& truth = server.stop();
  const LoadAccounts& a = result.total.accounts;
  EXPECT_EQ(a.sent, truth.connections);
  EXPECT_EQ(a.replied + a.late_replies, truth.fates.at(TcpFate::kWhole));
  const auto& failures = result.script->failures;
  EXPECT_EQ(failures.at("timeout"), truth.fates.at(TcpFate::kSilence));
  EXPECT_EQ(failures.at("closed by the server"), truth.fates.at(TcpFate::kTruncated));
  EXPECT_EQ(failures.at("reset by the server"),
            truth.fates.at(TcpFate::kResetBefore) + truth.fates.at(TcpFate::kResetAfter));
}

TEST(Script, NobodyListensIsRefusedAndDoesNotSpin) {
  std::string target;
  {
    const MisbehavingTcpServer server(TcpMisbehaviour{});
    target = server.target();
  }
  const LoadResult result = run(script(target, "2:2 over 1500ms", R"(
return function(client)
  local function by_tcp() client:tcp():send('x') end
  local function by_http() client:http('/') end
  while true do client:step('ask', client.id == 1 and by_tcp or by_http) end
end)"));
  EXPECT_THAT(result.script->failures, ElementsAre(Pair("refused", result.total.accounts.lost)));
  EXPECT_GT(result.total.accounts.lost, 3u);
  EXPECT_TRUE(says(result, fmt::format("{}: {} refused", target, result.total.accounts.lost)));
  EXPECT_THAT(result.script->errors, testing::IsEmpty());
  EXPECT_TRUE(says(result, std::string(kLoadSilence) + ", of "));
}

TEST(Script, HttpAnswersAreCountedAsTheServerGaveThem) {
  TcpMisbehaviour behaviour;
  behaviour.http = true;
  behaviour.fates = {TcpFate::kWhole,    TcpFate::kChunked,     TcpFate::kUntilClose,
                     TcpFate::kNotFound, TcpFate::kError,       TcpFate::kTruncated,
                     TcpFate::kSilence,  TcpFate::kResetBefore, TcpFate::kResetAfter};
  MisbehavingTcpServer server(behaviour);
  LoadOptions options = script("http://" + server.target() + "/base", "9:9 over 500ms", R"(
return function(client)
  for _ in client:every('250ms') do
    local answer, why = client:http{method = 'POST', headers = {['X-Id'] = client.id}, body = 'x'}
    if answer then client:check(#answer.body > 0 and answer.headers, 'it has a body')
    else client:check(type(why) == 'string', 'it has a reason') end
  end
end)");
  options.timeout_ns = 200 * kMs;
  const LoadResult result = run(options);
  const auto& truth = server.stop();
  const auto count = [&](TcpFate fate) {
    const auto found = truth.fates.find(fate);
    return found == truth.fates.end() ? 0 : found->second;
  };
  ASSERT_TRUE(result.http.has_value());
  EXPECT_EQ(result.http->statuses.at(200),
            count(TcpFate::kWhole) + count(TcpFate::kChunked) + count(TcpFate::kUntilClose));
  EXPECT_EQ(result.http->statuses.at(404), count(TcpFate::kNotFound));
  EXPECT_EQ(result.http->statuses.at(500), count(TcpFate::kError));
  EXPECT_EQ(result.total.accounts.http_errors, count(TcpFate::kNotFound) + count(TcpFate::kError));
  const auto& failures = result.script->failures;
  EXPECT_EQ(failures.at("timeout"), count(TcpFate::kSilence));
  EXPECT_EQ(failures.at("truncated"), count(TcpFate::kTruncated));
  EXPECT_EQ(failures.at("reset by the server"),
            count(TcpFate::kResetBefore) + count(TcpFate::kResetAfter));
  for (const ScriptCheck& check : result.script->checks) EXPECT_EQ(check.failed, 0u) << check.name;
  EXPECT_THAT(truth.first_request, HasSubstr("POST /base HTTP/1.1"));
  EXPECT_THAT(truth.first_request, HasSubstr("X-Id: "));
}

TEST(Script, AClientThatDoesNotEndIsCutOffAtTheTimeout) {
  UdpMisbehaviour behaviour;
  behaviour.drop_permille = 1000;
  MisbehavingUdpServer server(behaviour);
  LoadOptions options = script(server.target(), "2:2 over 200ms", R"(
return function(client)
  local socket = client:udp()
  if client.id == 1 then
    for _ in client:every('100ms') do
      socket:send('PING')
      socket:recv{timeout = '1h'}
    end
  end
  while true do socket:recv{timeout = '1h'} end
end)");
  options.timeout_ns = 200 * kMs;
  const LoadResult result = run(options);
  EXPECT_EQ(result.script->clients_left, 2u);
  EXPECT_THAT(result.script->failures,
              ElementsAre(Pair("cut off at the end of the client's time", 1)));
  EXPECT_EQ(result.total.accounts.sent, 1u);
  EXPECT_EQ(result.total.accounts.blocked, result.total.accounts.scheduled - 1);
}

TEST(Script, AStopKeepsTheEquations) {
  MisbehavingUdpServer server({});
  std::atomic<bool> stop = false;
  LoadOptions options = script(server.target(), "50:50 over 1h", kPing);
  options.progress_ns = 200 * kMs;
  const auto result = run_load(options, stop, [&](const LoadProgress& line) {
    if (line.accounts.replied > 50) stop = true;
  });
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_TRUE(result->stopped_early);
  EXPECT_THAT(result->invalid_reasons, Each(Not(HasSubstr("balance"))));
  EXPECT_EQ(result->total.accounts.scheduled, result->planned);
  EXPECT_EQ(result->total.accounts.sent, server.stop().received);
}

TEST(Script, RandomNumbersAndDataAreTheSameForASeed) {
  MisbehavingUdpServer server({});
  LoadOptions options = script(server.target(), "3:3 over 100ms", R"(
return function(client)
  local users = client:data('users.csv')
  client:step(client.id .. ' ' .. client:random(1000) .. ' ' .. math.random(5, 500) .. ' ' ..
              users:next().name .. users:next().name .. users:row(2).age .. #users, function() end)
end)");
  options.script_data["users.csv"] = *parse_csv("name,age\nann,1\nbob,2\n", "users.csv");
  const auto names = [&] {
    std::vector<std::string> all;
    const LoadResult result = run(options);
    for (const LoadPart& step : result.script->steps) all.push_back(step.name);
    std::sort(all.begin(), all.end());
    return all;
  };
  const auto first = names();
  ASSERT_EQ(first.size(), 3u);
  EXPECT_THAT(first[0], HasSubstr(" annbob22"));
  EXPECT_THAT(first[1], HasSubstr(" bobann22"));
  EXPECT_EQ(names(), first);
  options.script_seed = 2;
  EXPECT_NE(names(), first);
}

TEST(Script, UsesNoAddressButTheTargetUnlessItIsAllowed) {
  MisbehavingUdpServer server({}), other({});
  LoadOptions options =
      script(server.target(), "1:1 over 200ms",
             "return function(client)\n  local socket = client:udp('" + other.target() +
                 "')\n  client:step('x', function() socket:send('PING') "
                 "socket:recv() end)\nend");
  const LoadResult refused = run(options);
  EXPECT_THAT(
      refused.script->errors,
      ElementsAre(Key(HasSubstr("test.lua:2: " + other.target() + " is not the target; --allow"))));
  options.script_allowed.push_back(*parse_address_prefix("10.0.0.0/8"));
  EXPECT_THAT(run(options).script->errors, ElementsAre(Key(HasSubstr("is none of the addresses"))));
  options.script_allowed.push_back(*parse_address_prefix("127.0.0.0/8"));
  EXPECT_EQ(run(options).total.accounts.replied, 1u);
  EXPECT_EQ(other.stop().received, 1u);
  EXPECT_EQ(server.stop().received, 0u);
}

TEST(Script, WrongScriptsAreRefusedWithTheirPlace) {
  MisbehavingUdpServer server({});
  const auto error = [&](std::string text) {
    return error_of(script(server.target(), "1:1 over 100ms", std::move(text)));
  };
  EXPECT_THAT(error("x ="), HasSubstr("test.lua:1: "));
  EXPECT_THAT(error("\nerror('no')"), HasSubstr("test.lua:2: no"));
  EXPECT_THAT(error("return 7"), HasSubstr("does not return the function of a client"));
  const auto client_error = [&](const std::string& body) {
    const LoadResult result =
        run(script(server.target(), "1:1 over 50ms", "return function(client)\n" + body + "\nend"));
    return result.script->errors.empty() ? "" : result.script->errors.begin()->first;
  };
  EXPECT_THAT(client_error("shared = 1"), HasSubstr("test.lua:2: \"shared\" is no global"));
  EXPECT_THAT(client_error("client:every('x')"), HasSubstr("test.lua:2: a period is from 1.00us"));
  EXPECT_THAT(client_error("client:udp():recv{timout = 1}"),
              HasSubstr("\"timout\" is none of timeout, bytes"));
  EXPECT_THAT(client_error("client:step('', print)"), HasSubstr("test.lua:2: a step's name"));
  EXPECT_THAT(client_error("client:data('x.csv')"), HasSubstr("test.lua:2: \"x.csv\" is no file"));
  EXPECT_THAT(client_error("client:http{path = 'x y'}"), HasSubstr("test.lua:2: "));
  EXPECT_THAT(client_error("client.sleep({}, 1)"), HasSubstr("test.lua:2: "));
  EXPECT_THAT(client_error("local a = client:every(1)\nlocal b = client:every(1)\na()"),
              HasSubstr("test.lua:4: another loop"));
  EXPECT_THAT(client_error("for i = 1, 65 do client:udp() end"), "");
  EXPECT_THAT(client_error("local s = {} for i = 1, 65 do s[i] = client:udp() end"),
              HasSubstr("at most 64 sockets"));
}

}  // namespace
}  // namespace topspin
