// One plain line per tick, for output without a screen: logs, pipes and CI.
//
// Pure: it turns a Sample into text. Absent values are "-", never 0. Lines contain no hostile text.
#pragma once

#include <string>

#include "core/tick/sample.h"
#include "tui/model/failed_work.h"
#include "tui/model/recent_latency.h"

namespace topspin {

/// The line that names the columns of tick_line().
std::string tick_line_header();
/// It is printed again after so many ticks.
inline constexpr int kTickLinesPerHeader = 20;

/// The state that is kept from the previous lines.
struct TickLineMemory {
  RecentLatencies recent;
  FailedWork failed;
};

/// A Sample's headline numbers under that header, without a newline. `memory` has the previous
/// ticks and gets this one. p99 is over the last ticks that have 1,000 samples (at most 10 s). A
/// number in brackets counts since the first tick. Everything else is from this tick.
std::string tick_line(const Sample& sample, TickLineMemory& memory);

}  // namespace topspin
