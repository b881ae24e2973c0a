#include "core/run/growth_text.h"

#include <cmath>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/run/headroom_watch.h"

namespace topspin {
namespace {

/// A limit that this many flows do not reach is not worth a line.
constexpr int64_t kFarthestHeadroom = 10'000'000;

/// Slopes are seldom exactly 0, and "-0" or "2e-17" would only confuse.
constexpr double kLeastAmount = 0.0005;

std::string per_flow_sentence(const PerFlowCost& cost) {
  std::string out;
  const auto add = [&](std::string_view name, const std::optional<Slope>& slope, bool bytes) {
    if (!slope) return;
    out += fmt::format("{}{} {} ({} to {})", out.empty() ? "" : ", ", name,
                       format_amount(slope->value, bytes), format_amount(slope->ci_low, bytes),
                       format_amount(slope->ci_high, bytes));
  };
  add("rss", cost.rss_bytes, true);
  add("pss", cost.pss_bytes, true);
  add("vsz", cost.vsz_bytes, true);
  add("mappings", cost.mappings, false);
  add("fds", cost.fds, false);
  return out;
}

std::string leak_sentence(const LeakMetric& m) {
  const bool bytes = m.name.ends_with("_bytes");
  std::string out =
      fmt::format("{} {}: {} not back ({} to {})", m.name, leak_verdict_name(m.verdict),
                  format_amount(*m.residue, bytes), format_amount(*m.residue_low, bytes),
                  format_amount(*m.residue_high, bytes));
  if (m.slope_per_s)
    out += fmt::format(", {} a second since ({} to {})", format_amount(m.slope_per_s->value, bytes),
                       format_amount(m.slope_per_s->ci_low, bytes),
                       format_amount(m.slope_per_s->ci_high, bytes));
  return out;
}

}  // namespace

std::string format_amount(double value, bool bytes) {
  if (bytes) return format_bytes(static_cast<int64_t>(value));
  constexpr double kWhole = 100;  // from here on decimals are noise
  if (std::abs(value) >= kWhole)
    return (value < 0 ? "-" : "") +
           format_exact(static_cast<uint64_t>(std::llround(std::abs(value))));
  return std::abs(value) < kLeastAmount ? "0" : fmt::format("{:.3g}", value);
}

std::vector<GrowthLine> growth_lines(const Growth& growth) {
  std::vector<GrowthLine> lines;
  if (std::string text = per_flow_sentence(growth.per_flow); !text.empty())
    lines.push_back({"per flow", std::move(text), false});
  for (const Headroom& h : growth.headroom) {
    if (h.flows <= kFarthestHeadroom) lines.push_back({"headroom", headroom_sentence(h), false});
  }
  if (growth.leak.metrics.empty()) return lines;
  lines.push_back(
      {"leak", fmt::format("{}: {}", leak_verdict_name(growth.leak.verdict), growth.leak.reason),
       growth.leak.verdict == LeakVerdict::kLeak});
  for (const LeakMetric& m : growth.leak.metrics) {
    if (m.verdict != LeakVerdict::kNone && m.residue)
      lines.push_back({"", leak_sentence(m), m.verdict == LeakVerdict::kLeak});
  }
  return lines;
}

}  // namespace topspin
