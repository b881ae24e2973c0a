// Sockets and system calls as JSON. Private to report: nlohmann's header stays inside.
#pragma once

#include <optional>

#include "report/json/json_parts.h"
#include "report/model/run_summary.h"

namespace topspin {

/// summary.sockets and summary.reply_split_ns. What was not measured is null.
Json sockets_summary_json(const std::optional<SocketInterval>& sockets);
Json reply_split_json(const std::optional<SocketInterval>& sockets);

/// ticks[].sockets: the same of one tick; null if it has none.
Json tick_sockets_json(const ReportTick& tick);

/// sockets[] and syscalls[].
Json socket_json(const SocketRow& socket);
Json syscall_json(const SyscallRow& syscall);

}  // namespace topspin
