// The reader. Rows are fetched in batches and passed on between statements. So a visitor may take
// long, and no open read prevents a writer from truncating its log.
#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>

#include "store/flows/flow_changes.h"
#include "store/run_store.h"
#include "store/runs/fold_rows.h"
#include "store/runs/load_rows.h"
#include "store/runs/one_run.h"
#include "store/runs/run_tables.h"
#include "store/schema/database.h"
#include "store/schema/tick_columns.h"
#include "store/sqlite/columns.h"
#include "store/sqlite/row_values.h"
#include "store/sqlite/writer_identity.h"

namespace topspin {
namespace {

constexpr int64_t kTicksABatch = 64;  // 12 histograms of 10 KiB per tick: below 8 MiB
constexpr int64_t kRowsABatch = 4096;

/// nullopt if the IP version does not exist, or `text` is not an address of it.
std::optional<std::array<uint8_t, 16>> parse_address(const std::string& text, uint8_t ip_version) {
  if (ip_version != 4 && ip_version != 6) return std::nullopt;
  std::array<uint8_t, 16> address{};
  const int family = ip_version == 6 ? AF_INET6 : AF_INET;
  if (inet_pton(family, text.c_str(), address.data()) != 1) return std::nullopt;
  return address;
}

class SqliteRunStore final : public RunStore {
 public:
  explicit SqliteRunStore(std::shared_ptr<Connection> connection)
      : connection_(std::move(connection)) {}

  using RunStore::list_runs;
  Result<std::vector<StoredRun>> list_runs(std::vector<Error>* damaged) override;
  Result<StoredRun> find_run(std::string_view id) override;
  Result<StoredRun> last_run() override;
  using RunStore::for_each_tick;
  Status for_each_tick(const std::string& run_id, TickParts parts,
                       const std::function<void(const Sample&)>& visit) override;
  Result<std::vector<Sample>> read_ticks(const std::string& run_id, uint64_t first,
                                         size_t most) override;
  Result<uint64_t> last_tick(const std::string& run_id) override;
  Result<RunFold> fold(const std::string& run_id, RunPart part) override;
  Status for_each_flow(const std::string& run_id,
                       const std::function<void(const FlowRow&)>& visit) override;
  Status for_each_thread(const std::string& run_id,
                         const std::function<void(const ThreadRow&)>& visit) override;
  Status for_each_thread_tick(const std::string& run_id,
                              const std::function<void(const ThreadTick&)>& visit) override;
  Status for_each_late_message(const std::string& run_id,
                               const std::function<void(const LateMessage&)>& visit) override;
  Status for_each_owner(const std::string& run_id,
                        const std::function<void(const FlowOwner&)>& visit) override;
  Status for_each_socket(const std::string& run_id,
                         const std::function<void(const SocketRow&)>& visit) override;
  Status for_each_syscall(const std::string& run_id,
                          const std::function<void(const SyscallRow&)>& visit) override;
  Status for_each_called(const std::string& run_id,
                         const std::function<void(const CalledRow&)>& visit) override;
  Status for_each_cpu_holder(const std::string& run_id,
                             const std::function<void(const CpuHolderRow&)>& visit) override;
  Status for_each_stack(const std::string& run_id,
                        const std::function<void(const StackRow&)>& visit) override;
  Status for_each_sleep_stack(const std::string& run_id,
                              const std::function<void(const SleepStackRow&)>& visit) override;
  Status for_each_busy_stretch(const std::string& run_id,
                               const std::function<void(const BusyStretch&)>& visit) override;
  Status for_each_slow_reply(const std::string& run_id,
                             const std::function<void(const SlowReply&)>& visit) override;
  Status for_each_event(const std::string& run_id,
                        const std::function<void(const StoredEvent&)>& visit) override;
  Result<std::vector<RunStage>> load_stages(const std::string& run_id) override;
  Result<std::optional<LoadResult>> load_load(const std::string& run_id) override;

 private:
  Result<int64_t> run_number(const std::string& run_id);
  /// A reader holds no lock between batches, so a run may be removed meanwhile. Then this is an
  /// error, so that a part is never taken for the whole.
  Status check_still_there(const std::string& run_id);
  /// The error of a run that cannot be read is added to `damaged`, or returned if that is null.
  Result<std::vector<StoredRun>> load_runs(std::string_view where_and_order,
                                           std::string_view parameter, std::vector<Error>* damaged);
  Result<StoredRun> load_run(const Statement& select);
  Status load_lists(int64_t run, StoredRun& stored);
  Status load_progress(int64_t run, StoredRun& stored);
  Result<std::vector<std::string>> load_texts(std::string_view sql, int64_t run);
  Result<std::vector<Sample>> load_ticks(int64_t run, int64_t first, int64_t most, TickParts parts);
  Status load_histograms(int64_t run, std::vector<Sample>& ticks);
  Status load_cpus(int64_t run, std::vector<Sample>& ticks);
  Status load_counters(int64_t run, std::vector<Sample>& ticks);
  Result<std::vector<std::pair<int64_t, FlowRow>>> load_flows(int64_t first_row, int64_t last_row);
  Result<std::vector<std::pair<int64_t, ThreadRow>>> load_threads(int64_t first_row,
                                                                  int64_t last_row);
  Result<std::vector<std::pair<int64_t, FlowOwner>>> load_owners(int64_t first_row,
                                                                 int64_t last_row);
  Result<std::vector<std::pair<int64_t, SocketRow>>> load_sockets(int64_t first_row,
                                                                  int64_t last_row);
  /// For a table with few rows per run, which are read at once.
  template <typename Row>
  Status visit_all(const std::string& run_id,
                   Result<std::vector<Row>> (SqliteRunStore::*load)(int64_t run),
                   const std::function<void(const Row&)>& visit) {
    TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
    TOPSPIN_ASSIGN(const std::vector<Row> rows, (this->*load)(run));
    for (const Row& row : rows) visit(row);
    return check_still_there(run_id);
  }
  Result<std::vector<SyscallRow>> load_syscalls(int64_t run);
  Result<std::vector<CalledRow>> load_called(int64_t run);
  Result<std::vector<CpuHolderRow>> load_cpu_holders(int64_t run);
  Result<std::vector<SleepStackRow>> load_sleep_stacks(int64_t run);
  Result<std::vector<BusyStretch>> load_busy_stretches(int64_t run);
  Status load_stretch_stacks(int64_t run, std::map<uint32_t, BusyStretch>& stretches);
  Result<std::vector<std::pair<int64_t, StackRow>>> load_stacks(int64_t first_row,
                                                                int64_t last_row);
  Result<std::vector<std::pair<int64_t, SlowReply>>> load_slow_replies(int64_t first_row,
                                                                       int64_t last_row);
  Result<std::vector<std::pair<int64_t, StoredEvent>>> load_events(int64_t run, int64_t first);

