#include "load/script/lua_guest.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/text.h"
#include "load/script/client_random.h"

namespace topspin {
namespace {

// The types of the script's objects, and the upvalue of each function that it calls.
constexpr const char* kClientType = "topspin.client";
constexpr const char* kSocketType = "topspin.socket";
constexpr const char* kDataType = "topspin.data";
constexpr int kGuest = lua_upvalueindex(1);
constexpr int kSecond = lua_upvalueindex(2);

constexpr int64_t kMostDurationNs = int64_t{86'400} * kNanosPerSecond;

struct LuaData {
  const CsvTable* table;
  size_t next;
};

// The function of a step, in Lua because a function in C could not wait in what it calls.
constexpr std::string_view kPrelude = R"lua(
local begin, finish, pcall = ...
return function(client, name, f, ...)
  begin(client, name)
  return finish(client, pcall(f, ...))
end
)lua";

/// Raises an error with the place of the script that called. Objects of C++ are destroyed: LuaJIT
/// unwinds as C++ does.
int raise_error(lua_State* state, const std::string& message, int level = 1) {
  luaL_where(state, level);
  lua_pushlstring(state, message.data(), message.size());
  lua_concat(state, 2);
  return lua_error(state);
}

std::string_view text_at(lua_State* state, int index) {
  size_t length = 0;
  const char* text = luaL_checklstring(state, index, &length);
  return {text, length};
}

/// A number of seconds, or a text such as "250ms".
int64_t duration_at(lua_State* state, int index, const char* what, int64_t least_ns) {
  std::optional<int64_t> ns;
  if (lua_type(state, index) == LUA_TNUMBER) {
    const double seconds = lua_tonumber(state, index);
    if (seconds >= 0 && seconds * 1e9 <= static_cast<double>(kMostDurationNs))
      ns = std::llround(seconds * 1e9);
  } else if (lua_type(state, index) == LUA_TSTRING) {
    ns = parse_duration(text_at(state, index));
  }
  if (!ns || *ns < least_ns || *ns > kMostDurationNs)
    raise_error(state, fmt::format("{} is from {} to a day: a number of seconds, or a text as "
                                   "\"250ms\"",
                                   what, format_duration(least_ns)));
  return *ns;
}

/// The duration of a table's field; `otherwise` if it has none.
int64_t duration_field(lua_State* state, int table, const char* name, int64_t otherwise) {
  if (!lua_istable(state, table)) return otherwise;
  lua_getfield(state, table, name);
  const int64_t ns = lua_isnil(state, -1) ? otherwise : duration_at(state, -1, name, 0);
  lua_pop(state, 1);
  return ns;
}

/// Refuses fields of the table that are none of `known`, because a wrong name would do nothing.
void check_fields(lua_State* state, int table, const std::vector<std::string_view>& known) {
  if (!lua_istable(state, table)) return;
  lua_pushnil(state);
  while (lua_next(state, table) != 0) {
    lua_pop(state, 1);
    if (lua_type(state, -1) != LUA_TSTRING) continue;
    const std::string_view name = text_at(state, -1);
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    raise_error(state, fmt::format("\"{}\" is none of {}{}", name, fmt::join(known, ", "),
                                   did_you_mean(name, known)));
  }
}

void push_text(lua_State* state, std::string_view text) {
  lua_pushlstring(state, text.data(), text.size());
}

/// A table of the headers by their names, in small letters if `lower`.
void push_headers(lua_State* state, const HttpHeaders& headers, bool lower = false) {
  lua_createtable(state, 0, static_cast<int>(headers.size()));
  for (const HttpHeader& header : headers) {
    push_text(state, lower ? lower_case(header.name) : header.name);
    push_text(state, header.value);
    lua_rawset(state, -3);
  }
}

void push_response(lua_State* state, const HttpAnswer& answer) {
  lua_createtable(state, 0, 3);
  lua_pushinteger(state, answer.status);
  lua_setfield(state, -2, "status");
  push_text(state, answer.body);
  lua_setfield(state, -2, "body");
  push_headers(state, answer.headers, true);
  lua_setfield(state, -2, "headers");
}

}  // namespace

struct LuaGuest::LuaSocket {
  uint32_t index;
  uint32_t generation;
};

// ----- the guest -----

Result<std::unique_ptr<LuaGuest>> LuaGuest::open(const LoadOptions& options,
                                                 ScriptClients& clients) {
  std::unique_ptr<LuaGuest> guest(new LuaGuest(clients));
  TOPSPIN_ASSIGN(guest->lua_, LuaState::open(options.script_memory_bytes));
  guest->data_ = options.script_data;
  guest->seed_ = random_of_load(options.script_seed);
  guest->scripts_.resize(1);
  guest->scripts_[0].random = guest->seed_;
  lua_State* const state = guest->lua_->get();
  lua_pushlightuserdata(state, guest.get());
  lua_pushcclosure(
      state,
      [](lua_State* s) {
        guest_of(s).add_library();
        return 0;
      },
      1);
  TOPSPIN_TRY(guest->lua_->call(0, 0));
  TOPSPIN_TRY(guest->add_wrk(options));
  TOPSPIN_TRY(guest->lua_->compile(options.script_text, options.script_name));
  TOPSPIN_TRY(guest->lua_->call(0, 1));
  if (!lua_isfunction(state, -1)) {
    lua_pop(state, 1);
    TOPSPIN_ASSIGN(guest->is_wrk_, guest->begin_wrk(options));
    if (!guest->is_wrk_) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("{}: the file does not return the function of a client, and "
                                    "has none of wrk's functions; end it with: return "
                                    "function(client) ... end",
                                    options.script_name));
    }
  } else if (options.script_period_ns || !options.script_arguments.empty()) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{}: --period and --arguments are for scripts of wrk; this "
                                  "script says its period itself, by client:every",
                                  options.script_name));
  } else {
    // What a client changes, all would see.
    lua_pushvalue(state, LUA_GLOBALSINDEX);
    lua_newtable(state);
    lua_pushcfunction(state, [](lua_State* s) {
      return luaL_error(s,
                        "\"%s\" is no global of the file, and all clients would share it; "
                        "write local before it",
                        lua_isstring(s, 2) != 0 ? lua_tostring(s, 2) : "?");
    });
    lua_setfield(state, -2, "__newindex");
    lua_setmetatable(state, -2);
    lua_pop(state, 1);
  }
  guest->client_function_ = luaL_ref(state, LUA_REGISTRYINDEX);
  return guest;
}

