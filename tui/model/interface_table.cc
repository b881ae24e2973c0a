#include "tui/model/interface_table.h"

#include <algorithm>

#include "core/base/clock.h"

namespace topspin {
namespace {

/// nullopt if no time passed, or if the counters were reset.
std::optional<InterfaceTable::Rates> rates_between(const InterfaceReading& before,
                                                   const InterfaceReading& after,
                                                   int64_t passed_ns) {
  const auto shrank = [&](uint64_t InterfaceReading::*member) {
    return after.*member < before.*member;
  };
  if (passed_ns <= 0 || shrank(&InterfaceReading::received_bytes) ||
      shrank(&InterfaceReading::received_packets) || shrank(&InterfaceReading::sent_bytes) ||
      shrank(&InterfaceReading::sent_packets)) {
    return std::nullopt;
  }
  const auto rate = [&](uint64_t InterfaceReading::*member) {
    return static_cast<double>(after.*member - before.*member) *
           static_cast<double>(kNanosPerSecond) / static_cast<double>(passed_ns);
  };
  return InterfaceTable::Rates{
      rate(&InterfaceReading::received_bytes), rate(&InterfaceReading::received_packets),
      rate(&InterfaceReading::sent_bytes), rate(&InterfaceReading::sent_packets)};
}

void add_to(InterfaceReading& sum, const InterfaceReading& one) {
  sum.up = sum.up || one.up;
  sum.received_bytes += one.received_bytes;
  sum.received_packets += one.received_packets;
  sum.received_dropped += one.received_dropped;
  sum.sent_bytes += one.sent_bytes;
  sum.sent_packets += one.sent_packets;
  sum.sent_dropped += one.sent_dropped;
}

}  // namespace

void InterfaceTable::update(std::vector<InterfaceReading> readings, int64_t now_ns) {
  if (readings.size() > kMaxInterfaces) readings.resize(kMaxInterfaces);
  InterfaceReading all;
  all.name = "any";
  for (const InterfaceReading& reading : readings) add_to(all, reading);
  readings.insert(readings.begin(), all);
  moments_.push_back({now_ns, std::move(readings)});
  while (moments_.size() > 2 && now_ns - moments_[1].now_ns >= kNanosPerSecond) {
    moments_.pop_front();
  }
  // Readings that are seconds apart are from two visits to the screen. A mean over the pause
  // between them would not be current.
  while (moments_.size() > 1 && now_ns - moments_.front().now_ns > 3 * kNanosPerSecond) {
    moments_.pop_front();
  }
  const Moment& newest = moments_.back();
  const Moment& oldest = moments_.front();
  entries_.clear();
  for (size_t i = 0; i < newest.readings.size(); ++i) {
    Entry entry{newest.readings[i], {}};
    // Interfaces seldom come and go, so try the same position first.
    const auto same_name = [&](const InterfaceReading& r) { return r.name == entry.reading.name; };
    auto before = oldest.readings.begin() +
                  static_cast<std::ptrdiff_t>(std::min(i, oldest.readings.size() - 1));
    if (!same_name(*before)) {
      before = std::find_if(oldest.readings.begin(), oldest.readings.end(), same_name);
    }
    if (before != oldest.readings.end()) {
      entry.rates = rates_between(*before, entry.reading, newest.now_ns - oldest.now_ns);
    }
    entries_.push_back(std::move(entry));
  }
}

}  // namespace topspin
