#include "app/watch/flight_ring.h"

#include <fmt/format.h>

#include "core/base/check.h"
#include "core/base/text.h"

namespace topspin {

std::shared_ptr<const PackedTick> FlightRing::add(const Sample& sample) {
  auto tick = std::make_shared<const PackedTick>(sample, most_flow_rows_);
  ticks_.push_back(tick);
  bytes_ += tick->bytes();
  const int64_t from_ns = sample.elapsed_ns - keep_ns_;
  while (ticks_.size() > 1 && ticks_.front()->plain().elapsed_ns <= from_ns) {
    drop_oldest();
    is_full_ = false;
  }
  while (ticks_.size() > 1 && bytes_ > max_bytes_) {
    drop_oldest();
    is_full_ = true;
  }
  return tick;
}

void FlightRing::drop_oldest() {
  base_.take(*ticks_.front());
  bytes_ -= ticks_.front()->bytes();
  ticks_.pop_front();
}

void FlightRing::add_event(std::string text) {
  events_.push_back({newest_ns(), std::move(text)});
  if (events_.size() > kMostEvents) events_.pop_front();
}

Incident FlightRing::freeze(const RunInfo& recorder, IncidentCause cause) const {
  CHECK(!ticks_.empty());
  Incident incident;
  incident.recorder = recorder;
  incident.cause = std::move(cause);
  incident.ticks.assign(ticks_.begin(), ticks_.end());
  incident.events.assign(events_.begin(), events_.end());
  incident.base = base_;
  if (is_full_) {
    incident.shortened = fmt::format(
        "the ring of {} held only {} of the {} that it should keep; --ring-size sets its size",
        format_bytes(static_cast<int64_t>(max_bytes_)),
        format_duration(incident.end_ns() - incident.begin_ns()), format_duration(keep_ns_));
  }
  return incident;
}

}  // namespace topspin
