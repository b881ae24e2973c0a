// NameResolver: looks up the names of addresses and ports. It has its own thread, because a name
// server may take seconds; its functions do not block.
//
// At most kMaxWaiting questions wait. Later ones are dropped, and the next frame asks them again.
// When the owner ends, the thread is detached, not joined; it refers to nothing that the owner
// holds.
#pragma once

#include <cstddef>
#include <memory>

#include "tui/views.h"

namespace topspin {

class NameResolver {
 public:
  static constexpr size_t kMaxWaiting = 1024;

  NameResolver();
  ~NameResolver();
  NameResolver(const NameResolver&) = delete;
  NameResolver& operator=(const NameResolver&) = delete;

  /// Requests names. Those that are already being looked up are not requested twice.
  void ask(const NameWants& wants);
  /// Puts the answers since the last call into `names`. Returns false if there were none.
  bool take(NameTable& names);
  /// Whether answers are still outstanding.
  bool busy() const;

 private:
  struct Shared;
  static void run(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace topspin
