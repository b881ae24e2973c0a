#include "report/text/socket_text.h"

#include <fmt/format.h>

#include "core/text.h"
#include "report/text/text_parts.h"

namespace topspin {
namespace {

constexpr size_t kSocketsShown = 8;
constexpr size_t kSyscallsShown = 16;

std::string time(uint64_t ns) { return format_duration(static_cast<int64_t>(ns)); }

std::string count_or_dash(const std::optional<uint64_t>& count) {
  return count ? fmt::format("{}", *count) : "-";
}

std::string bytes_or_dash(const std::optional<uint64_t>& bytes) {
  return bytes ? format_bytes(static_cast<int64_t>(*bytes)) : "-";
}

/// "replies   1200: 12% in the socket, 5% waiting for a CPU, 83% inside the runtime"
std::string reply_shares(const SocketInterval& s) {
  if (!s.reply_socket || !s.reply_cpu_queue || !s.reply_runtime || s.reply_runtime->empty())
    return {};
  const double whole = static_cast<double>(s.reply_socket->sum()) +
                       static_cast<double>(s.reply_cpu_queue->sum()) +
                       static_cast<double>(s.reply_runtime->sum());
  const auto share = [&](const Histogram& part) {
    return whole > 0 ? 100 * static_cast<double>(part.sum()) / whole : 0.0;
  };
  return fmt::format(
      "replies   {}: {:.1f}% of their time in the socket, {:.1f}% waiting for a CPU, {:.1f}% "
      "inside "
      "the runtime\n",
      s.reply_runtime->count(), share(*s.reply_socket), share(*s.reply_cpu_queue),
      share(*s.reply_runtime));
}

std::string socket_table(const std::vector<SocketRow>& sockets) {
  if (sockets.empty()) return {};
  std::string out = fmt::format("\n  {:<5} {:<30} {:>8} {:>11} {:>11} {:>11} {:>10}\n", "",
                                "socket", "pid", "queue", "queue max", "limit", "drops");
  for (size_t i = 0; i < sockets.size() && i < kSocketsShown; ++i) {
    const SocketRow& s = sockets[i];
    const bool listens = s.accept_queue.has_value();
    out += fmt::format(
        "  {:<5} {:<30} {:>8} {:>11} {:>11} {:>11} {:>10}\n", format_protocol(s.protocol),
        format_endpoint(s.local, s.ip_version), s.pid,
        listens ? count_or_dash(s.accept_queue) : bytes_or_dash(s.receive_queue_bytes),
        listens ? count_or_dash(s.accept_queue_max) : bytes_or_dash(s.receive_queue_bytes_max),
        listens ? count_or_dash(s.accept_queue_limit) : bytes_or_dash(s.receive_queue_bytes_limit),
        s.drops);
  }
  if (sockets.size() > kSocketsShown)
    out += fmt::format("  and {} more\n", sockets.size() - kSocketsShown);
  return out;
}

}  // namespace

std::string socket_latency_rows(const SocketInterval& sockets) {
  std::string out;
  const auto row = [&](std::string_view name, const std::optional<Histogram>& histogram) {
    if (histogram && !histogram->empty()) out += latency_table_row(name, histogram->summary());
  };
  row("accept delay", sockets.accept_delay);
  row("socket wait", sockets.socket_wait);
  row("reply: in socket", sockets.reply_socket);
  row("  for a CPU", sockets.reply_cpu_queue);
  row("  in the runtime", sockets.reply_runtime);
  return out;
}

std::string sockets_text(const RunReport& report) {
  if (!report.summary.sockets) return {};
  const SocketInterval& s = *report.summary.sockets;
  std::string out = reply_shares(s);
  if (s.accept_queue_max) {
    out += fmt::format(
        "accepts   at most {} waiting, of {}; {} refused by a full queue, {} for "
        "another reason\n",
        *s.accept_queue_max, count_or_dash(s.accept_queue_limit), count_or_dash(s.listen_overflows),
        count_or_dash(s.syn_drops));
  }
  if (s.udp_drops.value_or(0) > 0)
    out += fmt::format("datagrams {} dropped at the subject's sockets\n", *s.udp_drops);
  if (!out.empty()) out.insert(0, "\n");
  return out + socket_table(report.sockets);
}

std::string syscalls_text(const RunReport& report) {
  if (report.syscalls.empty()) return {};
  std::string out =
      fmt::format("\n  {:<20} {:>10} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "system call",
                  "count", "errors", "inside", "blocked", "working", "p50", "p99", "max");
  const auto cell = [](const std::optional<int64_t>& ns) {
    return ns ? format_duration(*ns) : std::string("-");
  };
  for (size_t i = 0; i < report.syscalls.size() && i < kSyscallsShown; ++i) {
    const SyscallRow& s = report.syscalls[i];
    const HistogramSummary latency = s.latency.summary();
    out += fmt::format("  {:<20} {:>10} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
                       safe_at_line_start(s.name), s.count, s.errors, time(s.latency.sum()),
                       time(s.blocked_ns), time(s.working_ns()), cell(latency.p50),
                       cell(latency.p99), cell(latency.max));
  }
  if (report.syscalls.size() > kSyscallsShown)
    out += fmt::format("  and {} more\n", report.syscalls.size() - kSyscallsShown);
  return out;
}

}  // namespace topspin
