#include "load/load.h"

#include <algorithm>

#include <fmt/format.h>

#include "load/engine.h"
#include "load/wire.h"

namespace topspin {
namespace {

Error wrong(std::string message) { return make_error(ErrorCode::kUsage, std::move(message)); }

bool is_udp(WorkloadKind kind) {
  return kind == WorkloadKind::kUdpPingpong || kind == WorkloadKind::kUdpFlood;
}

Status check_options(const LoadOptions& options) {
  if (options.period_ns < 1000) return wrong("the period is too short; give 1us or more");
  if (options.period_ns > kMaxLoadNs) return wrong("the period is longer than 30 days");
  if (options.timeout_ns < kNanosPerMilli || options.timeout_ns > 3600 * kNanosPerSecond) {
    return wrong("the timeout must be from 1ms to 1h");
  }
  if (options.grid_ns && (*options.grid_ns < 0 || *options.grid_ns > options.period_ns)) {
    return wrong("the grid must be from 0 to the period");
  }
  if (options.late_after_ns < 0) return wrong("a send cannot be late before it is due");
  if (options.progress_ns <= 0) return wrong("the progress interval must be positive");
  if (options.closed_loop && options.workload != WorkloadKind::kUdpPingpong &&
      options.workload != WorkloadKind::kHttp) {
    return wrong("a closed loop is for udp-pingpong and http alone");
  }
  if (options.workload == WorkloadKind::kUdpPingpong && options.wire == WireProfile::kNumbered &&
      (options.message_bytes < kNumberedBytesMin || options.message_bytes > kMessageBytesMax)) {
    return wrong(
        fmt::format("a numbered ping has {} to {} bytes", kNumberedBytesMin, kMessageBytesMax));
  }
  if (options.packets_per_s > kMaxPacketsPerS)
    return wrong(
        fmt::format("the rate must be at most {:.0f} datagrams a second; leave --rate out "
                    "to send as fast as it goes",
                    kMaxPacketsPerS));
  TOPSPIN_ASSIGN(const TargetParts target, split_target(options.target));
  return check_target(target, options);
}

}  // namespace

Status check_target(const TargetParts& target, const LoadOptions& options) {
  if (target.is_url && options.workload != WorkloadKind::kHttp)
    return wrong(fmt::format("a URL is for http alone; write HOST:PORT for {}",
                             workload_name(options.workload)));
  if (!target.path.empty() && options.http_path != "/" && options.http_path != target.path)
    return wrong(fmt::format("the target asks for {} and the path is {}; give one of them",
                             target.path, options.http_path));
  const auto visible = [](char c) { return c > ' ' && c < 0x7F; };
  const std::string& path = target.path.empty() ? options.http_path : target.path;
  if (options.workload == WorkloadKind::kHttp &&
      (!path.starts_with('/') || !std::all_of(path.begin(), path.end(), visible)))
    return wrong("the path must begin with / and have neither spaces nor controls");
  return {};
}

Result<LoadResult> run_load(const LoadOptions& options, const std::atomic<bool>& stop,
                            const std::function<void(const LoadProgress&)>& progress) {
  TOPSPIN_TRY(check_options(options));
  TOPSPIN_ASSIGN(Target target,
                 resolve_target(options.target, is_udp(options.workload) ? SOCK_DGRAM : SOCK_STREAM,
                                options.timeout_ns));
  if (options.workload == WorkloadKind::kUdpFlood) {
    return run_udp_flood(options, target, stop, progress);
  }
  TOPSPIN_ASSIGN(Schedule schedule, make_schedule(options.stages));
  LedgerSettings settings;
  settings.timeout_ns = options.timeout_ns;
  settings.late_after_ns = options.late_after_ns;
  settings.closed_loop =
      options.closed_loop && options.workload == WorkloadKind::kUdpPingpong;  // http gives up
  settings.late_window_ns = options.workload == WorkloadKind::kUdpPingpong ? kLateWindowNs : 0;
  const bool once = options.workload == WorkloadKind::kAcceptQueue;
  const auto workload = [&] {
    switch (options.workload) {
      case WorkloadKind::kUdpPingpong: return make_udp_pingpong();
      case WorkloadKind::kTcpConnect: return make_tcp_connect();
      case WorkloadKind::kHttp: return make_http();
      case WorkloadKind::kAcceptQueue: return make_accept_queue();
      case WorkloadKind::kUdpFlood: break;
    }
    CHECK(false);
  }();
  Rhythm rhythm;
  if (!once) rhythm = {options.period_ns, options.grid_ns.value_or(options.period_ns / 1000)};
  Engine engine(options, std::move(schedule), std::move(target), rhythm, settings);
  return engine.run(*workload, stop, progress);
}

}  // namespace topspin
