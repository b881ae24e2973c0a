#include "store/runs/load_rows.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <type_traits>

#include <fmt/format.h>

#include "store/sqlite/columns.h"
#include "store/sqlite/row_values.h"

namespace topspin {
namespace {

constexpr const char* kSendError = "send_error";
constexpr const char* kHttpStatus = "http_status";
constexpr const char* kNotHttp = "not_http";
constexpr const char* kCheck = "http_check";
constexpr const char* kFailure = "http_failure";
constexpr const char* kHttpNote = "http_note";
constexpr const char* kSentAgain = "sent_again";
constexpr const char* kCookiesDropped = "cookies_dropped";
constexpr const char* kTls = "tls";
constexpr const char* kHandshakes = "handshakes";
constexpr const char* kResumed = "resumed";
constexpr const char* kFailedHandshakes = "failed";
constexpr const char* kTlsVersion = "tls_version";
constexpr const char* kTlsHandshake = "tls_handshake";

Status insert_part(Connection& connection, int64_t run, int64_t position, const LoadPart& part) {
  ColumnNames columns;
  for_each_load_part_column(part, [&](auto... column) { columns(column...); });
  for (const char* name :
       {"latency_intended", "latency_actual", "own_lateness", "run", "position"}) {
    columns.add(name);
  }
  TOPSPIN_ASSIGN(Statement insert,
                 connection.prepare(fmt::format("INSERT INTO load_part ({}) VALUES ({})",
                                                columns.names(), columns.parameters())));
  ParameterBinder bind(insert);
  for_each_load_part_column(part,
                            [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
  const int blobs = columns.count() - 4;
  const std::string intended = part.latency_intended.encode();
  const std::string actual = part.latency_actual.encode();
  const std::string lateness = part.own_lateness.encode();
  insert.bind_blob(blobs, intended);
  insert.bind_blob(blobs + 1, actual);
  insert.bind_blob(blobs + 2, lateness);
  insert.bind_int(blobs + 3, run);
  insert.bind_int(blobs + 4, position);
  return insert.run();
}

Status insert_count(Connection& connection, int64_t run, std::string_view kind,
                    std::string_view name, uint64_t count) {
  TOPSPIN_ASSIGN(Statement insert,
                 connection.prepare("INSERT INTO load_count (count, run, kind, name)"
                                    " VALUES (?1, ?2, ?3, ?4)"));
  ParameterBinder bind(insert);
  bind.bind(count);
  bind.bind(run);
  insert.bind_text(3, kind);
  insert.bind_text(4, name);
  return insert.run();
}

/// Decodes the blob in the loader's next column.
bool load_histogram(ColumnLoader& load, Histogram& into) {
  std::string bytes;
  load.load_blob(bytes);
  auto decoded = load.damaged() ? Histogram::decode("") : Histogram::decode(bytes);
  if (!decoded.ok()) return false;
  into = std::move(decoded).value();
  return true;
}

Status select_parts(Connection& connection, int64_t run, LoadResult& load) {
  ColumnNames columns;
  const LoadPart no_part;
  for_each_load_part_column(no_part, [&](auto... column) { columns(column...); });
  for (const char* name : {"latency_intended", "latency_actual", "own_lateness", "position"})
    columns.add(name);
  TOPSPIN_ASSIGN(Statement select, connection.prepare(fmt::format(
                                       "SELECT {} FROM load_part WHERE run = ?1 ORDER BY position",
                                       columns.names())));
  select.bind_int(1, run);
  bool whole = false;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) break;
    LoadPart part;
    int64_t position = 0;
    ColumnLoader loader(select);
    for_each_load_part_column(part,
                              [&](auto prefix, auto name, auto& v) { loader(prefix, name, v); });
    const bool decoded = load_histogram(loader, part.latency_intended) &&
                         load_histogram(loader, part.latency_actual) &&
                         load_histogram(loader, part.own_lateness);
    loader.load(position);
    if (!decoded || loader.damaged()) return damaged(connection, "a stage of a load");
    if (position == 0) {
      load.total = std::move(part);
      whole = true;
    } else {
      load.stages.push_back(std::move(part));
    }
  }
  return whole ? Status{} : damaged(connection, "a load");
}

// Of scripts. A step or check is named; its place in the order of first use is in kStepOrder.
constexpr const char* kScript = "script";  // counts by the names of ScriptAccounts
constexpr const char* kScriptNs = "script_ns";
constexpr const char* kScriptFailure = "script_failure";
constexpr const char* kOutsideFailure = "script_outside_failure";
constexpr const char* kScriptError = "script_error";
constexpr const char* kCheckPassed = "script_check_passed";
constexpr const char* kCheckFailed = "script_check_failed";
constexpr const char* kCheckOrder = "script_check_order";
constexpr const char* kStepOrder = "step_order";
constexpr std::string_view kStepCount = "step_";  // with the name of a column of load_part
constexpr const char* kStepIntended = "step_latency_intended";
constexpr const char* kStepActual = "step_latency_actual";
constexpr const char* kStepLateness = "step_own_lateness";
constexpr const char* kScriptDelay = "script_delay";

ScriptAccounts& script_of(LoadResult& load) {
  return load.script ? *load.script : load.script.emplace();
}

LoadPart& step_of(LoadResult& load, const std::string& name) {
  std::vector<LoadPart>& steps = script_of(load).steps;
  const auto at =
      std::find_if(steps.begin(), steps.end(), [&](const LoadPart& s) { return s.name == name; });
  if (at != steps.end()) return *at;
  steps.emplace_back().name = name;
  return steps.back();
}

ScriptCheck& check_of(LoadResult& load, const std::string& name) {
  std::vector<ScriptCheck>& checks = script_of(load).checks;
  const auto at = std::find_if(checks.begin(), checks.end(),
                               [&](const ScriptCheck& c) { return c.name == name; });
  if (at != checks.end()) return *at;
  return checks.emplace_back(ScriptCheck{name, 0, 0});
}

/// Takes a count of a script. False: it is none.
bool take_script_count(LoadResult& load, std::string_view kind, const std::string& name,
                       uint64_t count) {
  bool known = false;
  if (kind == kScript) {
    if (name == kScriptNs) {
      script_of(load).script_ns = static_cast<int64_t>(count);
      return true;
    }
    ScriptAccounts::for_each_field([&](std::string_view field_name, auto field) {
      if (field_name != name) return;
      script_of(load).*field = count;
      known = true;
    });
    return known;
  }
  known = true;
  if (kind == kScriptFailure)
    script_of(load).failures[name] = count;
  else if (kind == kOutsideFailure)
    script_of(load).outside_failures[name] = count;
  else if (kind == kScriptError)
    script_of(load).errors[name] = count;
  else if (kind == kCheckPassed)
    check_of(load, name).passed = count;
  else if (kind == kCheckFailed)
    check_of(load, name).failed = count;
  else if (kind == kCheckOrder || kind == kStepOrder)
    return true;  // taken when all are there
  else
    known = false;
  if (known || !kind.starts_with(kStepCount)) return known;
  kind.remove_prefix(kStepCount.size());
  LoadPart& step = step_of(load, name);
  for_each_load_part_column(step, [&](std::string_view, std::string_view column, auto& value) {
    if constexpr (std::is_integral_v<std::remove_reference_t<decltype(value)>>) {
      if (column != kind) return;
      value = static_cast<std::remove_reference_t<decltype(value)>>(count);
      known = true;
    }
  });
  return known;
}

bool take_script_distribution(LoadResult& load, std::string_view kind, const std::string& name,
                              Histogram& histogram) {
  if (kind == kScriptDelay)
    script_of(load).script_delay = std::move(histogram);
  else if (kind == kStepIntended)
    step_of(load, name).latency_intended = std::move(histogram);
  else if (kind == kStepActual)
    step_of(load, name).latency_actual = std::move(histogram);
  else if (kind == kStepLateness)
    step_of(load, name).own_lateness = std::move(histogram);
  else
    return false;
  return true;
}

/// Steps and checks in the order of their first use, which the rows' order is not.
void order_script(LoadResult& load, const std::map<std::string, uint64_t>& steps,
                  const std::map<std::string, uint64_t>& checks) {
  if (!load.script) return;
  const auto by = [](const std::map<std::string, uint64_t>& order) {
    return [&order](const auto& a, const auto& b) {
      const auto x = order.find(a.name), y = order.find(b.name);
      return (x == order.end() ? UINT64_MAX : x->second) <
             (y == order.end() ? UINT64_MAX : y->second);
    };
  };
  std::stable_sort(load.script->steps.begin(), load.script->steps.end(), by(steps));
  std::stable_sort(load.script->checks.begin(), load.script->checks.end(), by(checks));
}

TlsAccounts& tls_of(LoadResult& load) { return load.tls ? *load.tls : load.tls.emplace(); }

Status select_distributions(Connection& connection, int64_t run, LoadResult& load) {
  TOPSPIN_ASSIGN(
      Statement select,
      connection.prepare("SELECT kind, name, histogram FROM load_distribution WHERE run = ?1"));
  select.bind_int(1, run);
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return {};
    std::string kind, name;
    Histogram histogram;
    ColumnLoader loader(select);
    loader.load(kind);
    loader.load(name);
    const bool decoded = load_histogram(loader, histogram);
    if (decoded && !loader.damaged() && take_script_distribution(load, kind, name, histogram))
      continue;
    if (!decoded || loader.damaged() || kind != kTlsHandshake)
      return damaged(connection, "a distribution of a load");
    tls_of(load).handshake_latency = std::move(histogram);
  }
}

Status insert_distribution(Connection& connection, int64_t run, std::string_view kind,
                           std::string_view name, const Histogram& histogram) {
  TOPSPIN_ASSIGN(Statement insert,
                 connection.prepare("INSERT INTO load_distribution (run, kind, name, histogram)"
                                    " VALUES (?1, ?2, ?3, ?4)"));
  const std::string bytes = histogram.encode();
  insert.bind_int(1, run);
  insert.bind_text(2, kind);
  insert.bind_text(3, name);
  insert.bind_blob(4, bytes);
  return insert.run();
}

Status insert_script(Connection& connection, int64_t run, const ScriptAccounts& script) {
  Status status;
  const auto count = [&](std::string_view kind, std::string_view name, uint64_t times) {
    if (status.ok()) status = insert_count(connection, run, kind, name, times);
  };
  ScriptAccounts::for_each_field(
      [&](std::string_view name, auto field) { count(kScript, name, script.*field); });
  count(kScript, kScriptNs, static_cast<uint64_t>(std::max<int64_t>(0, script.script_ns)));
  for (const auto& [reason, times] : script.failures) count(kScriptFailure, reason, times);
  for (const auto& [reason, times] : script.outside_failures) count(kOutsideFailure, reason, times);
  for (const auto& [text, times] : script.errors) count(kScriptError, text, times);
  for (size_t i = 0; i < script.checks.size(); ++i) {
    const ScriptCheck& check = script.checks[i];
    count(kCheckOrder, check.name, i);
    count(kCheckPassed, check.name, check.passed);
    count(kCheckFailed, check.name, check.failed);
  }
  for (size_t i = 0; i < script.steps.size(); ++i) {
    const LoadPart& step = script.steps[i];
    count(kStepOrder, step.name, i);
    for_each_load_part_column(
        step, [&](std::string_view, std::string_view column, const auto& value) {
          if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(value)>>)
            count(std::string(kStepCount) + std::string(column), step.name,
                  static_cast<uint64_t>(value));
        });
    for (const auto& [kind, histogram] : {std::pair(kStepIntended, &step.latency_intended),
                                          std::pair(kStepActual, &step.latency_actual),
                                          std::pair(kStepLateness, &step.own_lateness)}) {
      TOPSPIN_TRY(insert_distribution(connection, run, kind, step.name, *histogram));
    }
  }
  TOPSPIN_TRY(std::move(status));
  return insert_distribution(connection, run, kScriptDelay, "", script.script_delay);
}