void LuaGuest::add_library() {
  lua_State* const state = lua_->get();
  const auto function = [&](const char* name, lua_CFunction code) {
    lua_pushlightuserdata(state, this);
    lua_pushcclosure(state, code, 1);
    lua_setfield(state, -2, name);
  };
  // Globals.
  lua_pushlightuserdata(state, this);
  lua_pushcclosure(state, print, 1);
  lua_setglobal(state, "print");
  lua_getglobal(state, LUA_MATHLIBNAME);
  function("random", [](lua_State* s) { return push_random(s, 1); });
  function("randomseed", [](lua_State*) { return 0; });  // --seed decides
  lua_pop(state, 1);
  lua_newtable(state);
  function("write", io_write);
  lua_setglobal(state, "io");
  // Clients.
  luaL_newmetatable(state, kClientType);
  lua_newtable(state);
  function("sleep", client_sleep);
  function("every", client_every);
  function("check", client_check);
  function("fail", client_fail);
  function("data", client_data);
  function("time", client_time);
  function("random", client_random);
  function("udp", client_udp);
  function("tcp", client_tcp);
  function("http", client_http);
  luaL_loadbufferx(state, kPrelude.data(), kPrelude.size(), "=[topspin]", "t");
  lua_pushlightuserdata(state, this);
  lua_pushcclosure(state, client_begin_step, 1);
  lua_pushlightuserdata(state, this);
  lua_pushcclosure(state, client_end_step, 1);
  lua_getglobal(state, "pcall");
  lua_call(state, 3, 1);
  lua_setfield(state, -2, "step");
  lua_pushlightuserdata(state, this);
  lua_insert(state, -2);
  lua_pushcclosure(state, client_index, 2);
  lua_setfield(state, -2, "__index");
  lua_pushliteral(state, "client");
  lua_setfield(state, -2, "__metatable");
  lua_pop(state, 1);
  // Sockets.
  luaL_newmetatable(state, kSocketType);
  lua_newtable(state);
  function("send", socket_send);
  function("recv", socket_receive);
  function("close", socket_close);
  function("is_open", socket_is_open);
  lua_setfield(state, -2, "__index");
  function("__gc", socket_collect);
  lua_pushliteral(state, "socket");
  lua_setfield(state, -2, "__metatable");
  lua_pop(state, 1);
  // Data.
  luaL_newmetatable(state, kDataType);
  lua_newtable(state);
  function("row", data_row);
  function("next", data_next);
  function("random", data_random);
  lua_setfield(state, -2, "__index");
  function("__len", [](lua_State* s) {
    const auto& data = *static_cast<LuaData*>(luaL_checkudata(s, 1, kDataType));
    lua_pushinteger(s, static_cast<lua_Integer>(data.table->rows.size()));
    return 1;
  });
  lua_pushliteral(state, "data");
  lua_setfield(state, -2, "__metatable");
  lua_pop(state, 1);
  // What resume() and start() call, so that a lack of memory there is an error and no panic.
  lua_pushcfunction(state, [](lua_State* s) {
    return answer_now(s, *static_cast<const Answer*>(lua_touserdata(s, 1)));
  });
  push_answer_ = luaL_ref(state, LUA_REGISTRYINDEX);
  lua_pushcfunction(state, [](lua_State* s) {
    auto& guest = *static_cast<LuaGuest*>(lua_touserdata(s, 1));
    Script& script = guest.scripts_[guest.running_];
    script.thread = lua_newthread(s);
    script.reference = luaL_ref(s, LUA_REGISTRYINDEX);
    lua_rawgeti(s, LUA_REGISTRYINDEX, guest.client_function_);
    *static_cast<uint32_t*>(lua_newuserdata(s, sizeof(uint32_t))) = guest.running_;
    luaL_getmetatable(s, kClientType);
    lua_setmetatable(s, -2);
    return 2;
  });
  make_thread_ = luaL_ref(state, LUA_REGISTRYINDEX);
}

