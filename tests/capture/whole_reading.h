// Everything that reading a capture file gives, and the differences between two readings.
#pragma once

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "capture/flow_tracker.h"

namespace topspin::test {

struct WholeReading {
  std::vector<ClosedInterval> intervals;
  FlowInterval totals;
  std::vector<FlowRow> flows;
  FileNotes notes;
  std::string error;  // empty: none
};

inline WholeReading read_whole(const FileOptions& file, const FlowTableOptions& table = {}) {
  WholeReading reading;
  auto tracker = FlowTracker::open_file(file, table);
  if (!tracker.ok()) {
    reading.error = tracker.error().message;
    return reading;
  }
  const IntervalSink sink = [&](ClosedInterval&& i) { reading.intervals.push_back(std::move(i)); };
  while (true) {
    const auto outcome = (*tracker)->step(sink);
    if (!outcome.ok()) reading.error = outcome.error().message;
    if (!outcome.ok() || *outcome == StepOutcome::kEnd) break;
  }
  (*tracker)->finish(0, sink);
  reading.totals = (*tracker)->totals();
  reading.notes = (*tracker)->notes();
  (*tracker)->for_each_flow([&](const FlowRow& flow) { reading.flows.push_back(flow); });
  return reading;
}

/// The names of the numbers that differ.
inline std::string differences(const FlowInterval& a, const FlowInterval& b) {
  std::string names;
  if (a.begin_ns != b.begin_ns || a.end_ns != b.end_ns) names += " begin or end";
  FlowInterval::for_each_number([&](const Number& number, auto member) {
    if (!(std::invoke(member, a) == std::invoke(member, b))) {
      names += ' ';
      names += number.name;
    }
  });
  return names;
}

inline auto values_of(const FlowRow& f) {
  return std::tuple(f.id, f.key, f.initiator_is_low, f.ended, f.first_ns, f.last_ns, f.packets,
                    f.bytes, f.payload_bytes, f.period_ns, f.lateness_last_ns, f.lateness_max_ns,
                    f.missed_ticks, f.replies, f.reply_latency_sum_ns, f.reply_latency_max_ns,
                    f.reply_latency_last_ns, f.unanswered, f.retransmissions, f.silent);
}

inline std::string differences(const std::vector<FlowRow>& a, const std::vector<FlowRow>& b) {
  if (a.size() != b.size()) {
    return " " + std::to_string(a.size()) + " and " + std::to_string(b.size()) + " flows";
  }
  for (size_t i = 0; i < a.size(); ++i) {
    if (values_of(a[i]) != values_of(b[i])) return " flow " + std::to_string(a[i].id);
  }
  return "";
}

/// The differences, in words; empty: none.
inline std::string differences(const WholeReading& a, const WholeReading& b) {
  std::string out;
  if (a.error != b.error) out += " error: \"" + a.error + "\" and \"" + b.error + "\"";
  if (a.notes.hidden_by_tag != b.notes.hidden_by_tag ||
      a.notes.long_fractions != b.notes.long_fractions ||
      a.notes.fractions_are_ns != b.notes.fractions_are_ns) {
    out += " notes";
  }
  out += differences(a.totals, b.totals) + differences(a.flows, b.flows);
  if (a.intervals.size() != b.intervals.size()) return out + " how many intervals";
  for (size_t i = 0; i < a.intervals.size() && out.size() < 200; ++i) {
    const ClosedInterval& x = a.intervals[i];
    const ClosedInterval& y = b.intervals[i];
    std::string in = differences(x.flows, y.flows) + differences(x.changed, y.changed);
    if (std::tuple(x.number, x.changed_left, x.rows_lost, x.ends_guessed) !=
        std::tuple(y.number, y.changed_left, y.rows_lost, y.ends_guessed)) {
      in += " what is beside its numbers";
    }
    if (!in.empty()) out += " interval " + std::to_string(i) + ":" + in;
  }
  return out;
}

/// What a reading with several threads changes; empty: nothing.
inline std::string differences_by_threads(FileOptions file, const FlowTableOptions& table = {}) {
  file.seed = 7;
  const WholeReading alone = read_whole(file, table);
  std::string out;
  for (const int threads : {2, 4}) {
    file.threads = threads;
    const std::string differ = differences(alone, read_whole(file, table));
    if (!differ.empty()) out += " with " + std::to_string(threads) + " threads:" + differ;
  }
  return out;
}

}  // namespace topspin::test
