// The pure parts of scripts: timers, steps, and what the Lua machine does not allow.
#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/clock.h"
#include "load/engine/accounts.h"
#include "load/script/step_book.h"
#include "load/script/timers.h"
#include "load/wasm/module_limits.h"
#if TOPSPIN_HAS_LUA
#include "load/script/lua_state.h"
#endif

namespace topspin {
namespace {

using ::testing::HasSubstr;

TEST(ClientTimers, AgreeWithASortedListOfTheSame) {
  constexpr uint32_t kClients = 50;
  ClientTimers timers;
  timers.resize(kClients);
  std::map<uint32_t, int64_t> truth;
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const uint32_t client = random() % kClients;
    switch (random() % 4) {
      case 0:
      case 1: {
        const auto at = static_cast<int64_t>(random() % 1000);
        timers.set(client, at);
        truth[client] = at;
        break;
      }
      case 2:
        timers.clear(client);
        truth.erase(client);
        break;
      case 3: {
        const auto now = static_cast<int64_t>(random() % 1000);
        std::optional<uint32_t> first;
        for (const auto& [one, at] : truth) {
          if (at <= now && (!first || at < truth[*first])) first = one;
        }
        ASSERT_EQ(timers.pop(now), first);
        if (first) truth.erase(*first);
        break;
      }
    }
    std::optional<int64_t> next;
    for (const auto& [one, at] : truth) next = std::min(next.value_or(at), at);
    ASSERT_EQ(timers.next_ns(), next);
  }
}

TEST(StepBook, KeepsTheEquationsOfMessages) {
  constexpr int64_t kMs = kNanosPerMilli;
  StepBook book(100 * kMs, 10 * kMs);
  auto in_time = book.begin("login", 0, 5 * kMs);
  book.end(*in_time, 50 * kMs);
  auto late = book.begin("login", 0, 20 * kMs);
  late->has_failed_check = true;
  book.end(*late, 150 * kMs);
  auto failed = book.begin("login", 0, 0);
  failed->has_failed = failed->has_failed_check = true;
  book.end(*failed, 900 * kMs);
  book.end(*book.begin("buy", 0, 0), 1 * kMs);
  EXPECT_TRUE(book.check("paid", true));
  EXPECT_TRUE(book.check("paid", false));
  ScriptAccounts accounts;
  book.report(accounts, 1000 * kMs);
  ASSERT_EQ(accounts.steps.size(), 2u);
  const LoadPart& login = accounts.steps[0];
  EXPECT_EQ(login.name, "login");
  EXPECT_EQ(login.accounts.sent, 3u);
  EXPECT_EQ(login.accounts.sent_late, 1u);
  EXPECT_EQ(login.accounts.replied, 1u);
  EXPECT_EQ(login.accounts.late_replies, 1u);
  EXPECT_EQ(login.accounts.lost, 1u);
  EXPECT_EQ(login.accounts.http_errors, 1u);  // a lost one is lost, and not also an error
  EXPECT_EQ(login.latency_actual.sum(), 45u * kMs + 130u * kMs + 100u * kMs);
  EXPECT_EQ(login.latency_intended.sum(), login.latency_actual.sum() + login.own_lateness.sum());
  AccountsContext context;
  context.has_plan = false;
  for (const LoadPart& step : accounts.steps)
    EXPECT_THAT(find_imbalances(step.accounts, {}, context), testing::IsEmpty());
  EXPECT_EQ(accounts.checks, (std::vector<ScriptCheck>{{"paid", 1, 1}}));
}

TEST(StepBook, RefusesMoreNamesThanItShows) {
  StepBook book(1, 1);
  for (size_t i = 0; i < StepBook::kMostNames; ++i) {
    EXPECT_TRUE(book.begin(std::to_string(i), 0, 0));
    EXPECT_TRUE(book.check(std::to_string(i), true));
  }
  EXPECT_FALSE(book.begin("another", 0, 0));
  EXPECT_FALSE(book.check("another", true));
  EXPECT_TRUE(book.begin("5", 0, 0));
}

/// A module of these sections.
std::string module_of(const std::string& sections) {
  return std::string("\0asm\1\0\0\0", 8) + sections;
}
std::string section_of(char id, const std::string& contents) {
  return std::string(1, id) + static_cast<char>(contents.size()) + contents;
}
std::string limit_said(const std::string& bytes) {
  const Status checked = check_module_limits(bytes, "m.wasm");
  return checked.ok() ? "" : checked.error().message;
}

TEST(ModuleLimits, RefuseWhatOneInstructionWouldTakeAllMemoryFor) {
  const auto bytes = [](std::initializer_list<int> list) {
    std::string text;
    for (const int one : list) text += static_cast<char>(one);
    return text;
  };
  EXPECT_EQ(limit_said(module_of("")), "");
  // Tables: a count, and for each a type, whether it has a maximum, and both.
  EXPECT_EQ(limit_said(module_of(section_of(4, bytes({1, 0x70, 1, 1, 1})))), "");
  EXPECT_THAT(limit_said(module_of(section_of(4, bytes({1, 0x70, 0, 1})))),
              HasSubstr("needs a maximum"));
  EXPECT_THAT(limit_said(module_of(section_of(4, bytes({1, 0x70, 1, 0, 0xA1, 0x8D, 0x06})))),
              HasSubstr("m.wasm: its table needs a maximum of 100000"));  // 100,001
  EXPECT_EQ(limit_said(module_of(section_of(4, bytes({1, 0x70, 1, 0, 0xA0, 0x8D, 0x06})))), "");
  // Memories.
  EXPECT_EQ(limit_said(module_of(section_of(5, bytes({1, 0, 0x80, 0x02})))), "");  // 256 pages
  EXPECT_THAT(limit_said(module_of(section_of(5, bytes({1, 0, 0x81, 0x02})))),
              HasSubstr("begins with 257 pages"));
  EXPECT_THAT(limit_said(module_of(section_of(5, bytes({2, 0, 1, 0, 1})))),
              HasSubstr("2 memories"));
  // Code: bodies of a length, groups of local variables, and instructions.
  const auto code = [&](std::initializer_list<int> locals) {
    const std::string body = bytes(locals) + bytes({0x0B});
    return module_of(section_of(10, bytes({1}) + static_cast<char>(body.size()) + body));
  };
  EXPECT_EQ(limit_said(code({1, 0xD0, 0x86, 0x03, 0x7F})), "");  // 50,000
  EXPECT_THAT(limit_said(code({2, 0xD0, 0x86, 0x03, 0x7F, 1, 0x7F})),
              HasSubstr("more than 50000 local variables"));
  EXPECT_THAT(limit_said(code({2, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0x7F, 1, 0x7F})),
              HasSubstr("more than 50000 local variables"));
  // Native code beside the instructions.
  EXPECT_THAT(limit_said(module_of(section_of(0, "\x08wasmedge..."))),
              HasSubstr("wasmedge compile"));
  EXPECT_EQ(limit_said(module_of(section_of(0, "\x04name..."))), "");
  // Damaged: a section, a table, a number without an end.
  EXPECT_THAT(limit_said(module_of(bytes({4, 9, 1}))), HasSubstr("cut off"));
  EXPECT_THAT(limit_said(module_of(section_of(4, bytes({1, 0x70, 1, 1})))), HasSubstr("cut off"));
  EXPECT_THAT(limit_said(module_of(
                  bytes({0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}))),
              HasSubstr("cut off"));
  EXPECT_THAT(limit_said(std::string("\0asm\x0d\0\1\0", 8)), HasSubstr("component"));
  EXPECT_THAT(limit_said("return 1"), HasSubstr("no module"));
}

#if TOPSPIN_HAS_LUA

/// Runs the text; empty, or the error.
std::string run_lua(std::string_view text, uint64_t most_bytes = 64 << 20) {
  auto lua = LuaState::open(most_bytes);
  if (!lua.ok()) return lua.error().message;
  if (const Status compiled = (*lua)->compile(text, "file.lua"); !compiled.ok())
    return compiled.error().message;
  const Status ran = (*lua)->call(0, 0, 50 * kNanosPerMilli);
  EXPECT_LE((*lua)->max_used_bytes(), most_bytes);
  return ran.ok() ? "" : ran.error().message;
}

TEST(LuaState, ReachesNothingOutside) {
  for (const char* name :
       {"io",        "require",   "module",     "package",        "debug",      "jit",
        "ffi",       "dofile",    "loadfile",   "collectgarbage", "gcinfo",     "newproxy",
        "coroutine", "getfenv",   "setfenv",    "os.execute",     "os.exit",    "os.getenv",
        "os.remove", "os.rename", "os.tmpname", "os.setlocale",   "string.dump"}) {
    EXPECT_EQ(run_lua(std::string("assert(") + name + " == nil, 'it is there')"), "") << name;
  }
  EXPECT_EQ(run_lua("assert(os.time() > 0 and os.clock() and ('x'):rep(3) == 'xxx')"), "");
  // What was opened cannot be found by another way.
  EXPECT_EQ(run_lua("for name, value in pairs(_G) do assert(name ~= 'debug' and name ~= 'io') end"),
            "");
}

TEST(LuaState, APatternThatWouldTakeYearsIsRefused) {
  for (const char* search :
       {"(('a'):rep(40)):find(('a?'):rep(40) .. ('a'):rep(40))",
        "(('a'):rep(5000)):match('.-.-.-.-b')", "(('a'):rep(5000)):gsub('(.-)(.-)(.-)%1b', '')",
        "(('a'):rep(5000)):gmatch('.*.*.*.*b')", "string.find(('('):rep(100000), '%b()')"}) {
    EXPECT_THAT(run_lua(std::string("\nlocal x = ") + search),
                HasSubstr("file.lua:2: the pattern takes too long"))
        << search;
  }
  // What Lua's matcher does itself, on patterns of all kinds and on a long text.
  constexpr std::string_view kSearches = R"lua(
    local text = ('{"name": "ann", "id": 7, "tags": [1, 2]}, '):rep(2000) .. '{"id": 12345}'
    assert(text:match('"id":%s*(%d%d+)') == '12345')
    assert(select(2, text:gsub('"(%w+)":%s*"?([^",}]+)', '')) == 6001)
    assert(text:find('{"id": 1', 1, true) == #text - 12)
    assert(('a,b,,c'):gsub(',', ';') == 'a;b;;c')
    assert(('key = value'):match('^(%w+)%s*=%s*(%w+)$') == 'key')
    assert(('THE (quick) fox'):find('%((%a+)%)') == 5)
    assert(('THE (quick) fox'):match('%f[%a]%a+%f[%A]', 6) == 'quick')
    assert(('f(a(b)c)d'):match('%b()') == '(a(b)c)')
    assert(('"it" and \'is\''):match('(["\'])(.-)%1') == '"')
    assert(('x]y'):match('[]]') == ']' and ('x-y'):match('[x%-]+') == 'x-')
    local words = {}
    for word in ('one two three'):gmatch('%a+') do words[#words + 1] = word end
    assert(#words == 3 and words[3] == 'three')
    assert(('abc'):find('b', -2) == 2 and ('abc'):find('', 10) == 4)
    assert(not pcall(string.find, 'a', '[a') and not pcall(string.find, 'a', '%'))
  )lua";
  EXPECT_EQ(run_lua(kSearches), "");
}

TEST(LuaState, LoadsTextAndNoBytecode) {
  EXPECT_EQ(run_lua("assert(load('return 7')() == 7)"), "");
  EXPECT_EQ(run_lua("local f, why = load('\\27LJ\\2\\2\\0')\n"
                    "assert(f == nil and why:find('mode'), why)"),
            "");
  EXPECT_THAT(run_lua("\x1bLJ\x02\x02"), HasSubstr("file.lua is compiled Lua"));
}

TEST(LuaState, ErrorsNameFileAndLine) {
  EXPECT_THAT(run_lua("\n\nlocal x = nil + 1"), HasSubstr("file.lua:3: "));
  EXPECT_THAT(run_lua("\nif"), HasSubstr("file.lua:2: "));
  EXPECT_THAT(run_lua("\nerror({})"), HasSubstr("file.lua:2: the error is a table"));
}

TEST(LuaState, MemoryHasALimitWithAPlace) {
  EXPECT_THAT(
      run_lua("\nlocal t = {}\nwhile true do t[#t + 1] = ('x'):rep(1000) .. #t end", 8 << 20),
      HasSubstr("file.lua:3: not enough memory"));
  EXPECT_THAT(run_lua("local x = ('x'):rep(1e9)", 8 << 20),
              HasSubstr("file.lua:1: not enough memory"));
  EXPECT_THAT(run_lua("local function f() return f() + 1 end\nf()", 64 << 20),
              HasSubstr("file.lua:1: stack overflow"));
  EXPECT_NE(run_lua("", 1000), "");
}

TEST(LuaState, ALoopWithoutAWaitEndsWithItsLineHoweverItIsWritten) {
  EXPECT_THAT(run_lua("\n\nwhile true do end"), HasSubstr("file.lua:3: the script ran for"));
  EXPECT_THAT(run_lua("while true do pcall(function() while true do end end) end"),
              HasSubstr("file.lua:1: the script ran for"));
  EXPECT_THAT(run_lua("local function f() while true do xpcall(f, f) end end f()"),
              HasSubstr("file.lua:1: the script ran for"));
  EXPECT_THAT(run_lua("local function f() while true do end end while true do xpcall(f, f) end"),
              HasSubstr("file.lua:1: the script ran for"));
  // A script may still catch its other errors, and sees why.
  EXPECT_EQ(run_lua("local ok, why = pcall(error, 'x', 0) assert(not ok and why == 'x')\n"
                    "local ok, why = xpcall(function() error('y', 0) end, function(e) return e .. "
                    "'z' end)\nassert(not ok and why == 'yz')\n"
                    "assert(select('#', pcall(function() return nil, nil end)) == 3)"),
            "");
}

#endif

}  // namespace
}  // namespace topspin
