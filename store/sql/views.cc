#include "store/sql/views.h"

#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/tick/numbers.h"
#include "core/tick/reply_parts.h"
#include "store/runs/fold_rows.h"
#include "store/schema/database.h"
#include "store/sql/run_functions.h"
#include "store/sqlite/columns.h"

namespace topspin {
namespace {

/// The columns of a view, each with its SQL.
class ColumnList {
 public:
  void add(std::string_view name, std::string_view sql) {
    names_.emplace_back(name);
    sql_ += fmt::format("{}{} AS \"{}\"", sql_.empty() ? "" : ", ", sql, name);
  }
  /// A column of the table that is called `alias`, under its own name.
  void add_own(std::string_view alias, std::string_view name) {
    add(name, fmt::format("{}.\"{}\"", alias, name));
  }
  /// The same for each column of a list of store/sqlite/columns.h.
  template <typename Each>
  void add_each(std::string_view alias, Each each) {
    each([&](std::string_view prefix, std::string_view name, const auto&) {
      add_own(alias, std::string(prefix) + std::string(name));
    });
  }
  void add_seconds(std::string_view name, std::string_view sql_of_ns) {
    add(name, fmt::format("({}) / 1e9", sql_of_ns));
  }
  /// "127.0.0.1:80", "[::1]:80".
  void add_endpoint(std::string_view name, std::string_view alias, std::string_view end) {
    add(name, fmt::format("CASE {0}.ip_version WHEN 6 THEN '[' || {0}.{1}_address || ']' ELSE "
                          "{0}.{1}_address END || ':' || {0}.{1}_port",
                          alias, end));
  }

  const std::vector<std::string>& names() const { return names_; }
  const std::string& sql() const { return sql_; }