ScriptState LuaGuest::start(uint32_t client) {
  if (scripts_.size() <= client) scripts_.resize(client + 1);
  running_ = client;
  scripts_[client].random = random_of_client(seed_, client);
  lua_State* const state = lua_->get();
  lua_rawgeti(state, LUA_REGISTRYINDEX, make_thread_);
  lua_pushlightuserdata(state, this);
  if (lua_pcall(state, 1, 2, 0) != 0) {
    error_ = "there is no memory for another client; raise --script-memory";
    lua_pop(state, 1);
    return ScriptState::kFailed;
  }
  lua_xmove(state, scripts_[client].thread, 2);
  return go_on(client, 1);
}

ScriptState LuaGuest::resume(uint32_t client, const Answer& answer) {
  running_ = client;
  lua_State* const state = lua_->get();
  const int before = lua_gettop(state);
  lua_rawgeti(state, LUA_REGISTRYINDEX, push_answer_);
  lua_pushlightuserdata(state, const_cast<Answer*>(&answer));
  if (answer.kind == Answer::Kind::kSocket) {
    lua_rawgeti(state, LUA_REGISTRYINDEX, scripts_[client].socket);
    luaL_unref(state, LUA_REGISTRYINDEX, std::exchange(scripts_[client].socket, LUA_NOREF));
  } else {
    lua_pushnil(state);
  }
  if (lua_pcall(state, 2, LUA_MULTRET, 0) != 0) {
    error_ = "there is not enough memory for what was received; raise --script-memory";
    lua_settop(state, before);
    return ScriptState::kFailed;
  }
  const int answers = lua_gettop(state) - before;
  lua_xmove(state, scripts_[client].thread, answers);
  return go_on(client, answers);
}

ScriptState LuaGuest::go_on(uint32_t client, int arguments) {
  lua_State* const thread = scripts_[client].thread;
  is_running_ = true;
  const int end = lua_->resume(thread, arguments);
  is_running_ = false;
  if (end == LUA_YIELD) return ScriptState::kWaits;
  if (end == 0) return ScriptState::kReturned;
  error_ = lua_->error_text(thread, end);
  must_collect_ = end == LUA_ERRMEM;
  return ScriptState::kFailed;
}

