// One plain line a tick, for where there is no screen: logs, pipes, CI.
//
// Pure: a Sample in, text out. Absent is "-", never 0. Lines hold no hostile text.
#pragma once

#include <string>

#include "core/sample.h"

namespace topspin {

/// The line that names the columns of tick_line().
std::string tick_line_header();

/// A Sample's headline numbers under that header, without a newline.
std::string tick_line(const Sample& sample);

}  // namespace topspin
