// Timeline: the headline numbers one below the other on one time axis, with a cursor that reads all
// of them at one moment. So cause and effect are in one column.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/base/text_width.h"
#include "tui/screens/parts.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"

namespace topspin {
namespace {

struct Track {
  std::string name;
  std::function<std::optional<double>(const TickPoint&)> read;
  std::function<std::string(double)> format;
  Role role;
};

std::string as_duration(double ns) { return format_duration(static_cast<int64_t>(ns)); }
std::string as_exact(double count) { return format_exact(static_cast<uint64_t>(count)); }

using Read = std::function<std::optional<double>(const TickPoint&)>;

/// p99 over the last ticks, or the maximum of each tick if no tick of the whole history has enough
/// samples. So a track's label does not change from one tick to the next.
Track latency_track(const TickHistory& history, std::string_view name, const Read& p99,
                    const Read& max) {
  bool any = history.empty();
  for (size_t i = 0; i < history.size() && !any; ++i) any = p99(history.at(i)).has_value();
  return {fmt::format("{} {}", name, any ? "p99" : "max"), any ? p99 : max, as_duration,
          Role::kGraph2};
}

/// The most important tracks come first, because small terminals have no room for the last ones.
std::vector<Track> make_tracks(const Model& model) {
  const TickHistory& history = model.history();
  const auto count = [](uint64_t TickPoint::*field) {
    return [field](const TickPoint& p) { return std::optional(static_cast<double>(p.*field)); };
  };
  std::vector<Track> tracks;
  tracks.push_back({"active flows", count(&TickPoint::active_flows), as_exact, Role::kGraph1});
  if (model.has_periods()) {
    tracks.push_back({"silent flows", count(&TickPoint::silent_flows), as_exact, Role::kDead});
    tracks.push_back(latency_track(
        history, "lateness", [](const TickPoint& p) { return as_number(p.lateness_recent_p99); },
        [](const TickPoint& p) { return as_number(p.lateness.max); }));
  }
  tracks.push_back(latency_track(
      history, "reply", [](const TickPoint& p) { return as_number(p.reply_recent_p99); },
      [](const TickPoint& p) { return as_number(p.reply.max); }));
  if (model.unanswered_total() > 0)
    tracks.push_back({"unanswered", count(&TickPoint::unanswered), as_exact, Role::kMissed});
  tracks.push_back(latency_track(
      history, "run queue", [](const TickPoint& p) { return as_number(p.run_queue_recent_p99); },
      [](const TickPoint& p) { return p.run_queue ? as_number(p.run_queue->max) : std::nullopt; }));
  tracks.push_back({"CPU", [](const TickPoint& p) { return p.cpu_cores; },
                    [](double share) { return share_text(share); }, Role::kGraph1});
  tracks.push_back({"RSS", [](const TickPoint& p) { return as_number(p.resources.rss_bytes); },
                    as_bytes, Role::kGraph1});
  return tracks;
}

constexpr int kLabelWidth = 15;

/// The columns of the plots on a screen of this width.
int graph_width(int area_width) {
  return area_width - (area_width >= 36 ? kLabelWidth + 1 : 0) - 1;
}

/// Ticks per column: one, or with `whole_run` as few as show the whole run.
size_t ticks_per_column(const TickHistory& history, int width, bool whole_run) {
  const auto columns = static_cast<size_t>(std::max(width, 1));
  return whole_run ? std::max<size_t>((history.size() + columns - 1) / columns, 1) : 1;
}

/// The maximum of a track in the `ticks` ticks up to the one `ago`.
std::optional<double> most_of(const Track& track, const TickHistory& history, size_t ago,
                              size_t ticks) {
  std::optional<double> most;
  for (size_t i = ago; i < std::min(ago + ticks, history.size()); ++i) {
    if (const auto value = track.read(history.back(i)))
      most = std::max(most.value_or(*value), *value);
  }
  return most;
}

}  // namespace

static void draw_timeline(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const TickHistory& history = model.history();
  if (history.empty()) {
    grid.put(area.x + 1, area.y, "waiting for the first tick", Role::kDim, area.width - 2);
    return;
  }
  const int width = graph_width(area.width);
  if (width <= 0) return;
  const int graph_x = area.x + area.width - width - 1;
  const bool with_labels = graph_x > area.x;
  const size_t ticks = ticks_per_column(history, width, state.whole_run);
  const size_t columns = std::min((history.size() + ticks - 1) / ticks, static_cast<size_t>(width));

  // The cursor is a tick that is kept visible. The window ends at the newest tick, unless the
  // cursor would be left of it.
  size_t cursor_ago = 0;
  if (state.cursor_tick && *state.cursor_tick < history.back().tick) {
    cursor_ago = static_cast<size_t>(
        std::min<uint64_t>(history.back().tick - *state.cursor_tick, history.size() - 1));
  }
  const size_t cursor_column = cursor_ago / ticks;
  const size_t shift = cursor_column >= columns ? cursor_column - columns + 1 : 0;
  const int cursor_x = graph_x + width - 1 - static_cast<int>(cursor_column - shift);
  const TickPoint& read = history.back(cursor_ago);

  const std::vector<Track> tracks = make_tracks(model);
  const bool with_axis = area.height >= 8;
  const int rows = with_axis ? area.height - 1 : area.height;
  const int height = std::max(rows / static_cast<int>(tracks.size()), 1);
  int y = area.y;
  for (const Track& track : tracks) {
    if (y + height > area.y + rows) break;
    const int graph_height = height >= 3 ? height - 1 : height;
    std::vector<std::optional<double>> values;
    for (size_t i = 0; i < columns; ++i) {
      values.push_back(most_of(track, history, (shift + columns - 1 - i) * ticks, ticks));
    }
    // The maximum of all ticks, visible or not, so that the scale stays while the window moves.
    const double most = most_of(track, history, 0, history.size()).value_or(0);
    draw_graph(grid, {graph_x, y, width, graph_height, most, track.role}, values);
    for (int row = 0; row < graph_height; ++row) {
      if (state.cursor_tick) {
        const Cell& under = grid.at(std::clamp(cursor_x, 0, grid.width() - 1),
                                    std::clamp(y + row, 0, grid.height() - 1));
        if (under.code == U' ')
          grid.put_symbol(cursor_x, y + row, U'│', '|', Role::kCursor);
        else
          grid.restyle(cursor_x, y + row, 1, Role::kCursor);
      }
    }
    if (with_labels) {
      const auto value = state.cursor_tick ? most_of(track, history, cursor_column * ticks, ticks)
                                           : track.read(read);
      const std::string text = value ? track.format(*value) : "-";
      if (graph_height >= 2) {
        grid.put(area.x + 1, y, track.name, Role::kDim, kLabelWidth - 1);
        grid.put(area.x + 1, y + 1, text, value ? Role::kStrong : Role::kDim, kLabelWidth - 1);
        if (graph_height >= 3 && most > 0) {
          grid.put(area.x + 1, y + 2, fmt::format("most {}", track.format(most)), Role::kDim,
                   kLabelWidth - 1);
        }
      } else {
        draw_value(grid, area.x + 1, y, kLabelWidth - 1, track.name, text,
                   value ? Role::kStrong : Role::kDim);
      }
    }
    y += height;
  }
  if (with_axis) {
    const int axis_y = area.y + area.height - 1;
    const std::string oldest = clock_text(
        history.back(std::min((shift + columns) * ticks, history.size()) - 1).elapsed_ns);
    const std::string newest = clock_text(history.back(shift * ticks).elapsed_ns);
    const int left_x = graph_x + width - static_cast<int>(columns);
    const int text_width = static_cast<int>(newest.size());
    std::optional<int> cursor_label_x;
    if (state.cursor_tick) {
      cursor_label_x = std::clamp(cursor_x - text_width / 2, graph_x,
                                  std::max(graph_x, graph_x + width - text_width));
    }
    // Leave out an end of the axis where the cursor's label is.
    const auto put_end = [&](int x, const std::string& text) {
      if (cursor_label_x && std::abs(x - *cursor_label_x) <= text_width) return;
      grid.put(x, axis_y, text, Role::kDim);
    };
    put_end(left_x, oldest);
    put_end(graph_x + width - text_width, newest);
    if (cursor_label_x) {
      grid.put(*cursor_label_x, axis_y, clock_text(read.elapsed_ns), Role::kCursor);
    } else if (columns > 40) {
      std::string hint = grid.ascii() ? "Left Right: read one moment" : "← → read one moment";
      if (columns > 80) hint += "; Enter: its slow replies";
      if (state.whole_run) hint = fmt::format("the whole run, {} ticks a column", ticks);
      grid.put(graph_x + width / 2 - 10, axis_y, hint, Role::kDim);
    }
  }
}

namespace {

/// Opens Slowest with the replies of the column under the cursor. Without a cursor it takes the
/// newest column, which in a replay is the moment that is shown.
void open_slowest(ScreenPress& press) {
  const TickHistory& history = press.model.history();
  const uint64_t newest = history.back().tick, oldest = history.at(0).tick;
  const size_t ticks =
      ticks_per_column(history, graph_width(press.size.width), press.state.whole_run);
  const uint64_t at = std::clamp(press.state.cursor_tick.value_or(newest), oldest, newest);
  // Columns are counted from the newest tick on.
  const size_t last_ago = static_cast<size_t>(newest - at) / ticks * ticks;
  const size_t first_ago = std::min(last_ago + ticks, history.size()) - 1;
  const TickPoint& first = history.back(first_ago);
  const TickPoint& last = history.back(std::min(last_ago, history.size() - 1));
  ChosenTicks chosen{first.tick, last.tick, clock_text(last.elapsed_ns)};
  if (first.tick != last.tick)
    chosen.label = fmt::format("{}-{}", clock_text(first.elapsed_ns), chosen.label);
  press.state.slowest_of = std::move(chosen);
  press.state.list("slowest") = {};
  open_screen(press.state, "slowest");
}

constexpr std::array<ScreenKey, 1> kTimelineKeys = {{
    {"Enter", "the slow replies of the moment under the cursor"},
}};

/// There is a cursor only live; in a replay the arrow keys step through the run.
bool press_timeline(ScreenPress& press) {
  std::optional<uint64_t>& cursor = press.state.cursor_tick;
  if (press.command == Command::kZoom) {
    press.state.whole_run = !press.state.whole_run;
    return true;
  }
  if (press.command == Command::kBack || press.command == Command::kQuit)
    return std::exchange(cursor, std::nullopt).has_value();
  const TickHistory& history = press.model.history();
  if (press.command == Command::kEnter && !history.empty()) {
    open_slowest(press);
    return true;
  }
  if (press.replay || history.empty()) return false;
  const uint64_t newest = history.back().tick;
  const uint64_t oldest = history.at(0).tick;
  const uint64_t from = std::clamp(cursor.value_or(newest), oldest, newest);
  const uint64_t step =
      ticks_per_column(history, graph_width(press.size.width), press.state.whole_run);
  if (press.command == Command::kHome) {
    cursor = oldest;
  } else if (press.command == Command::kEnd) {
    cursor.reset();
  } else if (press.command == Command::kLeft) {
    cursor = std::max(from, oldest + step) - step;
  } else if (press.command == Command::kRight) {
    // At the right end the cursor follows the time again.
    cursor = from + step >= newest ? std::nullopt : std::optional(from + step);
  } else {
    return false;
  }
  return true;
}

}  // namespace

const Screen& timeline_screen() {
  static const Screen kScreen = {
      .name = "timeline",
      .title = "Timeline",
      .short_title = "Time",
      .key = U'4',
      .what = "all headline numbers on one axis of time, with a cursor",
      .draw = draw_timeline,
      .press = press_timeline,
      .keys = kTimelineKeys,
  };
  return kScreen;
}

}  // namespace topspin
