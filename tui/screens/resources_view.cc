// Memory and resources: each over time, what it costs per flow, and whether it grows.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "core/base/check.h"
#include "core/base/text.h"
#include "core/base/text_width.h"
#include "core/run/growth_text.h"
#include "core/tick/numbers.h"
#include "tui/screens/number_page.h"
#include "tui/screens/parts.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/views.h"

namespace topspin {
namespace {

using Read = std::function<std::optional<double>(const TickPoint&)>;

/// A number drawn over time.
struct Chart {
  std::string_view number;                            // of the registry
  std::optional<Slope> PerFlowCost::*cost = nullptr;  // the cost of a flow
  bool grows = true;                                  // its slope has a meaning
};

// From the top of the screen down. Other numbers are below the charts with their last values.
constexpr std::array<Chart, 10> kCharts = {{
    {"rss_bytes", &PerFlowCost::rss_bytes},
    {"cpu_ns", nullptr, false},
    {"pss_bytes", &PerFlowCost::pss_bytes},
    {"anonymous_bytes"},
    {"vsz_bytes", &PerFlowCost::vsz_bytes},
    {"swap_bytes"},
    {"fds", &PerFlowCost::fds},
    {"threads"},
    {"mappings", &PerFlowCost::mappings},
    {"processes", nullptr, false},
}};

/// A chart with the means to draw it.
struct Series : Chart {
  std::string_view label;
  Read read;
  std::function<std::string(double)> format;
  bool bytes = false;
};

Series series_of(const Chart& chart) {
  Series series{chart, {}, {}, {}};
  if (chart.number == "cpu_ns") {
    // A share is clearer than a length of time.
    series.label = "CPU";
    series.read = [](const TickPoint& point) { return point.cpu_cores; };
    series.format = [](double value) { return share_text(value); };
    return series;
  }
  ResourceReading::for_each_number([&](const Number& number, auto path) {
    if (number.name != chart.number) return;
    series.label = number.label;
    series.bytes = number_unit(number.name) == NumberUnit::kBytes;
    series.read = [path](const TickPoint& point) {
      return as_number(std::invoke(path, point.resources));
    };
    series.format = [number](double value) {
      if (number_unit(number.name) != NumberUnit::kOne) return number_text(number, value);
      return format_count(static_cast<uint64_t>(std::llround(std::max(value, 0.0))));
    };
  });
  CHECK(series.read);
  return series;
}

/// The series that have a value in any tick.
std::vector<Series> measured_series(const TickHistory& history) {
  std::vector<Series> measured;
  for (const Chart& chart : kCharts) {
    Series series = series_of(chart);
    for (size_t i = 0; i < history.size(); ++i) {
      if (!series.read(history.back(i))) continue;
      measured.push_back(std::move(series));
      break;
    }
  }
  return measured;
}

/// The numbers without a chart.
std::vector<NumberCell> other_numbers(const Model& model) {
  if (model.history().empty()) return {};
  std::array<std::string_view, kCharts.size()> charts;
  for (size_t i = 0; i < charts.size(); ++i) charts[i] = kCharts[i].number;
  const auto all = numbers_of_probe("resources", charts);
  return number_cells(std::span(all).subspan(charts.size()), model);
}

/// The least-squares slope per minute over the ticks that have a value; nullopt below ten of them,
/// because then a line has no meaning.
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

std::string signed_text(double value, const std::function<std::string(double)>& format) {
  std::string text = format(std::fabs(value));
  if (text == format(0)) return text;
  return fmt::format("{}{}", value < 0 ? "-" : "+", text);
}

/// The share of the tick in which some task waited for a resource (PSI); empty if not measured.
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

std::vector<GrowthLine> lines_of_growth(const Model& model) {
  if (model.history().empty()) return {};
  std::vector<GrowthLine> lines = growth_lines(model.growth_of_run());
  if (std::string stalled = stalled_text(model.history().back()); !stalled.empty())
    lines.push_back({"stalled", std::move(stalled), false});
  return lines;
}

/// The rows for the lines of growth at the bottom, with a line above; at most `room`.
int growth_height(const Model& model, int room) {
  const auto lines = static_cast<int>(lines_of_growth(model).size());
  return lines == 0 || room < 2 ? 0 : std::min(lines, room - 1) + 1;
}

void draw_growth(Grid& grid, Area area, const Model& model, int room) {
  const std::vector<GrowthLine> lines = lines_of_growth(model);
  if (growth_height(model, room) == 0) return;
  // Lines that do not fit are dropped from the end, with a note.
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
}

constexpr int kNameWidth = 16;
constexpr int kValueWidth = 9;
constexpr int kRightWidth = 36;  // most, per flow, slope
constexpr int kWideEnough = 76;  // for these
constexpr int kTallestChart = 5;

bool is_wide(int width) { return width >= kWideEnough; }
int graph_x(int x) { return x + 1 + kNameWidth + kValueWidth + 2; }

void draw_chart_titles(Grid& grid, int x0, int y, int width) {
  grid.put_right(x0 + 1 + kNameWidth, y, "now", kValueWidth, Role::kDim);
  grid.put(graph_x(x0), y, "over time, from 0", Role::kDim);
  const int x = x0 + width - kRightWidth;
  grid.put_right(x, y, "most", 11, Role::kDim);
  grid.put_right(x + 11, y, "per flow", 11, Role::kDim);
  grid.put_right(x + 22, y, "a minute", 13, Role::kDim);
}

void draw_chart(Grid& grid, Area area, const Series& series, const Model& model) {
  const TickHistory& history = model.history();
  const int right_width = is_wide(area.width) ? kRightWidth : 0;
  const int graph_width = area.width - (graph_x(area.x) - area.x) - right_width - 1;
  const int middle = area.y + area.height / 2;
  const auto now = series.read(history.back());
  grid.put(area.x + 1, middle, series.label, Role::kDim, kNameWidth);
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
  draw_graph(grid, {graph_x(area.x), area.y, graph_width, area.height, 0, Role::kGraph1}, values);
  if (right_width == 0) return;
  const int x = area.x + area.width - right_width;
  grid.put_right(x, middle, series.format(most), 11, Role::kNormal);
  const PerFlowCost& costs = model.growth_of_run().per_flow;
  if (const auto* cost = series.cost ? &(costs.*series.cost) : nullptr; cost && *cost) {
    // If the interval contains 0, nothing was found yet.
    const bool sure = (*cost)->ci_low > 0 || (*cost)->ci_high < 0;
    grid.put_right(x + 11, middle, format_amount((*cost)->value, series.bytes), 11,
                   sure ? Role::kNormal : Role::kDim);
  }
  if (const auto slope = slope_per_minute(history, series.read); slope && series.grows)
    grid.put_right(x + 22, middle, signed_text(*slope, series.format), 13, Role::kNormal);
}

/// The layout of the page: titles if there is room, then the charts, all of the same height and as
/// tall as fits into `room`, with a line between them if there is room. Then the other numbers.
struct ResourcesPage {
  std::vector<Series> series;
  std::vector<NumberCell> others;
  int titles = 0, chart_height = 1, gap = 0, others_height = 0, height = 0;