void LuaGuest::drop(uint32_t client) {
  Script& script = scripts_[client];
  script.thread = nullptr;
  luaL_unref(lua_->get(), LUA_REGISTRYINDEX, std::exchange(script.reference, LUA_NOREF));
  luaL_unref(lua_->get(), LUA_REGISTRYINDEX, std::exchange(script.socket, LUA_NOREF));
  // LuaJIT does not collect when memory runs out, so the next client would fail as this one did.
  if (std::exchange(must_collect_, false)) lua_gc(lua_->get(), LUA_GCCOLLECT, 0);
}

// ----- what scripts call -----

LuaGuest& LuaGuest::guest_of(lua_State* state) {
  return *static_cast<LuaGuest*>(lua_touserdata(state, kGuest));
}

/// For a function of a client: its first argument is the client that runs.
LuaGuest& LuaGuest::guest_of_own_client(lua_State* state) {
  LuaGuest& guest = guest_of(state);
  const auto client = *static_cast<uint32_t*>(luaL_checkudata(state, 1, kClientType));
  if (!guest.is_running_ || client != guest.running_)
    luaL_error(state, "this is another client; a client's function can only use its own");
  return guest;
}

LuaGuest::LuaSocket& LuaGuest::socket_of(lua_State* state) {
  auto& socket = *static_cast<LuaSocket*>(luaL_checkudata(state, 1, kSocketType));
  if (!guest_of(state).is_running_)
    luaL_error(state, "a socket can only be used while its client runs");
  return socket;
}

/// Pushes what the operation answered. A socket is the second argument of the function.
int LuaGuest::answer_now(lua_State* state, const Answer& answer) {
  switch (answer.kind) {
    case Answer::Kind::kNothing: return 0;
    case Answer::Kind::kTrue: lua_pushboolean(state, 1); return 1;
    case Answer::Kind::kText: push_text(state, answer.text); return 1;
    case Answer::Kind::kNumber: lua_pushinteger(state, answer.number); return 1;
    case Answer::Kind::kNil: lua_pushnil(state); return 1;
    case Answer::Kind::kFailure:
      lua_pushnil(state);
      push_text(state, answer.text);
      return 2;
    case Answer::Kind::kSocket:
      lua_pushvalue(state, 2);
      if (answer.text.empty()) return 1;
      push_text(state, answer.text);
      return 2;
    case Answer::Kind::kResponse: push_response(state, *answer.response); return 1;
    case Answer::Kind::kRawResponse:
      lua_pushinteger(state, answer.response->status);
      lua_pushboolean(state, answer.keeps_alive ? 1 : 0);
      push_headers(state, answer.response->headers);
      push_text(state, answer.response->body);
      return 4;
  }
  return 0;
}

int LuaGuest::client_index(lua_State* state) {
  const std::string_view key = text_at(state, 2);
  const LuaGuest& guest = guest_of(state);
  if (key == "id") {
    const auto client = *static_cast<uint32_t*>(luaL_checkudata(state, 1, kClientType));
    lua_pushinteger(state, static_cast<lua_Integer>(guest.clients_.slot(client)) + 1);
  } else if (key == "target") {
    push_text(state, guest.clients_.target().text);
  } else {
    lua_pushvalue(state, 2);
    lua_rawget(state, kSecond);
  }
  return 1;
}

int LuaGuest::client_sleep(lua_State* state) {
  LuaGuest& guest = guest_of_own_client(state);
  guest.clients_.sleep(duration_at(state, 2, "a sleep", 0));
  return lua_yield(state, 0);
}

int LuaGuest::client_every(lua_State* state) {
  LuaGuest& guest = guest_of_own_client(state);
  const uint32_t loop = guest.clients_.begin_turns(duration_at(state, 2, "a period", 1000));
  lua_pushlightuserdata(state, &guest);
  lua_pushinteger(state, loop);
  lua_pushcclosure(state, client_turn, 2);
  return 1;
}

int LuaGuest::client_turn(lua_State* state) {
  LuaGuest& guest = guest_of(state);
  if (!guest.is_running_) luaL_error(state, "there is no client here");
  const auto answer =
      guest.clients_.next_turn(static_cast<uint32_t>(lua_tointeger(state, kSecond)));
  if (!answer.ok()) return raise_error(state, answer.error().message);
  return *answer ? answer_now(state, **answer) : lua_yield(state, 0);
}

int LuaGuest::client_begin_step(lua_State* state) {
  LuaGuest& guest = guest_of_own_client(state);
  const auto begun = guest.clients_.begin_step(text_at(state, 2));
  // The call of the script is one level above the step's own function.
  if (!begun.ok()) return raise_error(state, begun.error().message, 2);
  return *begun ? 0 : lua_yield(state, 0);
}