  /// load(first, last) returns at most a batch of (key, row) from `first` on. Visits each row.
  template <typename Row, typename Load>
  Status visit_batches(int64_t first, int64_t last, const Load& load,
                       const std::function<void(const Row&)>& visit) {
    while (true) {
      TOPSPIN_ASSIGN(const auto rows, load(first, last));
      for (const auto& [key, row] : rows) visit(row);
      if (rows.empty() || rows.back().first >= last) return {};
      // The index of a damaged file may return a row out of order. Never go back.
      if (rows.back().first < first) return damaged(*connection_, "the order of a run's rows");
      first = rows.back().first + 1;
    }
  }

  /// Like visit_batches(), for a table whose key within the run is a tick and a number. `read` gets
  /// that key and then `columns` of `from` (with ?1 for the run).
  template <typename Row, typename Read>
  Status visit_moments(int64_t run, std::string_view key, std::string_view columns,
                       std::string_view from, const Read& read,
                       const std::function<void(const Row&)>& visit);

  std::shared_ptr<Connection> connection_;
};

template <typename Row, typename Read>
Status SqliteRunStore::visit_moments(int64_t run, std::string_view key, std::string_view columns,
                                     std::string_view from, const Read& read,
                                     const std::function<void(const Row&)>& visit) {
  std::pair<int64_t, int64_t> last{-1, -1};  // tick, number
  while (true) {
    TOPSPIN_ASSIGN(Statement select,
                   connection_->prepare(fmt::format(
                       "SELECT m.tick, {0}, {1} FROM {2} WHERE m.run = ?1 AND (m.tick, {0}) > "
                       "(?2, ?3) ORDER BY m.tick, {0} LIMIT {3}",
                       key, columns, from, kRowsABatch)));
    select.bind_int(1, run);
    select.bind_int(2, last.first);
    select.bind_int(3, last.second);
    std::vector<Row> rows;
    while (true) {
      TOPSPIN_ASSIGN(const bool more, select.step());
      if (!more) break;
      std::pair<int64_t, int64_t> at;
      ColumnLoader load(select);
      load.load(at.first);
      load.load(at.second);
      read(load, rows.emplace_back());
      // The index of a damaged file may return a row out of order. Never go back.
      if (load.damaged() || at <= last) return damaged(*connection_, "a tick's rows");
      last = at;
    }
    for (const Row& row : rows) visit(row);
    if (rows.size() < static_cast<size_t>(kRowsABatch)) return {};
  }
}

Result<int64_t> SqliteRunStore::run_number(const std::string& run_id) {
  TOPSPIN_ASSIGN(Statement select, connection_->prepare("SELECT run FROM run WHERE id = ?1"));
  select.bind_text(1, run_id);
  TOPSPIN_ASSIGN(const bool row, select.step());
  if (!row) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{} holds no run \"{}\"; `topspin list` shows its runs",
                                  connection_->path(), run_id));
  }
  const int64_t run = select.is_int(0) ? select.int_at(0) : 0;
  if (run < 1 || run > std::numeric_limits<int32_t>::max()) return damaged(*connection_, "a run");
  return run;
}

Status SqliteRunStore::check_still_there(const std::string& run_id) {
  const auto run = run_number(run_id);
  if (run.ok()) return {};
  return make_error(run.error().code, fmt::format("run {} was removed while it was read", run_id));
}

Result<std::vector<StoredRun>> SqliteRunStore::list_runs(std::vector<Error>* damaged) {
  return load_runs(fmt::format("WHERE {} ORDER BY run", kIsWholeSql), "", damaged);
}

Result<StoredRun> SqliteRunStore::find_run(std::string_view id) {
  TOPSPIN_ASSIGN(auto found,
                 load_runs(fmt::format("WHERE {} AND id = ?1", kIsWholeSql), id, nullptr));
  if (found.empty() || id.empty()) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{} holds no run \"{}\"; `topspin list` shows its runs",
                                  connection_->path(), id));
  }
  return std::move(found.front());
}

Result<StoredRun> SqliteRunStore::last_run() {
  // By the number, which only grows; a clock may have gone back.
  TOPSPIN_ASSIGN(
      auto last,
      load_runs(fmt::format("WHERE {} ORDER BY run DESC LIMIT 1", kIsWholeSql), "", nullptr));
  if (last.empty()) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{} holds no run yet; record one with `topspin record`", connection_->path()));
  }
  return std::move(last.front());
}

