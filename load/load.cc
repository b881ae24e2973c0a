#include "load/load.h"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

#include "load/share/load_threads.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

Error wrong(std::string message) { return make_error(ErrorCode::kUsage, std::move(message)); }

Result<Target> resolve_allowed(const LoadOptions& options) {
  const WorkloadType& type = workload_type(options.workload);
  TOPSPIN_ASSIGN(Target target,
                 resolve_target(options.target, type.datagrams ? SOCK_DGRAM : SOCK_STREAM,
                                options.timeout_ns));
  if (type.any_socket && !target.why_unreachable.empty()) {
    TOPSPIN_ASSIGN(Target by_udp, resolve_target(options.target, SOCK_DGRAM, options.timeout_ns));
    if (by_udp.why_unreachable.empty()) target = std::move(by_udp);
  }
  const bool is_allowed =
      options.allowed.empty() ||
      std::any_of(options.allowed.begin(), options.allowed.end(),
                  [&](const AddressPrefix& prefix) { return prefix.contains(target.address); });
  if (is_allowed) return target;
  return make_error(ErrorCode::kPermission,
                    fmt::format("{} is none of the addresses that --allow lets this worker send to",
                                target.address.text()));
}

}  // namespace

Status check_load(const LoadOptions& options) {
  const WorkloadType& type = workload_type(options.workload);
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
  if (options.closed_loop && !type.takes("closed"))
    return wrong(fmt::format("{} has no closed loop", type.name()));
  return type.check ? type.check(options) : Status();
}

Status check_target(const TargetParts& target, const LoadOptions& options) {
  const WorkloadType& type = workload_type(options.workload);
  if (target.is_url && !type.takes_url)
    return wrong(fmt::format("only http takes a URL; write HOST:PORT for {}", type.name()));
  return type.check_target ? type.check_target(options, target) : Status();
}

Status check_reach(const LoadOptions& options) {
  TOPSPIN_ASSIGN([[maybe_unused]] const Target target, resolve_allowed(options));
  return {};
}

Status read_load_files(LoadOptions& options) {
  const WorkloadType& type = workload_type(options.workload);
  return type.read_files ? type.read_files(options) : Status();
}

Result<LoadResult> run_load(const LoadOptions& asked, const std::atomic<bool>& stop,
                            const LoadProgressSink& progress) {
  const WorkloadType& type = workload_type(asked.workload);
  TOPSPIN_TRY(check_load(asked));
  LoadOptions options = asked;
  TOPSPIN_TRY(read_load_files(options));
  TOPSPIN_ASSIGN(const TargetParts parts, split_target(options.target));
  TOPSPIN_TRY(check_target(parts, options));
  TOPSPIN_ASSIGN(const Target target, resolve_allowed(options));
  if (options.feed == nullptr) {
    const uint32_t threads = options.threads != 0 ? options.threads
                                                  : threads_for(options, target.is_loopback,
                                                                sysconf(_SC_NPROCESSORS_ONLN));
    if (threads > 1) return run_in_threads(options, target, threads, stop, progress);
  }
  return type.run(options, target, stop, progress);
}

}  // namespace topspin
