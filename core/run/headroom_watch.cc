#include "core/run/headroom_watch.h"

#include <iterator>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

constexpr double kSharesTold[] = {0.25, 0.5, 0.8};
/// A longer series is thinned to every second reading, which keeps the shape of the ramp.
constexpr size_t kMostReadings = 2048;

std::string_view name_for_people(std::string_view limit) {
  if (limit == "address_space") return "the address space";
  if (limit == "mappings") return "mappings (vm.max_map_count)";
  if (limit == "fds") return "file descriptors (RLIMIT_NOFILE)";
  if (limit == "memory") return "memory";
  if (limit == "ports") return "ports";
  return limit;
}

bool is_bytes(std::string_view limit) { return limit == "address_space" || limit == "memory"; }

std::string amount(std::string_view limit, double value) {
  if (is_bytes(limit)) return format_bytes(static_cast<int64_t>(value));
  return fmt::format("{:.3g}", value);
}

}  // namespace

std::string headroom_sentence(const Headroom& headroom) {
  const std::string_view name = name_for_people(headroom.limit);
  const std::string range =
      headroom.flows_low == headroom.flows_high
          ? ""
          : fmt::format(" ({} to {})", headroom.flows_low, headroom.flows_high);
  return fmt::format("{} {} at about {} flows{}: {} a flow", name,
                     name.ends_with(')') || name == "ports" ? "end" : "ends", headroom.flows, range,
                     amount(headroom.limit, headroom.per_flow));
}

std::vector<std::string> HeadroomWatch::observe(const Sample& sample) {
  if (!sample.resources) return {};
  if (series_.size() >= kMostReadings) {
    std::vector<GrowthPoint> half;
    for (size_t i = 0; i < series_.size(); i += 2) half.push_back(series_[i]);
    series_ = std::move(half);
  }
  series_.push_back(growth_point(sample));

  // Compute only for limits whose use has grown, because the computation is expensive.
  const ResourceReading& now = *sample.resources;
  const std::pair<std::string_view, const LimitUse*> uses[] = {
      {"address_space", &now.address_space_bytes},
      {"mappings", &now.process_mappings},
      {"fds", &now.process_fds},
      {"memory", &now.memory_bytes}};
  std::vector<std::string> sentences;
  std::vector<Headroom> all;
  for (const auto& [limit, use] : uses) {
    if (!use->used || !use->limit || *use->limit <= 0) continue;
    const double share = static_cast<double>(*use->used) / static_cast<double>(*use->limit);
    size_t reached = 0;
    while (reached < std::size(kSharesTold) && share >= kSharesTold[reached]) ++reached;
    Told& told = told_[limit];
    if (reached <= told.shares) continue;
    // The use may not depend on the flows, so compute again only once there are more of them.
    const uint64_t live = sample.flows.live_flows;
    if (live <= told.asked_flows + told.asked_flows / 20) continue;
    told.asked_flows = live;
    if (all.empty()) all = headroom(series_);
    for (const Headroom& found : all) {
      if (found.limit != limit) continue;
      told.shares = reached;
      sentences.push_back(fmt::format("{}; {} flows are live and {:.0f}% is in use",
                                      headroom_sentence(found), live, 100 * share));
    }
  }
  return sentences;
}

}  // namespace topspin