/// The columns that load_run() reads.
ColumnNames run_columns() {
  ColumnNames columns;
  const RunInfo no_run;
  for_each_run_column(no_run, [&](auto... column) { columns(column...); });
  for (const char* name : {"run", "status", "duration_ns", "ticks", "exit_status", "writer_boot_id",
                           "writer_pid_namespace", "writer_pid", "writer_start_ticks"}) {
    columns.add(name);
  }
  return columns;
}

Result<std::vector<StoredRun>> SqliteRunStore::load_runs(std::string_view where_and_order,
                                                         std::string_view parameter,
                                                         std::vector<Error>* damaged) {
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(
                     fmt::format("SELECT {} FROM run {}", run_columns().names(), where_and_order)));
  if (!parameter.empty()) select.bind_text(1, parameter);
  std::vector<StoredRun> runs;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return runs;
    auto run = load_run(select);
    if (run.ok())
      runs.push_back(std::move(run).value());
    else if (damaged != nullptr)
      damaged->push_back(std::move(run).error());
    else
      return std::move(run).error();
  }
}

Result<StoredRun> SqliteRunStore::load_run(const Statement& select) {
  StoredRun stored;
  int64_t run = 0;
  std::string status;
  std::optional<int64_t> duration_ns;
  std::optional<uint64_t> ticks;
  WriterIdentity writer;
  ColumnLoader load(select);
  for_each_run_column(stored.info, [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
  load.load(run);
  load.load(status);
  load.load_bounded(duration_ns);
  load.load(ticks);
  load.load(stored.end.exit_status);
  load.load(writer.boot_id);
  load.load(writer.pid_namespace);
  load.load(writer.pid);
  load.load(writer.start_ticks);
  const auto parsed = parse_run_status(status);
  // The id comes first, so it is known even if a later column is damaged.
  const std::string name = stored.info.id.empty() ? "a run" : fmt::format("run {}", stored.info.id);
  if (load.damaged() || !parsed || run < 1) return damaged(*connection_, name);
  stored.number = static_cast<uint64_t>(run);
  stored.end.status = *parsed;
  if (*parsed == RunStatus::kRunning && fate_of(writer) == WriterFate::kGone) {
    stored.end.status = RunStatus::kInterrupted;
  }
  const auto load_rest = [&]() -> Status {
    if (duration_ns && ticks) {
      stored.end.duration_ns = *duration_ns;
      stored.ticks = *ticks;
    } else {
      TOPSPIN_TRY(load_progress(run, stored));
    }
    TOPSPIN_TRY(load_lists(run, stored));
    TOPSPIN_ASSIGN(stored.info.plan, select_plan(*connection_, run));
    return {};
  };
  if (auto rest = load_rest(); !rest.ok()) {
    Error error = std::move(rest).error();
    error.message = fmt::format("{}: {}", name, error.message);
    return error;
  }
  return stored;
}

/// Loads how far a run that has not ended has come.
Status SqliteRunStore::load_progress(int64_t run, StoredRun& stored) {
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare("SELECT coalesce(max(elapsed_ns), 0), count(*) FROM tick"
                                      " WHERE run = ?1"));
  select.bind_int(1, run);
  TOPSPIN_ASSIGN(const bool row, select.step());
  ColumnLoader load(select);
  load.load_bounded(stored.end.duration_ns);
  load.load(stored.ticks);
  if (!row || load.damaged()) return damaged(*connection_, "a run's ticks");
  return {};
}

Result<std::vector<std::string>> SqliteRunStore::load_texts(std::string_view sql, int64_t run) {
  TOPSPIN_ASSIGN(Statement select, connection_->prepare(sql));
  select.bind_int(1, run);
  std::vector<std::string> texts;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return texts;
    ColumnLoader load(select);
    load.load(texts.emplace_back());
    if (load.damaged()) return damaged(*connection_, "a run");
  }
}

Status SqliteRunStore::load_lists(int64_t run, StoredRun& stored) {
  TOPSPIN_ASSIGN(stored.info.command,
                 load_texts("SELECT value FROM argument WHERE run = ?1 ORDER BY position", run));
  TOPSPIN_ASSIGN(
      stored.end.invalid_reasons,
      load_texts("SELECT reason FROM invalid_reason WHERE run = ?1 ORDER BY position", run));
  TOPSPIN_ASSIGN(stored.end.doubts,
                 load_texts("SELECT doubt FROM doubt WHERE run = ?1 ORDER BY position", run));

  TOPSPIN_ASSIGN(Statement labels,
                 connection_->prepare("SELECT key, value FROM label WHERE run = ?1"));
  labels.bind_int(1, run);
  while (true) {
    TOPSPIN_ASSIGN(const bool row, labels.step());
    if (!row) break;
    std::string key, value;
    ColumnLoader load(labels);
    load.load(key);
    load.load(value);
    if (load.damaged()) return damaged(*connection_, "a label");
    stored.info.labels.emplace(std::move(key), std::move(value));
  }

  TOPSPIN_ASSIGN(Statement probes,
                 connection_->prepare(
                     "SELECT name, rung, reason FROM probe WHERE run = ?1 ORDER BY position"));
  probes.bind_int(1, run);
  while (true) {
    TOPSPIN_ASSIGN(const bool row, probes.step());
    if (!row) break;
    ProbeStatus& probe = stored.info.probes.emplace_back();
    std::string rung;
    ColumnLoader load(probes);
    load.load(probe.name);
    load.load(rung);
    load.load(probe.reason);
    const auto parsed = parse_rung(rung);
    if (load.damaged() || !parsed) return damaged(*connection_, "a probe");
    probe.rung = *parsed;
  }
  return {};
}

