// Slowest: the slowest replies of the subject, and the parts of the time of the one under the
// cursor. Opened from the Timeline, it shows those of one moment.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/base/text_width.h"
#include "tui/screens/parts.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/terminal/number_table.h"

namespace topspin {
namespace {

constexpr std::array<NumberColumn, 4> kSlowestColumns = {{
    {"Took", 8},
    {"Tick", 6},
    {"Thread", 18},
    {"Share", 6},
}};

/// The text of a cell of a reply's row.
std::string slowest_cell(size_t column, const SlowReply& reply) {
  switch (column) {
    case 0: return format_duration(static_cast<int64_t>(reply.total_ns));
    case 1: return fmt::format("{}", reply.tick);
    case 2: return fmt::format("{} {}", reply.sender, reply.sender_tid);
    default: {
      const uint64_t most = reply.parts[static_cast<size_t>(reply.mostly())];
      return share_text(reply.total_ns > 0 ? std::optional(static_cast<double>(most) /
                                                           static_cast<double>(reply.total_ns))
                                           : std::nullopt);
    }
  }
}

std::string slowest_name(const SlowReply& reply) {
  return fmt::format("{}  {}", format_endpoint(reply.remote, reply.ip_version),
                     names_of(reply.mostly()).label);
}

/// The parts of a reply that are not 0, the longest first.
std::vector<size_t> parts_of(const SlowReply& reply) {
  std::vector<size_t> parts;
  for (size_t i = 0; i < kReplyPartCount; ++i)
    if (reply.parts[i] > 0) parts.push_back(i);
  std::stable_sort(parts.begin(), parts.end(),
                   [&](size_t a, size_t b) { return reply.parts[a] > reply.parts[b]; });
  return parts;
}

/// "inside, on a CPU  12.0ms  ######": the bars add up to the reply.
void draw_parts(Grid& grid, Area area, const SlowReply& reply) {
  constexpr int kName = 40, kTime = 9;
  int y = area.y;
  grid.put(area.x + 1, y++,
           fmt::format("read by thread {}, sent by {} {}", reply.reader_tid, reply.sender,
                       reply.sender_tid),
           Role::kDim, area.width - 2);
  const int room = area.width - kName - kTime - 4;
  for (const size_t part : parts_of(reply)) {
    if (y >= area.y + area.height) return;
    grid.put(area.x + 1, y, reply_part_names()[part].label, Role::kNormal,
             std::min(kName, area.width - kTime - 3));
    const int x = std::min(kName, area.width - kTime - 3);
    grid.put_right(area.x + 1 + x, y, format_duration(static_cast<int64_t>(reply.parts[part])),
                   kTime, Role::kStrong);
    const double share = static_cast<double>(reply.parts[part]) /
                         static_cast<double>(std::max<uint64_t>(reply.total_ns, 1));
    for (int i = 0; i < static_cast<int>(std::lround(share * room)); ++i)
      grid.put_symbol(area.x + x + kTime + 3 + i, y, U'█', '#', Role::kGraph1);
    ++y;
  }
}

/// Those of the chosen moment, or all.
std::vector<const SlowReply*> shown_replies(const Model& model, const ViewState& state) {
  std::vector<const SlowReply*> shown;
  for (const SlowReply& reply : model.slowest_replies()) {
    if (!state.slowest_of ||
        (reply.tick >= state.slowest_of->first && reply.tick <= state.slowest_of->last))
      shown.push_back(&reply);
  }
  return shown;
}

uint64_t slowest_rows(const Model& model, const ViewState& state) {
  return shown_replies(model, state).size();
}

/// The title of the list says that it is not the whole one.
std::string slowest_title(const Model& model, const ViewState& state, size_t shown) {
  if (!state.slowest_of) return "Client, and mostly";
  return fmt::format("{}: {} of {}; Esc: all", state.slowest_of->label, shown,
                     model.slowest_replies().size());
}

/// Back to the whole list first.
bool press_slowest(ScreenPress& press) {
  if (press.command != Command::kBack && press.command != Command::kQuit) return false;
  if (!press.state.slowest_of) return false;
  press.state.slowest_of.reset();
  press.state.list("slowest") = {};
  return true;
}

}  // namespace

static void draw_slowest(Grid& grid, Area area, const Model& model, const ViewState& state) {
  if (model.slowest_replies().empty()) {
    draw_why_not(grid, area, model, "replies", "no reply was split yet");
    return;
  }
  const std::vector<const SlowReply*> replies = shown_replies(model, state);
  if (replies.empty()) {
    grid.put(area.x + 1, area.y, slowest_title(model, state, 0), Role::kStrong, area.width - 2);
    grid.put(area.x + 1, area.y + 1, "none of the slowest replies was sent then", Role::kDim,
             area.width - 2);
    return;
  }
  const ListState& list = state.list("slowest");
  const uint64_t selected = std::min<uint64_t>(list.selected, replies.size() - 1);
  const int most_parts = static_cast<int>(parts_of(*replies[selected]).size()) + 2;
  const int below = area.height >= 12 ? std::min(most_parts, area.height / 2) : 0;
  const Area above{area.x, area.y, area.width, area.height - below};
  NumberTable table(grid, above, std::clamp(area.width - 44, 24, 70), kSlowestColumns);
  table.draw_titles(slowest_title(model, state, replies.size()), 0, false);
  const auto visible = static_cast<uint64_t>(std::max(above.height - 1, 0));
  const uint64_t top = top_of_list(list, replies.size(), visible);
  for (uint64_t i = 0; i < visible && top + i < replies.size(); ++i) {
    const SlowReply& reply = *replies[top + i];
    table.draw_row(
        static_cast<int>(i), slowest_name(reply),
        [&](size_t column) { return slowest_cell(column, reply); }, Role::kNormal,
        top + i == selected);
  }
  if (below == 0) return;
  draw_parts(grid, {area.x, area.y + above.height + 1, area.width, below - 1}, *replies[selected]);
}

const Screen& slowest_screen() {
  static const Screen kScreen = {
      .name = "slowest",
      .title = "Slowest",
      .short_title = "Slow",
      .key = U'o',
      .what = "the slowest replies one by one, and what each was made of",
      .draw = draw_slowest,
      .rows = slowest_rows,
      .has_cursor = true,
      .press = press_slowest,
  };
  return kScreen;
}

}  // namespace topspin
