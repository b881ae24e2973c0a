// Scripts in WebAssembly with real sockets on loopback. They are made by wat2wasm and clang; where
// one of these or WasmEdge is missing, the tests are skipped.
#include <atomic>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/read_file.h"
#include "load/load.h"
#include "tests/load/misbehaving_tcp_server.h"
#include "tests/load/misbehaving_udp_server.h"
#include "tests/load/script_options.h"
#include "tests/support/privileges.h"
#include "tests/support/servers.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

using namespace topspin::test;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

constexpr int64_t kMs = kNanosPerMilli;
const std::string kSources = TOPSPIN_SOURCE_DIR;
const std::atomic<bool> kGoOn{false};

/// What is missing to run a module here; empty: nothing.
std::string missing_for_wat() {
#if TOPSPIN_HAS_WASM
  return find_program("wat2wasm").empty() ? "there is no wat2wasm (package wabt)" : "";
#else
  return "built without WasmEdge";
#endif
}

#define NEED_WAT() \
  if (const std::string missing = missing_for_wat(); !missing.empty()) TOPSPIN_SKIP(missing)

/// Runs the compiler; empty if it fails.
std::string compiled(const std::vector<std::string>& command, const std::string& module) {
  Process compiler(command);
  const Outcome done = compiler.finish();
  if (done.exit_code != 0) return {};
  const auto bytes = read_file(module, size_t{4} << 20);
  return bytes.ok() ? *bytes : std::string();
}

std::string of_wat(const std::string& text) {
  const TempDir dir;
  const std::string source = dir.path() / "m.wat", module = dir.path() / "m.wasm";
  std::ofstream(source) << text;
  const std::string bytes = compiled({find_program("wat2wasm"), source, "-o", module}, module);
  EXPECT_FALSE(bytes.empty()) << text;
  return bytes;
}

/// Empty where there is no clang for WASI.
std::string of_c(const std::string& source, const std::vector<std::string>& options) {
  const std::string clang = find_program("clang");
  if (clang.empty()) return {};
  const TempDir dir;
  const std::string module = dir.path() / "m.wasm";
  std::vector<std::string> command = {
      clang, "--target=wasm32-wasi", "-O1", "-I" + kSources + "/docs/scenarios", "-o", module,
      source};
  command.insert(command.end(), options.begin(), options.end());
  return compiled(command, module);
}

LoadOptions module_load(const std::string& target, std::string_view stages, std::string bytes) {
  return script_options(target, stages, "test.wasm", std::move(bytes));
}

/// Runs it. The accounts must balance, on a busy machine too.
LoadResult run_module(const LoadOptions& options) {
  const auto result = run_load(options, kGoOn, {});
  if (!result.ok()) {
    ADD_FAILURE() << result.error().message;
    LoadResult none;
    none.script.emplace();
    return none;
  }
  EXPECT_THAT(result->invalid_reasons, Each(Not(HasSubstr("balance"))));
  const LoadPart& total = result->total;
  EXPECT_EQ(total.latency_intended.count(), total.accounts.sent);
  EXPECT_EQ(result->script->script_delay.count(), total.accounts.sent);
  if (result->has_plan) {
    EXPECT_EQ(total.accounts.scheduled, result->planned);
  }
  return *result;
}

std::string error_of(const LoadOptions& options) {
  const auto result = run_load(options, kGoOn, {});
  return result.ok() ? "" : result.error().message;
}

/// All that topspin.h declares, and a memory of two pages with a text for names.
std::string with_imports(const std::string& rest) {
  return R"((module
  (import "topspin" "id" (func $id (result i32)))
  (import "topspin" "time_ns" (func $time (result i64)))
  (import "topspin" "sleep" (func $sleep (param i64)))
  (import "topspin" "every" (func $every (param i64)))
  (import "topspin" "turn" (func $turn (result i64)))
  (import "topspin" "step_begin" (func $step_begin (param i32 i32)))
  (import "topspin" "step_end" (func $step_end))
  (import "topspin" "check" (func $check (param i32 i32 i32) (result i32)))
  (import "topspin" "random" (func $random (result i64)))
  (import "topspin" "udp" (func $udp (param i32 i32 i32) (result i32)))
  (import "topspin" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "topspin" "recv" (func $recv (param i32 i32 i32 i32 i64) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "PING")
)" + rest +
         ")";
}