Status SqliteRunStore::for_each_tick(const std::string& run_id, TickParts parts,
                                     const std::function<void(const Sample&)>& visit) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  int64_t first = 0;
  while (true) {
    TOPSPIN_ASSIGN(const std::vector<Sample> ticks, load_ticks(run, first, kTicksABatch, parts));
    for (const Sample& sample : ticks) visit(sample);
    if (ticks.empty()) return check_still_there(run_id);
    const auto last = static_cast<int64_t>(ticks.back().tick);
    if (last == std::numeric_limits<int64_t>::max()) return check_still_there(run_id);
    if (last < first) return damaged(*connection_, "the order of a run's ticks");
    first = last + 1;
  }
}

Result<std::vector<Sample>> SqliteRunStore::read_ticks(const std::string& run_id, uint64_t first,
                                                       size_t most) {
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_ASSIGN(auto ticks, load_ticks(run, static_cast<int64_t>(std::min<uint64_t>(first, kMost)),
                                        static_cast<int64_t>(std::min<uint64_t>(most, kMost)),
                                        TickParts::kAll));
  TOPSPIN_TRY(check_still_there(run_id));
  return ticks;
}

Result<uint64_t> SqliteRunStore::last_tick(const std::string& run_id) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare("SELECT coalesce(max(tick), 0) FROM tick WHERE run = ?1"));
  select.bind_int(1, run);
  uint64_t tick = 0;
  TOPSPIN_ASSIGN(const bool row, select.step());
  ColumnLoader load(select);
  load.load(tick);
  if (!row || load.damaged()) return damaged(*connection_, "a run's ticks");
  return tick;
}

Result<std::vector<Sample>> SqliteRunStore::load_ticks(int64_t run, int64_t first, int64_t most,
                                                       TickParts parts) {
  const ColumnNames columns = names_of_sample_columns();
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format(
                     "SELECT {} FROM tick WHERE run = ?1 AND tick >= ?2 ORDER BY tick LIMIT ?3",
                     columns.names())));
  select.bind_int(1, run);
  select.bind_int(2, first);
  select.bind_int(3, most);
  std::vector<Sample> ticks;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) break;
    Sample& sample = ticks.emplace_back();
    ColumnLoader load(select);
    load_sample(load, sample);
    if (load.damaged()) return damaged(*connection_, "a tick");
  }
  if (!ticks.empty() && parts == TickParts::kAll) {
    TOPSPIN_TRY(load_histograms(run, ticks));
    TOPSPIN_TRY(load_cpus(run, ticks));
    TOPSPIN_TRY(load_counters(run, ticks));
  }
  return ticks;
}

Status SqliteRunStore::load_histograms(int64_t run, std::vector<Sample>& ticks) {
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare("SELECT tick, name, data FROM histogram WHERE run = ?1 AND"
                                      " tick BETWEEN ?2 AND ?3 ORDER BY tick"));
  select.bind_int(1, run);
  select.bind_int(2, static_cast<int64_t>(ticks.front().tick));
  select.bind_int(3, static_cast<int64_t>(ticks.back().tick));
  auto sample = ticks.begin();
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return {};
    uint64_t tick = 0;
    std::string name, data;
    ColumnLoader load(select);
    load.load(tick);
    load.load(name);
    load.load_blob(data);
    while (sample != ticks.end() && sample->tick < tick) ++sample;
    if (load.damaged() || sample == ticks.end() || sample->tick != tick) {
      return damaged(*connection_, "a histogram");
    }
    if (!load_histogram(*sample, name, data).ok()) return damaged(*connection_, "a histogram");
  }
}

Status SqliteRunStore::load_cpus(int64_t run, std::vector<Sample>& ticks) {
  ColumnNames columns;
  const CpuScheduling no_cpu;
  for_each_cpu_column(no_cpu, [&](auto... column) { columns(column...); });
  columns.add("tick");
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format("SELECT {} FROM cpu_tick WHERE run = ?1 AND"
                                                  " tick BETWEEN ?2 AND ?3 ORDER BY tick, cpu",
                                                  columns.names())));
  select.bind_int(1, run);
  select.bind_int(2, static_cast<int64_t>(ticks.front().tick));
  select.bind_int(3, static_cast<int64_t>(ticks.back().tick));
  auto sample = ticks.begin();
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return {};
    CpuScheduling cpu;
    uint64_t tick = 0;
    ColumnLoader load(select);
    for_each_cpu_column(cpu, [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    load.load(tick);
    while (sample != ticks.end() && sample->tick < tick) ++sample;
    if (load.damaged() || sample == ticks.end() || sample->tick != tick)
      return damaged(*connection_, "a CPU's row");
    if (!sample->scheduler) sample->scheduler.emplace();
    sample->scheduler->cpus.push_back(cpu);
  }
}

Status SqliteRunStore::load_counters(int64_t run, std::vector<Sample>& ticks) {
  TOPSPIN_ASSIGN(
      Statement select,
      connection_->prepare("SELECT tick, name, count, enabled_ns, running_ns FROM counter"
                           " WHERE run = ?1 AND tick BETWEEN ?2 AND ?3 ORDER BY tick"));
  select.bind_int(1, run);
  select.bind_int(2, static_cast<int64_t>(ticks.front().tick));
  select.bind_int(3, static_cast<int64_t>(ticks.back().tick));
  auto sample = ticks.begin();
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return {};
    uint64_t tick = 0;
    std::string name;
    EventCount counter;
    ColumnLoader load(select);
    load.load(tick);
    load.load(name);
    load.load(counter.count);
    load.load(counter.enabled_ns);
    load.load(counter.running_ns);
    while (sample != ticks.end() && sample->tick < tick) ++sample;
    if (load.damaged() || sample == ticks.end() || sample->tick != tick) {
      return damaged(*connection_, "a counter");
    }
    CounterInterval::for_each_field([&](std::string_view candidate, auto field) {
      if (candidate == name) sample->counters.*field = counter;
    });
  }
}

