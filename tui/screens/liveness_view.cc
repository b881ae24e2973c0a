// Liveness: flows (or buckets of flows) by ticks. A group of starving flows is visible at a glance.
//
// Flows are in order of their begin, divided into as many buckets of equal size as there are rows.
// A cell's colour is the worst state in its bucket, and its height the share of flows in that
// state; on time is a dot. In ASCII and without colours there are letters, capital from a share of
// half on.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "tui/screens/parts.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"

namespace topspin {
namespace {

constexpr int kLabelWidth = 24;

struct Mixture {
  std::array<uint32_t, kLivenessStates> flows{};

  void add(Liveness state) { ++flows[static_cast<size_t>(state)]; }
  uint32_t of(Liveness state) const { return flows[static_cast<size_t>(state)]; }
  uint32_t present() const {
    uint32_t sum = 0;
    for (size_t i = 1; i < flows.size(); ++i) sum += flows[i];
    return sum;
  }
  uint32_t bad() const { return of(Liveness::kLate) + of(Liveness::kMissed) + of(Liveness::kDead); }
};

struct StateLook {
  Role role;
  char letter;
};
StateLook look_of(Liveness state) {
  switch (state) {
    case Liveness::kLate: return {Role::kLate, 'l'};
    case Liveness::kMissed: return {Role::kMissed, 'm'};
    case Liveness::kDead: return {Role::kDead, 'd'};
    case Liveness::kOnTime: return {Role::kOnTime, '.'};
    case Liveness::kQuiet: return {Role::kDim, ' '};
    case Liveness::kNone: break;
  }
  return {Role::kDim, ' '};
}

void draw_mixture(Grid& grid, int x, int y, const Mixture& mixture, bool letters) {
  const uint32_t present = mixture.present();
  if (present == 0) return;
  const uint32_t bad = mixture.bad();
  if (bad == 0) {
    if (mixture.of(Liveness::kOnTime) > 0)
      grid.put_symbol(x, y, U'·', '.', Role::kOnTime);
    else
      grid.put_symbol(x, y, U' ', ' ', Role::kDim);
    return;
  }
  Liveness worst = Liveness::kLate;
  if (mixture.of(Liveness::kMissed) > 0) worst = Liveness::kMissed;
  if (mixture.of(Liveness::kDead) > 0) worst = Liveness::kDead;
  const StateLook look = look_of(worst);
  if (letters) {
    const char letter =
        2 * bad >= present ? static_cast<char>(look.letter - 'a' + 'A') : look.letter;
    grid.put_symbol(x, y, static_cast<char32_t>(letter), letter, look.role);
    return;
  }
  constexpr std::array<char32_t, 8> kBlocks = {U'▁', U'▂', U'▃', U'▄', U'▅', U'▆', U'▇', U'█'};
  const auto level = std::min<size_t>(static_cast<size_t>(bad) * 8 / present, 7);
  grid.put_symbol(x, y, kBlocks[level], look.letter, look.role);
}

/// The states of a bucket of flows in each tick. Most flows are on time in most ticks, so these are
/// the rest after the other states, whose bits are counted one by one.
std::vector<Mixture> mix_bucket(const Model& model, uint64_t first, uint64_t last, int columns) {
  std::vector<Mixture> mixtures(static_cast<size_t>(columns));
  const auto seen = [&](size_t word) -> uint64_t {
    const int bits = std::clamp(columns - static_cast<int>(word) * 64, 0, 64);
    return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  };
  const std::array<uint64_t, 2> visible = {seen(0), seen(1)};
  for (uint64_t flow = first; flow < last; ++flow) {
    const LivenessHistory& history = model.liveness(flow);
    for (int i = 0; i < kLivenessStates; ++i) {
      const auto state = static_cast<Liveness>(i);
      if (state == Liveness::kOnTime) continue;
      const auto ticks = history.ticks_in(state);
      for (size_t word = 0; word < ticks.size(); ++word) {
        for (uint64_t left = ticks[word] & visible[word]; left != 0; left &= left - 1) {
          mixtures[word * 64 + static_cast<size_t>(std::countr_zero(left))].add(state);
        }
      }
    }
  }
  for (Mixture& mixture : mixtures) {
    mixture.flows[static_cast<size_t>(Liveness::kOnTime)] =
        static_cast<uint32_t>(last - first) - mixture.present() - mixture.of(Liveness::kNone);
  }
  return mixtures;
}

void draw_legend(Grid& grid, Area area, bool letters, uint64_t flows, uint64_t rows) {
  int x = area.x + 1;
  const auto item = [&](Liveness state, std::string_view name) {
    const StateLook look = look_of(state);
    if (x + 2 + static_cast<int>(name.size()) > area.width) return;
    if (state == Liveness::kOnTime) {
      grid.put_symbol(x, area.y, U'·', '.', look.role);
    } else {
      const char letter = static_cast<char>(look.letter - 'a' + 'A');
      grid.put_symbol(x, area.y, letters ? static_cast<char32_t>(letter) : U'█', letter, look.role);
    }
    x += 2;
    x += grid.put(x, area.y, name, Role::kDim) + 2;
  };
  item(Liveness::kOnTime, "on time");
  item(Liveness::kLate, "late");
  item(Liveness::kMissed, "missed");
  item(Liveness::kDead, "dead");
  const uint64_t each = rows > 0 ? (flows + rows - 1) / rows : 0;
  const std::string scale = each > 1 ? fmt::format("a row is {} flows", format_exact(each))
                                     : std::string("a row is a flow");
  if (x + static_cast<int>(scale.size()) + 1 <= area.width) {
    grid.put_right(area.x, area.y, scale, area.width - 1, Role::kDim);
  }
}

}  // namespace

void draw_liveness_strip(Grid& grid, int x, int y, int width, const LivenessHistory& history) {
  for (int column = 0; column < width; ++column) {
    const int ago = width - 1 - column;
    if (ago >= kLivenessTicks) continue;
    Mixture mixture;
    mixture.add(history.at(ago));
    draw_mixture(grid, x + column, y, mixture, grid.ascii());
  }
}

static void draw_liveness(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const auto flows = model.flows().size();
  if (flows == 0 || model.scene.flows_are_final) {
    grid.put(area.x + 1, area.y,
             model.scene.flows_are_final ? "a stored run keeps no ticks of single flows"
                                         : "no flows yet",
             Role::kDim, area.width - 2);
    return;
  }
  const bool letters = state.ascii || state.colours == 0;
  const bool with_legend = area.height >= 4;
  const int rows = with_legend ? area.height - 2 : area.height;
  const int label = area.width >= 60 ? kLabelWidth : 0;
  const int columns =
      std::min({area.width - label - 1, kLivenessTicks, static_cast<int>(model.history().size())});
  const uint64_t each = (flows + static_cast<uint64_t>(rows) - 1) / static_cast<uint64_t>(rows);
  const uint64_t used_rows = (flows + each - 1) / each;
  if (with_legend) draw_legend(grid, {area.x, area.y, area.width, 1}, letters, flows, used_rows);
  const int y0 = area.y + (with_legend ? 1 : 0);
  const auto& buckets = model.derived("buckets of liveness", std::pair(each, columns), [&] {
    std::vector<std::vector<Mixture>> mixed;
    for (uint64_t first = 0; first < flows; first += each)
      mixed.push_back(mix_bucket(model, first, std::min<uint64_t>(first + each, flows), columns));
    return mixed;
  });
  for (uint64_t row = 0; row < used_rows; ++row) {
    const uint64_t first = row * each;
    const int y = y0 + static_cast<int>(row);
    if (label > 0) {
      const FlowRow& flow = model.flows()[first].row;
      grid.put(area.x + 1, y, format_endpoint(flow.initiator(), flow.key.ip_version), Role::kDim,
               kLabelWidth - 2);
    }
    const std::vector<Mixture>& mixtures = buckets[row];
    for (int ago = 0; ago < columns; ++ago) {
      draw_mixture(grid, area.x + label + columns - 1 - ago, y, mixtures[static_cast<size_t>(ago)],
                   letters);
    }
  }
  if (with_legend && columns > 0) {
    const int y = area.y + area.height - 1;
    const TickPoint& newest = model.history().back();
    const TickPoint& oldest = model.history().back(static_cast<size_t>(columns) - 1);
    const std::string left = clock_text(oldest.elapsed_ns), right = clock_text(newest.elapsed_ns);
    grid.put(area.x + label, y, left, Role::kDim);
    if (columns >= static_cast<int>(left.size() + right.size()) + 2) {
      grid.put(area.x + label + columns - static_cast<int>(right.size()), y, right, Role::kDim);
    }
  }
}

const Screen& liveness_screen() {
  static const Screen kScreen = {
      .name = "liveness",
      .title = "Liveness",
      .short_title = "Live",
      .key = U'5',
      .what = "each flow in each tick: on time, late, missed, silent",
      .draw = draw_liveness,
  };
  return kScreen;
}

}  // namespace topspin
