// ScriptGuest: what runs the scripts of the clients. It knows a language; ScriptClients knows
// sockets, times and accounts.
//
// Life of a call that waits: the guest runs client c -> the script calls an operation of
// ScriptClients, which returns no answer -> the guest suspends the script and returns from start()
// or resume() -> when the socket is ready or the time has come, ScriptClients calls resume(c,
// answer).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "load/http/http.h"

namespace topspin {

class ScriptClients;
struct LoadResult;

/// What an operation returns to the script.
struct Answer {
  enum class Kind : uint8_t {
    kNothing,
    kTrue,
    kText,
    kNumber,
    kNil,
    kFailure,
    kSocket,
    kResponse,
    kRawResponse
  };
  Kind kind = Kind::kNothing;
  std::string_view text;  // kText; kFailure: the reason. Valid until the script runs on.
  int64_t number = 0;     // kNumber
  uint32_t socket = 0;    // kSocket; it may have failed: then `text` says why
  const HttpAnswer* response = nullptr;
  bool keeps_alive = false;  // kRawResponse

  static Answer of(Kind kind, std::string_view text = {}) {
    return {kind, text, 0, 0, nullptr, false};
  }
  static Answer failure(std::string_view reason) { return of(Kind::kFailure, reason); }
  static Answer of_turn(uint64_t turn) {
    return {Kind::kNumber, {}, static_cast<int64_t>(turn), 0, nullptr, false};
  }
  static Answer of_socket(uint32_t socket, std::string_view why_failed = {}) {
    return {Kind::kSocket, why_failed, 0, socket, nullptr, false};
  }
};

/// How a script stands when start() or resume() returns.
enum class ScriptState : uint8_t { kWaits, kReturned, kFailed };

class ScriptGuest {
 public:
  virtual ~ScriptGuest() = default;
  /// Runs the client's script until it waits, returns or fails. After kFailed, error() says why.
  virtual ScriptState start(uint32_t client) = 0;
  virtual ScriptState resume(uint32_t client, const Answer& answer) = 0;
  /// Drops the client's script; it is never resumed.
  virtual void drop(uint32_t client) = 0;
  virtual const std::string& error() const = 0;
  virtual uint64_t memory_max_bytes() const = 0;
  /// The load is over.
  virtual void finish(const LoadResult&) {}
};

}  // namespace topspin
