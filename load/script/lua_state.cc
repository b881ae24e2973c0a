#include "load/script/lua_state.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>

#include "core/base/text.h"
#include "load/engine/kernel_counters.h"
#include "load/script/pattern_cost.h"

namespace topspin {
namespace {

constexpr int kInstructionsPerLook = 10'000;
constexpr size_t kMostErrorBytes = 300;
constexpr int kMostDepthOfPcall = 150;

// A script must not catch the error that ends it for its time.
constexpr std::string_view kPcallText = R"lua(
local pcall, xpcall, check, enter = pcall, xpcall, ...
local function after(...)
  check()
  return ...
end
function _G.pcall(f, ...)
  enter()
  return after(pcall(f, ...))
end
function _G.xpcall(f, handler, ...)
  enter()
  local function checked(message)
    check()
    return handler(message)
  end
  return after(xpcall(f, checked, ...))
end
)lua";

Error script_error(std::string message) {
  return make_error(ErrorCode::kUsage, std::move(message));
}

/// Whether the text begins with "NAME:LINE:", as most of Lua's messages do.
bool has_place(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  const size_t end = text.find_first_not_of("0123456789", colon + 1);
  return end != std::string_view::npos && end > colon + 1 && text[end] == ':';
}

/// load(text [, name]): text only. LuaJIT checks no bytecode, which could then do anything.
int lua_load_text(lua_State* state) {
  size_t length = 0;
  const char* text = luaL_checklstring(state, 1, &length);
  const char* name = luaL_optstring(state, 2, "=load");
  if (luaL_loadbufferx(state, text, length, name, "t") == 0) return 1;
  lua_pushnil(state);
  lua_insert(state, -2);
  return 2;
}

/// string.find, match, gmatch and gsub, which are the upvalue: refused if they would take too long.
/// The second upvalue says whether they search all of the text.
int lua_search(lua_State* state) {
  size_t subject_bytes = 0, pattern_bytes = 0;
  const char* subject = luaL_checklstring(state, 1, &subject_bytes);
  const char* pattern = luaL_checklstring(state, 2, &pattern_bytes);
  const bool all = lua_toboolean(state, lua_upvalueindex(2)) != 0;
  const bool is_plain = !all && lua_toboolean(state, 4) != 0;
  size_t from = 0;
  if (!all && lua_isnumber(state, 3) != 0) {
    const lua_Integer begin = lua_tointeger(state, 3);
    const auto bytes = static_cast<lua_Integer>(subject_bytes);
    from = static_cast<size_t>(begin > 0   ? begin - 1
                               : begin < 0 ? std::max<lua_Integer>(0, bytes + begin)
                                           : 0);
  }
  if (!is_plain && !is_pattern_cheap({subject, subject_bytes}, {pattern, pattern_bytes}, from, all))
    return luaL_error(state, "the pattern takes too long on a text of this length");
  lua_pushvalue(state, lua_upvalueindex(1));
  lua_insert(state, 1);
  lua_call(state, lua_gettop(state) - 1, LUA_MULTRET);
  return lua_gettop(state);
}

}  // namespace

void* LuaState::allocate(void* self, void* block, size_t old_bytes, size_t new_bytes) {
  LuaState& lua = *static_cast<LuaState*>(self);
  if (new_bytes == 0) {
    std::free(block);
    lua.used_bytes_ -= old_bytes;
    return nullptr;
  }
  if (new_bytes > old_bytes && lua.used_bytes_ + (new_bytes - old_bytes) > lua.most_bytes_) {
    // Where the script is can only be seen now: the error will not tell.
    if (lua.running_ != nullptr) lua.memory_place_ = place_of(lua.running_);
    return nullptr;
  }
  void* moved = std::realloc(block, new_bytes);
  if (moved == nullptr) return nullptr;
  lua.used_bytes_ += new_bytes - old_bytes;
  lua.max_used_bytes_ = std::max(lua.max_used_bytes_, lua.used_bytes_);
  return moved;
}