Result<RunFold> SqliteRunStore::fold(const std::string& run_id, RunPart part) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_ASSIGN(auto stored, load_fold(*connection_, run, part));
  TOPSPIN_TRY(check_still_there(run_id));
  if (stored) return *std::move(stored);
  TOPSPIN_ASSIGN(const auto stages, load_stages(run_id));
  const int64_t from_ns = part == RunPart::kMeasured ? measured_from_ns(stages) : 0;
  // Without a load stage every tick was measured, and only the whole is stored.
  if (part == RunPart::kMeasured && from_ns == 0) return this->fold(run_id, RunPart::kWhole);
  RunFold fold;
  fold.load_end_ns = load_end_ns(stages);
  TOPSPIN_TRY(for_each_tick(run_id, [&](const Sample& tick) {
    if (tick.elapsed_ns > from_ns) fold.add(tick);
  }));
  return fold;
}

Status SqliteRunStore::for_each_flow(const std::string& run_id,
                                     const std::function<void(const FlowRow&)>& visit) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_ASSIGN(const FlowChanges changes, FlowChanges::load(*connection_, run));
  const auto load = [&](int64_t first,
                        int64_t last) -> Result<std::vector<std::pair<int64_t, FlowRow>>> {
    TOPSPIN_ASSIGN(auto rows, load_flows(first, last));
    for (auto& [row, flow] : rows) {
      if (!changes.apply(static_cast<uint32_t>(row & kLastNumber), flow))
        return damaged(*connection_, "a change of flows");
    }
    return rows;
  };
  TOPSPIN_TRY(visit_batches<FlowRow>(run << 32, (run << 32) | kLastNumber, load, visit));
  return check_still_there(run_id);
}

Result<std::vector<std::pair<int64_t, FlowRow>>> SqliteRunStore::load_flows(int64_t first_row,
                                                                            int64_t last_row) {
  const ColumnNames columns = flow_table_columns();
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format(
                     "SELECT {} FROM flow WHERE row BETWEEN ?1 AND ?2 ORDER BY row LIMIT {}",
                     columns.names(), kRowsABatch)));
  select.bind_int(1, first_row);
  select.bind_int(2, last_row);
  std::vector<std::pair<int64_t, FlowRow>> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    auto& [key, flow] = rows.emplace_back();
    std::string initiator_address, responder_address;
    Endpoint initiator, responder;
    ColumnLoader load(select);
    const auto visit = [&](auto prefix, auto name, auto& v) { load(prefix, name, v); };
    for_each_changing_flow_column(flow, visit);
    for_each_fixed_flow_column(flow, visit);
    load.load(initiator_address);
    load.load(initiator.port);
    load.load(responder_address);
    load.load(responder.port);
    load.load(key);
    const auto from = parse_address(initiator_address, flow.key.ip_version);
    const auto to = parse_address(responder_address, flow.key.ip_version);
    if (load.damaged() || !from || !to) return damaged(*connection_, "a flow");
    initiator.address = *from;
    responder.address = *to;
    flow.initiator_is_low = initiator <= responder;
    flow.key.low = flow.initiator_is_low ? initiator : responder;
    flow.key.high = flow.initiator_is_low ? responder : initiator;
  }
}

Status SqliteRunStore::for_each_thread(const std::string& run_id,
                                       const std::function<void(const ThreadRow&)>& visit) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_TRY(visit_batches<ThreadRow>(
      run << 32, (run << 32) | kLastNumber,
      [this](int64_t first, int64_t last) { return load_threads(first, last); }, visit));
  return check_still_there(run_id);
}

Result<std::vector<std::pair<int64_t, ThreadRow>>> SqliteRunStore::load_threads(int64_t first_row,
                                                                                int64_t last_row) {
  ColumnNames columns;
  const ThreadRow no_thread;
  for_each_thread_column(no_thread, [&](auto... column) { columns(column...); });
  for_each_thread_histogram(no_thread, [&](const char* name, const auto&) { columns.add(name); });
  columns.add("row");
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format(
                     "SELECT {} FROM thread WHERE row BETWEEN ?1 AND ?2 ORDER BY row LIMIT {}",
                     columns.names(), kRowsABatch)));
  select.bind_int(1, first_row);
  select.bind_int(2, last_row);
  std::vector<std::pair<int64_t, ThreadRow>> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    auto& [key, thread] = rows.emplace_back();
    ColumnLoader load(select);
    for_each_thread_column(thread, [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    for_each_thread_histogram(thread, [&](auto, auto& histogram) {
      const auto bytes = load.load_optional_blob();
      if (bytes && !decode_histogram(*bytes, histogram).ok()) load.set_damaged();
    });
    load.load(key);
    if (load.damaged()) return damaged(*connection_, "a thread");
  }
}

Status SqliteRunStore::for_each_thread_tick(const std::string& run_id,
                                            const std::function<void(const ThreadTick&)>& visit) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_TRY(visit_moments<ThreadTick>(
      run, "m.thread",
      "tick.elapsed_ns, tick.interval_ns, thread.pid, thread.tid, thread.name, m.cpu_ns, "
      "m.run_queue_wait_ns, m.run_queue_waits",
      "thread_tick AS m JOIN tick ON tick.run = m.run AND tick.tick = m.tick "
      "JOIN thread ON thread.row = (m.run << 32 | m.thread)",
      [](ColumnLoader& load, ThreadTick& moment) {
        load.load_bounded(moment.elapsed_ns);
        load.load_bounded(moment.interval_ns);
        load.load(moment.pid);
        load.load(moment.tid);
        load.load(moment.name);
        load.load(moment.cpu_ns);
        load.load(moment.run_queue_wait_ns);
        load.load(moment.run_queue_waits);
      },
      visit));
  return check_still_there(run_id);
}

