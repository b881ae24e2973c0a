#include "tui/model/failed_work.h"

#include <algorithm>
#include <cmath>

#include "core/base/clock.h"

namespace topspin {
namespace {

/// The time between two ticks of a second is never a second to the nanosecond.
constexpr int64_t kHangsAfterNs = kNanosPerSecond * 9 / 10;

}  // namespace

void FailedWork::add(const Sample& sample) {
  const FlowInterval& flows = sample.flows;
  const int64_t length_ns = std::max<int64_t>(sample.flow_interval_ns(), 0);
  now_ns_ += length_ns;
  const double under_way = length_ns > 0 ? static_cast<double>(flows.tcp_handshake.sum()) /
                                               static_cast<double>(length_ns)
                                         : 0;
  readings_.push_back({now_ns_, flows.tcp_half_open, under_way});
  while (readings_.size() > 2 && readings_[1].end_ns + kHangsAfterNs <= now_ns_)
    readings_.pop_front();

  // Those that were given up make room for others in a number that stays the same.
  const uint64_t given_up = flows.tcp_never_completed.value_or(0);
  const uint64_t given_up_counted = std::min(given_up, counted_);
  counted_ -= given_up_counted;
  // Of those that were counted and do not hang any longer, some may have been refused now.
  const uint64_t left = counted_ - std::min(counted_, flows.tcp_half_open);
  counted_ -= left;
  hanging_ = count_hanging();
  const uint64_t found = hanging_ - std::min(counted_, hanging_);
  counted_ += found;
  now_ = flows.tcp_refused - std::min(left, flows.tcp_refused) + flows.unanswered + found +
         (given_up - given_up_counted);
  total_ += now_;
}

/// At least so many hang: the fewest of all readings, less what is on its way.
uint64_t FailedWork::count_hanging() const {
  if (readings_.front().end_ns + kHangsAfterNs > now_ns_) return 0;
  uint64_t least = UINT64_MAX;
  double under_way = 0;
  for (const Reading& reading : readings_) {
    least = std::min(least, reading.half_open);
    under_way = std::max(under_way, reading.under_way);
  }
  // Twice the average, since they come in bursts; far below one, none is met twice by chance.
  constexpr double kNone = 0.1;
  const double expected = std::ceil(std::max(0.0, 2 * under_way - kNone));
  if (expected >= static_cast<double>(least)) return 0;
  return least - static_cast<uint64_t>(expected);
}

}  // namespace topspin
