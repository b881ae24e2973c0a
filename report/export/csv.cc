// `topspin export --format csv`: one table with a header. csv_line.h says how lines are written.
#include <array>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/text.h"
#include "report/export/csv_line.h"
#include "report/export/export.h"
#include "report/export/rows.h"

namespace topspin {
namespace {

/// Writes the cells of a line. The header line is made by the same calls, with names for values.
class LineWriter {
 public:
  explicit LineWriter(bool header) : header_(header) {}

  template <typename T>
  void operator()(std::string_view name, const T& value) {
    if (header_)
      line_.text(name);
    else
      put(value);
  }
  std::string end() && { return std::move(line_).end(); }
  bool header() const { return header_; }

 private:
  template <typename T>
  requires std::is_integral_v<T>
  void put(T value) {
    if constexpr (std::is_same_v<T, bool>)
      line_.number(value ? 1 : 0);
    else
      line_.number(value);
  }
  template <typename T>
  void put(const std::optional<T>& value) {
    if (value)
      put(*value);
    else
      line_.absent();
  }
  void put(const std::string& value) {
    if (value.empty())
      line_.absent();
    else
      line_.text(value);
  }

  bool header_;
  CsvLine line_;
};

/// A histogram's percentiles: reply_latency_ns_count, _sum, _min, _p50, ...
void add_summary(LineWriter& line, std::string_view name,
                 const std::optional<HistogramSummary>& summary) {
  const auto cell = [&](std::string_view part, auto of) {
    std::optional<int64_t> value;
    if (summary) value = of(*summary);
    line(joined(name, part), value);
  };
  cell("_count", [](const auto& s) { return std::optional(static_cast<int64_t>(s.count)); });
  cell("_sum", [](const auto& s) { return std::optional(s.sum); });
  cell("_min", [](const auto& s) { return s.min; });
  cell("_p50", [](const auto& s) { return s.p50; });
  cell("_p90", [](const auto& s) { return s.p90; });
  cell("_p99", [](const auto& s) { return s.p99; });
  cell("_p999", [](const auto& s) { return s.p999; });
  cell("_max", [](const auto& s) { return s.max; });
}

template <typename H>
std::optional<HistogramSummary> summary_of(const std::optional<H>& histogram) {
  return histogram ? std::optional(histogram->summary()) : std::nullopt;
}
template <typename H>
std::optional<HistogramSummary> summary_of(const H& histogram) {
  return histogram.summary();
}

void add_row(LineWriter& line, const Sample& sample) {
  const auto cell = [&](const auto& name, const auto& value) { line(name, value); };
  for_each_tick_field(sample, cell);
  for_each_tick_histogram(sample, [&](std::string_view name, const auto& histogram) {
    add_summary(line, name, line.header() ? std::nullopt : summary_of(histogram));
  });
}
void add_row(LineWriter& line, const FlowRow& flow) {
  for_each_flow_field(flow, [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const ThreadRow& thread) {
  for_each_thread_field(thread, [&](const auto& name, const auto& value) { line(name, value); });
  for_each_thread_histogram(thread, [&](std::string_view name, const auto& histogram) {
    add_summary(line, name, summary_of(histogram));
  });
}
void add_row(LineWriter& line, const FlowOwner& owner) {
  for_each_owner_field(owner, [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const SocketRow& socket) {
  for_each_socket_field(socket, [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const SyscallRow& syscall) {
  for_each_syscall_field(syscall, [&](const auto& name, const auto& value) { line(name, value); });
  add_summary(line, "latency_ns", syscall.latency.summary());
}
void add_row(LineWriter& line, const CalledRow& called) {
  for_each_called_field(called, [&](const auto& name, const auto& value) { line(name, value); });
  add_summary(line, "latency_ns", called.latency.summary());
}

void add_row(LineWriter& line, const CpuHolderRow& holder) {
  for_each_cpu_holder_field(holder,
                            [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const StackRow& stack) {
  for_each_stack_field(stack, [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const SleepStackRow& stack) {
  for_each_sleep_stack_field(stack,
                             [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const BusyStretch& stretch) {
  for_each_busy_stretch_field(stretch,
                              [&](const auto& name, const auto& value) { line(name, value); });
  // "12:5 3:1": numbers of stacks, and the samples in each.
  std::string stacks;
  for (const StretchStack& stack : stretch.stacks)
    stacks += fmt::format("{}{}:{}", stacks.empty() ? "" : " ", stack.stack, stack.samples);
  line("stacks", stacks);
}
void add_row(LineWriter& line, const SlowReply& reply) {
  for_each_slow_reply_field(reply, [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const RunStage& stage) {
  for_each_stage_field(stage, [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const NamedCounter& counter) {
  for_each_counter_field(counter, [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const LoadResult& load) {
  for_each_load_field(load, [&](const auto& name, const auto& value) { line(name, value); });
  add_summary(line, "connect_latency_ns", load.connect_latency.summary());
  std::string reasons;
  for (const std::string& reason : load.invalid_reasons)
    reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", reason);
  line("invalid_reasons", reasons);
}
void add_row(LineWriter& line, const NumberedLoadPart& numbered) {
  for_each_load_part_field(numbered,
                           [&](const auto& name, const auto& value) { line(name, value); });
  for_each_load_part_histogram(numbered.part,
                               [&](std::string_view name, const Histogram& histogram) {
                                 add_summary(line, name, histogram.summary());
                               });
}
void add_row(LineWriter& line, const ThreadTick& moment) {
  for_each_thread_tick_field(moment,
                             [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const LateMessage& message) {
  for_each_late_message_field(message,
                              [&](const auto& name, const auto& value) { line(name, value); });
}
void add_row(LineWriter& line, const StoredEvent& event) {
  for_each_event_field(event, [&](const auto& name, const auto& value) { line(name, value); });
}

/// Writes the table's header, and then each row that each(run id, visit) visits.
template <typename Row, typename Each>
Status write_table(const std::vector<StoredRun>& runs, ExportOutput& output, Each each) {
  LineWriter header(true);
  header("run", 0);
  add_row(header, Row{});
  output.write(std::move(header).end());
  for (const StoredRun& run : runs) {
    TOPSPIN_TRY(each(run.info.id, [&](const Row& row) {
      LineWriter line(false);
      line("run", run.info.id);
      add_row(line, row);
      output.write(std::move(line).end());
    }));
  }
  return output.finish();
}

Status write_runs(const std::vector<StoredRun>& runs, ExportOutput& output) {
  const auto add = [](LineWriter& line, const StoredRun& run) {
    std::string labels, command, reasons;
    for (const auto& [key, value] : run.info.labels)
      labels += fmt::format("{}{}={}", labels.empty() ? "" : " ", key, value);
    for (const std::string& word : run.info.command)
      command += fmt::format("{}{}", command.empty() ? "" : " ", word);
    for (const std::string& reason : run.end.invalid_reasons)
      reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", reason);
    for_each_run_field(run, [&](const auto& name, const auto& value) { line(name, value); });
    line("labels", labels);
    line("command", command);
    line("invalid_reasons", reasons);
  };
  LineWriter header(true);
  add(header, {});
  output.write(std::move(header).end());
  for (const StoredRun& run : runs) {
    LineWriter line(false);
    add(line, run);
    output.write(std::move(line).end());
  }
  return output.finish();
}

}  // namespace

Result<CsvTableKind> parse_csv_table(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, CsvTableKind>, 20> kTables = {
      {{"runs", CsvTableKind::kRuns},
       {"ticks", CsvTableKind::kTicks},
       {"flows", CsvTableKind::kFlows},
       {"threads", CsvTableKind::kThreads},
       {"thread_ticks", CsvTableKind::kThreadTicks},
       {"late_messages", CsvTableKind::kLateMessages},
       {"owners", CsvTableKind::kOwners},
       {"sockets", CsvTableKind::kSockets},
       {"syscalls", CsvTableKind::kSyscalls},
       {"called", CsvTableKind::kCalled},
       {"cpu_holders", CsvTableKind::kCpuHolders},
       {"stacks", CsvTableKind::kStacks},
       {"sleep_stacks", CsvTableKind::kSleepStacks},
       {"busy_stretches", CsvTableKind::kBusyStretches},
       {"slow_replies", CsvTableKind::kSlowReplies},
       {"counters", CsvTableKind::kCounters},
       {"stages", CsvTableKind::kStages},
       {"loads", CsvTableKind::kLoads},
       {"load_parts", CsvTableKind::kLoadParts},
       {"events", CsvTableKind::kEvents}}};
  std::vector<std::string_view> names;
  for (const auto& [known, kind] : kTables) {
    if (name == known) return kind;
    names.push_back(known);
  }
  return make_error(ErrorCode::kUsage,
                    fmt::format("--table {} is not one of {}{}", name, fmt::join(names, ", "),
                                did_you_mean(name, names)));
}

Status export_csv(RunStore& store, const std::vector<StoredRun>& runs, CsvTableKind table,
                  ExportOutput& output) {
  switch (table) {
    case CsvTableKind::kRuns: return write_runs(runs, output);
    case CsvTableKind::kTicks:
      return write_table<Sample>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_tick(id, visit);
      });
    case CsvTableKind::kFlows:
      return write_table<FlowRow>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_flow(id, visit);
      });
    case CsvTableKind::kThreads:
      return write_table<ThreadRow>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_thread(id, visit);
      });
    case CsvTableKind::kThreadTicks:
      return write_table<ThreadTick>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_thread_tick(id, visit);
      });
    case CsvTableKind::kLateMessages:
      return write_table<LateMessage>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_late_message(id, visit);
      });
    case CsvTableKind::kOwners:
      return write_table<FlowOwner>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_owner(id, visit);
      });
    case CsvTableKind::kSockets:
      return write_table<SocketRow>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_socket(id, visit);
      });
    case CsvTableKind::kSyscalls:
      return write_table<SyscallRow>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_syscall(id, visit);
      });
    case CsvTableKind::kCalled:
      return write_table<CalledRow>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_called(id, visit);
      });
    case CsvTableKind::kCpuHolders:
      return write_table<CpuHolderRow>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_cpu_holder(id, visit);
      });
    case CsvTableKind::kStacks:
      return write_table<StackRow>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_stack(id, visit);
      });
    case CsvTableKind::kSleepStacks:
      return write_table<SleepStackRow>(runs, output,
                                        [&](const std::string& id, const auto& visit) {
                                          return store.for_each_sleep_stack(id, visit);
                                        });
    case CsvTableKind::kBusyStretches:
      return write_table<BusyStretch>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_busy_stretch(id, visit);
      });
    case CsvTableKind::kSlowReplies:
      return write_table<SlowReply>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_slow_reply(id, visit);
      });
    case CsvTableKind::kStages:
      return write_table<RunStage>(runs, output,
                                   [&](const std::string& id, const auto& visit) -> Status {
                                     TOPSPIN_ASSIGN(const auto stages, store.load_stages(id));
                                     for (const RunStage& stage : stages) visit(stage);
                                     return {};
                                   });
    case CsvTableKind::kCounters:
      return write_table<NamedCounter>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_tick(id, [&](const Sample& sample) {
          CounterInterval::for_each_field([&](std::string_view name, auto field) {
            if (const auto& event = sample.counters.*field)
              visit(NamedCounter{sample.tick, std::string(name), *event});
          });
        });
      });
    case CsvTableKind::kLoads:
      return write_table<LoadResult>(runs, output,
                                     [&](const std::string& id, const auto& visit) -> Status {
                                       TOPSPIN_ASSIGN(const auto load, store.load_load(id));
                                       if (load) visit(*load);
                                       return {};
                                     });
    case CsvTableKind::kLoadParts:
      return write_table<NumberedLoadPart>(runs, output,
                                           [&](const std::string& id, const auto& visit) -> Status {
                                             TOPSPIN_ASSIGN(const auto load, store.load_load(id));
                                             if (load) for_each_load_part(*load, visit);
                                             return {};
                                           });
    case CsvTableKind::kEvents:
      return write_table<StoredEvent>(runs, output, [&](const std::string& id, const auto& visit) {
        return store.for_each_event(id, visit);
      });
  }
  return make_error(ErrorCode::kInternal, "no such table");
}

}  // namespace topspin