/// finish(client, went_well, ...): returns the rest, or raises the error again.
int LuaGuest::client_end_step(lua_State* state) {
  LuaGuest& guest = guest_of_own_client(state);
  const bool went_well = lua_toboolean(state, 2) != 0;
  guest.clients_.end_step(!went_well);
  if (went_well) return lua_gettop(state) - 2;
  lua_settop(state, 3);
  return lua_error(state);
}

int LuaGuest::client_check(lua_State* state) {
  LuaGuest& guest = guest_of_own_client(state);
  const bool passed = lua_toboolean(state, 2) != 0;
  if (const Status checked = guest.clients_.check(text_at(state, 3), passed); !checked.ok())
    return raise_error(state, checked.error().message);
  lua_pushboolean(state, passed ? 1 : 0);
  return 1;
}

int LuaGuest::client_fail(lua_State* state) {
  LuaGuest& guest = guest_of_own_client(state);
  guest.clients_.fail(text_at(state, 2));
  return 0;
}

int LuaGuest::client_time(lua_State* state) {
  LuaGuest& guest = guest_of_own_client(state);
  lua_pushnumber(state, static_cast<double>(guest.clients_.now_ns()) / 1e9);
  return 1;
}

uint64_t LuaGuest::next_random() {
  return topspin::next_random(scripts_[is_running_ ? running_ : 0].random);
}

/// As math.random: a number from 0 to below 1, from 1 to m, or from m to n.
int LuaGuest::push_random(lua_State* state, int first_argument) {
  LuaGuest& guest = guest_of(state);
  const double fraction = static_cast<double>(guest.next_random() >> 11) * 0x1.0p-53;
  if (lua_gettop(state) < first_argument) {
    lua_pushnumber(state, fraction);
    return 1;
  }
  double low = 1, high = luaL_checknumber(state, first_argument);
  if (lua_gettop(state) > first_argument) {
    low = high;
    high = luaL_checknumber(state, first_argument + 1);
  }
  low = std::floor(low);
  high = std::floor(high);
  luaL_argcheck(state, low <= high, first_argument,
                "there is no number from the first to the last");
  lua_pushnumber(state, low + std::floor(fraction * (high - low + 1)));
  return 1;
}

int LuaGuest::client_random(lua_State* state) {
  (void)guest_of_own_client(state);
  return push_random(state, 2);
}

int LuaGuest::client_data(lua_State* state) {
  LuaGuest& guest = guest_of_own_client(state);
  const std::string_view name = text_at(state, 2);
  const auto found = guest.data_.find(std::string(name));
  if (found == guest.data_.end())
    return raise_error(state, fmt::format("\"{}\" is no file that --data names", name));
  auto& data = *static_cast<LuaData*>(lua_newuserdata(state, sizeof(LuaData)));
  data.table = &found->second;
  data.next = guest.clients_.slot(guest.running_);
  luaL_getmetatable(state, kDataType);
  lua_setmetatable(state, -2);
  return 1;
}

int LuaGuest::push_row(lua_State* state, size_t row) {
  const CsvTable& table = *static_cast<LuaData*>(luaL_checkudata(state, 1, kDataType))->table;
  const std::vector<std::string>& cells = table.rows[row % table.rows.size()];
  lua_createtable(state, 0, static_cast<int>(cells.size()));
  for (size_t i = 0; i < cells.size(); ++i) {
    push_text(state, table.columns[i]);
    push_text(state, cells[i]);
    lua_rawset(state, -3);
  }
  return 1;
}

int LuaGuest::data_row(lua_State* state) {
  const lua_Integer row = luaL_checkinteger(state, 2);
  luaL_argcheck(state, row >= 1, 2, "the first row is 1");
  return push_row(state, static_cast<size_t>(row - 1));
}

int LuaGuest::data_next(lua_State* state) {
  auto& data = *static_cast<LuaData*>(luaL_checkudata(state, 1, kDataType));
  return push_row(state, data.next++);
}

int LuaGuest::data_random(lua_State* state) {
  return push_row(state, static_cast<size_t>(guest_of(state).next_random() >> 1));
}

