// LuaState: a Lua machine whose scripts reach nothing but what they are given. It has a limit of
// memory and of the time that a script runs without waiting.
//
// There are no files, processes, modules, FFI, bytecode, or coroutines of the script's own. The
// interpreter runs without the compiler of LuaJIT, because compiled loops call no hooks, and the
// limit of time needs one (docs/decisions/0020-lua.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "load/script/lua.h"

namespace topspin {

class LuaState {
 public:
  static constexpr int64_t kLoadNs = 5'000'000'000;  // for the file itself; of CPU time
  static constexpr int64_t kRunNs = 1'000'000'000;   // for a client between two waits

  /// kUnsupported if LuaJIT was built so that its memory cannot be limited.
  static Result<std::unique_ptr<LuaState>> open(uint64_t most_bytes);
  ~LuaState();
  LuaState(const LuaState&) = delete;
  LuaState& operator=(const LuaState&) = delete;

  lua_State* get() { return state_; }
  uint64_t used_bytes() const { return used_bytes_; }
  uint64_t max_used_bytes() const { return max_used_bytes_; }

  /// Compiles the text, whose messages say "NAME:LINE:", and leaves the function on the stack.
  /// kUsage has Lua's message.
  Status compile(std::string_view text, const std::string& name);
  /// Calls the function below the `arguments` on the stack, with `results` results.
  Status call(int arguments, int results, int64_t most_ns = kLoadNs);
  /// Resumes a thread. Its end says whether it waits (LUA_YIELD), has returned (0) or failed.
  int resume(lua_State* thread, int arguments);
  /// The message on top of the stack of a thread that failed, with the place where it did.
  std::string error_text(lua_State* thread, int end);

 private:
  LuaState() = default;
  static void* allocate(void* self, void* block, size_t old_bytes, size_t new_bytes);
  static LuaState& of(lua_State* state);
  static int raise_if_over_time(lua_State* state);
  static void count_hook(lua_State* state, lua_Debug*);
  static std::string place_of(lua_State* thread);  // "NAME:LINE: "
  void take_away_what_reaches_out();

  lua_State* state_ = nullptr;
  uint64_t most_bytes_ = 0;
  uint64_t used_bytes_ = 0;
  uint64_t max_used_bytes_ = 0;
  int64_t until_cpu_ns_ = 0;  // 0: not asked yet
  int64_t most_ns_ = 0;
  bool is_over_time_ = false;
  std::string over_time_place_;
  lua_State* running_ = nullptr;
  std::string memory_place_;  // where memory ran out last
};

}  // namespace topspin