 private:
  std::vector<std::string> names_;
  std::string sql_;
};

constexpr std::string_view kProtocol =
    "CASE {0}.protocol WHEN 6 THEN 'tcp' WHEN 17 THEN 'udp' ELSE {0}.protocol END";

/// Runs that a merge is still copying are in no view.
std::string from_runs() { return fmt::format("run AS r WHERE r.{}", kIsWholeSql); }

/// A table whose key is (run, ...).
std::string from_table(std::string_view table) {
  return fmt::format("run AS r CROSS JOIN \"{}\" AS t ON t.run = r.run WHERE r.{}", table,
                     kIsWholeSql);
}

/// A table whose key is (run << 32) | number. The run is the outer loop, so that the rows of one
/// run are found by their key.
std::string from_packed_table(std::string_view table) {
  return fmt::format(
      "run AS r CROSS JOIN \"{}\" AS t ON t.row BETWEEN (r.run << 32) AND (r.run << 32) + "
      "4294967295 WHERE r.{}",
      table, kIsWholeSql);
}

ViewDefinition define(std::string name, std::string holds, const ColumnList& columns,
                      const std::string& from, std::string example) {
  std::string create =
      fmt::format("CREATE TEMP VIEW \"{}\" AS SELECT {} FROM {}", name, columns.sql(), from);
  return {{std::move(name), std::move(holds), columns.names(), "", std::move(example)},
          columns.names(),
          std::move(create)};
}

ViewDefinition runs_view() {
  ColumnList columns;
  columns.add_own("r", "run");
  columns.add_own("r", "id");
  columns.add("started",
              "strftime('%Y-%m-%dT%H:%M:%SZ', r.started_wall_ns / 1000000000, 'unixepoch')");
  columns.add_own("r", "started_wall_ns");
  columns.add_seconds("duration_s", "run_word(r.id, 'duration_ns')");
  for (const char* word : {"ticks", "status", "state", "reasons"})
    columns.add(word, fmt::format("run_word(r.id, '{}')", word));
  columns.add("reply_latency_ns_p99", "run_word(r.id, 'p99')");
  columns.add("failed_share", "run_word(r.id, 'failed_share')");
  columns.add("labels",
              "(SELECT group_concat(key || '=' || value, ' ') FROM label WHERE run = r.run)");
  columns.add("command",
              "(SELECT group_concat(value, ' ') FROM (SELECT value FROM argument WHERE run = r.run "
              "ORDER BY position))");
  columns.add("plan", "(SELECT name FROM plan WHERE run = r.run)");
  columns.add("plan_subject", "(SELECT subject FROM plan WHERE run = r.run)");
  for (const char* name :
       {"exit_status", "source_commit", "source_branch", "source_dirty", "interface",
        "filter",      "subject",       "period_ns",     "window_ns",    "interval_ns",
        "hostname",    "kernel",        "architecture",  "os",           "cpu_model",
        "cpus_online", "memory_bytes",  "hypervisor",    "fingerprint",  "topspin_version"})
    columns.add_own("r", name);
  return define("runs", "One row per run, with the words of `topspin list`.", columns, from_runs(),
                "SELECT run, started, duration_s, state, labels FROM runs ORDER BY run DESC");
}

/// One row per run, with every number of the registry.
ViewDefinition totals_view(std::string name, std::string holds, RunPart part, std::string example) {
  ColumnList columns;
  columns.add_own("r", "run");
  columns.add_own("r", "id");
  const std::vector<std::string> own = columns.names();
  const auto add = [&](const std::string& number) {
    columns.add(number,
                fmt::format("number_of_run(r.id, '{}', '{}')", run_part_name(part), number));
  };
  for_each_number([&](const Number& number, auto) {
    add(std::string(number.name));
    if (number.kind == NumberKind::kGauge) add(fmt::format("{}{}", number.name, kGreatestSuffix));
  });
  ViewDefinition defined =
      define(std::move(name), std::move(holds), columns, from_runs(), std::move(example));
  defined.view.columns = own;
  defined.view.numbers =
      "each number by its name, merged over the ticks; of a gauge the last value, and the greatest "
      "as NAME_greatest";
  return defined;
}

/// A histogram of a tick. Where no sample means no row, it is an empty one.
template <typename Value>
std::string tick_histogram(std::string_view name) {
  std::string sql = fmt::format(
      "checked_histogram((SELECT data FROM histogram AS h WHERE h.run = t.run AND h.tick = t.tick "
      "AND h.name = '{0}'), t.run, '{0}')",
      name);
  if constexpr (std::is_same_v<Value, Histogram> || std::is_same_v<Value, SignedHistogram>) {
    std::string hex;
    for (const char byte : Value().encode())
      hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    sql = fmt::format("coalesce({}, x'{}')", sql, hex);
  }
  return sql;
}

/// A perf event of a tick.
std::string tick_counter(std::string_view name) {
  return fmt::format(
      "(SELECT scaled_count(c.count, c.enabled_ns, c.running_ns) FROM counter AS c WHERE c.run = "
      "t.run AND c.tick = t.tick AND c.name = '{}')",
      name);
}

ViewDefinition ticks_view() {
  ColumnList columns;
  columns.add_own("t", "run");
  columns.add_own("t", "tick");
  columns.add_seconds("elapsed_s", "t.elapsed_ns");
  columns.add_seconds("interval_s", "t.interval_ns");
  for (const char* name :
       {"elapsed_ns", "interval_ns", "monotonic_ns", "flows_begin_ns", "flows_end_ns"})
    columns.add_own("t", name);
  const std::vector<std::string> own = columns.names();
  for_each_number([&](const Number& number, auto at) {
    using Value = typename decltype(at)::Value;
    std::string sql = fmt::format("t.\"{}\"", number.name);
    if constexpr (kIsDistribution<Value>) {
      sql = tick_histogram<Value>(number.name);
    } else if constexpr (kIsEventCount<Value>) {
      sql = tick_counter(number.name.substr(CounterInterval::kNumberPrefix.size()));
    } else if (is_loss_of_every_run(number)) {
      sql = fmt::format("coalesce({}, 0)", sql);  // what was not counted was not lost
    }
    columns.add(number.name, sql);
    if (number.kind == NumberKind::kCount) {
      columns.add(fmt::format("{}_per_second", number.name),
                  fmt::format("{} * 1e9 / nullif(t.interval_ns, 0)", sql));
    }
  });
  ViewDefinition defined = define(
      "ticks", "One row per tick of each run.", columns, from_table("tick"),
      "SELECT elapsed_s, packets_per_second, percentile(reply_latency_ns, 0.99) AS p99_ns FROM "
      "ticks WHERE run = 1");
  defined.view.columns = own;
  defined.view.numbers =
      "each number by its name, of the tick; a count also by the second, as NAME_per_second";
  return defined;
}

ViewDefinition flows_view() {
  ColumnList columns;
  columns.add_own("r", "run");
  columns.add("flow", "t.flow");
  columns.add("protocol", fmt::format(kProtocol, "t"));
  columns.add_endpoint("initiator", "t", "initiator");
  columns.add_endpoint("responder", "t", "responder");
  for (const char* end : {"initiator", "responder"}) {
    columns.add(
        fmt::format("{}_process", end),
        fmt::format("(SELECT name FROM owner AS o WHERE o.row = (r.run << 32) + t.{}_owner)", end));
  }
  columns.add("packets", "t.initiator_packets + t.responder_packets");
  columns.add("bytes", "t.initiator_bytes + t.responder_bytes");
  columns.add("reply_latency_ns_mean",
              "CAST(t.reply_latency_sum_ns AS REAL) / nullif(t.replies, 0)");
  columns.add_own("t", "ip_version");
  columns.add_each("t", [](auto visit) {
    const FlowRow flow;
    for_each_changing_flow_column(flow, visit);
  });
  return define("flows", "One row per flow, as last seen.", columns, from_packed_table("flow"),
                "SELECT initiator, responder, packets, missed_ticks FROM flows WHERE run = 1 ORDER "
                "BY packets DESC LIMIT 10");
}

ViewDefinition threads_view() {
  ColumnList columns;
  columns.add_own("r", "run");
  columns.add_each("t", [](auto visit) {
    const ThreadRow thread;
    for_each_thread_column(thread, visit);
  });
  const ThreadRow thread;
  for_each_thread_histogram(thread, [&](std::string_view name, const auto&) {
    columns.add(name, fmt::format("checked_histogram(t.\"{0}\", r.run, '{0}')", name));
  });
  return define("threads", "One row per thread of the subject, as last seen.", columns,
                from_packed_table("thread"),
                "SELECT name, tid, cpu_ns, hist_max(run_queue_wait_histogram) AS wait_ns_max FROM "
                "threads WHERE run = 1 ORDER BY cpu_ns DESC LIMIT 10");
}

ViewDefinition replies_view() {
  ColumnList columns;
  columns.add_own("r", "run");
  columns.add("tick", "t.tick");
  columns.add_seconds("elapsed_s", "t.ready_monotonic_ns - r.started_monotonic_ns");
  columns.add("protocol", fmt::format(kProtocol, "t"));
  columns.add_endpoint("local", "t", "local");
  columns.add_endpoint("remote", "t", "remote");
  for (const char* name : {"reader_tid", "sender_tid", "sender", "total_ns"})
    columns.add_own("t", name);
  std::string parts;
  for (const ReplyPartNames& part : reply_part_names())
    parts += fmt::format("{}'{}', t.\"{}\"", parts.empty() ? "" : ", ", part.field, part.field);
  const std::string object = fmt::format("json_object({})", parts);
  columns.add(
      "mostly",
      fmt::format("(SELECT replace(key, '_ns', '') FROM json_each({}) ORDER BY value DESC LIMIT 1)",
                  object));
  columns.add("reply", object);
  for (const ReplyPartNames& part : reply_part_names()) columns.add_own("t", part.field);
  return define("replies", "One row for each of the slowest replies of a run.", columns,
                from_packed_table("slow_reply"),
                "SELECT run, total_ns, part(reply, 'cpu_queue') AS cpu_queue_ns, mostly FROM "
                "replies ORDER BY total_ns DESC LIMIT 10");
}

ViewDefinition stages_view() {
  ColumnList columns;
  for (const char* name : {"run", "position", "name", "kind"}) columns.add_own("t", name);
  columns.add_seconds("start_s", "t.start_ns");
  columns.add_seconds("end_s", "t.end_ns");
  for (const char* name : {"start_ns", "end_ns", "clients_from", "clients_to"})
    columns.add_own("t", name);
  return define("stages", "One row per stage of a run that a plan or load made.", columns,
                from_table("stage"), "SELECT run, name, start_s, end_s FROM stages");
}

ViewDefinition events_view() {
  ColumnList columns;
  columns.add_own("t", "run");
  columns.add_own("t", "position");
  columns.add_seconds("elapsed_s", "t.elapsed_ns");
  columns.add_own("t", "elapsed_ns");
  columns.add_own("t", "text");
  return define("events", "What happened during a run, one row each.", columns, from_table("event"),
                "SELECT run, elapsed_s, text FROM events ORDER BY run, position");
}

ViewDefinition labels_view() {
  ColumnList columns;
  for (const char* name : {"run", "key", "value"}) columns.add_own("t", name);
  return define("labels", "One row per label of a run.", columns, from_table("label"),
                "SELECT value, count(*) AS runs FROM labels WHERE key = 'side' GROUP BY value");
}

}  // namespace

std::vector<ViewDefinition> view_definitions() {
  return {
      runs_view(),
      totals_view("totals", "One row per run, with every number of the whole run.", RunPart::kWhole,
                  "SELECT run, packets, percentile(reply_latency_ns, 0.99) AS p99_ns FROM totals"),
      totals_view("measured",
                  "The same over the ticks that are judged: from the first load stage on.",
                  RunPart::kMeasured,
                  "SELECT run, unanswered, hist_max(reply_latency_ns) AS latency_ns_max FROM "
                  "measured"),
      ticks_view(),
      flows_view(),
      threads_view(),
      replies_view(),
      stages_view(),
      events_view(),
      labels_view()};
}

std::vector<SqlView> sql_views() {
  std::vector<SqlView> views;
  for (ViewDefinition& definition : view_definitions()) views.push_back(std::move(definition.view));
  return views;
}

}  // namespace topspin
