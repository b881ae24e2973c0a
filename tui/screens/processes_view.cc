// Processes: whose traffic it is and what it costs: flows, rates, CPU, waits for a CPU, memory.
//
// While it is shown live it reads /proc, of the whole host where no subject was given. A replay has
// what was recorded: the owners of flows and the subject's threads.
#include <algorithm>
#include <any>
#include <array>
#include <filesystem>
#include <map>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/proc_stat.h"
#include "core/read_file.h"
#include "core/text.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/terminal/number_table.h"

namespace topspin {
namespace {

/// A process as /proc tells of it. Its identity is (pid, start_ticks).
struct Reading {
  uint64_t start_ticks = 0;
  std::string name;
  uint64_t cpu_ticks = 0;           // user and system
  std::optional<uint64_t> wait_ns;  // of its threads, for a CPU
  int64_t rss_bytes = 0;
};

/// The last two times that /proc was read.
struct HostProcesses {
  int64_t read_ns = 0;
  int64_t interval_ns = 0;  // between the two; 0: there is one
  std::map<int32_t, Reading> now, before;
};

constexpr size_t kMostBytes = 64 << 10;

/// Of each thread the second word of schedstat. `budget`: so many threads may still be read.
std::optional<uint64_t> read_wait(const std::string& folder, size_t& budget) {
  uint64_t sum = 0;
  bool any = false;
  std::error_code error;
  std::filesystem::directory_iterator task(folder + "/task", error), end;
  for (; !error && task != end; task.increment(error)) {
    if (budget == 0) return std::nullopt;
    --budget;
    const auto text = read_file(task->path().string() + "/schedstat", kMostBytes);
    if (!text.ok()) continue;
    unsigned long long cpu_ns = 0, wait_ns = 0;
    if (std::sscanf(text->c_str(), "%llu %llu", &cpu_ns, &wait_ns) != 2) continue;
    sum += wait_ns;
    any = true;
  }
  return any ? std::optional(sum) : std::nullopt;
}

std::optional<Reading> read_process(int32_t pid, size_t& thread_budget) {
  const std::string folder = fmt::format("/proc/{}", pid);
  const auto text = read_file(folder + "/stat", kMostBytes);
  if (!text.ok()) return std::nullopt;
  auto stat = parse_proc_stat(*text);
  if (!stat || stat->ended()) return std::nullopt;
  return Reading{stat->start_ticks, std::move(stat->name), stat->cpu_ticks,
                 read_wait(folder, thread_budget), stat->rss_pages * sysconf(_SC_PAGESIZE)};
}

/// Of the subject and whose flows there are; of the whole host where there is no subject.
std::vector<int32_t> pids_to_read(const Model& model) {
  std::vector<int32_t> pids;
  if (model.scene.subject.empty()) {
    std::error_code error;
    std::filesystem::directory_iterator entry("/proc", error), end;
    for (; !error && entry != end; entry.increment(error)) {
      if (const int pid = std::atoi(entry->path().filename().c_str()); pid > 0) pids.push_back(pid);
    }
    return pids;
  }
  for (const ThreadEntry& thread : model.threads()) pids.push_back(thread.row.pid);
  for (const FlowEntry& flow : model.flows()) {
    for (const auto& number : flow.row.owners) {
      if (const FlowOwner* owner = model.owners().find(number)) pids.push_back(owner->pid);
    }
  }
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

void look_up_processes(Model& model, int64_t now_ns) {
  // A bound on the time that this takes: some 20 us a thread.
  constexpr size_t kMostProcesses = 4'096;
  size_t thread_budget = 4'096;
  std::any& kept = model.looked_up["processes"];
  HostProcesses next;
  if (auto* last = std::any_cast<HostProcesses>(&kept)) {
    next.before = std::move(last->now);
    next.interval_ns = now_ns - last->read_ns;
  }
  next.read_ns = now_ns;
  for (const int32_t pid : pids_to_read(model)) {
    if (next.now.size() >= kMostProcesses) break;
    if (auto reading = read_process(pid, thread_budget)) next.now[pid] = std::move(*reading);
  }
  kept = std::move(next);
}

struct ProcessRow {
  int32_t pid = 0;
  std::string name;  // hostile text
  uint64_t flows = 0;
  double in_rate = 0, out_rate = 0;  // bytes a second on the wire
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

void add_readings(Rows& rows, const HostProcesses& host) {
  const double tick_ns = 1e9 / static_cast<double>(sysconf(_SC_CLK_TCK));
  const auto interval_ns = static_cast<double>(host.interval_ns);
  for (const auto& [pid, now] : host.now) {
    ProcessRow& row = rows[pid];
    row.name = now.name;
    row.rss_bytes = now.rss_bytes;
    const auto before = host.before.find(pid);
    if (interval_ns <= 0 || before == host.before.end() ||
        before->second.start_ticks != now.start_ticks)
      continue;
    if (now.cpu_ticks >= before->second.cpu_ticks)
      row.cpu =
          static_cast<double>(now.cpu_ticks - before->second.cpu_ticks) * tick_ns / interval_ns;
    // A sum that shrank has lost threads.
    const auto& waited = before->second.wait_ns;
    if (now.wait_ns && waited && *now.wait_ns >= *waited)
      row.wait = static_cast<double>(*now.wait_ns - *waited) / interval_ns;
  }
}

/// Of a replay, where there is no /proc to read.
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

/// In the order of the screen: by the chosen column, then by CPU, then by number.
std::vector<ProcessRow> sorted_rows(const Model& model, const ListState& list) {
  Rows rows;
  add_flows(rows, model);
  const auto kept = model.looked_up.find("processes");
  const auto* host =
      kept == model.looked_up.end() ? nullptr : std::any_cast<HostProcesses>(&kept->second);
  if (host != nullptr)
    add_readings(rows, *host);
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
  // In a replay the key goes to the worst lateness, as everywhere.
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
  return 1 + static_cast<int>(std::clamp<uint64_t>(processes_rows(model, state), 1,
                                                   static_cast<uint64_t>(rows)));
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
                                 .plain_height = processes_height,
                                 .look_up = look_up_processes};
  return kScreen;
}

}  // namespace topspin
