// LuaGuest: scripts in Lua. The file is run once; it returns the function of a client, which runs
// as a coroutine for each. docs/scenarios.md describes what it can call.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/number/csv.h"
#include "load/load.h"
#include "load/script/lua_state.h"
#include "load/script/script_clients.h"
#include "load/script/script_guest.h"

namespace topspin {

class LuaGuest : public ScriptGuest {
 public:
  /// Runs the file. kUsage has the message with its place in the file. `clients` outlives the
  /// guest; it is not used before the load begins.
  static Result<std::unique_ptr<LuaGuest>> open(const LoadOptions& options, ScriptClients& clients);

  /// The load is over: a script of wrk has its results.
  void finish(const LoadResult& result) override;

  ScriptState start(uint32_t client) override;
  ScriptState resume(uint32_t client, const Answer& answer) override;
  void drop(uint32_t client) override;
  const std::string& error() const override { return error_; }
  uint64_t memory_max_bytes() const override { return lua_->max_used_bytes(); }

 private:
  struct Script {
    lua_State* thread = nullptr;
    int reference = LUA_NOREF;  // keeps the thread
    int socket = LUA_NOREF;     // that it waits to be connected
    uint64_t random = 0;        // the generator's state
  };
  struct LuaSocket;  // the script's object of a socket

  explicit LuaGuest(ScriptClients& clients) : clients_(clients) {}
  void add_library();
  Status add_wrk(const LoadOptions& options);
  Result<bool> begin_wrk(const LoadOptions& options);
  ScriptState go_on(uint32_t client, int arguments);
  uint64_t next_random();

  // What scripts call. Each finds the guest in its first upvalue.
  static LuaGuest& guest_of(lua_State* state);
  static LuaGuest& guest_of_own_client(lua_State* state);
  static LuaSocket& socket_of(lua_State* state);
  static int answer_now(lua_State* state, const Answer& answer);
  static int client_index(lua_State* state);
  static int client_sleep(lua_State* state);
  static int client_every(lua_State* state);
  static int client_turn(lua_State* state);
  static int client_begin_step(lua_State* state);
  static int client_end_step(lua_State* state);
  static int client_check(lua_State* state);
  static int client_fail(lua_State* state);
  static int client_data(lua_State* state);
  static int client_time(lua_State* state);
  static int client_random(lua_State* state);
  static int client_udp(lua_State* state);
  static int client_tcp(lua_State* state);
  static int client_http(lua_State* state);
  static int open_and_connect(lua_State* state, bool datagrams);
  static int socket_send(lua_State* state);
  static int socket_receive(lua_State* state);
  static int socket_close(lua_State* state);
  static int socket_is_open(lua_State* state);
  static int socket_collect(lua_State* state);
  static int data_row(lua_State* state);
  static int data_random(lua_State* state);
  static int data_next(lua_State* state);
  static int print(lua_State* state);
  static int io_write(lua_State* state);
  static int push_row(lua_State* state, size_t row);
  static int push_random(lua_State* state, int first_argument);

  ScriptClients& clients_;
  std::unique_ptr<LuaState> lua_;
  std::vector<Script> scripts_;  // by client
  std::map<std::string, CsvTable> data_;
  bool is_wrk_ = false;
  int wrk_begin_ = LUA_NOREF;
  int wrk_finish_ = LUA_NOREF;
  int client_function_ = LUA_NOREF;
  int push_answer_ = LUA_NOREF;
  int make_thread_ = LUA_NOREF;
  std::string error_;
  std::string line_;  // of io.write(), until it ends
  uint64_t seed_ = 0;
  uint32_t running_ = 0;
  bool is_running_ = false;    // a client; not the file
  bool must_collect_ = false;  // a client ran out of memory
};

}  // namespace topspin
