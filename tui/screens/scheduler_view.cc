// Scheduler: run-queue latency as a heat map over time, its percentiles, and the threads behind it.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"

namespace topspin {
namespace {

enum class ThreadColumn : uint8_t {
  kWait,
  kWaitMax,
  kWaits,
  kCpu,
  kSwitches,
  kInvoluntary,
  kPreemptedByOwn,
  kPreemptedByOthers,
  kSlice,
  kStretch,
  kAsleep,
  kTid,
  kCount
};

constexpr int kAxisWidth = 8;
constexpr int kNumbersWidth = 24;

struct BinRange {
  size_t first = 0, last = 0;  // inclusive
};

/// The range of bins that are not empty in the last `columns` ticks.
std::optional<BinRange> occupied_bins(const TickHistory& history, int columns) {
  std::optional<BinRange> range;
  const size_t ticks = std::min(history.size(), static_cast<size_t>(std::max(columns, 0)));
  for (size_t ago = 0; ago < ticks; ++ago) {
    const auto& heat = history.back(ago).heat;
    for (size_t bin = 0; bin < kHeatBins; ++bin) {
      if (heat[bin] == 0) continue;
      if (!range) range = BinRange{bin, bin};
      range->first = std::min(range->first, bin);
      range->last = std::max(range->last, bin);
    }
  }
  return range;
}

void put_heat(Grid& grid, int x, int y, int level, int colours) {
  constexpr std::string_view kRamp = ".:-=+*#@";
  constexpr std::array<char32_t, 4> kShades = {U'░', U'▒', U'▓', U'█'};
  if (level <= 0) return;
  const auto step = static_cast<size_t>(level - 1);
  const char32_t symbol = colours >= 256 ? U'█' : kShades[step / 2];
  grid.put_symbol(x, y, symbol, kRamp[step], heat_role(level));
}

void draw_heat(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const TickHistory& history = model.history();
  const int columns = std::min(area.width - kAxisWidth, static_cast<int>(history.size()));
  const auto range = occupied_bins(history, columns);
  if (!range || columns <= 0 || area.height <= 0) {
    std::string text = "no run-queue latency yet";
    if (model.scene.subject.empty()) {
      text = "no subject: add --pid, --cgroup or -- COMMAND to see its threads' scheduling";
    } else if (!history.empty() && !history.back().run_queue) {
      text =
          "the scheduler probe's rung gives sums only, no distribution; topspin doctor says more";
    }
    grid.put(area.x + 1, area.y, text, Role::kDim, area.width - 2);
    return;
  }
  // As few bins per row as possible, with an empty row around the occupied bins if there is room.
  const size_t span = range->last - range->first + 1;
  const size_t per_row =
      (span + static_cast<size_t>(area.height) - 1) / static_cast<size_t>(area.height);
  const auto rows = static_cast<int>((span + per_row - 1) / per_row);
  uint64_t most = 1;
  const auto count_of = [&](size_t ago, int row) {
    uint64_t count = 0;
    for (size_t i = 0; i < per_row; ++i) {
      const size_t bin = range->first + static_cast<size_t>(row) * per_row + i;
      if (bin <= range->last) count += history.back(ago).heat[bin];
    }
    return count;
  };
  for (int column = 0; column < columns; ++column) {
    for (int row = 0; row < rows; ++row) {
      most = std::max(most, count_of(static_cast<size_t>(columns - 1 - column), row));
    }
  }
  // Logarithmic, because the rare long waits are the interesting ones.
  const double scale = std::log2(static_cast<double>(most) + 1);
  const int bottom = area.y + area.height - 1;
  for (int row = 0; row < rows; ++row) {
    const int y = bottom - row;
    const size_t bin = range->first + static_cast<size_t>(row) * per_row;
    if (row % 2 == 0 || rows < 6) {
      grid.put_right(area.x, y, format_duration(heat_bin_min_ns(bin)), kAxisWidth - 1, Role::kDim);
    }
    for (int column = 0; column < columns; ++column) {
      const uint64_t count = count_of(static_cast<size_t>(columns - 1 - column), row);
      if (count == 0) continue;
      const double share = std::log2(static_cast<double>(count) + 1) / scale;
      const int level =
          std::clamp(static_cast<int>(std::ceil(share * kHeatLevels)), 1, kHeatLevels);
      put_heat(grid, area.x + kAxisWidth + column, y, level, state.colours);
    }
  }
}

std::string number_or_dash(const std::optional<uint64_t>& number) {
  return number ? format_count(*number) : "-";
}

void draw_numbers(Grid& grid, Area area, const Model& model) {
  if (model.history().empty()) return;
  const TickPoint& point = model.history().back();
  const LatencyPoint latency = point.run_queue.value_or(LatencyPoint{});
  const auto rate = [&](const std::optional<uint64_t>& count) -> std::string {
    if (!count) return "-";
    const auto value = per_second(*count, point.interval_ns);
    return value ? format_count(static_cast<uint64_t>(std::llround(*value))) : "-";
  };
  std::optional<double> waiting;
  // If single waits are not measured, show the kernel's own sum, under its own name.
  const bool by_kernel = !point.run_queue_wait_ns && point.kernel_run_delay_ns;
  const auto& wait_ns = by_kernel ? point.kernel_run_delay_ns : point.run_queue_wait_ns;
  if (wait_ns && point.interval_ns > 0)
    waiting = static_cast<double>(*wait_ns) / static_cast<double>(point.interval_ns);
  const auto latency_of = [](const std::optional<LatencyPoint>& of) {
    return of.value_or(LatencyPoint{});
  };
  const LatencyPoint slice = latency_of(point.slice);
  const LatencyPoint oversleep = latency_of(point.timer_oversleep);
  const std::optional<uint64_t> by_own =
      point.preempted_by[static_cast<size_t>(Preemptor::kSameProcess)].count;
  std::optional<uint64_t> by_others;
  for (size_t by = 0; by < kPreemptorCount; ++by) {
    const auto& count = point.preempted_by[by].count;
    if (count && static_cast<Preemptor>(by) != Preemptor::kSameProcess) {
      by_others = by_others.value_or(0) + *count;
    }
  }
  std::vector<std::pair<std::string, std::string>> lines = {
      {"waits", point.run_queue ? format_exact(latency.count) : "-"},
      {"p50", duration_or_dash(latency.p50)},
      {"p90", duration_or_dash(latency.p90)},
      {"p99", duration_or_dash(latency.p99)},
      {"max", duration_or_dash(latency.max)},
      {by_kernel ? "kernel run_delay" : "waiting for a CPU", share_text(waiting)},
      {"on a CPU", share_text(point.cpu_cores)},
      {"voluntary/s", rate(point.voluntary_switches)},
      {"preempted/s", rate(point.involuntary_switches)},
      {"migrations/s", rate(point.migrations)},
  };
  // Numbers that the probe's rung does not have take no room.
  const auto preempted = lines.end() - 1;
  if (by_own || by_others) {
    lines.insert(preempted,
                 {{"  by own threads/s", rate(by_own)}, {"  by others/s", rate(by_others)}});
  }
  if (point.slice) {
    lines.emplace_back("slice p50", duration_or_dash(slice.p50));
    lines.emplace_back("slice p99", duration_or_dash(slice.p99));
    lines.emplace_back("slice max", duration_or_dash(slice.max));
  }
  if (point.timer_oversleep) {
    lines.emplace_back("timers late p99", duration_or_dash(oversleep.p99));
    lines.emplace_back("timers late max", duration_or_dash(oversleep.max));
  }
  for (size_t i = 0; i < lines.size() && static_cast<int>(i) < area.height; ++i) {
    draw_value(grid, area.x, area.y + static_cast<int>(i), area.width, lines[i].first,
               lines[i].second, lines[i].second == "-" ? Role::kDim : Role::kStrong);
  }
}

/// The value in this tick. It is 0 for a thread that has no row in this tick.
std::optional<uint64_t> of_this_tick(const std::optional<uint64_t>& value,
                                     const ThreadEntry& thread, const Model& model) {
  return thread.changed_tick == model.tick() || !value ? value : std::optional<uint64_t>(0);
}

std::optional<uint64_t> preempted_by_own(const ThreadRow& row) {
  return row.preempted_by[static_cast<size_t>(Preemptor::kSameProcess)];
}

/// Preemptions by others: other processes, the kernel's threads, or the cgroup's quota.
std::optional<uint64_t> preempted_by_others(const ThreadRow& row) {
  std::optional<uint64_t> sum;
  for (size_t by = 0; by < kPreemptorCount; ++by) {
    if (static_cast<Preemptor>(by) == Preemptor::kSameProcess || !row.preempted_by[by]) continue;
    sum = sum.value_or(0) + *row.preempted_by[by];
  }
  return sum;
}

/// The reason for which the thread slept longest in total; the first reason if it never slept.
size_t longest_asleep(const ThreadRow& row) {
  const auto longest = std::ranges::max_element(
      row.blocked_by, {}, [](const OffCpuTime& sleeps) { return sleeps.ns.value_or(0); });
  return static_cast<size_t>(longest - row.blocked_by.begin());
}

uint64_t thread_value(ThreadColumn column, const ThreadEntry& thread, const Model& model) {
  const ThreadRow& row = thread.row;
  const auto of_tick = [&](const std::optional<uint64_t>& value) {
    return of_this_tick(value, thread, model).value_or(0);
  };
  switch (column) {
    case ThreadColumn::kWait: return of_tick(thread.tick_wait_ns);
    case ThreadColumn::kWaitMax: return row.run_queue_wait_max_ns.value_or(0);
    case ThreadColumn::kWaits: return row.run_queue_waits.value_or(0);
    case ThreadColumn::kCpu: return of_tick(thread.tick_cpu_ns);
    case ThreadColumn::kSwitches: return of_tick(thread.tick_switches);
    case ThreadColumn::kInvoluntary: return row.involuntary_switches.value_or(0);
    case ThreadColumn::kPreemptedByOwn: return preempted_by_own(row).value_or(0);
    case ThreadColumn::kPreemptedByOthers: return preempted_by_others(row).value_or(0);
    case ThreadColumn::kSlice:
      return row.on_cpu ? static_cast<uint64_t>(row.on_cpu->percentile(0.5).value_or(0)) : 0;
    case ThreadColumn::kStretch: return row.busy_stretch_max_ns.value_or(0);
    case ThreadColumn::kAsleep: return row.blocked_by[longest_asleep(row)].ns.value_or(0);
    case ThreadColumn::kTid: return static_cast<uint64_t>(row.tid);
    case ThreadColumn::kCount: break;
  }
  return 0;
}

struct ThreadColumnLook {
  ThreadColumn column;
  std::string_view title;
  int width;
};
constexpr std::array<ThreadColumnLook, 12> kThreadColumns = {{
    {ThreadColumn::kTid, "Thread", 8},
    {ThreadColumn::kWait, "Wait", 8},
    {ThreadColumn::kCpu, "CPU", 7},
    {ThreadColumn::kWaitMax, "Longest", 8},
    {ThreadColumn::kWaits, "Waits", 7},
    {ThreadColumn::kSwitches, "Switch", 7},
    {ThreadColumn::kInvoluntary, "Preempted", 9},
    {ThreadColumn::kPreemptedByOwn, "By own", 7},
    {ThreadColumn::kPreemptedByOthers, "By others", 9},
    {ThreadColumn::kSlice, "Slice p50", 9},
    {ThreadColumn::kStretch, "Stretch", 8},
    {ThreadColumn::kAsleep, "Asleep in", 10},
}};

std::string thread_cell(ThreadColumn column, const ThreadEntry& thread, const Model& model) {
  const ThreadRow& row = thread.row;
  const auto duration = [](const std::optional<uint64_t>& ns) {
    return ns ? format_duration(static_cast<int64_t>(*ns)) : "-";
  };
  const auto of_tick = [&](const std::optional<uint64_t>& value) {
    return of_this_tick(value, thread, model);
  };
  switch (column) {
    case ThreadColumn::kTid: return fmt::format("{}", row.tid);
    case ThreadColumn::kWait: return duration(of_tick(thread.tick_wait_ns));
    case ThreadColumn::kWaitMax: return duration(row.run_queue_wait_max_ns);
    case ThreadColumn::kWaits: return number_or_dash(row.run_queue_waits);
    case ThreadColumn::kCpu: {
      const auto cpu_ns = of_tick(thread.tick_cpu_ns);
      if (!cpu_ns || model.history().empty() || model.history().back().interval_ns <= 0) return "-";
      return share_text(static_cast<double>(*cpu_ns) /
                        static_cast<double>(model.history().back().interval_ns));
    }
    case ThreadColumn::kSwitches: return number_or_dash(of_tick(thread.tick_switches));
    case ThreadColumn::kInvoluntary: return number_or_dash(row.involuntary_switches);
    case ThreadColumn::kPreemptedByOwn: return number_or_dash(preempted_by_own(row));
    case ThreadColumn::kPreemptedByOthers: return number_or_dash(preempted_by_others(row));
    case ThreadColumn::kSlice:
      return duration(row.on_cpu ? row.on_cpu->percentile(0.5) : std::nullopt);
    case ThreadColumn::kStretch: return duration(row.busy_stretch_max_ns);
    case ThreadColumn::kAsleep: {
      const size_t reason = longest_asleep(row);
      if (row.blocked_by[reason].count.value_or(0) == 0) return "-";
      return std::string(blocked_by_name(static_cast<BlockedBy>(reason)));
    }
    case ThreadColumn::kCount: break;
  }
  return {};
}

void draw_threads(Grid& grid, Area area, const Model& model, const ViewState& state) {
  if (area.height <= 0) return;
  const std::vector<ThreadEntry>& threads = model.threads();
  std::vector<uint32_t> order(threads.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  const ListState list = state.list("scheduler");
  const auto sort = static_cast<ThreadColumn>(list.sort);
  const bool upwards = (sort == ThreadColumn::kTid) != list.reverse;
  const auto before = [&](uint32_t a, uint32_t b) {
    const uint64_t va = thread_value(sort, threads[a], model);
    const uint64_t vb = thread_value(sort, threads[b], model);
    if (va != vb) return upwards ? va < vb : va > vb;
    return threads[a].row.tid < threads[b].row.tid;
  };
  const auto rows = static_cast<uint64_t>(std::max(area.height - 1, 0));
  const uint64_t count = std::min<uint64_t>(rows, order.size());
  const uint64_t top = std::min<uint64_t>(list.top, order.size() - count);
  if (count > 0) {
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(top + count),
                      order.end(), before);
  }
  // First the name, then as many numbers as fit.
  const int name_width = std::min(16, std::max(area.width - 1, 0));
  std::vector<ThreadColumnLook> columns;
  int x = 1 + name_width;
  for (const ThreadColumnLook& look : kThreadColumns) {
    if (x + 1 + look.width > area.width) break;
    columns.push_back(look);
    x += 1 + look.width;
  }
  grid.put(area.x + 1, area.y, fmt::format("Name ({})", format_exact(threads.size())), Role::kDim,
           name_width);
  x = 1 + name_width;
  for (const ThreadColumnLook& look : columns) {
    const bool sorted = look.column == sort;
    std::string title(look.title);
    if (sorted) {
      const std::string_view arrow = grid.ascii() ? (upwards ? "^" : "v") : (upwards ? "▲" : "▼");
      title = fmt::format("{}{}", arrow, title);
    }
    grid.put_right(area.x + x + 1, area.y, title, look.width, sorted ? Role::kAccent : Role::kDim);
    x += 1 + look.width;
  }
  for (uint64_t i = 0; i < count; ++i) {
    const ThreadEntry& thread = threads[order[top + i]];
    const int y = area.y + 1 + static_cast<int>(i);
    const Role role = thread.row.exited ? Role::kDim : Role::kNormal;
    grid.put(area.x + 1, y, thread.row.name.empty() ? "?" : thread.row.name, role, name_width);
    x = 1 + name_width;
    for (const ThreadColumnLook& look : columns) {
      const std::string text = thread_cell(look.column, thread, model);
      grid.put_right(area.x + x + 1, y, whole_or_ellipsis(grid, text, look.width), look.width,
                     text == "-" ? Role::kDim : role);
      x += 1 + look.width;
    }
  }
}

}  // namespace

static void draw_scheduler(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const int threads = static_cast<int>(std::min<size_t>(model.threads().size(), 200));
  // The heat map gets most of the room; the threads at most two fifths.
  int thread_rows = threads == 0 ? 0 : std::min(threads + 1, std::max(area.height * 2 / 5, 3));
  if (area.height < 6) thread_rows = 0;
  const int heat_height = std::max(area.height - thread_rows - (thread_rows > 0 ? 1 : 0), 0);
  const bool with_numbers = area.width >= 70;
  const int heat_width = with_numbers ? area.width - kNumbersWidth - 2 : area.width;
  if (heat_height > 2) {
    grid.put(area.x + 1, area.y, "run-queue latency: runnable until running", Role::kDim,
             heat_width - 1);
    draw_heat(grid, {area.x, area.y + 1, heat_width, heat_height - 1}, model, state);
  } else {
    draw_heat(grid, {area.x, area.y, heat_width, heat_height}, model, state);
  }
  if (with_numbers) {
    draw_numbers(grid, {area.x + heat_width + 1, area.y, kNumbersWidth, heat_height}, model);
  }
  if (thread_rows > 0) {
    draw_threads(grid, {area.x, area.y + area.height - thread_rows, area.width, thread_rows}, model,
                 state);
  }
}

namespace {

uint64_t scheduler_rows(const Model& model, const ViewState&) { return model.threads().size(); }

/// In a replay, Home and End go to the start and end of the run.
bool press_scheduler(ScreenPress& press) {
  if (!press.replay) return false;
  if (press.command == Command::kHome) press.effect = Effect::kToStart;
  if (press.command == Command::kEnd) press.effect = Effect::kToEnd;
  return press.effect != Effect::kNone;
}

int scheduler_height(const Model& model, const ViewState&, int rows) {
  constexpr int kGraphHeight = 24;
  return kGraphHeight +
         static_cast<int>(std::min<size_t>(model.threads().size(), static_cast<size_t>(rows)));
}

}  // namespace

const Screen& scheduler_screen() {
  static const Screen kScreen = {
      .name = "scheduler",
      .title = "Scheduler",
      .short_title = "Sched",
      .key = U'2',
      .what = "how long threads wait for a CPU, and which",
      .draw = draw_scheduler,
      .rows = scheduler_rows,
      .sort_columns = static_cast<size_t>(ThreadColumn::kCount),
      .press = press_scheduler,
      .plain_height = scheduler_height,
  };
  return kScreen;
}

}  // namespace topspin