LuaState& LuaState::of(lua_State* state) {
  void* self = nullptr;
  (void)lua_getallocf(state, &self);
  return *static_cast<LuaState*>(self);
}

/// Ends what runs too long.
void LuaState::count_hook(lua_State* state, lua_Debug*) {
  LuaState& lua = of(state);
  // From the first look on, so that a short run needs no clock.
  if (lua.until_cpu_ns_ == 0) lua.until_cpu_ns_ = thread_cpu_now_ns() + lua.most_ns_;
  if (lua.is_over_time_ || thread_cpu_now_ns() < lua.until_cpu_ns_) return;
  lua.is_over_time_ = true;
  lua.over_time_place_ = place_of(state);
  raise_if_over_time(state);
}

int LuaState::raise_if_over_time(lua_State* state) {
  const LuaState& lua = of(state);
  if (!lua.is_over_time_) return 0;
  lua_pushfstring(state, "%sthe script ran for %d ms without waiting", lua.over_time_place_.c_str(),
                  static_cast<int>(lua.most_ns_ / 1'000'000));
  return lua_error(state);
}

Result<std::unique_ptr<LuaState>> LuaState::open(uint64_t most_bytes) {
  std::unique_ptr<LuaState> lua(new LuaState);
  lua->most_bytes_ = most_bytes;
  lua->state_ = lua_newstate(allocate, lua.get());
  if (lua->state_ == nullptr) {
    return make_error(ErrorCode::kUnsupported,
                      "LuaJIT could not be started with a limit of memory; raise "
                      "--script-memory, or install a LuaJIT with 64-bit addresses (GC64)");
  }
  lua_sethook(lua->state_, count_hook, LUA_MASKCOUNT, kInstructionsPerLook);
  luaJIT_setmode(lua->state_, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  using Library = std::pair<const char*, lua_CFunction>;
  for (const auto& [name, open] :
       {Library("", luaopen_base), Library(LUA_TABLIBNAME, luaopen_table),
        Library(LUA_STRLIBNAME, luaopen_string), Library(LUA_MATHLIBNAME, luaopen_math),
        Library(LUA_BITLIBNAME, luaopen_bit), Library(LUA_OSLIBNAME, luaopen_os)}) {
    lua_pushcfunction(lua->state_, open);
    lua_pushstring(lua->state_, name);
    TOPSPIN_TRY(lua->call(1, 0));
  }
  lua->take_away_what_reaches_out();
  TOPSPIN_TRY(lua->compile(kPcallText, "[topspin]"));
  lua_pushcfunction(lua->state_, raise_if_over_time);
  lua_pushcfunction(lua->state_, [](lua_State* s) {
    // Where the stack is nearly full no hook can be called, and a loop of calls that fail would
    // have no end.
    lua_Debug frame{};
    if (lua_getstack(s, kMostDepthOfPcall, &frame) == 0) return 0;
    return luaL_error(s, "pcall is called in more than %d calls in one another", kMostDepthOfPcall);
  });
  TOPSPIN_TRY(lua->call(2, 0));
  return lua;
}

LuaState::~LuaState() {
  if (state_ != nullptr) lua_close(state_);
}

void LuaState::take_away_what_reaches_out() {
  for (const char* name :
       {"collectgarbage", "coroutine", "debug", "dofile", "gcinfo", "getfenv", "jit", "loadfile",
        "loadstring", "module", "newproxy", "package", "require", "setfenv"}) {
    lua_pushnil(state_);
    lua_setglobal(state_, name);
  }
  for (const char* name : {"load", "loadstring"}) {
    lua_pushcfunction(state_, lua_load_text);
    lua_setglobal(state_, name);
  }
  lua_getglobal(state_, LUA_STRLIBNAME);
  lua_pushnil(state_);
  lua_setfield(state_, -2, "dump");
  for (const auto& [name, all] : {std::pair("find", 0), std::pair("match", 0),
                                  std::pair("gmatch", 1), std::pair("gsub", 1)}) {
    lua_getfield(state_, -1, name);
    lua_pushboolean(state_, all);
    lua_pushcclosure(state_, lua_search, 2);
    lua_setfield(state_, -2, name);
  }
  lua_pushnil(state_);
  lua_setfield(state_, -2, "gfind");  // an old name of gmatch
  lua_pop(state_, 1);
  // A new table with what only tells the time.
  lua_getglobal(state_, LUA_OSLIBNAME);
  lua_newtable(state_);
  for (const char* name : {"clock", "date", "difftime", "time"}) {
    lua_getfield(state_, -2, name);
    lua_setfield(state_, -2, name);
  }
  lua_setglobal(state_, LUA_OSLIBNAME);
  lua_pop(state_, 1);
  // Lua keeps what was opened in its registry too. No script can see that, but nothing needs it.
  lua_pushnil(state_);
  lua_setfield(state_, LUA_REGISTRYINDEX, "_LOADED");
}

Status LuaState::compile(std::string_view text, const std::string& name) {
  if (text.starts_with('\x1b')) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{} is compiled Lua, which can break out of the sandbox; give the "
                    "script's own text",
                    name));
  }
  if (text.starts_with('#')) text.remove_prefix(std::min(text.find('\n'), text.size()));
  const int failed = luaL_loadbufferx(state_, text.data(), text.size(), ("@" + name).c_str(), "t");
  if (failed == 0) return {};
  std::string message = error_text(state_, failed);
  lua_pop(state_, 1);
  return script_error(std::move(message));
}

