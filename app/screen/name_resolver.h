// NameResolver: looks up the names of addresses and ports. It has its own thread, because a name
// server may take seconds; its functions do not block.
//
// At most kMaxWaiting questions wait. Later ones are dropped, and the next frame asks them again.
// When the owner ends, the thread is detached, not joined; it refers to nothing that the owner
// holds.
//
// A sandbox opens no socket to ask a name server. There the thread passes each question on to a
// process outside, which start_name_process() starts before.
#pragma once

#include <cstddef>
#include <memory>

#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "tui/views.h"

namespace topspin {

/// Starts a process that looks names up, without privileges, for a NameResolver with this
/// descriptor. It learns addresses and ports and nothing else, and ends with this process or when
/// the descriptor is closed. REQUIRES: one thread.
Result<UniqueFd> start_name_process();

class NameResolver {
 public:
  static constexpr size_t kMaxWaiting = 1024;

  /// Without a `process`, looks names up itself.
  explicit NameResolver(UniqueFd process = UniqueFd());
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
