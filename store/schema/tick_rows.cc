#include "store/schema/tick_rows.h"

#include <string>

#include <fmt/format.h>

#include "store/schema/tick_columns.h"
#include "store/sqlite/columns.h"
#include "store/sqlite/row_values.h"

namespace topspin {

Result<TickRows> TickRows::prepare(Connection& connection) {
  ColumnNames tick_columns = names_of_sample_columns();
  tick_columns.add("run");
  TOPSPIN_ASSIGN(Statement tick,
                 connection.prepare(fmt::format("INSERT INTO tick ({}) VALUES ({})",
                                                tick_columns.names(), tick_columns.parameters())));
  TOPSPIN_ASSIGN(Statement histogram,
                 connection.prepare("INSERT INTO histogram VALUES (?1, ?2, ?3, ?4)"));
  const CpuScheduling cpu;
  ColumnNames cpu_columns;
  cpu_columns.add("run");
  cpu_columns.add("tick");
  for_each_cpu_column(cpu, [&](auto... column) { cpu_columns(column...); });
  TOPSPIN_ASSIGN(Statement cpu_tick,
                 connection.prepare(fmt::format("INSERT INTO cpu_tick ({}) VALUES ({})",
                                                cpu_columns.names(), cpu_columns.parameters())));
  TOPSPIN_ASSIGN(Statement counter,
                 connection.prepare("INSERT INTO counter VALUES (?1, ?2, ?3, ?4, ?5, ?6)"));
  return TickRows(std::move(tick), std::move(histogram), std::move(cpu_tick), std::move(counter));
}

Status TickRows::insert(int64_t run, const Sample& sample, const LossInterval& losses) {
  ParameterBinder bind(tick_);
  bind_sample(bind, sample, losses);
  bind.bind(run);
  TOPSPIN_TRY(tick_.run());
  TOPSPIN_TRY(insert_counters(run, sample.tick, sample.counters));
  TOPSPIN_TRY(
      for_each_stored_histogram(sample, [&](std::string_view name, const std::string& encoded) {
        return insert_histogram(run, sample.tick, name, encoded);
      }));
  if (!sample.scheduler) return {};
  for (const CpuScheduling& cpu : sample.scheduler->cpus) {
    ParameterBinder of_cpu(cpu_);
    of_cpu.bind(run);
    of_cpu.bind(sample.tick);
    for_each_cpu_column(cpu,
                        [&](auto prefix, auto name, const auto& v) { of_cpu(prefix, name, v); });
    TOPSPIN_TRY(cpu_.run());
  }
  return {};
}

Status TickRows::insert_histogram(int64_t run, uint64_t tick, std::string_view name,
                                  std::string_view encoded) {
  ParameterBinder bind(histogram_);
  bind.bind(run);
  bind.bind(tick);
  histogram_.bind_text(3, name);
  histogram_.bind_blob(4, encoded);
  return histogram_.run();
}

Status TickRows::insert_counters(int64_t run, uint64_t tick, const CounterInterval& counters) {
  Status status;
  CounterInterval::for_each_field([&](std::string_view name, auto field) {
    const auto& counter = counters.*field;
    if (!status.ok() || !counter) return;
    counter_.bind_int(1, run);
    counter_.bind_text(3, name);
    ParameterBinder(counter_, 2).bind(tick);
    ParameterBinder bind(counter_, 4);
    bind.bind(counter->count);
    bind.bind(counter->enabled_ns);
    bind.bind(counter->running_ns);
    status = counter_.run();
  });
  return status;
}

}  // namespace topspin
