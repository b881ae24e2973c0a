// Fuzz target: a script. It is compiled and run, and its function is called with a client that does
// nothing. Whatever the text is, memory and time keep their limits, and an error is a text.
#include "core/base/check.h"
#include "core/base/clock.h"
#include "load/script/lua_state.h"
#include "load/script/pattern_cost.h"
#include "tests/fuzz/fuzz.h"

namespace {

constexpr uint64_t kMostBytes = uint64_t{8} << 20;
constexpr int64_t kMostNs = 20 * topspin::kNanosPerMilli;

/// Calls what the file returned with a client whose functions return nothing. A loop of turns has
/// two of them.
constexpr std::string_view kStub = R"lua(
local run = ...
if type(run) ~= 'function' then return end
local turns = 0
local functions = {
  step = function(_, _, f, ...) return f(...) end,
  every = function()
    return function()
      turns = turns + 1
      return turns <= 2 and turns or nil
    end
  end,
}
local object = {}
setmetatable(object, { __index = function(_, name)
  return functions[name] or function() return object end
end })
run(object)
)lua";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  const std::string_view text = fuzz_text(data, size);
  // As a text and a pattern, too.
  for (const bool all : {false, true})
    (void)is_pattern_cheap(text.substr(0, size / 2), text.substr(size / 2), 0, all, 10'000);
  auto lua = LuaState::open(kMostBytes);
  CHECK(lua.ok());
  lua_State* const state = (*lua)->get();
  Status done = (*lua)->compile(text, "fuzz.lua");
  if (done.ok()) done = (*lua)->call(0, 1, kMostNs);
  if (done.ok()) {
    CHECK((*lua)->compile(kStub, "[stub]").ok());
    lua_insert(state, -2);
    done = (*lua)->call(1, 0, kMostNs);
  }
  CHECK(done.ok() || !done.error().message.empty());
  CHECK((*lua)->max_used_bytes() <= kMostBytes);
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      "return function(client)\n  local s = client:udp()\n  for n in client:every('1s') do\n"
      "    s:send('PING' .. n)\n    client:check(s:recv{timeout = 1} == nil, 'x')\n  end\nend",
      "return function(client)\n  client:step('a', function() local t = {} for i = 1, 99 do "
      "t[i] = ('x'):rep(i) end return table.concat(t) end)\nend",
      "wrk = {} wrk.method = 'POST'\nfunction request() return wrk.format(nil, '/') end",
      "while true do pcall(function() while true do end end) end",
      "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
      "local function f() return f() + 1 end xpcall(f, f)",
      "return load('return ' .. string.format('%q', 'a\\0b'))()",
      "setmetatable(_G, {__index = function(t, k) return k end}) return x.y",
      "aaaaaaaaaaaaaaaaaaaaaaaaaa.-[^%]a-z]*%b()%f[%w]+(a?)%1$",
      "return ('aaaaaaaa'):find('.-.-.-.-.-b'), ('k=v'):gsub('(%w+)=(%w+)', '%2=%1')",
      "\x1bLJ\x02\x02"};
}