Status SqliteRunStore::for_each_late_message(const std::string& run_id,
                                             const std::function<void(const LateMessage&)>& visit) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_TRY(visit_moments<LateMessage>(
      run, "m.flow",
      "flow.flow, flow.ip_version, flow.initiator_address, flow.initiator_port, m.time_ns, "
      "m.lateness_ns",
      "late_message AS m JOIN flow ON flow.row = (m.run << 32 | m.flow)",
      [](ColumnLoader& load, LateMessage& moment) {
        uint8_t ip_version = 0;
        std::string address;
        Endpoint initiator;
        load.load(moment.flow);
        load.load(ip_version);
        load.load(address);
        load.load(initiator.port);
        load.load_bounded(moment.time_ns);
        load.load_bounded(moment.lateness_ns);
        const auto parsed = parse_address(address, ip_version);
        if (!parsed) return load.set_damaged();
        initiator.address = *parsed;
        moment.initiator = format_endpoint(initiator, ip_version);
      },
      visit));
  return check_still_there(run_id);
}

Status SqliteRunStore::for_each_owner(const std::string& run_id,
                                      const std::function<void(const FlowOwner&)>& visit) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_TRY(visit_batches<FlowOwner>(
      run << 32, (run << 32) | kLastNumber,
      [this](int64_t first, int64_t last) { return load_owners(first, last); }, visit));
  return check_still_there(run_id);
}

Result<std::vector<std::pair<int64_t, FlowOwner>>> SqliteRunStore::load_owners(int64_t first_row,
                                                                               int64_t last_row) {
  ColumnNames columns;
  const FlowOwner no_owner;
  for_each_owner_column(no_owner, [&](auto... column) { columns(column...); });
  columns.add("quality");
  columns.add("row");
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format(
                     "SELECT {} FROM owner WHERE row BETWEEN ?1 AND ?2 ORDER BY row LIMIT {}",
                     columns.names(), kRowsABatch)));
  select.bind_int(1, first_row);
  select.bind_int(2, last_row);
  std::vector<std::pair<int64_t, FlowOwner>> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    auto& [key, owner] = rows.emplace_back();
    std::string quality;
    ColumnLoader load(select);
    for_each_owner_column(owner, [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    load.load(quality);
    load.load(key);
    const auto parsed = parse_owner_quality(quality);
    if (load.damaged() || !parsed) return damaged(*connection_, "an owner of flows");
    owner.quality = *parsed;
  }
}

Status SqliteRunStore::for_each_socket(const std::string& run_id,
                                       const std::function<void(const SocketRow&)>& visit) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_TRY(visit_batches<SocketRow>(
      run << 32, (run << 32) | kLastNumber,
      [this](int64_t first, int64_t last) { return load_sockets(first, last); }, visit));
  return check_still_there(run_id);
}

Result<std::vector<std::pair<int64_t, SocketRow>>> SqliteRunStore::load_sockets(int64_t first_row,
                                                                                int64_t last_row) {
  ColumnNames columns;
  const SocketRow no_socket;
  for_each_socket_column(no_socket, [&](auto... column) { columns(column...); });
  for (const char* name : {"local_address", "cookie", "row"}) columns.add(name);
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format(
                     "SELECT {} FROM socket WHERE row BETWEEN ?1 AND ?2 ORDER BY row LIMIT {}",
                     columns.names(), kRowsABatch)));
  select.bind_int(1, first_row);
  select.bind_int(2, last_row);
  std::vector<std::pair<int64_t, SocketRow>> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    auto& [key, socket] = rows.emplace_back();
    std::string address;
    int64_t cookie = 0;
    ColumnLoader load(select);
    for_each_socket_column(socket, [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    load.load(address);
    load.load(cookie);
    load.load(key);
    const auto parsed = parse_address(address, socket.ip_version);
    if (load.damaged() || !parsed) return damaged(*connection_, "a socket");
    socket.local.address = *parsed;
    socket.cookie = static_cast<uint64_t>(cookie);
  }
}

Status SqliteRunStore::for_each_syscall(const std::string& run_id,
                                        const std::function<void(const SyscallRow&)>& visit) {
  return visit_all(run_id, &SqliteRunStore::load_syscalls, visit);
}

/// Loads all at once: there are at most some hundred kinds of system calls.
Result<std::vector<SyscallRow>> SqliteRunStore::load_syscalls(int64_t run) {
  ColumnNames columns;
  const SyscallRow no_syscall;
  for_each_syscall_column(no_syscall, [&](auto... column) { columns(column...); });
  columns.add("latency_ns");
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format(
                     "SELECT {} FROM syscall WHERE run = ?1 ORDER BY number", columns.names())));
  select.bind_int(1, run);
  std::vector<SyscallRow> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    SyscallRow& syscall = rows.emplace_back();
    std::string latency;
    ColumnLoader load(select);
    for_each_syscall_column(syscall,
                            [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    load.load_blob(latency);
    if (load.damaged() || !decode_histogram(latency, syscall.latency).ok())
      return damaged(*connection_, "a system call's row");
  }
}

Status SqliteRunStore::for_each_called(const std::string& run_id,
                                       const std::function<void(const CalledRow&)>& visit) {
  return visit_all(run_id, &SqliteRunStore::load_called, visit);
}