/// Pings every 100 ms; client 1 does something else in its second turn.
std::string with_a_bad_client(const std::string& bad, const std::string& more = "") {
  return with_imports(more + R"(
  (func $bad )" + bad +
                      R"()
  (func (export "client") (param $id i32) (local $socket i32) (local $turn i64)
    (local.set $socket (call $udp (i32.const 0) (i32.const 0) (i32.const 0)))
    (call $every (i64.const 100000000))
    (loop $turns
      (local.set $turn (call $turn))
      (if (i64.ne (local.get $turn) (i64.const 0)) (then
        (if (i32.and (i32.eq (local.get $id) (i32.const 1)) (i64.eq (local.get $turn) (i64.const 2)))
          (then (call $bad)))
        (drop (call $send (local.get $socket) (i32.const 0) (i32.const 4)))
        (drop (call $recv (local.get $socket) (i32.const 64) (i32.const 64) (i32.const 0)
                          (i64.const -1)))
        (br $turns)))))
)");
}

TEST(Wasm, APingPongInCAndByHandHasTheAccountsOfLua) {
  NEED_WAT();
  const auto text_of = [](const std::string& name) {
    return *read_file(kSources + "/docs/scenarios/" + name, 65'536);
  };
  const std::string in_c =
      of_c(kSources + "/docs/scenarios/pingpong.c", {"-nostartfiles", "-Wl,--no-entry"});
  if (in_c.empty()) TOPSPIN_SKIP("there is no clang with wasi-libc and lld");
  const char* const stages = "0:60 over 500ms, hold 1500ms, 60:0 over 500ms";
  std::vector<LoadResult> results;
  for (const auto& [name, script] : std::vector<std::pair<std::string, std::string>>{
           {"pingpong.lua", text_of("pingpong.lua")},
           {"c.wasm", in_c},
           {"wat.wasm", of_wat(text_of("pingpong.wat"))}}) {
    MisbehavingUdpServer server({});
    LoadOptions options = module_load(server.target(), stages, script);
    options.script_name = name;
    const LoadResult result = run_module(options);
    const UdpTruth& truth = server.stop();
    EXPECT_EQ(result.total.accounts.sent, truth.received) << name;
    EXPECT_EQ(truth.flows, 60u) << name;
    EXPECT_EQ(result.script->clients_returned, 60u) << name;
    EXPECT_EQ(result.script->clients_failed, 0u) << name;
    results.push_back(result);
  }
  for (const LoadResult& result : results) {
    EXPECT_EQ(result.planned, results[0].planned);
    EXPECT_GT(result.planned, 100u);
    ASSERT_EQ(result.stages.size(), results[0].stages.size());
    for (size_t i = 0; i < result.stages.size(); ++i)
      EXPECT_EQ(result.stages[i].accounts.scheduled, results[0].stages[i].accounts.scheduled) << i;
    ASSERT_EQ(result.script->checks.size(), 1u);
    EXPECT_EQ(result.script->checks[0].name, "the answer has 4 bytes");
    EXPECT_EQ(result.script->checks[0].passed + result.script->checks[0].failed,
              result.total.accounts.sent);
    EXPECT_EQ(result.script->checks[0].failed, result.total.accounts.lost);
  }
}

TEST(Wasm, WhatAServerDropsIsLost) {
  NEED_WAT();
  UdpMisbehaviour behaviour;
  behaviour.drop_permille = 100;
  behaviour.duplicate_permille = 100;
  MisbehavingUdpServer server(behaviour);
  LoadOptions options =
      module_load(server.target(), "0:100 over 200ms, hold 600ms", of_wat(with_a_bad_client("")));
  options.timeout_ns = 80 * kMs;
  const LoadResult result = run_module(options);
  const UdpTruth& truth = server.stop();
  const LoadAccounts& a = result.total.accounts;
  EXPECT_EQ(a.sent, truth.received);
  EXPECT_EQ(a.replied + a.late_replies + a.lost, truth.received);
  EXPECT_GT(truth.dropped, 10u);
  EXPECT_GE(a.lost, truth.dropped);
  EXPECT_LE(a.lost, truth.dropped + a.unexpected);
  EXPECT_THAT(result.script->failures, ElementsAre(Pair("timeout", a.lost)));
}

struct BadClient {
  const char* code;
  const char* error;
  const char* more = "";
};

TEST(Wasm, WhatAClientDoesWrongEndsItAndNoOther) {
  NEED_WAT();
  const std::vector<BadClient> bad = {
      {"unreachable", "test.wasm: unreachable (after topspin.turn)"},
      {"(drop (i32.load (i32.const -4)))", "out of bounds memory access"},
      {"(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divide by zero"},
      {"(loop $l (br $l))", "it ran 50 million instructions without waiting"},
      // Cheap calls that do not wait are no wait.
      {"(loop $l (drop (call $time)) (br $l))", "without waiting"},
      {"(drop (memory.grow (i32.const 254)))"
       "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216)) (br $l))",
       "it ran for 1 s of CPU time without waiting"},
      {"(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
       "unreachable"},
      {"(drop (call $send (i32.const 0) (i32.const 0x7FFFFFFF) (i32.const 0x7FFFFFFF)))",
       "topspin.send: what it was given is outside of the memory"},
      {"(drop (call $recv (i32.const 0) (i32.const 131071) (i32.const 2) (i32.const 0) "
       "(i64.const 1)))",
       "topspin.recv: the place for its result is outside of the memory"},
      {"(call $sleep (i64.const -1))", "topspin.sleep: its time is from 0 to a day"},
      {"(call $step_begin (i32.const 0) (i32.const 0))", "a step's name has 1 to 80 bytes"},
      {"(drop (call $udp (i32.const 0) (i32.const 4) (i32.const 0)))",
       "topspin.udp: PING is not the target"},
      {"(loop $l (drop (call $udp (i32.const 0) (i32.const 0) (i32.const 0))) (br $l))",
       "a client has at most 64 sockets"},
      {"(call $exit (i32.const 3))", "it ended with exit code 3",
       R"((import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))))"},
  };
  for (const BadClient& one : bad) {
    MisbehavingUdpServer server({});
    std::string text = with_a_bad_client(one.code);
    // Imports stand before everything else.
    text.insert(text.find("(import"), one.more);
    const LoadResult result =
        run_module(module_load(server.target(), "4:4 over 500ms", of_wat(text)));
    EXPECT_EQ(result.script->clients_failed, 1u) << one.code;
    EXPECT_EQ(result.script->clients_returned, 3u) << one.code;
    EXPECT_THAT(result.script->errors, ElementsAre(Pair(HasSubstr(one.error), 1))) << one.code;
    EXPECT_EQ(result.script->failures.at("the script failed"), 1u) << one.code;
  }
}

TEST(Wasm, CallsInOneAnotherEndAtTheLimitOfMemoryAndDoNotOverflowAStack) {
  NEED_WAT();
  MisbehavingUdpServer server({});
  // It waits in between, so that neither the instructions nor the time end it.
  LoadOptions options =
      module_load(server.target(), "2:2 over 3s",
                  of_wat(with_a_bad_client(
                      "(call $deep (i32.const 0))",
                      R"((func $deep (param $depth i32) (local i64 i64 i64 i64 i64 i64 i64 i64
                                  i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (if (i32.eqz (i32.and (local.get $depth) (i32.const 65535))) (then (call $sleep (i64.const 1000))))
    (call $deep (i32.add (local.get $depth) (i32.const 1)))))")));
  options.script_memory_bytes = uint64_t{128} << 20;
  const LoadResult result = run_module(options);
  EXPECT_GE(result.script->clients_failed, 1u);
  EXPECT_THAT(result.script->errors,
              testing::Contains(testing::Key(
                  AnyOf(HasSubstr("the memory of all scripts has reached its limit; raise "
                                  "--script-memory"),
                        HasSubstr("stack")))));
  // It is looked at every 10 ms.
  EXPECT_LT(result.script->memory_max_bytes, uint64_t{1} << 30);
}

TEST(Wasm, ManyClientsThatTakeAllTheirMemoryEndAtTheLimitOfAll) {
  NEED_WAT();
  MisbehavingUdpServer server({});
  LoadOptions options =
      module_load(server.target(), "0:100 over 500ms, hold 500ms", of_wat(R"((module
    (import "topspin" "sleep" (func $sleep (param i64)))
    (memory 1)
    (func (export "client")
      (drop (memory.grow (i32.const 255)))
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))
      (call $sleep (i64.const 100000000))
      (call $sleep (i64.const 100000000)))))"));
  options.script_memory_bytes = uint64_t{200} << 20;
  const LoadResult result = run_module(options);
  // There is room for twelve at once; and those that end make room for others.
  for (const auto& [error, times] : result.script->errors)
    EXPECT_THAT(error, HasSubstr("the memory of all scripts has reached its limit"));
  EXPECT_GT(result.script->clients_failed, 10u);
  EXPECT_GT(result.script->clients_returned, 5u);
  EXPECT_LT(result.script->memory_max_bytes, uint64_t{1} << 30);  // of 1.6 GiB that they want
}

