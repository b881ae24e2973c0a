// One plain line a tick, for where there is no screen: logs, pipes, CI.
//
// Pure: a Sample in, text out. Absent is "-", never 0. Lines hold no hostile text.
#pragma once

#include <string>

#include "core/tick/sample.h"
#include "tui/model/failed_work.h"
#include "tui/model/recent_latency.h"

namespace topspin {

/// The line that names the columns of tick_line().
std::string tick_line_header();

/// What the lines before this one saw.
struct TickLineMemory {
  RecentLatencies recent;
  FailedWork failed;
};

/// A Sample's headline numbers under that header, without a newline. `memory` holds the ticks
/// before and takes up this one: p99 is over the last ticks that hold 1,000 samples (10 s at most),
/// a number in brackets counts from the first tick on, everything else is of this tick.
std::string tick_line(const Sample& sample, TickLineMemory& memory);

}  // namespace topspin
