// Memory and resources: each over time, what it costs per flow, and whether it grows.
#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include <fmt/format.h>

#include "core/growth_text.h"
#include "core/text.h"
#include "tui/screens/parts.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/terminal/width.h"

namespace topspin {
namespace {

using Read = std::function<std::optional<double>(const TickPoint&)>;
using Format = std::function<std::string(double)>;

struct Series {
  std::string_view name;
  Read read;
  Format format;
  bool grows;                                         // its slope makes sense
  std::optional<Slope> PerFlowCost::*cost = nullptr;  // of a flow, by the slope over the ramp
};

std::string as_count(double value) {
  return format_count(static_cast<uint64_t>(std::llround(std::max(value, 0.0))));
}
std::string as_share(double value) { return share_text(value); }

std::vector<Series> all_series() {
  const auto field = [](std::optional<int64_t> ResourceReading::*member) -> Read {
    return [member](const TickPoint& point) { return as_number(point.resources.*member); };
  };
  return {
      {"RSS", field(&ResourceReading::rss_bytes), as_bytes, true, &PerFlowCost::rss_bytes},
      {"CPU", [](const TickPoint& point) { return point.cpu_cores; }, as_share, false},
      {"PSS", field(&ResourceReading::pss_bytes), as_bytes, true, &PerFlowCost::pss_bytes},
      {"anonymous", field(&ResourceReading::anonymous_bytes), as_bytes, true},
      {"VSZ", field(&ResourceReading::vsz_bytes), as_bytes, true, &PerFlowCost::vsz_bytes},
      {"swap", field(&ResourceReading::swap_bytes), as_bytes, true},
      {"open fds", field(&ResourceReading::fds), as_count, true, &PerFlowCost::fds},
      {"threads", field(&ResourceReading::threads), as_count, true},
      {"mappings", field(&ResourceReading::mappings), as_count, true, &PerFlowCost::mappings},
      {"processes", field(&ResourceReading::processes), as_count, false},
  };
}

/// The least-squares slope per minute over the ticks that have a value; nullopt below ten of them,
/// where a line through them says nothing.
std::optional<double> slope_per_minute(const TickHistory& history, const Read& read) {
  double n = 0, sum_t = 0, sum_v = 0, sum_tt = 0, sum_tv = 0;
  for (size_t i = 0; i < history.size(); ++i) {
    const auto value = read(history.at(i));
    if (!value) continue;
    const double t =
        static_cast<double>(history.at(i).elapsed_ns - history.at(0).elapsed_ns) / 60e9;
    n += 1;
    sum_t += t;
    sum_v += *value;
    sum_tt += t * t;
    sum_tv += t * *value;
  }
  const double spread = n * sum_tt - sum_t * sum_t;
  if (n < 10 || spread <= 0) return std::nullopt;
  return (n * sum_tv - sum_t * sum_v) / spread;
}

std::string signed_text(double value, const Format& format) {
  std::string text = format(std::fabs(value));
  if (text == format(0)) return text;
  return fmt::format("{}{}", value < 0 ? "-" : "+", text);
}

/// The share of the tick in which somebody waited for a resource (PSI); empty: not measured.
std::string stalled_text(const TickPoint& point) {
  std::string out;
  const std::pair<const char*, const StallInterval&> groups[] = {{"host", point.pressure.host},
                                                                 {"cgroup", point.pressure.cgroup}};
  for (const auto& [name, stalls] : groups) {
    std::string parts;
    const auto add = [&](const char* what, const std::optional<uint64_t>& ns) {
      if (!ns || point.interval_ns <= 0) return;
      parts += fmt::format(
          " {} {}", what,
          share_text(static_cast<double>(*ns) / static_cast<double>(point.interval_ns)));
    };
    add("cpu", stalls.cpu_some_ns);
    add("memory", stalls.memory_some_ns);
    add("io", stalls.io_some_ns);
    if (!parts.empty()) out += fmt::format("{}{}:{}", out.empty() ? "" : "   ", name, parts);
  }
  return out;
}

/// Below the graphs, with a line between; how many rows it takes. `room` is the most that it may
/// take.
int draw_growth(Grid& grid, Area area, const Model& model, int room) {
  std::vector<GrowthLine> lines = growth_lines(model.growth_of_run());
  if (std::string stalled = stalled_text(model.history().back()); !stalled.empty())
    lines.push_back({"stalled", std::move(stalled), false});
  if (lines.empty() || room < 2) return 0;
  // What does not fit goes from the end, and says so.
  const auto rows = std::min(static_cast<int>(lines.size()), room - 1);
  const int hidden = static_cast<int>(lines.size()) - rows;
  int y = area.y + area.height - rows;
  constexpr int kTopicWidth = 10;
  for (int i = 0; i < rows; ++i, ++y) {
    const GrowthLine& line = lines[static_cast<size_t>(i)];
    grid.put(area.x + 1, y, line.topic, Role::kDim, kTopicWidth);
    const bool last = i == rows - 1 && hidden > 0;
    const std::string text =
        last ? fmt::format("{}   (and {} more)", line.text, hidden) : line.text;
    const int width = area.width - 2 - kTopicWidth;
    grid.put(area.x + 1 + kTopicWidth, y, text, line.alarming ? Role::kWarning : Role::kNormal,
             width);
  }
  return rows + 1;
}

}  // namespace

static void draw_resources(Grid& grid, Area area, const Model& model, const ViewState&) {
  const TickHistory& history = model.history();
  std::vector<Series> shown;
  for (Series& series : all_series()) {
    bool any = false;
    for (size_t i = 0; i < history.size() && !any; ++i)
      any = series.read(history.back(i)).has_value();
    if (any) shown.push_back(std::move(series));
  }
  if (shown.empty()) {
    grid.put(area.x + 1, area.y,
             model.scene.subject.empty()
                 ? "no subject: add --pid, --cgroup or -- COMMAND to see what it holds"
                 : "nothing read of the subject yet",
             Role::kDim, area.width - 2);
    return;
  }
  area.height -= draw_growth(grid, area, model, area.height / 3);
  constexpr int kNameWidth = 10;
  constexpr int kValueWidth = 9;
  const bool wide = area.width >= 76;
  const int right_width = wide ? 36 : 0;  // most, per flow, slope
  const int graph_x = area.x + 1 + kNameWidth + kValueWidth + 2;
  const int graph_width = area.width - (graph_x - area.x) - right_width - 1;
  const auto count = static_cast<int>(shown.size());
  const bool with_head = wide && area.height >= 4;
  const int rows = with_head ? area.height - 1 : area.height;
  // All the same height, as tall as they fit, with a line between them where there is room.
  int height = std::max(rows / count, 1);
  const bool spaced = height >= 2;
  if (spaced) --height;
  height = std::min(height, 5);
  int y = area.y;
  if (with_head) {
    grid.put_right(area.x + 1 + kNameWidth, y, "now", kValueWidth, Role::kDim);
    grid.put(graph_x, y, "over time, from 0", Role::kDim, graph_width);
    const int x = area.x + area.width - right_width;
    grid.put_right(x, y, "most", 11, Role::kDim);
    grid.put_right(x + 11, y, "per flow", 11, Role::kDim);
    grid.put_right(x + 22, y, "a minute", 13, Role::kDim);
    ++y;
  }
  const TickPoint& newest = history.back();
  for (const Series& series : shown) {
    if (y + height > area.y + area.height) break;
    const int middle = y + height / 2;
    const auto now = series.read(newest);
    grid.put(area.x + 1, middle, series.name, Role::kDim, kNameWidth);
    const std::string text = now ? series.format(*now) : "-";
    grid.put_right(area.x + 1 + kNameWidth, middle, whole_or_ellipsis(grid, text, kValueWidth),
                   kValueWidth, now ? Role::kStrong : Role::kDim);
    std::vector<std::optional<double>> values;
    const size_t ticks = std::min(history.size(), static_cast<size_t>(std::max(graph_width, 0)));
    double most = 0;
    for (size_t i = 0; i < ticks; ++i) {
      values.push_back(series.read(history.back(ticks - 1 - i)));
      most = std::max(most, values.back().value_or(0));
    }
    draw_graph(grid, {graph_x, y, graph_width, height, 0, Role::kGraph1}, values);
    if (wide) {
      const int x = area.x + area.width - right_width;
      grid.put_right(x, middle, series.format(most), 11, Role::kNormal);
      const PerFlowCost& costs = model.growth_of_run().per_flow;
      if (const auto* cost = series.cost ? &(costs.*series.cost) : nullptr; cost && *cost) {
        const bool bytes = series.format(1) == as_bytes(1);
        // An interval that has 0 in it says that nothing was found yet.
        const bool sure = (*cost)->ci_low > 0 || (*cost)->ci_high < 0;
        grid.put_right(x + 11, middle, format_amount((*cost)->value, bytes), 11,
                       sure ? Role::kNormal : Role::kDim);
      }
      if (const auto slope = slope_per_minute(history, series.read); slope && series.grows) {
        grid.put_right(x + 22, middle, signed_text(*slope, series.format), 13, Role::kNormal);
      }
    }
    y += height + (spaced ? 1 : 0);
  }
}

const Screen& resources_screen() {
  static const Screen kScreen = {
      .name = "resources",
      .title = "Resources",
      .short_title = "Res",
      .key = U'3',
      .what = "memory, CPU, descriptors: their course, cost per flow, growth",
      .draw = draw_resources,
  };
  return kScreen;
}

}  // namespace topspin