TEST(Wasm, NoPlaceAndNoLengthReachesOutOfTheMemory) {
  NEED_WAT();
  // Each call with a place near the end of 32 bits, and with one at the end of the memory.
  const std::vector<std::string> calls = {
      "step_begin (param i32 i32)",
      "check (param i32 i32 i32) (result i32)",
      "fail (param i32 i32)",
      "target (param i32 i32) (result i32)",
      "udp (param i32 i32 i32) (result i32)",
      "tcp (param i32 i32 i64) (result i32)",
      "send (param i32 i32 i32) (result i32)",
      "recv (param i32 i32 i32 i32 i64) (result i32)",
      "recv_till (param i32 i32 i32 i32 i32 i64) (result i32)",
      "reason (param i32 i32) (result i32)",
      "http (param i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32)",
      "http_body (param i32 i32 i32) (result i32)",
      "http_header (param i32 i32 i32 i32) (result i32)",
      "data_rows (param i32 i32) (result i32)",
      "data_cell (param i32 i32 i32 i32 i32 i32 i32) (result i32)",
      "close (param i32)",
      "is_open (param i32) (result i32)",
      "wasi_snapshot_preview1 args_sizes_get (param i32 i32) (result i32)",
      "wasi_snapshot_preview1 clock_time_get (param i32 i64 i32) (result i32)",
      "wasi_snapshot_preview1 fd_write (param i32 i32 i32 i32) (result i32)",
      "wasi_snapshot_preview1 fd_fdstat_get (param i32 i32) (result i32)",
      "wasi_snapshot_preview1 random_get (param i32 i32) (result i32)",
  };
  for (const std::string& call : calls) {
    const std::string module = call.starts_with("wasi") ? "wasi_snapshot_preview1" : "topspin";
    const std::string rest = module == "topspin" ? call : call.substr(module.size() + 1);
    const std::string name = rest.substr(0, rest.find(' '));
    const std::string type = rest.substr(rest.find(' ') + 1);
    for (const char* number : {"-1", "-16", "0x1fff8", "1", "0x20000"}) {
      std::string arguments;
      for (size_t at = type.find("(param") + 6; type[at] != ')'; ++at) {
        if (type.compare(at, 3, "i32") == 0) arguments += fmt::format(" (i32.const {})", number);
        if (type.compare(at, 3, "i64") == 0) arguments += " (i64.const 1000)";
      }
      const bool has_result = type.find("result") != std::string::npos;
      MisbehavingUdpServer server({});
      const LoadResult result = run_module(
          module_load(server.target(), "1:1 over 20ms",
                      of_wat(fmt::format("(module (import \"{}\" \"{}\" (func $f {})) (memory 2)"
                                         "(func (export \"client\") {}(call $f{}){}))",
                                         module, name, type, has_result ? "(drop " : "", arguments,
                                         has_result ? ")" : ""))));
      EXPECT_EQ(result.script->clients_failed + result.script->clients_returned +
                    result.script->clients_left,
                1u)
          << name << number;
    }
  }
}

