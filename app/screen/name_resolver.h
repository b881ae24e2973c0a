// NameResolver: looks names of addresses and ports up, on a thread of its own, since a name server
// may take seconds. Asked for and answered without blocking.
//
// At most kMaxWaiting questions wait; later ones are dropped and asked again with the next frame.
// The thread is let go, not waited for, when its owner ends: it holds nothing of the owner's.
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

  /// What is waiting or under way already is not asked for twice.
  void ask(const NameWants& wants);
  /// Puts the answers since the last call into `names`; false: there were none.
  bool take(NameTable& names);
  /// Whether an answer is still to come.
  bool busy() const;

 private:
  struct Shared;
  static void run(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace topspin
