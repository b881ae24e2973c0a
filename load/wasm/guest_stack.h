// GuestStack: a stack of its own for a function, which can suspend itself in the middle and is
// resumed later, on the same thread.
//
// WasmEdge's interpreter cannot suspend a guest, so each guest is run on such a stack. What the
// guest asks of topspin is done on the thread's own stack (wasm_machine.cc), so the guest's needs
// room for the interpreter alone: it uses 6 KB, and keeps what the guest itself calls on the heap.
// Below the stack is a page that nobody may touch.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "core/base/result.h"

namespace topspin {

class GuestStack {
 public:
  static constexpr size_t kBytes = size_t{64} << 10;  // only the pages that are used take memory

  /// kInternal if there is no room for another mapping.
  static Result<std::unique_ptr<GuestStack>> make(std::function<void()> body);
  /// REQUIRES: the body has ended, or was never resumed.
  ~GuestStack();
  GuestStack(const GuestStack&) = delete;
  GuestStack& operator=(const GuestStack&) = delete;

  /// Runs the body until it suspends itself or ends.
  void resume();
  /// For the body.
  void suspend();
  bool has_ended() const { return has_ended_; }

 private:
  struct Context;
  GuestStack();
  void* mapping_ = nullptr;
  std::unique_ptr<Context> context_;
  std::function<void()> body_;
  bool has_begun_ = false;
  bool has_ended_ = false;
};

}  // namespace topspin