Status LuaState::call(int arguments, int results, int64_t most_ns) {
  most_ns_ = most_ns;
  until_cpu_ns_ = 0;
  is_over_time_ = false;
  // A thread, so that the place of an error without one can still be found.
  lua_State* thread = lua_newthread(state_);
  lua_insert(state_, -(arguments + 2));
  lua_xmove(state_, thread, arguments + 1);
  running_ = thread;
  const int end = lua_resume(thread, arguments);
  running_ = nullptr;
  if (end != 0) {
    std::string message = end == LUA_YIELD
                              ? "the file itself cannot wait, only the function of a client can"
                              : error_text(thread, end);
    lua_pop(state_, 1);
    return script_error(std::move(message));
  }
  const int got = lua_gettop(thread);
  lua_settop(thread, results == LUA_MULTRET ? got : results);
  const int moved = lua_gettop(thread);
  lua_xmove(thread, state_, moved);
  lua_remove(state_, -(moved + 1));
  return {};
}

int LuaState::resume(lua_State* thread, int arguments) {
  most_ns_ = kRunNs;
  until_cpu_ns_ = 0;
  is_over_time_ = false;
  running_ = thread;
  const int end = lua_resume(thread, arguments);
  running_ = nullptr;
  return end;
}

std::string LuaState::place_of(lua_State* thread) {
  lua_Debug frame{};
  for (int level = 0; lua_getstack(thread, level, &frame) != 0; ++level) {
    // Texts of our own are no place in the script; their names begin with "[".
    if (lua_getinfo(thread, "Sl", &frame) != 0 && frame.currentline > 0 &&
        frame.short_src[0] != '[')
      return fmt::format("{}:{}: ", frame.short_src, frame.currentline);
  }
  return {};
}

std::string LuaState::error_text(lua_State* thread, int end) {
  std::string text;
  const bool is_text = lua_type(thread, -1) == LUA_TSTRING;
  if (is_text) {
    size_t length = 0;
    const char* bytes = lua_tolstring(thread, -1, &length);
    text.assign(bytes, std::min(length, kMostErrorBytes));
  } else {
    text = fmt::format("the error is a {} and no text", luaL_typename(thread, -1));
  }
  if (end == LUA_ERRMEM) return memory_place_ + text;
  return is_text && has_place(text) ? text : place_of(thread) + text;
}

}  // namespace topspin
