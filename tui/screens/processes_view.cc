// Processes: the owners of the traffic and their costs: flows, rates, CPU, waits for a CPU, memory.
//
// While it is shown live, Model::processes has data from /proc, for the whole host if no subject
// was given. A replay has only what was recorded: the owners of flows and the subject's threads.
#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/terminal/number_table.h"

namespace topspin {
namespace {

struct ProcessRow {
  int32_t pid = 0;
  std::string name;  // hostile text
  uint64_t flows = 0;
  double in_rate = 0, out_rate = 0;  // bytes per second on the wire
  std::optional<double> cpu, wait;   // 1.0: one core, one thread waiting all the time
  std::optional<int64_t> rss_bytes;
};

using Rows = std::map<int32_t, ProcessRow>;

void add_flows(Rows& rows, const Model& model) {
  const int64_t interval_ns = model.history().empty() ? 0 : model.history().back().flow_interval_ns;
  for (const FlowEntry& flow : model.flows()) {
    if (flow.row.ended) continue;
    for (size_t end = 0; end < 2; ++end) {
      const FlowOwner* owner = model.owners().find(flow.row.owners[end]);
      if (owner == nullptr) continue;
      ProcessRow& row = rows[owner->pid];
      row.name = owner->name;
      ++row.flows;
      if (flow.changed_tick != model.tick()) continue;
      row.out_rate += per_second(flow.tick_bytes_of[end], interval_ns).value_or(0);
      row.in_rate += per_second(flow.tick_bytes_of[1 - end], interval_ns).value_or(0);
    }
  }
}

void add_readings(Rows& rows, const ProcessTable& table) {
  for (const auto& [pid, now] : table.now()->processes) {
    ProcessRow& row = rows[pid];
    row.name = now.name;
    row.rss_bytes = now.rss_bytes;
    row.cpu = table.cpu(pid);
    row.wait = table.wait(pid);
  }
}

/// For a replay, which has no data from /proc.
void add_threads(Rows& rows, const Model& model) {
  const int64_t interval_ns = model.history().empty() ? 0 : model.history().back().interval_ns;
  if (interval_ns <= 0) return;
  const auto add = [&](std::optional<double>& sum, const std::optional<uint64_t>& ns) {
    if (ns) sum = sum.value_or(0) + static_cast<double>(*ns) / static_cast<double>(interval_ns);
  };
  for (const ThreadEntry& thread : model.threads()) {
    if (thread.row.exited) continue;
    ProcessRow& row = rows[thread.row.pid];
    if (row.name.empty() || thread.row.tid == thread.row.pid) row.name = thread.row.name;
    if (thread.changed_tick != model.tick()) continue;
    add(row.cpu, thread.tick_cpu_ns);
    add(row.wait, thread.tick_wait_ns);
  }
}

constexpr std::array<NumberColumn, 7> kProcessColumns = {{
    {"Flows", 7},
    {"In", 10},
    {"Out", 10},
    {"CPU", 7},
    {"Wait", 7},
    {"RSS", 8},
    {"PID", 8},
}};

double sort_value(const ProcessRow& row, size_t column) {
  switch (column) {
    case 0: return static_cast<double>(row.flows);
    case 1: return row.in_rate;
    case 2: return row.out_rate;
    case 3: return row.cpu.value_or(-1);
    case 4: return row.wait.value_or(-1);
    case 5: return static_cast<double>(row.rss_bytes.value_or(-1));
    default: return row.pid;
  }
}

std::string cell(const ProcessRow& row, size_t column) {
  switch (column) {
    case 0: return format_count(row.flows);
    case 1: return fmt::format("{}/s", format_bytes(static_cast<int64_t>(row.in_rate)));
    case 2: return fmt::format("{}/s", format_bytes(static_cast<int64_t>(row.out_rate)));
    case 3: return share_text(row.cpu);
    case 4: return share_text(row.wait);
    case 5: return bytes_or_dash(row.rss_bytes);
    default: return fmt::format("{}", row.pid);
  }
}

/// Rows in the order of the screen: by the chosen column, then by CPU, then by pid.
std::vector<ProcessRow> sorted_rows(const Model& model, const ListState& list) {
  Rows rows = model.derived("flows of processes", 0, [&] {
    Rows of_flows;
    add_flows(of_flows, model);
    return of_flows;
  });
  if (model.processes.now())
    add_readings(rows, model.processes);
  else
    add_threads(rows, model);
  std::vector<ProcessRow> sorted;
  sorted.reserve(rows.size());
  for (auto& [pid, row] : rows) {
    row.pid = pid;
    sorted.push_back(std::move(row));
  }
  std::sort(sorted.begin(), sorted.end(), [&](const ProcessRow& a, const ProcessRow& b) {
    const double left = sort_value(a, list.sort), right = sort_value(b, list.sort);
    if (left != right) return list.reverse ? left < right : left > right;
    if (a.cpu != b.cpu) return a.cpu > b.cpu;
    return a.pid < b.pid;
  });
  return sorted;
}

uint64_t left_out_of(const Model& model) {
  return model.processes.now() ? model.processes.now()->left_out : 0;
}

void draw_processes(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const ListState list = state.list("processes");
  const std::vector<ProcessRow> rows = sorted_rows(model, list);
  if (rows.empty()) {
    grid.put(area.x + 1, area.y, "no process is known to have a flow yet", Role::kDim,
             area.width - 2);
    return;
  }
  NumberTable table(grid, area, std::clamp(area.width / 4, 12, 24), kProcessColumns);
  table.draw_titles(fmt::format("Process ({})", format_exact(rows.size())), list.sort,
                    list.reverse);
  if (const uint64_t left_out = left_out_of(model); left_out > 0 && area.height > 1) {
    --area.height;
    grid.put(area.x + 1, area.y + area.height,
             fmt::format("{} more processes were not read: more than one look takes in",
                         format_exact(left_out)),
             Role::kWarning, area.width - 2);
  }
  const auto visible = static_cast<uint64_t>(std::max(area.height - 1, 0));
  const uint64_t top = top_of_list(list, rows.size(), visible);
  const uint64_t selected = std::min<uint64_t>(list.selected, rows.size() - 1);
  for (uint64_t i = 0; i < visible && top + i < rows.size(); ++i) {
    const ProcessRow& row = rows[top + i];
    table.draw_row(
        static_cast<int>(i), row.name.empty() ? "?" : row.name,
        [&](size_t column) { return cell(row, column); }, Role::kNormal, top + i == selected);
  }
}

uint64_t processes_rows(const Model& model, const ViewState& state) {
  return sorted_rows(model, state.list("processes")).size();
}

bool press_processes(ScreenPress& press) {
  // In a replay this key goes to the worst lateness, as on every screen.
  if (press.key != character_key(U'w') || press.replay) return false;
  const ListState list = press.state.list("processes");
  const std::vector<ProcessRow> rows = sorted_rows(press.model, list);
  if (rows.empty()) return true;
  press.state.wanted_pid = rows[std::min<uint64_t>(list.selected, rows.size() - 1)].pid;
  press.effect = Effect::kWatchProcess;
  return true;
}

constexpr std::array<ScreenKey, 1> kKeys = {{
    {"w", "live: makes the process under the cursor the subject; counting starts anew"},
}};

int processes_height(const Model& model, const ViewState& state, int rows) {
  const int note = left_out_of(model) > 0 ? 1 : 0;
  return 1 + note +
         static_cast<int>(
             std::clamp<uint64_t>(processes_rows(model, state), 1, static_cast<uint64_t>(rows)));
}

}  // namespace

const Screen& processes_screen() {
  static const Screen kScreen = {.name = "processes",
                                 .title = "Processes",
                                 .short_title = "Proc",
                                 .key = U'0',
                                 .what = "each process: flows, rates, CPU, waits for a CPU, memory",
                                 .draw = draw_processes,
                                 .rows = processes_rows,
                                 .has_cursor = true,
                                 .sort_columns = kProcessColumns.size(),
                                 .press = press_processes,
                                 .keys = kKeys,
                                 .plain_height = processes_height};
  return kScreen;
}

}  // namespace topspin