int LuaGuest::open_and_connect(lua_State* state, bool datagrams) {
  LuaGuest& guest = guest_of_own_client(state);
  const int options = lua_istable(state, 2) ? 2 : 3;
  check_fields(state, options, {"timeout", "keep"});
  const std::string_view address =
      lua_isnoneornil(state, 2) || options == 2 ? std::string_view() : text_at(state, 2);
  const int64_t timeout_ns =
      duration_field(state, options, "timeout", guest.clients_.options().timeout_ns);
  bool keeps = false;
  if (lua_istable(state, options)) {
    lua_getfield(state, options, "keep");
    keeps = lua_toboolean(state, -1) != 0;
    lua_pop(state, 1);
  }
  auto& socket = *static_cast<LuaSocket*>(lua_newuserdata(state, sizeof(LuaSocket)));
  socket = {~uint32_t{0}, 0};
  luaL_getmetatable(state, kSocketType);
  lua_setmetatable(state, -2);
  // Sockets that the script has lost are closed when they are collected.
  if (!guest.clients_.has_room_for_socket()) lua_gc(state, LUA_GCCOLLECT, 0);
  const auto opened = guest.clients_.open_socket(address, datagrams, keeps);
  if (!opened.ok()) return raise_error(state, opened.error().message);
  socket = {*opened, guest.clients_.generation(*opened)};
  lua_pushvalue(state, -1);
  int& kept = guest.scripts_[guest.running_].socket;
  kept = luaL_ref(state, LUA_REGISTRYINDEX);
  if (const auto answer = guest.clients_.connect(socket.index, timeout_ns)) {
    luaL_unref(state, LUA_REGISTRYINDEX, std::exchange(kept, LUA_NOREF));
    if (answer->text.empty()) return 1;
    push_text(state, answer->text);
    return 2;
  }
  return lua_yield(state, 0);
}

int LuaGuest::client_udp(lua_State* state) { return open_and_connect(state, true); }
int LuaGuest::client_tcp(lua_State* state) { return open_and_connect(state, false); }

int LuaGuest::client_http(lua_State* state) {
  LuaGuest& guest = guest_of_own_client(state);
  const TargetParts& target = guest.clients_.target().parts;
  HttpRequest request;
  if (!target.path.empty()) request.path = target.path;
  int64_t timeout_ns = guest.clients_.options().timeout_ns;
  if (lua_istable(state, 2)) {
    check_fields(state, 2, {"method", "path", "headers", "body", "timeout"});
    const auto text_field = [&](const char* name, std::string& into) {
      lua_getfield(state, 2, name);
      if (!lua_isnil(state, -1)) into = text_at(state, -1);
      lua_pop(state, 1);
    };
    text_field("method", request.method);
    text_field("path", request.path);
    text_field("body", request.body);
    timeout_ns = duration_field(state, 2, "timeout", timeout_ns);
    lua_getfield(state, 2, "headers");
    if (lua_istable(state, -1)) {
      lua_pushnil(state);
      while (lua_next(state, -2) != 0) {
        lua_pushvalue(state, -2);  // a copy, because lua_next() needs the key as it is
        HttpHeader header;
        header.name = text_at(state, -1);
        header.value = text_at(state, -2);
        request.headers.push_back(std::move(header));
        lua_pop(state, 2);
      }
    }
    lua_pop(state, 1);
  } else if (!lua_isnoneornil(state, 2)) {
    request.path = text_at(state, 2);
  }
  if (const Status checked = check_request(request); !checked.ok())
    return raise_error(state, checked.error().message);
  const auto answer = guest.clients_.request(std::move(request), timeout_ns);
  return answer ? answer_now(state, *answer) : lua_yield(state, 0);
}

int LuaGuest::socket_send(lua_State* state) {
  const LuaSocket& socket = socket_of(state);
  LuaGuest& guest = guest_of(state);
  const std::string_view bytes = text_at(state, 2);
  const auto answer = guest.clients_.is_own(socket.index, socket.generation)
                          ? guest.clients_.send(socket.index, bytes)
                          : guest.clients_.not_connected();
  return answer ? answer_now(state, *answer) : lua_yield(state, 0);
}