Status insert_tls(Connection& connection, int64_t run, const TlsAccounts& tls) {
  TOPSPIN_TRY(insert_count(connection, run, kTls, kHandshakes, tls.handshakes));
  TOPSPIN_TRY(insert_count(connection, run, kTls, kResumed, tls.resumed));
  TOPSPIN_TRY(insert_count(connection, run, kTls, kFailedHandshakes, tls.failed));
  for (const auto& [version, count] : tls.versions)
    TOPSPIN_TRY(insert_count(connection, run, kTlsVersion, version, count));
  return insert_distribution(connection, run, kTlsHandshake, "", tls.handshake_latency);
}

Status select_counts(Connection& connection, int64_t run, LoadResult& load) {
  TOPSPIN_ASSIGN(Statement select,
                 connection.prepare("SELECT kind, name, count FROM load_count WHERE run = ?1"));
  select.bind_int(1, run);
  std::map<std::string, uint64_t> step_order, check_order;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) {
      order_script(load, step_order, check_order);
      return {};
    }
    std::string kind, name;
    uint64_t count = 0;
    ColumnLoader loader(select);
    loader.load(kind);
    loader.load(name);
    loader.load(count);
    bool known = !loader.damaged();
    if (kind == kStepOrder) step_order[name] = count;
    if (kind == kCheckOrder) check_order[name] = count;
    if (known && take_script_count(load, kind, name, count)) continue;
    if (kind == kSendError) {
      load.errors[name] = count;
    } else if (kind == kHttpStatus && load.http) {
      int status = 0;
      const char* end = name.data() + name.size();
      known = known && std::from_chars(name.data(), end, status).ptr == end;
      load.http->statuses[status] = count;
    } else if (kind == kNotHttp && load.http) {
      load.http->malformed = count;
      load.http->malformed_head = name;
    } else if (kind == kCheck && load.http) {
      load.http->checks[name] = count;
    } else if (kind == kFailure && load.http) {
      load.http->failures[name] = count;
    } else if (kind == kHttpNote && load.http) {
      (name == kSentAgain ? load.http->sent_again : load.http->cookies_dropped) = count;
    } else if (kind == kTls) {
      TlsAccounts& tls = tls_of(load);
      (name == kHandshakes ? tls.handshakes : name == kResumed ? tls.resumed : tls.failed) = count;
    } else if (kind == kTlsVersion) {
      tls_of(load).versions[name] = count;
    } else {
      known = false;
    }
    if (!known) return damaged(connection, "a count of a load");
  }
}

}  // namespace

