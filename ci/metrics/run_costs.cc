#include "ci/metrics/run_costs.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/base/clock.h"

namespace topspin {
namespace {

constexpr std::string_view kNoFrames = "[no frames]";
constexpr std::string_view kOfTheKernel = "_[k]";

}  // namespace

std::string_view cost_kind_name(CostKind kind) {
  switch (kind) {
    case CostKind::kSyscall: return "system_call";
    case CostKind::kFunction: return "function";
    case CostKind::kSleep: break;
  }
  return "sleep";
}

std::string_view innermost_function(std::string_view frames) {
  if (frames.empty()) return kNoFrames;
  const size_t last = frames.rfind(';');
  return last == std::string_view::npos ? frames : frames.substr(last + 1);
}

std::string_view innermost_of_program(std::string_view frames) {
  while (true) {
    const std::string_view innermost = innermost_function(frames);
    const size_t outer = frames.rfind(';');
    if (!innermost.ends_with(kOfTheKernel) || outer == std::string_view::npos) return innermost;
    frames = frames.substr(0, outer);
  }
}

Result<RunCosts> read_costs(RunStore& store, const StoredRun& run) {
  RunCosts costs;
  const auto add = [&](CostKind kind, std::string name, double ns, uint64_t times) {
    costs.measured[static_cast<size_t>(kind)] = true;
    RunCosts::Cost& cost = costs.costs[{kind, std::move(name)}];
    cost.ns += ns;
    cost.times += times;
  };
  const std::string& id = run.info.id;
  TOPSPIN_TRY(store.for_each_syscall(id, [&](const SyscallRow& call) {
    add(CostKind::kSyscall, call.name, static_cast<double>(call.latency.sum()), call.count);
  }));
  if (const auto rate = run.info.settings.stack_samples_per_second; rate && *rate > 0) {
    const double sample_ns = static_cast<double>(kNanosPerSecond) / static_cast<double>(*rate);
    TOPSPIN_TRY(store.for_each_stack(id, [&](const StackRow& stack) {
      add(CostKind::kFunction, std::string(innermost_function(stack.frames)),
          static_cast<double>(stack.samples) * sample_ns, stack.samples);
    }));
    TOPSPIN_TRY(store.for_each_sleep_stack(id, [&](const SleepStackRow& sleep) {
      add(CostKind::kSleep,
          fmt::format("{} ({})", innermost_of_program(sleep.frames), blocked_by_name(sleep.reason)),
          static_cast<double>(sleep.slept_ns), sleep.sleeps);
    }));
  }
  if (std::ranges::none_of(costs.measured, [](bool measured) { return measured; })) return costs;
  TOPSPIN_ASSIGN(const RunFold fold, store.fold(id, RunPart::kWhole));
  const auto& sockets = fold.merged.sockets;
  if (sockets && sockets->reply) costs.replies = sockets->reply->count();
  if (costs.replies == 0) costs.replies = fold.merged.flows.reply_latency.count();
  costs.elapsed_ns = fold.merged.interval_ns;
  if (fold.merged.scheduler) costs.cpu_ns = fold.merged.scheduler->cpu_ns;
  return costs;
}

}  // namespace topspin
