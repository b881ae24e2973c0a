#include "core/sockets.h"

#include <vector>

namespace topspin {

void SocketInterval::merge(const SocketInterval& later) {
  std::vector<const std::optional<Histogram>*> histograms;
  for_each_histogram(later, [&](auto, const auto& histogram) { histograms.push_back(&histogram); });
  auto next = histograms.begin();
  for_each_histogram(*this, [&](auto, auto& mine) {
    const std::optional<Histogram>& theirs = **next++;
    if (!theirs) return;
    if (!mine) mine.emplace();
    mine->merge(*theirs);
  });
  if (later.accept_queue_max > accept_queue_max) {
    accept_queue_max = later.accept_queue_max;
    accept_queue_limit = later.accept_queue_limit;
  }
  for (const auto count_of :
       {&SocketInterval::replies_multiplexed, &SocketInterval::listen_overflows,
        &SocketInterval::syn_drops, &SocketInterval::host_listen_overflows,
        &SocketInterval::host_listen_drops, &SocketInterval::udp_drops}) {
    if (later.*count_of) this->*count_of = (this->*count_of).value_or(0) + *(later.*count_of);
  }
}

}  // namespace topspin