/// Loads all at once: their number has a limit.
Result<std::vector<CalledRow>> SqliteRunStore::load_called(int64_t run) {
  ColumnNames columns;
  const CalledRow no_address;
  for_each_called_column(no_address, [&](auto... column) { columns(column...); });
  for (const char* name : {"address", "latency_ns"}) columns.add(name);
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(
                     fmt::format("SELECT {} FROM called WHERE run = ?1 ORDER BY number LIMIT {}",
                                 columns.names(), kRowsABatch)));
  select.bind_int(1, run);
  std::vector<CalledRow> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    CalledRow& called = rows.emplace_back();
    std::string address, latency;
    ColumnLoader load(select);
    for_each_called_column(called, [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    load.load(address);
    load.load_blob(latency);
    const auto parsed = parse_address(address, called.ip_version);
    if (load.damaged() || !parsed || !decode_histogram(latency, called.latency).ok())
      return damaged(*connection_, "a called address");
    called.address.address = *parsed;
  }
}

Status SqliteRunStore::for_each_cpu_holder(const std::string& run_id,
                                           const std::function<void(const CpuHolderRow&)>& visit) {
  return visit_all(run_id, &SqliteRunStore::load_cpu_holders, visit);
}

/// Loads all at once: the probe gives at most a thousand.
Result<std::vector<CpuHolderRow>> SqliteRunStore::load_cpu_holders(int64_t run) {
  ColumnNames columns;
  const CpuHolderRow no_holder;
  for_each_cpu_holder_column(no_holder, [&](auto... column) { columns(column...); });
  columns.add("kind");
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format(
                     "SELECT {} FROM cpu_holder WHERE run = ?1 ORDER BY holder", columns.names())));
  select.bind_int(1, run);
  std::vector<CpuHolderRow> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    CpuHolderRow& holder = rows.emplace_back();
    std::string kind;
    ColumnLoader load(select);
    for_each_cpu_holder_column(holder,
                               [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    load.load(kind);
    const auto parsed = parse_cpu_holder(kind);
    if (load.damaged() || !parsed) return damaged(*connection_, "a row of who had the CPUs");
    holder.kind = *parsed;
  }
}

Status SqliteRunStore::for_each_sleep_stack(
    const std::string& run_id, const std::function<void(const SleepStackRow&)>& visit) {
  return visit_all(run_id, &SqliteRunStore::load_sleep_stacks, visit);
}

/// Loads all at once: the probe has a limit of some thousands.
Result<std::vector<SleepStackRow>> SqliteRunStore::load_sleep_stacks(int64_t run) {
  ColumnNames columns;
  const SleepStackRow no_stack;
  for_each_sleep_stack_column(no_stack, [&](auto... column) { columns(column...); });
  columns.add("blocked_by");
  TOPSPIN_ASSIGN(
      Statement select,
      connection_->prepare(fmt::format(
          "SELECT {} FROM sleep_stack WHERE run = ?1 ORDER BY sleep_stack", columns.names())));
  select.bind_int(1, run);
  std::vector<SleepStackRow> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    SleepStackRow& stack = rows.emplace_back();
    std::string reason;
    ColumnLoader load(select);
    for_each_sleep_stack_column(stack,
                                [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    load.load(reason);
    const auto parsed = parse_blocked_by(reason);
    if (load.damaged() || !parsed) return damaged(*connection_, "a row of where it slept");
    stack.reason = *parsed;
  }
}

Status SqliteRunStore::for_each_busy_stretch(const std::string& run_id,
                                             const std::function<void(const BusyStretch&)>& visit) {
  return visit_all(run_id, &SqliteRunStore::load_busy_stretches, visit);
}

/// All at once: their number has a limit.
Result<std::vector<BusyStretch>> SqliteRunStore::load_busy_stretches(int64_t run) {
  ColumnNames columns;
  const BusyStretch no_stretch;
  for_each_busy_stretch_column(no_stretch, [&](auto... column) { columns(column...); });
  columns.add("stretch");
  TOPSPIN_ASSIGN(Statement select, connection_->prepare(fmt::format(
                                       "SELECT {} FROM busy_stretch WHERE run = ?1 ORDER BY "
                                       "stretch LIMIT {}",
                                       columns.names(), kStretchesARun)));
  select.bind_int(1, run);
  std::map<uint32_t, BusyStretch> stretches;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) break;
    BusyStretch stretch;
    uint32_t number = 0;
    ColumnLoader load(select);
    for_each_busy_stretch_column(stretch,
                                 [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    load.load(number);
    if (load.damaged()) return damaged(*connection_, "a busy stretch");
    stretches.emplace(number, std::move(stretch));
  }
  TOPSPIN_TRY(load_stretch_stacks(run, stretches));
  std::vector<BusyStretch> all;
  all.reserve(stretches.size());
  for (auto& [number, stretch] : stretches) all.push_back(std::move(stretch));
  return all;
}

Status SqliteRunStore::load_stretch_stacks(int64_t run,
                                           std::map<uint32_t, BusyStretch>& stretches) {
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format(
                     "SELECT stretch, stack, samples FROM busy_stretch_stack WHERE run = ?1"
                     " ORDER BY stretch, samples DESC, stack LIMIT {}",
                     kStretchesARun * kStacksAStretch)));
  select.bind_int(1, run);
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return {};
    uint32_t number = 0;
    StretchStack stack;
    ColumnLoader load(select);
    load.load(number);
    load.load(stack.stack);
    load.load(stack.samples);
    if (load.damaged()) return damaged(*connection_, "a stack of a busy stretch");
    const auto stretch = stretches.find(number);
    if (stretch != stretches.end()) stretch->second.stacks.push_back(stack);
  }
}

Status SqliteRunStore::for_each_stack(const std::string& run_id,
                                      const std::function<void(const StackRow&)>& visit) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_TRY(visit_batches<StackRow>(
      run << 32, (run << 32) | kLastNumber,
      [this](int64_t first, int64_t last) { return load_stacks(first, last); }, visit));
  return check_still_there(run_id);
}

