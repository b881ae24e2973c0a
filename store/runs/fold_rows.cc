#include "store/runs/fold_rows.h"

#include <fmt/format.h>

#include "store/schema/tick_columns.h"
#include "store/sqlite/columns.h"

namespace topspin {
namespace {

constexpr std::string_view kMerged = "merged";
constexpr std::string_view kGreatest = "greatest";

constexpr std::string_view kTotals = "the totals of a run";

Status insert_sample(Statement& insert, int64_t run, std::string_view part,
                     std::string_view statistic, const RunFold& fold, const Sample& sample) {
  const std::string part_text(part), statistic_text(statistic);
  ParameterBinder bind(insert);
  bind_sample(bind, sample, sample.losses);
  bind.bind(run);
  bind.bind(part_text);
  bind.bind(statistic_text);
  bind.bind(fold.ticks);
  bind.bind(fold.half_open_before);
  return insert.run();
}

Status insert_parts(Connection& connection, int64_t run, const std::string& part,
                    const Sample& merged) {
  TOPSPIN_ASSIGN(Statement histogram,
                 connection.prepare("INSERT INTO total_histogram VALUES (?1, ?2, ?3, ?4)"));
  TOPSPIN_TRY(for_each_stored_histogram(
      merged, [&](std::string_view name, const std::string& encoded) -> Status {
        histogram.bind_int(1, run);
        histogram.bind_text(2, part);
        histogram.bind_text(3, name);
        histogram.bind_blob(4, encoded);
        return histogram.run();
      }));
  TOPSPIN_ASSIGN(Statement counter,
                 connection.prepare("INSERT INTO total_counter VALUES (?1, ?2, ?3, ?4, ?5, ?6)"));
  Status status;
  CounterInterval::for_each_field([&](const char* name, auto field) {
    const std::optional<EventCount>& event = merged.counters.*field;
    if (!status.ok() || !event) return;
    status = run_with(counter, run, part, std::string(name), event->count, event->enabled_ns,
                      event->running_ns);
  });
  TOPSPIN_TRY(status);
  if (!merged.scheduler) return {};
  ColumnNames columns;
  const CpuScheduling none;
  for_each_cpu_column(none, [&](auto... column) { columns(column...); });
  for (const char* name : {"run", "part"}) columns.add(name);
  TOPSPIN_ASSIGN(Statement insert_cpu,
                 connection.prepare(fmt::format("INSERT INTO total_cpu ({}) VALUES ({})",
                                                columns.names(), columns.parameters())));
  for (const CpuScheduling& cpu : merged.scheduler->cpus) {
    ParameterBinder bind(insert_cpu);
    for_each_cpu_column(cpu, [&](auto, auto, const auto& value) { bind.bind(value); });
    bind.bind(run);
    bind.bind(part);
    TOPSPIN_TRY(insert_cpu.run());
  }
  return {};
}

/// Calls load(row) -> bool for each row of a part of the run; false means a damaged row.
template <typename Load>
Status for_each_row(Connection& connection, std::string_view columns, std::string_view table,
                    int64_t run, std::string_view part, Load load) {
  TOPSPIN_ASSIGN(Statement select,
                 connection.prepare(fmt::format("SELECT {} FROM {} WHERE run = ?1 AND part = ?2",
                                                columns, table)));
  select.bind_int(1, run);
  select.bind_text(2, part);
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return {};
    ColumnLoader loader(select);
    if (!load(loader) || loader.damaged()) return damaged(connection, kTotals);
  }
}

Status load_parts(Connection& connection, int64_t run, std::string_view part, Sample& merged) {
  TOPSPIN_TRY(
      for_each_row(connection, "name, data", "total_histogram", run, part, [&](ColumnLoader& load) {
        std::string name, data;
        load.load(name);
        load.load_blob(data);
        return load_histogram(merged, name, data).ok();
      }));
  TOPSPIN_TRY(for_each_row(connection, "name, count, enabled_ns, running_ns", "total_counter", run,
                           part, [&](ColumnLoader& load) {
                             std::string name;
                             EventCount event;
                             load.load(name);
                             load.load(event.count);
                             load.load(event.enabled_ns);
                             load.load(event.running_ns);
                             CounterInterval::for_each_field(
                                 [&](std::string_view candidate, auto field) {
                                   if (candidate == name) merged.counters.*field = event;
                                 });
                             return true;
                           }));
  ColumnNames columns;
  const CpuScheduling none;
  for_each_cpu_column(none, [&](auto... column) { columns(column...); });
  return for_each_row(connection, columns.names(), "total_cpu", run, part, [&](ColumnLoader& load) {
    CpuScheduling cpu;
    for_each_cpu_column(cpu, [&](auto, auto, auto& value) { load.load(value); });
    if (!merged.scheduler) merged.scheduler.emplace();
    merged.scheduler->cpus.push_back(cpu);
    return true;
  });
}

}  // namespace

std::string_view run_part_name(RunPart part) {
  return part == RunPart::kMeasured ? "measured" : "run";
}

Status insert_fold(Connection& connection, int64_t run, RunPart part, const RunFold& fold) {
  ColumnNames columns = names_of_sample_columns();
  for (const char* name : {"run", "part", "statistic", "ticks", "half_open_before"})
    columns.add(name);
  TOPSPIN_ASSIGN(Statement insert,
                 connection.prepare(fmt::format("INSERT INTO total ({}) VALUES ({})",
                                                columns.names(), columns.parameters())));
  const std::string part_name(run_part_name(part));
  TOPSPIN_TRY(insert_sample(insert, run, part_name, kMerged, fold, fold.merged));
  TOPSPIN_TRY(insert_sample(insert, run, part_name, kGreatest, fold, fold.greatest));
  return insert_parts(connection, run, part_name, fold.merged);
}

Result<std::optional<RunFold>> load_fold(Connection& connection, int64_t run, RunPart part) {
  RunFold fold;
  bool merged = false, greatest = false;
  ColumnNames columns = names_of_sample_columns();
  for (const char* name : {"statistic", "ticks", "half_open_before"}) columns.add(name);
  TOPSPIN_TRY(for_each_row(connection, columns.names(), "total", run, run_part_name(part),
                           [&](ColumnLoader& load) {
                             Sample sample;
                             std::string statistic;
                             load_sample(load, sample);
                             load.load(statistic);
                             load.load(fold.ticks);
                             load.load(fold.half_open_before);
                             const bool is_merged = statistic == kMerged;
                             (is_merged ? merged : greatest) = true;
                             (is_merged ? fold.merged : fold.greatest) = std::move(sample);
                             return is_merged || statistic == kGreatest;
                           }));
  if (!merged && !greatest) return std::optional<RunFold>();
  if (!merged || !greatest) return damaged(connection, kTotals);
  TOPSPIN_TRY(load_parts(connection, run, run_part_name(part), fold.merged));
  return std::optional(std::move(fold));
}

}  // namespace topspin
