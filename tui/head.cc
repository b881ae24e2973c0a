// The head: what is watched, the number of active flows, and the numbers that show whether all is
// well.
#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/base/text_width.h"
#include "core/flow/periods.h"
#include "tui/terminal/draw.h"
#include "tui/views.h"

namespace topspin {
namespace {

std::string active_text(const TickPoint& point) {
  return fmt::format("{}{}", point.active_is_lower_bound ? ">=" : "",
                     format_exact(point.active_flows));
}

std::vector<std::optional<double>> active_values(const TickHistory& history, int columns) {
  std::vector<std::optional<double>> values;
  const size_t count = std::min(history.size(), static_cast<size_t>(std::max(columns, 0)));
  for (size_t i = 0; i < count; ++i) {
    values.emplace_back(static_cast<double>(history.back(count - 1 - i).active_flows));
  }
  return values;
}

struct Headline {
  std::string label;
  std::string value;
  Role role = Role::kStrong;
};

/// "12 (1,408)": in the last tick, and so far. Shorter numbers if they would not fit.
std::string with_total(uint64_t now, uint64_t total, int width) {
  std::string text = fmt::format("{} ({})", format_exact(now), format_exact(total));
  if (text_width(text) <= width) return text;
  return fmt::format("{} ({})", format_count(now), format_count(total));
}

/// "1,408 of 2,000".
std::string silent_text(uint64_t silent, uint64_t periodic, int width) {
  for (const auto& format : {format_exact, format_count}) {
    std::string text = fmt::format("{} of {}", format(silent), format(periodic));
    if (text_width(text) <= width) return text;
  }
  return fmt::format("{}/{}", format_count(silent), format_count(periodic));
}

constexpr int kColumnWidth = 21;

/// False while flows are silent or work fails; then nothing in the head is green.
bool all_is_well(const Model& model) {
  const bool silent = !model.history().empty() && model.history().back().silent_flows > 0;
  return !silent && !model.failed().goes_on();
}

Role role_of_active(const Model& model) {
  return all_is_well(model) ? Role::kAccent : Role::kStrong;
}

/// The headlines in order of importance.
std::vector<Headline> headlines(const Model& model) {
  std::vector<Headline> lines;
  const bool some = !model.history().empty();
  const TickPoint point = some ? model.history().back() : TickPoint{};
  const auto add = [&](std::string label, std::string value, Role role = Role::kStrong) {
    if (value == "-") role = Role::kDim;
    lines.push_back({std::move(label), std::move(value), role});
  };
  const auto room = [](std::string_view label) { return kColumnWidth - text_width(label) - 1; };
  if (model.has_periods()) {
    add("silent",
        some ? silent_text(point.silent_flows, point.periodic_flows, room("silent")) : "-",
        point.silent_flows > 0 ? Role::kDead : Role::kStrong);
    add("missed", some ? with_total(point.missed_ticks, model.missed_total(), room("missed")) : "-",
        point.missed_ticks > 0 ? Role::kMissed : Role::kStrong);
  }
  // A percentile that includes requests without a reply is marked, with their number beside it.
  const auto reply_text = [&](const std::optional<int64_t>& ns) {
    const bool at_least =
        ns && is_at_least(*ns, model.never_answered_total(), model.scene.reply_timeout_ns);
    return (at_least ? ">=" : "") + duration_or_dash(ns);
  };
  // Both are over the last ticks that hold 1,000 samples, at most 10 s, so that their labels never
  // change and p99 is never above the maximum.
  add("reply p99", reply_text(point.reply_recent_p99));
  // Failed work comes before the slowest reply if there is any, else after it.
  const FailedWork& failed = model.failed();
  const auto add_failed = [&] {
    add("failed", some ? with_total(failed.now(), failed.total(), room("failed")) : "-",
        failed.goes_on() ? Role::kDead : Role::kStrong);
  };
  const bool any_failed = failed.total() > 0;
  if (any_failed) add_failed();
  add("unans", some ? with_total(point.unanswered, model.unanswered_total(), room("unans")) : "-",
      point.unanswered > 0 ? Role::kMissed : Role::kStrong);
  const uint64_t lost = lost_count(model.losses_total());
  add("losses", some ? format_exact(lost) : "-",
      lost > 0             ? Role::kLoss
      : all_is_well(model) ? Role::kOnTime
                           : Role::kStrong);
  add("reply max", reply_text(point.reply_recent_max));
  if (!any_failed) add_failed();
  if (model.has_periods()) {
    add("late", share_text(point.late_share),
        point.late_share.value_or(0) > 0 ? Role::kLate : Role::kStrong);
  }
  add("run queue p99", duration_or_dash(point.run_queue_recent_p99));
  add("CPU", share_text(point.cpu_cores));
  add("RSS", bytes_or_dash(point.resources.rss_bytes));
  const auto packets = per_second(point.packets, point.flow_interval_ns);
  add("packets/s", packets ? format_count(static_cast<uint64_t>(std::llround(*packets))) : "-");
  return lines;
}

std::string rungs_text(const Model& model) {
  std::string text;
  for (const ProbeStatus& probe : model.scene.probes) {
    if (!text.empty()) text += ", ";
    text += fmt::format("{} {}", probe.name, rung_name(probe.rung));
  }
  return text;
}

void draw_title(Grid& grid, Area area, const Model& model, const ViewState& state) {
  grid.fill(0, area.y, area.width, Role::kBar);
  const Scene& scene = model.scene;
  const int64_t elapsed_ns = model.history().empty() ? 0 : model.history().back().elapsed_ns;
  std::string right = clock_text(elapsed_ns);
  if (!scene.note.empty()) right = fmt::format("{}  {}", scene.note, right);
  if (state.frozen) right = fmt::format("FROZEN  {}", right);
  const int right_width = text_width(sanitize_for_terminal(right)) + 1;
  int x = area.x;
  const int end = area.width - right_width - 1;
  if (area.width < 12) {
    grid.put(x, area.y, "topspin", Role::kTab, area.width);
    return;
  }
  x += grid.put(x, area.y, " topspin ", Role::kTab, end);
  const auto add = [&](std::string_view text, Style style) {
    if (text.empty() || x + 2 >= end) return;
    x += 1 + grid.put(x + 1, area.y, text, style, end - x - 1);
  };
  add(scene.source, Role::kBar);
  add(scene.filter, Role::kBarDim);
  if (!scene.subject.empty()) {
    add(grid.ascii() ? "|" : "│", Role::kBarDim);
    // The state is more important than the end of a long command.
    const int state_width = text_width(sanitize_for_terminal(scene.subject_state)) + 2;
    const int room = end - x - 1 - state_width;
    if (room > 8) x += 1 + grid.put(x + 1, area.y, scene.subject, Role::kBar, room);
    add(scene.subject_state, Role::kBarDim);
  }
  grid.put_right(0, area.y, right, area.width - 1, state.frozen ? Role::kTab : Role::kBar);
}

/// One line for small terminals: the active flows and as many numbers as fit.
void draw_head_line(Grid& grid, Area area, const Model& model) {
  if (area.width <= 0) return;
  const std::string active = model.history().empty() ? "-" : active_text(model.history().back());
  const std::string full = fmt::format("active {}", active);
  int x = 0;
  if (text_width(full) <= area.width) {
    grid.put(0, area.y, "active ", Role::kDim);
    grid.put(7, area.y, active, role_of_active(model));
    x = text_width(full);
  } else {
    x = grid.put(0, area.y, whole_or_ellipsis(grid, active, area.width), role_of_active(model));
  }
  for (const Headline& line : headlines(model)) {
    const int width = text_width(line.label) + 1 + text_width(line.value);
    if (x + 2 + width > area.width) break;
    x += 2;
    x += grid.put(x, area.y, line.label, Role::kDim) + 1;
    x += grid.put(x, area.y, line.value, line.role);
  }
}

/// Three rows: the big number, its sparkline, three columns of three numbers.
void draw_head_block(Grid& grid, Area area, const Model& model) {
  const TickHistory& history = model.history();
  const std::string active = history.empty() ? "-" : active_text(history.back());
  int x = 1;
  const int big = draw_big(grid, x, area.y, active, role_of_active(model), area.width / 3);
  if (big > 0) {
    x += big + 2;
  } else {
    grid.put(x, area.y, whole_or_ellipsis(grid, active, area.width / 3), role_of_active(model));
    x += std::max(text_width(active), 0) + 2;
  }

  const std::vector<Headline> lines = headlines(model);
  constexpr int kColumnGap = 2;
  const int wanted = area.width >= 76 ? 2 : 1;
  int columns = area.width >= 136 ? 4 : area.width >= 104 ? 3 : wanted;
  const auto columns_width = [&] { return columns * (kColumnWidth + kColumnGap); };
  while (columns > 1 && area.width - x - columns_width() < 12) --columns;
  const int graph_width = std::max(area.width - x - columns_width(), 0);
  if (graph_width >= 8) {
    // Scaled to the maximum of all ticks. Otherwise, after a fall, the graph would look full again
    // once the earlier level is out of sight.
    uint64_t most = 0;
    for (size_t i = 0; i < history.size(); ++i) most = std::max(most, history.at(i).active_flows);
    draw_graph(grid, {x, area.y, graph_width - 2, 2, static_cast<double>(most), Role::kGraph1},
               active_values(history, graph_width - 2));
    // How far the numbers can be trusted depends on the rung of each probe.
    const int caption_width = graph_width - 2;
    const int used = grid.put(x, area.y + 2, "active flows", Role::kDim, caption_width);
    const std::string rungs = rungs_text(model);
    if (used + 2 + text_width(rungs) <= caption_width) {
      grid.put_right(x, area.y + 2, rungs, caption_width, Role::kDim);
    }
    x += graph_width;
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    const int column = static_cast<int>(i) / kBigHeight;
    if (column >= columns) break;
    draw_value(grid, x + column * (kColumnWidth + kColumnGap),
               area.y + static_cast<int>(i) % kBigHeight, kColumnWidth, lines[i].label,
               lines[i].value, lines[i].role);
  }
}

}  // namespace

void draw_head(Grid& grid, Area area, const Model& model, const ViewState& state) {
  if (area.height <= 0 || area.width <= 0) return;
  if (area.height == 1) {
    draw_head_line(grid, area, model);
    return;
  }
  draw_title(grid, area, model, state);
  const Area below{area.x, area.y + 1, area.width, area.height - 1};
  if (below.height >= kBigHeight)
    draw_head_block(grid, below, model);
  else
    draw_head_line(grid, below, model);
}

}  // namespace topspin
