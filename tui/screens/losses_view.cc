// Losses: what was seen too late or not at all, in the last tick and since the start.
#include <string_view>

#include "core/base/text.h"
#include "core/base/text_width.h"
#include "core/tick/numbers.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"

namespace topspin {

static void draw_losses(Grid& grid, Area area, const Model& model, const ViewState&) {
  int y = area.y;
  const int bottom = area.y + area.height;
  const int name_width = 26, number_width = 12;
  const bool some = !model.history().empty();
  if (area.height >= 6) {
    grid.put_right(area.x + 1 + name_width, y, "this tick", number_width, Role::kDim);
    grid.put_right(area.x + 1 + name_width + number_width, y, "in all", number_width, Role::kDim);
    ++y;
  }
  const auto draw_row = [&](const Number& loss, uint64_t now, uint64_t total) {
    if (y >= bottom) return;
    const bool nanoseconds = number_unit(loss.name) == NumberUnit::kNanoseconds;
    const bool harmless = loss.loss == LossKind::kNote;
    const auto text = [&](uint64_t value) {
      if (!some) return std::string("-");
      return nanoseconds ? format_duration(static_cast<int64_t>(value)) : format_exact(value);
    };
    const auto role = [&](uint64_t value) {
      if (value == 0) return Role::kDim;
      return harmless ? Role::kNormal : Role::kLoss;
    };
    grid.put(area.x + 1, y, LossInterval::bare_name(loss),
             total > 0 && !harmless ? Role::kLoss : Role::kNormal,
             std::min(name_width, area.width - 1));
    const auto number = [&](int x, uint64_t value) {
      if (x + number_width > area.width) return;
      grid.put_right(area.x + x, y, text(value), number_width, role(value));
    };
    number(1 + name_width, now);
    number(1 + name_width + number_width, total);
    const int what_x = 1 + name_width + 2 * number_width + 3;
    if (what_x + 20 <= area.width) {
      grid.put(area.x + what_x, y, loss.label, Role::kDim, area.width - what_x);
    }
    ++y;
  };
  // Losses that occurred come first, because small terminals have no room for all.
  for (const bool occurred : {true, false}) {
    for_each_loss(model.whole(), [&](const Number& number, uint64_t total) {
      const double now = find_number(number.name)->value(model.last()).value_or(0);
      if ((total > 0) == occurred) draw_row(number, static_cast<uint64_t>(now), total);
    });
  }
  ++y;
  for (const ProbeStatus& probe : model.scene.probes) {
    if (y >= bottom) return;
    int x = area.x + 1;
    x += grid.put(x, y, "probe ", Role::kDim);
    x += grid.put(x, y, probe.name, Role::kNormal) + 1;
    x += grid.put(x, y, rung_name(probe.rung),
                  probe.rung == Rung::kNone ? Role::kWarning : Role::kOnTime);
    if (!probe.reason.empty()) grid.put(x + 2, y, probe.reason, Role::kDim);
    ++y;
  }
}

const Screen& losses_screen() {
  static const Screen kScreen = {
      .name = "losses",
      .title = "Losses",
      .short_title = "Loss",
      .key = U'6',
      .what = "what was seen too late or not at all, and the probes",
      .draw = draw_losses,
  };
  return kScreen;
}

}  // namespace topspin