int LuaGuest::socket_receive(lua_State* state) {
  const LuaSocket& socket = socket_of(state);
  LuaGuest& guest = guest_of(state);
  ReceiveWish wish;
  wish.timeout_ns = guest.clients_.options().timeout_ns;
  if (lua_istable(state, 2)) {
    check_fields(state, 2, {"timeout", "bytes", "line", "till", "all", "optional", "http", "head"});
    wish.timeout_ns = duration_field(state, 2, "timeout", wish.timeout_ns);
    lua_getfield(state, 2, "bytes");
    if (!lua_isnil(state, -1)) {
      const lua_Integer bytes = luaL_checkinteger(state, -1);
      if (bytes < 1 || static_cast<size_t>(bytes) > ScriptClients::kMostInbox)
        return raise_error(state, fmt::format("bytes is from 1 to {}", ScriptClients::kMostInbox));
      wish.until = ReceiveWish::Until::kBytes;
      wish.bytes = static_cast<size_t>(bytes);
    }
    lua_getfield(state, 2, "till");
    if (!lua_isnil(state, -1)) {
      wish.until = ReceiveWish::Until::kMark;
      wish.mark = text_at(state, -1);
      if (wish.mark.empty()) return raise_error(state, "till is a text of one byte or more");
    }
    lua_getfield(state, 2, "line");
    if (lua_toboolean(state, -1) != 0) {
      wish.until = ReceiveWish::Until::kMark;
      wish.mark = "\n";
      wish.is_line = true;
    }
    lua_getfield(state, 2, "all");
    if (lua_toboolean(state, -1) != 0) wish.until = ReceiveWish::Until::kEnd;
    lua_getfield(state, 2, "http");
    if (!lua_isnil(state, -1)) {
      wish.until = ReceiveWish::Until::kHttp;
      const bool is_whole = text_at(state, -1) == "whole";
      wish.keep = {is_whole, is_whole};
      lua_getfield(state, 2, "head");
      wish.is_head = lua_toboolean(state, -1) != 0;
    }
    lua_getfield(state, 2, "optional");
    wish.is_optional = lua_toboolean(state, -1) != 0;
  } else if (!lua_isnoneornil(state, 2)) {
    return raise_error(state, "recv takes a table, as recv{timeout = '1s'}");
  }
  const auto answer = guest.clients_.is_own(socket.index, socket.generation)
                          ? guest.clients_.receive(socket.index, std::move(wish))
                          : guest.clients_.not_connected();
  return answer ? answer_now(state, *answer) : lua_yield(state, 0);
}

int LuaGuest::socket_close(lua_State* state) {
  const LuaSocket& socket = socket_of(state);
  LuaGuest& guest = guest_of(state);
  if (guest.clients_.is_own(socket.index, socket.generation)) guest.clients_.close(socket.index);
  return 0;
}

int LuaGuest::socket_is_open(lua_State* state) {
  const LuaSocket& socket = socket_of(state);
  LuaGuest& guest = guest_of(state);
  lua_pushboolean(state, guest.clients_.is_own(socket.index, socket.generation) &&
                                 guest.clients_.is_open(socket.index)
                             ? 1
                             : 0);
  return 1;
}

int LuaGuest::socket_collect(lua_State* state) {
  const auto& socket = *static_cast<LuaSocket*>(lua_touserdata(state, 1));
  guest_of(state).clients_.forget(socket.index, socket.generation);
  return 0;
}

/// Writes to the same place as print(), where wrk's scripts write their results. A line is shown
/// when it ends.
int LuaGuest::io_write(lua_State* state) {
  LuaGuest& guest = guest_of(state);
  for (int i = 1; i <= lua_gettop(state); ++i) {
    for (const char c : text_at(state, i)) {
      if (c != '\n' && guest.line_.size() < ScriptClients::kMostPrintedBytes) guest.line_ += c;
      if (c == '\n') guest.clients_.printed(std::exchange(guest.line_, {}));
    }
  }
  return 0;
}

int LuaGuest::print(lua_State* state) {
  std::string line;
  for (int i = 1; i <= lua_gettop(state); ++i) {
    if (i > 1) line += '\t';
    if (lua_type(state, i) == LUA_TBOOLEAN)
      line += lua_toboolean(state, i) != 0 ? "true" : "false";
    else if (lua_isstring(state, i) != 0)
      line += text_at(state, i);
    else
      line += luaL_typename(state, i);
    if (line.size() > ScriptClients::kMostPrintedBytes) break;
  }
  guest_of(state).clients_.printed(line);
  return 0;
}

}  // namespace topspin