TEST(Wasm, WhatAProgramPrintsInPiecesIsLimitedInSum) {
  NEED_WAT();
  // Two pieces of one place. The module ends with WASI's errno, or with 99 if not all was written.
  const auto ends_with = [](uint32_t piece_bytes) {
    MisbehavingUdpServer server({});
    const LoadResult result =
        run_module(module_load(server.target(), "1:1 over 20ms",
                               of_wat(fmt::format(R"((module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory 10)
    (func (export "client") (local $errno i32)
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const {0}))
      (i32.store (i32.const 8) (i32.const 64)) (i32.store (i32.const 12) (i32.const {0}))
      (local.set $errno (call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 16)))
      (if (local.get $errno) (then (call $exit (local.get $errno))))
      (if (i32.ne (i32.load (i32.const 16)) (i32.const {1})) (then (call $exit (i32.const 99)))))))",
                                                  piece_bytes, 2 * piece_bytes))));
    return result.script->errors.empty() ? "" : result.script->errors.begin()->first;
  };
  EXPECT_EQ(ends_with(512 << 10), "");
  EXPECT_THAT(ends_with((512 << 10) + 1), HasSubstr("it ended with exit code 28"));
  EXPECT_THAT(ends_with(UINT32_MAX), HasSubstr("it ended with exit code 28"));
}

