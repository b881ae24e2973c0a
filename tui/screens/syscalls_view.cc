// Syscalls: the subject's system calls, how often they are made, how long each takes, and for how
// much of that it is blocked.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "tui/screens/parts.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/terminal/number_table.h"

namespace topspin {
namespace {

enum class SyscallColumn : uint8_t {
  kTime,
  kRate,
  kMedian,
  kTail,
  kLongest,
  kErrors,
  kBlocked,
  kCount
};

constexpr std::array<NumberColumn, 9> kSyscallColumns = {{
    {"Time/s", 8},  // all threads together
    {"Calls/s", 8},
    {"p50", 8},
    {"p99", 8},
    {"Longest", 8},
    {"Errors", 7},
    {"Blocked", 7},
    {"Calls", 8},
    {"On CPU", 8},
}};
static_assert(static_cast<size_t>(SyscallColumn::kCount) == kSyscallColumns.size() - 2);

uint64_t of_tick(const SyscallEntry& call, uint64_t value, const Model& model) {
  return call.changed_tick == model.tick() ? value : 0;
}

uint64_t sort_value(SyscallColumn column, const SyscallEntry& call, const Model& model) {
  const SyscallRow& row = call.row;
  switch (column) {
    case SyscallColumn::kTime: return of_tick(call, call.tick_ns, model);
    case SyscallColumn::kRate: return of_tick(call, call.tick_count, model);
    case SyscallColumn::kMedian:
      return static_cast<uint64_t>(row.latency.percentile(0.5).value_or(0));
    case SyscallColumn::kTail:
      return static_cast<uint64_t>(row.latency.percentile(0.99).value_or(0));
    case SyscallColumn::kLongest: return static_cast<uint64_t>(row.latency.max().value_or(0));
    case SyscallColumn::kErrors: return row.errors;
    case SyscallColumn::kBlocked: return row.blocked_ns;
    case SyscallColumn::kCount: break;
  }
  return 0;
}

std::string cell(size_t column, const SyscallEntry& call, const Model& model) {
  const SyscallRow& row = call.row;
  const int64_t interval_ns = model.history().empty() ? 0 : model.history().back().interval_ns;
  const auto duration = [](const auto& ns) -> std::string {
    return ns ? format_duration(static_cast<int64_t>(*ns)) : "-";
  };
  switch (column) {
    case 0: {
      if (interval_ns <= 0) return "-";
      const double share = static_cast<double>(of_tick(call, call.tick_ns, model)) /
                           static_cast<double>(interval_ns);
      return format_duration(std::llround(share * 1e9));
    }
    case 1: {
      const auto rate = per_second(of_tick(call, call.tick_count, model), interval_ns);
      return rate ? format_count(static_cast<uint64_t>(std::llround(*rate))) : "-";
    }
    case 2: return duration(row.latency.summary().p50);
    case 3: return duration(row.latency.summary().p99);
    case 4: return duration(row.latency.max());
    case 5: return format_count(row.errors);
    case 6:
      if (row.latency.sum() == 0) return "-";
      return share_text(std::min(
          1.0, static_cast<double>(row.blocked_ns) / static_cast<double>(row.latency.sum())));
    case 7: return format_count(row.count);
    default: return format_duration(static_cast<int64_t>(row.working_ns()));
  }
}

}  // namespace

static void draw_syscalls(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const std::vector<SyscallEntry>& calls = model.syscalls();
  if (calls.empty()) {
    draw_why_not(grid, area, model, "syscalls", "no system call has returned yet");
    return;
  }
  const ListState list = state.list("syscalls");
  std::vector<uint32_t> order(calls.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::vector<uint64_t> values;
  values.reserve(calls.size());
  for (const SyscallEntry& call : calls) {
    values.push_back(sort_value(static_cast<SyscallColumn>(list.sort), call, model));
  }
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    if (values[a] != values[b]) return list.reverse ? values[a] < values[b] : values[a] > values[b];
    return calls[a].row.number < calls[b].row.number;
  });
  NumberTable table(grid, area, std::clamp(area.width / 5, 14, 22), kSyscallColumns);
  table.draw_titles(fmt::format("Call ({})", calls.size()), list.sort, list.reverse);
  const auto rows = static_cast<uint64_t>(std::max(area.height - 1, 0));
  const uint64_t top =
      std::min<uint64_t>(list.top, order.size() - std::min<uint64_t>(rows, order.size()));
  for (uint64_t i = 0; i < rows && top + i < order.size(); ++i) {
    const SyscallEntry& call = calls[order[top + i]];
    table.draw_row(
        static_cast<int>(i), call.row.name,
        [&](size_t column) { return cell(column, call, model); },
        call.changed_tick == model.tick() ? Role::kNormal : Role::kDim);
  }
}

namespace {

uint64_t syscalls_rows(const Model& model, const ViewState&) { return model.syscalls().size(); }

}  // namespace

const Screen& syscalls_screen() {
  static const Screen kScreen = {
      .name = "syscalls",
      .title = "Syscalls",
      .short_title = "Sys",
      .key = U'7',
      .what = "what the subject asks of the kernel, and for how long",
      .draw = draw_syscalls,
      .rows = syscalls_rows,
      .sort_columns = static_cast<size_t>(SyscallColumn::kCount),
  };
  return kScreen;
}

}  // namespace topspin
