#include "tui/model/failed_work.h"

#include <algorithm>
#include <cmath>

#include "core/base/clock.h"

namespace topspin {
namespace {

/// About a second, but less, because two ticks are never exactly a second apart.
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

  // While connections are given up and others begin to hang, the number stays the same.
  const uint64_t given_up = flows.tcp_never_completed.value_or(0);
  const uint64_t given_up_counted = std::min(given_up, counted_);
  counted_ -= given_up_counted;
  // Some of those that were counted and no longer hang may have been refused now.
  const uint64_t left = counted_ - std::min(counted_, flows.tcp_half_open);
  counted_ -= left;
  hanging_ = count_hanging();
  const uint64_t found = hanging_ - std::min(counted_, hanging_);
  counted_ += found;
  now_ = flows.tcp_refused - std::min(left, flows.tcp_refused) + flows.unanswered + found +
         (given_up - given_up_counted);
  total_ += now_;
}

/// A lower bound of how many hang: the smallest of all readings, minus normal handshakes.
uint64_t FailedWork::count_hanging() const {
  if (readings_.front().end_ns + kHangsAfterNs > now_ns_) return 0;
  uint64_t least = UINT64_MAX;
  double under_way = 0;
  for (const Reading& reading : readings_) {
    least = std::min(least, reading.half_open);
    under_way = std::max(under_way, reading.under_way);
  }
  // Twice the average, because they come in bursts. Far below one there are none by chance.
  constexpr double kNone = 0.1;
  const double expected = std::ceil(std::max(0.0, 2 * under_way - kNone));
  if (expected >= static_cast<double>(least)) return 0;
  return least - static_cast<uint64_t>(expected);
}

}  // namespace topspin
