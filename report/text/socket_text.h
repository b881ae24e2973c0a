// Sockets and system calls for people at a terminal. Private to report.
#pragma once

#include <string>

#include "report/model/run_summary.h"

namespace topspin {

/// Rows for the table of latencies (text_parts.h); empty where nothing was measured.
std::string socket_latency_rows(const SocketInterval& sockets);

/// Of what replies were made, refusals and drops, and the sockets behind them.
std::string sockets_text(const RunReport& report);

/// Where the time inside system calls went.
std::string syscalls_text(const RunReport& report);

}  // namespace topspin
