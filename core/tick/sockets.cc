#include "core/tick/sockets.h"

#include "core/number/merge_numbers.h"

namespace topspin {

void SocketInterval::merge(const SocketInterval& later) {
  const auto limit =
      later.accept_queue_max > accept_queue_max ? later.accept_queue_limit : accept_queue_limit;
  merge_numbers(*this, later);
  accept_queue_limit = limit;  // of the fullest queue, whenever that was
}

}  // namespace topspin