  ResourcesPage(const Model& model, int width, int room);
};

ResourcesPage::ResourcesPage(const Model& model, int width, int room)
    : series(measured_series(model.history())), others(other_numbers(model)) {
  titles = is_wide(width) && room >= 4 ? 1 : 0;
  if (!others.empty()) others_height = number_block_height(others.size(), width) + 1;
  const int count = static_cast<int>(series.size());
  chart_height = count == 0 ? 1 : std::max((room - titles - others_height) / count, 1);
  gap = chart_height >= 2 ? 1 : 0;
  chart_height = std::min(chart_height - gap, kTallestChart);
  height = titles + count * (chart_height + gap) - gap + others_height;
}

/// How many rows of the body are left for the page.
int page_room(const Model& model, int height) { return height - growth_height(model, height / 3); }

void draw_resources(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const int room = page_room(model, area.height);
  const ResourcesPage page(model, area.width, room);
  if (page.series.empty() && page.others.empty()) {
    grid.put(area.x + 1, area.y,
             model.scene.subject.empty()
                 ? "no subject: add --pid, --cgroup or -- COMMAND to see what it holds"
                 : "nothing read of the subject yet",
             Role::kDim, area.width - 2);
    return;
  }
  draw_growth(grid, area, model, area.height / 3);
  area.height = room;
  draw_page(grid, area, page.height, state.list("resources").top, [&](Grid& window, int y) {
    if (page.titles > 0) draw_chart_titles(window, 0, y, area.width);
    y += page.titles;
    for (const Series& series : page.series) {
      draw_chart(window, {0, y, area.width, page.chart_height}, series, model);
      y += page.chart_height + page.gap;
    }
    draw_number_block(window, {0, y - page.gap + 1, area.width, page.others_height}, page.others);
  });
}

bool press_resources(ScreenPress& press) {
  if (!rows_moved(press)) return false;
  const int room = page_room(press.model, screen_layout(press.size).body_height);
  const ResourcesPage page(press.model, press.size.width, room);
  return scroll_page(press, "resources", page.height, room);
}

int resources_plain_height(const Model& model, const ViewState&, int) {
  // The page at a width of 80 cells, plus what the lines of growth may take.
  constexpr int kHeight = 24;
  return std::max(kHeight, ResourcesPage(model, 80, kHeight).height) + kHeight / 2;
}

}  // namespace

const Screen& resources_screen() {
  static const Screen kScreen = {
      .name = "resources",
      .title = "Resources",
      .short_title = "Res",
      .key = U'3',
      .what = "memory, CPU, descriptors: their course, cost per flow, growth",
      .draw = draw_resources,
      .press = press_resources,
      .plain_height = resources_plain_height,
  };
  return kScreen;
}

}  // namespace topspin
