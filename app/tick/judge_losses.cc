#include "app/tick/judge_losses.h"

#include <fmt/format.h>

#include "core/base/clock.h"

namespace topspin {
namespace {

/// At most one packet in a thousand may be lost, and at most one tick in ten may be late.
constexpr double kMaxDropShare = 0.001;
constexpr double kMaxLateTickShare = 0.1;
/// A single late tick of a short run tells nothing about the host.
constexpr uint64_t kMinLateTicks = 3;

}  // namespace

std::vector<std::string> judge_losses(const LossInterval& losses, const FlowInterval& flows,
                                      uint64_t ticks) {
  std::vector<std::string> reasons;
  const auto packets = static_cast<double>(flows.packets);
  const auto drops =
      static_cast<double>(losses.capture_kernel_drops + losses.capture_interface_drops);
  if (drops > 0 && drops > kMaxDropShare * (packets + drops)) {
    reasons.push_back(fmt::format("the capture lost {} packets ({:.2f}%)",
                                  static_cast<uint64_t>(drops), 100 * drops / (packets + drops)));
  }
  if (losses.capture_gap_ns > 0) {
    reasons.push_back(
        fmt::format("the interface was gone for {} ms", losses.capture_gap_ns / kNanosPerMilli));
  }
  if (losses.evicted_flows > 0) {
    reasons.push_back(
        fmt::format("{} flows were evicted: more than --max-flows at once", losses.evicted_flows));
  }
  if (losses.scheduler_map_full > 0) {
    reasons.push_back(
        fmt::format("{} threads did not fit into the scheduler probe", losses.scheduler_map_full));
  }
  if (losses.ticks_unstored > 0) {
    reasons.push_back(fmt::format("{} of {} ticks could not be stored in the database",
                                  losses.ticks_unstored, ticks));
  }
  if (losses.late_ticks >= kMinLateTicks &&
      static_cast<double>(losses.late_ticks) > kMaxLateTickShare * static_cast<double>(ticks)) {
    reasons.push_back(
        fmt::format("{} of {} ticks came late: the host was overloaded", losses.late_ticks, ticks));
  }
  return reasons;
}

std::vector<std::string> doubts_of(const FlowInterval& flows) {
  std::vector<std::string> doubts;
  if (flows.time_steps > 0) {
    doubts.push_back(
        fmt::format("the clock of the packets was stepped {} time{}, so times between packets may "
                    "be wrong",
                    flows.time_steps, flows.time_steps == 1 ? "" : "s"));
  }
  return doubts;
}

std::optional<std::string> doubt_of_guessed_ends(int64_t flows) {
  if (flows == 0) return std::nullopt;
  return fmt::format(
      "{} flow{} joined midway, and which end asked is a guess: replies may be taken for requests",
      flows, flows == 1 ? " was" : "s were");
}

}  // namespace topspin
