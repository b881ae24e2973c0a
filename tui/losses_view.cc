// Losses: what was seen too late or not at all, in the last tick and since the start.
#include <array>
#include <string_view>

#include "core/text.h"
#include "tui/draw.h"
#include "tui/views.h"
#include "tui/width.h"

namespace topspin {
namespace {

struct Meaning {
  std::string_view field;
  std::string_view what;
};
constexpr std::array<Meaning, 24> kMeanings = {{
    {"capture_kernel_drops", "packets that found the kernel's capture buffer full"},
    {"capture_interface_drops", "packets that the interface dropped"},
    {"capture_gap_ns", "time that the interface was away"},
    {"evicted_flows", "flows pushed out by --max-flows"},
    {"flow_rows_unstored", "flow rows beyond the limit of stored rows"},
    {"scheduler_map_full", "threads that found no room in a BPF map"},
    {"scheduler_missed_runs", "BPF programs that the kernel skipped"},
    {"scheduler_left_censored", "waits already under way at the start; no loss"},
    {"scheduler_right_censored", "waits still open at the end; no loss"},
    {"thread_rows_unstored", "thread rows beyond their limit"},
    {"flow_owners_missed", "sockets or owners that found no room"},
    {"late_ticks", "ticks that came more than a tenth of an interval late"},
    {"syscalls_uncounted", "system calls that found no room, or of another ABI"},
    {"syscalls_left_censored", "calls already under way at the start; no loss"},
    {"syscalls_missed_runs", "BPF programs that the kernel skipped"},
    {"socket_map_full", "sockets or threads that found no room in a BPF map"},
    {"socket_left_censored", "data or connections ready before being watched; no loss"},
    {"socket_missed_runs", "BPF programs that the kernel skipped"},
    {"socket_rows_unstored", "socket rows beyond their limit"},
    {"replies_unmatched", "requests without a reply in time, or without room"},
    {"reply_splits_cut", "replies with older waits than are remembered"},
    {"counter_threads_missed", "threads that perf events could not count"},
    {"stack_samples_lost", "CPU samples that found no room in the ring"},
    {"stacks_unstored", "CPU samples of stacks beyond their limit"},
}};

std::string_view meaning_of(std::string_view field) {
  for (const Meaning& meaning : kMeanings) {
    if (meaning.field == field) return meaning.what;
  }
  return "";
}

}  // namespace

void draw_losses(Grid& grid, Area area, const Model& model, const ViewState&) {
  int y = area.y;
  const int bottom = area.y + area.height;
  const int name_width = 26, number_width = 12;
  const bool some = !model.history().empty();
  const LossInterval now = some ? model.history().back().losses : LossInterval{};
  if (area.height >= 6) {
    grid.put_right(area.x + 1 + name_width, y, "this tick", number_width, Role::kDim);
    grid.put_right(area.x + 1 + name_width + number_width, y, "in all", number_width, Role::kDim);
    ++y;
  }
  LossInterval::for_each_field([&](const char* name, uint64_t LossInterval::*member) {
    if (y >= bottom) return;
    const std::string_view field = name;
    const bool nanoseconds = field.ends_with("_ns");
    const bool harmless = field.ends_with("_censored");
    const auto text = [&](uint64_t value) {
      if (!some) return std::string("-");
      return nanoseconds ? format_duration(static_cast<int64_t>(value)) : format_exact(value);
    };
    const auto role = [&](uint64_t value) {
      if (value == 0) return Role::kDim;
      return harmless ? Role::kNormal : Role::kLoss;
    };
    const uint64_t total = model.losses_total().*member;
    grid.put(area.x + 1, y, field, total > 0 && !harmless ? Role::kLoss : Role::kNormal,
             std::min(name_width, area.width - 1));
    const auto number = [&](int x, uint64_t value) {
      if (x + number_width > area.width) return;
      grid.put_right(area.x + x, y, text(value), number_width, role(value));
    };
    number(1 + name_width, now.*member);
    number(1 + name_width + number_width, total);
    const int what_x = 1 + name_width + 2 * number_width + 3;
    if (what_x + 20 <= area.width) {
      grid.put(area.x + what_x, y, meaning_of(field), Role::kDim, area.width - what_x);
    }
    ++y;
  });
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

}  // namespace topspin