TEST(Wasm, ASlowModuleCannotPassForASlowServer) {
  NEED_WAT();
  MisbehavingUdpServer server({});
  // 30 million instructions in each turn, between sending and receiving: a second turn would be too
  // many, if the count did not begin again.
  const LoadResult result =
      run_module(module_load(server.target(), "5:5 over 1s", of_wat(with_imports(R"(
  (func (export "client") (param $id i32) (local $socket i32) (local $i i32)
    (local.set $socket (call $udp (i32.const 0) (i32.const 0) (i32.const 0)))
    (call $every (i64.const 500000000))
    (loop $turns
      (if (i64.ne (call $turn) (i64.const 0)) (then
        (drop (call $send (local.get $socket) (i32.const 0) (i32.const 4)))
        (local.set $i (i32.const 6000000))
        (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (drop (call $recv (local.get $socket) (i32.const 64) (i32.const 64) (i32.const 0)
                          (i64.const -1)))
        (br $turns)))))
)"))));
  EXPECT_THAT(result.invalid_reasons, testing::Contains(HasSubstr("the script was too slow")));
  EXPECT_GE(result.script->script_late + 1, result.total.accounts.sent);
  EXPECT_EQ(result.script->clients_failed, 0u);
  EXPECT_GE(result.total.accounts.sent, 2u);  // on a busy host some turns are skipped
  EXPECT_GE(result.script->script_ns, static_cast<int64_t>(result.total.accounts.sent) * 30 * kMs);
}

TEST(Wasm, AProgramWithMainRunsForEachClient) {
  NEED_WAT();
  const std::string bytes = of_c(kSources + "/tests/load/wasm/main_program.c", {});
  if (bytes.empty()) TOPSPIN_SKIP("there is no clang with wasi-libc and lld");
  TcpMisbehaviour behaviour;
  behaviour.fates = {TcpFate::kWhole, TcpFate::kTruncated, TcpFate::kWhole, TcpFate::kResetAfter};
  MisbehavingTcpServer server(behaviour);
  const LoadResult result = run_module(module_load(server.target(), "8:8 over 200ms", bytes));
  const auto& truth = server.stop();
  EXPECT_EQ(truth.connections, 8u);
  EXPECT_EQ(result.total.accounts.sent, 8u);
  EXPECT_EQ(result.script->clients_returned, truth.fates.at(TcpFate::kWhole));
  EXPECT_EQ(result.script->clients_failed, 8 - truth.fates.at(TcpFate::kWhole));
  EXPECT_EQ(result.script->failures.at("reset by the server"),
            truth.fates.at(TcpFate::kResetAfter));
  EXPECT_THAT(result.script->errors, ElementsAre(Pair("test.wasm: it ended with exit code 7", 4)));

  behaviour.http = true;
  behaviour.fates = {TcpFate::kWhole, TcpFate::kNotFound};
  MisbehavingTcpServer web(behaviour);
  const LoadResult asked =
      run_module(module_load("http://" + web.target() + "/", "4:4 over 200ms", bytes));
  const auto& requests = web.stop();
  EXPECT_THAT(requests.first_request, AllOf(HasSubstr("GET /page"), HasSubstr("X-Client: me")));
  EXPECT_EQ(asked.script->clients_returned, requests.fates.at(TcpFate::kWhole));
  EXPECT_EQ(asked.http->statuses.at(404), requests.fates.at(TcpFate::kNotFound));
  EXPECT_EQ(asked.script->checks[0].failed, 0u);
}

TEST(Wasm, ReceivesLinesPartsAndRowsOfData) {
  NEED_WAT();
  const std::string source = kSources + "/tests/load/wasm/raw_http.c";
  const std::string bytes = of_c(source, {});
  if (bytes.empty()) TOPSPIN_SKIP("there is no clang with wasi-libc and lld");
  const auto expect_all_passed = [](const LoadResult& result, size_t checks, uint64_t clients) {
    EXPECT_EQ(result.script->checks.size(), checks);
    for (const ScriptCheck& check : result.script->checks) {
      EXPECT_EQ(check.passed, clients) << check.name;
      EXPECT_EQ(check.failed, 0u) << check.name;
    }
    EXPECT_EQ(result.script->clients_returned, clients);
    EXPECT_EQ(result.total.accounts.sent, clients);
    EXPECT_EQ(result.total.accounts.lost, 0u);
  };
  TcpMisbehaviour behaviour;
  behaviour.http = true;
  behaviour.fates = {TcpFate::kWhole};
  MisbehavingTcpServer web(behaviour);
  expect_all_passed(run_module(module_load(web.target(), "4:4 over 200ms", bytes)), 6, 4);
  EXPECT_EQ(web.stop().connections, 4u);

  UdpMisbehaviour echoes;
  echoes.echo = true;
  MisbehavingUdpServer server(echoes);
  LoadOptions options = module_load(server.target(), "4:4 over 200ms", of_c(source, {"-DECHO"}));
  options.script_data["users.csv"] = *parse_csv("name,age\nann,1\nbobby,2\n", "users.csv");
  expect_all_passed(run_module(options), 2, 4);
  EXPECT_EQ(server.stop().received, 4u);
  options.script_data.clear();
  const LoadResult without = run_module(options);
  EXPECT_THAT(without.script->errors,
              ElementsAre(Pair("test.wasm: topspin.data_rows: \"users.csv\" is no file that "
                               "--data names",
                               4)));
}

TEST(Wasm, RandomNumbersAreTheSameForASeed) {
  NEED_WAT();
  // A client fails with a name that its number chooses.
  const std::string bytes = of_wat(with_imports(R"(
  (func (export "client") (param $id i32)
    (i64.store (i32.const 128) (i64.or (i64.and (call $random) (i64.const 0x0F0F0F0F0F0F0F0F))
                                       (i64.const 0x4040404040404040)))
    (call $step_begin (i32.const 128) (i32.const 8))
    (call $step_end))
)"));
  const auto names = [&](uint64_t seed) {
    MisbehavingUdpServer server({});
    LoadOptions options = module_load(server.target(), "5:5 over 50ms", bytes);
    options.script_seed = seed;
    std::vector<std::string> all;
    const LoadResult result = run_module(options);
    for (const auto& one : result.script->steps) all.push_back(one.name);
    std::sort(all.begin(), all.end());
    return all;
  };
  const auto first = names(1);
  EXPECT_EQ(first.size(), 5u);
  EXPECT_EQ(first, names(1));
  EXPECT_NE(first, names(2));
}

TEST(Wasm, ManyClientsShareOneThread) {
  NEED_WAT();
  constexpr uint32_t kMany = 3000;
  MisbehavingUdpServer server({});
  LoadOptions options =
      module_load(server.target(), fmt::format("0:{0} over 1s, hold 1s", kMany),
                  of_wat(*read_file(kSources + "/docs/scenarios/pingpong.wat", 65'536)));
  const LoadResult result = run_module(options);
  EXPECT_EQ(server.stop().flows, kMany);
  EXPECT_EQ(result.script->clients_returned, kMany);
  EXPECT_EQ(result.script->clients_failed, 0u);
}

TEST(Wasm, ModulesThatCannotRunAreRefusedWithTheReason) {
  NEED_WAT();
  const auto refused = [&](const std::string& text) {
    return error_of(module_load("127.0.0.1:9", "1:1 over 100ms", of_wat(text)));
  };
  const std::string client = "(func (export \"client\"))";
  EXPECT_THAT(refused("(module (import \"env\" \"puts\" (func)) " + client + ")"),
              HasSubstr("test.wasm: it imports env.puts, which there is not"));
  EXPECT_THAT(refused("(module (import \"topspin\" \"udp\" (func (param i32))) " + client + ")"),
              HasSubstr("it imports topspin.udp with other parameters"));
  EXPECT_THAT(refused("(module (import \"env\" \"memory\" (memory 1)) " + client + ")"),
              HasSubstr("it imports env.memory, which is no function"));
  EXPECT_THAT(refused("(module (import \"topspin\" \"every\" (func $f (param i64)))"
                      "(func $s (call $f (i64.const 1))) (start $s) " +
                      client + ")"),
              HasSubstr("it does not start"));
  EXPECT_THAT(refused("(module (func $s (loop $l (br $l))) (start $s) " + client + ")"),
              HasSubstr("it does not start: it ran 50 million instructions"));
  EXPECT_THAT(refused("(module (memory 1) (data (i32.const 65536) \"x\") " + client + ")"),
              HasSubstr("its data do not fit into its memory"));
  EXPECT_THAT(refused("(module (table 4000000000 funcref) " + client + ")"),
              HasSubstr("its table needs a maximum of 100000 elements at most"));
  EXPECT_THAT(refused("(module (memory 257) " + client + ")"), HasSubstr("begins with 257 pages"));
  EXPECT_THAT(
      error_of(module_load("127.0.0.1:9", "1:10001 over 1s", of_wat("(module " + client + ")"))),
      HasSubstr("at most 10000 clients"));
  std::string cut = of_wat(with_a_bad_client(""));
  cut.resize(cut.size() - 5);
  EXPECT_THAT(error_of(module_load("127.0.0.1:9", "1:1 over 100ms", cut)),
              HasSubstr("damaged or cut off"));
  // What no check can see before is an error of the client.
  MisbehavingUdpServer server({});
  const LoadResult result =
      run_module(module_load(server.target(), "1:1 over 50ms", of_wat("(module (memory 1))")));
  EXPECT_THAT(result.script->errors,
              ElementsAre(Pair("test.wasm: it exports neither client nor _start, so there is "
                               "nothing to run",
                               1)));
}

TEST(WasmFiles, ATextIsNotAModuleAndWithoutWasmEdgeThatIsSaid) {
  LoadOptions options = module_load("127.0.0.1:9", "1:1 over 100ms", "(module)");
  options.script_name = "test.wat";
  EXPECT_THAT(error_of(options), HasSubstr("wat2wasm test.wat -o test.wasm"));
  options.script_name = "test.wasm";
  EXPECT_THAT(error_of(options), HasSubstr("it is no module in WebAssembly"));
#if !TOPSPIN_HAS_WASM
  options.script_text = std::string("\0asm\1\0\0\0", 8);
  EXPECT_THAT(error_of(options), HasSubstr("libwasmedge-dev"));
#endif
}

}  // namespace
}  // namespace topspin