Status insert_plan(Connection& connection, int64_t run, const RunPlan& plan) {
  ColumnNames columns;
  for_each_plan_column(plan, [&](auto... column) { columns(column...); });
  columns.add("run");
  TOPSPIN_ASSIGN(Statement insert,
                 connection.prepare(fmt::format("INSERT INTO plan ({}) VALUES ({})",
                                                columns.names(), columns.parameters())));
  ParameterBinder bind(insert);
  for_each_plan_column(plan, [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
  bind.bind(run);
  return insert.run();
}

Result<std::optional<RunPlan>> select_plan(Connection& connection, int64_t run) {
  RunPlan plan;
  ColumnNames columns;
  for_each_plan_column(plan, [&](auto... column) { columns(column...); });
  TOPSPIN_ASSIGN(Statement select, connection.prepare(fmt::format(
                                       "SELECT {} FROM plan WHERE run = ?1", columns.names())));
  select.bind_int(1, run);
  TOPSPIN_ASSIGN(const bool row, select.step());
  if (!row) return std::optional<RunPlan>();
  ColumnLoader load(select);
  for_each_plan_column(plan, [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
  if (load.damaged()) return damaged(connection, "a plan");
  return std::optional(std::move(plan));
}

Status upsert_stage(Connection& connection, int64_t run, uint64_t position, const RunStage& stage) {
  TOPSPIN_ASSIGN(Statement insert,
                 connection.prepare("INSERT OR REPLACE INTO stage (run, position, start_ns, end_ns,"
                                    " clients_from, clients_to, name, kind)"
                                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"));
  ParameterBinder bind(insert);
  bind.bind(run);
  bind.bind(position);
  bind.bind(stage.start_ns);
  bind.bind(stage.end_ns);
  bind.bind(stage.clients_from);
  bind.bind(stage.clients_to);
  insert.bind_text(7, stage.name);
  insert.bind_text(8, stage_kind_name(stage.kind));
  return insert.run();
}

Result<std::vector<RunStage>> select_stages(Connection& connection, int64_t run) {
  TOPSPIN_ASSIGN(Statement select,
                 connection.prepare("SELECT name, kind, start_ns, end_ns, clients_from, clients_to"
                                    " FROM stage WHERE run = ?1 ORDER BY position"));
  select.bind_int(1, run);
  std::vector<RunStage> stages;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return stages;
    RunStage& stage = stages.emplace_back();
    std::string kind;
    ColumnLoader load(select);
    load.load(stage.name);
    load.load(kind);
    load.load_bounded(stage.start_ns);
    load.load_bounded(stage.end_ns);
    load.load(stage.clients_from);
    load.load(stage.clients_to);
    const auto parsed = parse_stage_kind(kind);
    if (load.damaged() || !parsed) return damaged(connection, "a stage");
    stage.kind = *parsed;
  }
}

Status insert_load(Connection& connection, int64_t run, const LoadResult& load) {
  ColumnNames columns;
  for_each_load_column(load, [&](auto... column) { columns(column...); });
  TcpAccounts::for_each_field(
      [&](std::string_view name, auto) { columns.add("tcp_" + std::string(name)); });
  for (const char* name : {"http_body_bytes", "run", "workload", "connect_latency"})
    columns.add(name);
  TOPSPIN_ASSIGN(Statement insert,
                 connection.prepare(fmt::format("INSERT INTO load ({}) VALUES ({})",
                                                columns.names(), columns.parameters())));
  ParameterBinder bind(insert);
  for_each_load_column(load, [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
  TcpAccounts::for_each_field([&](std::string_view, auto field) {
    bind.bind(load.tcp ? std::optional(*load.tcp.*field) : std::nullopt);
  });
  bind.bind(load.http ? std::optional(load.http->body_bytes) : std::nullopt);
  bind.bind(run);
  const std::string connect_latency = load.connect_latency.encode();
  insert.bind_text(columns.count() - 1, workload_name(load.workload));
  insert.bind_blob(columns.count(), connect_latency);
  TOPSPIN_TRY(insert.run());

  TOPSPIN_TRY(insert_part(connection, run, 0, load.total));
  for (size_t i = 0; i < load.stages.size(); ++i)
    TOPSPIN_TRY(insert_part(connection, run, static_cast<int64_t>(i) + 1, load.stages[i]));
  for (const auto& [name, count] : load.errors)
    TOPSPIN_TRY(insert_count(connection, run, kSendError, name, count));
  if (load.http) {
    for (const auto& [status, count] : load.http->statuses)
      TOPSPIN_TRY(insert_count(connection, run, kHttpStatus, std::to_string(status), count));
    if (load.http->malformed > 0)
      TOPSPIN_TRY(
          insert_count(connection, run, kNotHttp, load.http->malformed_head, load.http->malformed));
    for (const auto& [name, count] : load.http->checks)
      TOPSPIN_TRY(insert_count(connection, run, kCheck, name, count));
    for (const auto& [reason, count] : load.http->failures)
      TOPSPIN_TRY(insert_count(connection, run, kFailure, reason, count));
    if (load.http->sent_again > 0)
      TOPSPIN_TRY(insert_count(connection, run, kHttpNote, kSentAgain, load.http->sent_again));
    if (load.http->cookies_dropped > 0)
      TOPSPIN_TRY(
          insert_count(connection, run, kHttpNote, kCookiesDropped, load.http->cookies_dropped));
  }
  if (load.tls) TOPSPIN_TRY(insert_tls(connection, run, *load.tls));
  if (load.script) TOPSPIN_TRY(insert_script(connection, run, *load.script));
  TOPSPIN_ASSIGN(Statement reason,
                 connection.prepare("INSERT INTO load_invalid_reason (run, position, reason)"
                                    " VALUES (?1, ?2, ?3)"));
  for (size_t i = 0; i < load.invalid_reasons.size(); ++i) {
    reason.bind_int(1, run);
    reason.bind_int(2, static_cast<int64_t>(i));
    reason.bind_text(3, load.invalid_reasons[i]);
    TOPSPIN_TRY(reason.run());
  }
  return {};
}

Result<std::optional<LoadResult>> select_load(Connection& connection, int64_t run) {
  LoadResult load;
  ColumnNames columns;
  for_each_load_column(load, [&](auto... column) { columns(column...); });
  TcpAccounts::for_each_field(
      [&](std::string_view name, auto) { columns.add("tcp_" + std::string(name)); });
  for (const char* name : {"http_body_bytes", "workload", "connect_latency"}) columns.add(name);
  TOPSPIN_ASSIGN(Statement select, connection.prepare(fmt::format(
                                       "SELECT {} FROM load WHERE run = ?1", columns.names())));
  select.bind_int(1, run);
  TOPSPIN_ASSIGN(const bool row, select.step());
  if (!row) return std::optional<LoadResult>();

  ColumnLoader loader(select);
  for_each_load_column(load, [&](auto prefix, auto name, auto& v) { loader(prefix, name, v); });
  TcpAccounts tcp;
  bool is_tcp = false;
  TcpAccounts::for_each_field([&](std::string_view, auto field) {
    std::optional<uint64_t> value;
    loader.load(value);
    is_tcp = is_tcp || value;
    tcp.*field = value.value_or(0);
  });
  if (is_tcp) load.tcp = tcp;
  std::optional<uint64_t> body_bytes;
  std::string workload;
  loader.load(body_bytes);
  loader.load(workload);
  const bool decoded = load_histogram(loader, load.connect_latency);
  const auto kind = parse_workload(workload);
  if (!decoded || loader.damaged() || !kind) return damaged(connection, "a load");
  load.workload = *kind;
  if (body_bytes) load.http.emplace().body_bytes = *body_bytes;

  TOPSPIN_TRY(select_parts(connection, run, load));
  TOPSPIN_TRY(select_counts(connection, run, load));
  TOPSPIN_TRY(select_distributions(connection, run, load));
  // Statuses were always stored, but the count of errors only since schema 4. (With a check on the
  // status, a status of 404 may be no error.)
  if (load.http && load.http->checks.empty() && !load.script &&
      load.total.accounts.http_errors == 0)
    load.total.accounts.http_errors = load.http->error_statuses();
  TOPSPIN_ASSIGN(Statement reasons,
                 connection.prepare("SELECT reason FROM load_invalid_reason WHERE run = ?1"
                                    " ORDER BY position"));
  reasons.bind_int(1, run);
  while (true) {
    TOPSPIN_ASSIGN(const bool more, reasons.step());
    if (!more) break;
    ColumnLoader reason(reasons);
    reason.load(load.invalid_reasons.emplace_back());
    if (reason.damaged()) return damaged(connection, "a load");
  }
  return std::optional(std::move(load));
}

}  // namespace topspin