Result<std::vector<std::pair<int64_t, StackRow>>> SqliteRunStore::load_stacks(int64_t first_row,
                                                                              int64_t last_row) {
  ColumnNames columns;
  const StackRow no_stack;
  for_each_stack_column(no_stack, [&](auto... column) { columns(column...); });
  columns.add("row");
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format(
                     "SELECT {} FROM stack WHERE row BETWEEN ?1 AND ?2 ORDER BY row LIMIT {}",
                     columns.names(), kRowsABatch)));
  select.bind_int(1, first_row);
  select.bind_int(2, last_row);
  std::vector<std::pair<int64_t, StackRow>> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    auto& [key, stack] = rows.emplace_back();
    ColumnLoader load(select);
    for_each_stack_column(stack, [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    load.load(key);
    if (load.damaged()) return damaged(*connection_, "a stack");
  }
}

Status SqliteRunStore::for_each_slow_reply(const std::string& run_id,
                                           const std::function<void(const SlowReply&)>& visit) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_TRY(visit_batches<SlowReply>(
      run << 32, (run << 32) | kLastNumber,
      [this](int64_t first, int64_t last) { return load_slow_replies(first, last); }, visit));
  return check_still_there(run_id);
}

Result<std::vector<std::pair<int64_t, SlowReply>>> SqliteRunStore::load_slow_replies(
    int64_t first_row, int64_t last_row) {
  ColumnNames columns;
  const SlowReply no_reply;
  for_each_slow_reply_column(no_reply, [&](auto... column) { columns(column...); });
  for (const char* name : {"local_address", "remote_address", "row"}) columns.add(name);
  TOPSPIN_ASSIGN(Statement select,
                 connection_->prepare(fmt::format(
                     "SELECT {} FROM slow_reply WHERE row BETWEEN ?1 AND ?2 ORDER BY row LIMIT {}",
                     columns.names(), kRowsABatch)));
  select.bind_int(1, first_row);
  select.bind_int(2, last_row);
  std::vector<std::pair<int64_t, SlowReply>> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    auto& [key, reply] = rows.emplace_back();
    std::string local, remote;
    ColumnLoader load(select);
    for_each_slow_reply_column(reply,
                               [&](auto prefix, auto name, auto& v) { load(prefix, name, v); });
    load.load(local);
    load.load(remote);
    load.load(key);
    const auto from = parse_address(local, reply.ip_version);
    const auto to = parse_address(remote, reply.ip_version);
    if (load.damaged() || !from || !to) return damaged(*connection_, "a slow reply");
    reply.local.address = *from;
    reply.remote.address = *to;
  }
}

Status SqliteRunStore::for_each_event(const std::string& run_id,
                                      const std::function<void(const StoredEvent&)>& visit) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_TRY(visit_batches<StoredEvent>(
      0, std::numeric_limits<int64_t>::max(),
      [this, run](int64_t first, int64_t) { return load_events(run, first); }, visit));
  return check_still_there(run_id);
}

Result<std::vector<std::pair<int64_t, StoredEvent>>> SqliteRunStore::load_events(int64_t run,
                                                                                 int64_t first) {
  TOPSPIN_ASSIGN(Statement select, connection_->prepare(fmt::format(
                                       "SELECT position, elapsed_ns, text FROM event WHERE run = ?1"
                                       " AND position >= ?2 ORDER BY position LIMIT {}",
                                       kRowsABatch)));
  select.bind_int(1, run);
  select.bind_int(2, first);
  std::vector<std::pair<int64_t, StoredEvent>> rows;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return rows;
    auto& [position, event] = rows.emplace_back();
    ColumnLoader load(select);
    load.load(position);
    load.load_bounded(event.elapsed_ns);
    load.load(event.text);
    if (load.damaged()) return damaged(*connection_, "an event");
  }
}

Result<std::vector<RunStage>> SqliteRunStore::load_stages(const std::string& run_id) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_ASSIGN(auto stages, select_stages(*connection_, run));
  TOPSPIN_TRY(check_still_there(run_id));
  return stages;
}

Result<std::optional<LoadResult>> SqliteRunStore::load_load(const std::string& run_id) {
  TOPSPIN_ASSIGN(const int64_t run, run_number(run_id));
  TOPSPIN_ASSIGN(auto load, select_load(*connection_, run));
  TOPSPIN_TRY(check_still_there(run_id));
  return load;
}

}  // namespace

Status RunStore::for_each_fold(const std::vector<StoredRun>& runs, RunPart part,
                               std::span<const std::string_view> /*distributions*/,
                               const std::function<void(size_t, const RunFold&)>& visit) {
  for (size_t i = 0; i < runs.size(); ++i) {
    TOPSPIN_ASSIGN(const RunFold one, fold(runs[i].info.id, part));
    visit(i, one);
  }
  return {};
}

Result<std::unique_ptr<RunStore>> open_run_file(const std::string& path) {
  TOPSPIN_ASSIGN(auto connection, open_for_reading(path));
  return std::unique_ptr<RunStore>(std::make_unique<SqliteRunStore>(std::move(connection)));
}

Result<std::unique_ptr<RunStore>> open_run_bytes(std::string_view bytes, const std::string& name) {
  TOPSPIN_ASSIGN(auto connection, open_bytes_for_reading(bytes, name));
  return std::unique_ptr<RunStore>(std::make_unique<SqliteRunStore>(std::move(connection)));
}

std::unique_ptr<RunStore> read_runs_of(Connection& connection) {
  // A shared pointer that owns nothing.
  return std::make_unique<SqliteRunStore>(
      std::shared_ptr<Connection>(std::shared_ptr<void>(), &connection));
}

}  // namespace topspin
