#include "store/runs/merge.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>

#include "store/run_store.h"
#include "store/runs/file_log.h"
#include "store/runs/one_run.h"
#include "store/runs/run_tables.h"
#include "store/schema/database.h"
#include "store/sqlite/row_values.h"
#include "store/sqlite/writer_identity.h"

namespace topspin {
namespace {

constexpr std::string_view kRunTable = "run";

std::string list(const std::vector<std::string>& columns) {
  std::string out;
  for (const std::string& column : columns) out += (out.empty() ? "" : ", ") + quoted_name(column);
  return out;
}

std::string parameters(size_t first, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += fmt::format("{}?{}", i == 0 ? "" : ", ", first + i);
  return out;
}

/// Copies column `column` of a row to parameter `parameter`. The bytes are valid until the row's
/// next step.
bool copy_value(const Statement& from, int column, Statement& to, int parameter) {
  if (from.is_null(column))
    to.bind_null(parameter);
  else if (from.is_int(column))
    to.bind_int(parameter, from.int_at(column));
  else if (from.is_text(column))
    to.bind_text(parameter, from.bytes_at(column));
  else if (from.is_blob(column))
    to.bind_blob(parameter, from.bytes_at(column));
  else
    return false;  // a floating-point value, which none of our tables has
  return true;
}

/// How much is written in one transaction; between transactions a recorder may write.
constexpr size_t kRowsATransaction = 2'000;
constexpr size_t kBytesATransaction = size_t{2} << 20;

/// Reads all of a run through the public reader.
Status check_rows(RunStore& store, const std::string& id) {
  TOPSPIN_ASSIGN([[maybe_unused]] const StoredRun run, store.find_run(id));
  TOPSPIN_TRY(store.for_each_tick(id, [](const Sample&) {}));
  TOPSPIN_TRY(store.for_each_flow(id, [](const FlowRow&) {}));
  TOPSPIN_TRY(store.for_each_thread(id, [](const ThreadRow&) {}));
  TOPSPIN_TRY(store.for_each_thread_tick(id, [](const ThreadTick&) {}));
  TOPSPIN_TRY(store.for_each_late_message(id, [](const LateMessage&) {}));
  TOPSPIN_TRY(store.for_each_owner(id, [](const FlowOwner&) {}));
  TOPSPIN_TRY(store.for_each_socket(id, [](const SocketRow&) {}));
  TOPSPIN_TRY(store.for_each_syscall(id, [](const SyscallRow&) {}));
  TOPSPIN_TRY(store.for_each_cpu_holder(id, [](const CpuHolderRow&) {}));
  TOPSPIN_TRY(store.for_each_sleep_stack(id, [](const SleepStackRow&) {}));
  TOPSPIN_TRY(store.for_each_stack(id, [](const StackRow&) {}));
  TOPSPIN_TRY(store.for_each_busy_stretch(id, [](const BusyStretch&) {}));
  TOPSPIN_TRY(store.for_each_called(id, [](const CalledRow&) {}));
  TOPSPIN_TRY(store.for_each_slow_reply(id, [](const SlowReply&) {}));
  TOPSPIN_TRY(store.for_each_event(id, [](const StoredEvent&) {}));
  TOPSPIN_ASSIGN([[maybe_unused]] const auto stages, store.load_stages(id));
  TOPSPIN_ASSIGN([[maybe_unused]] const auto load, store.load_load(id));
  return {};
}

class Merge {
 public:
  Merge(Connection& into, Connection& from)
      : into_(into), from_(from), reader_(read_runs_of(from)) {}

  Result<MergeCounts> run() {
    TOPSPIN_ASSIGN(tables_, run_tables(into_));
    TOPSPIN_TRY(remove_what_the_dead_left());
    // Read a consistent state of the source, even if another program writes to it.
    TOPSPIN_ASSIGN(Transaction reading, Transaction::begin(from_, "BEGIN"));
    TOPSPIN_ASSIGN(const auto runs, find_runs());
    for (const auto& [number, id] : runs) TOPSPIN_TRY(copy_run(number, id));
    TOPSPIN_TRY(copy_logs());
    return counts_;
  }

  /// Copies one run, and nothing of the gate's log.
  Status run_one(const std::string& wanted) {
    TOPSPIN_ASSIGN(tables_, run_tables(into_));
    TOPSPIN_ASSIGN(Transaction reading, Transaction::begin(from_, "BEGIN"));
    TOPSPIN_ASSIGN(const auto runs, find_runs());
    for (const auto& [number, id] : runs) {
      if (id == wanted) TOPSPIN_TRY(copy_run(number, id));
    }
    if (counts_.runs == 1) return {};
    return make_error(ErrorCode::kInput, counts_.damaged.empty()
                                             ? fmt::format("run {} is still being recorded", wanted)
                                             : counts_.damaged.front());
  }

 private:
  Error damaged(std::string_view what) const {
    return make_error(ErrorCode::kInput,
                      fmt::format("{} is damaged: {} cannot be read", from_.path(), what));
  }

  /// The numbers and ids of the runs to copy, oldest first.
  Result<std::vector<std::pair<int64_t, std::string>>> find_runs() {
    TOPSPIN_ASSIGN(
        Statement select,
        from_.prepare(fmt::format("SELECT run, id, status, writer_boot_id, writer_pid_namespace,"
                                  " writer_pid, writer_start_ticks FROM run WHERE {} ORDER BY run",
                                  kIsWholeSql)));
    TOPSPIN_ASSIGN(Statement present, into_.prepare("SELECT 1 FROM run WHERE id = ?1"));
    std::vector<std::pair<int64_t, std::string>> runs;
    while (true) {
      TOPSPIN_ASSIGN(const bool row, select.step());
      if (!row) return runs;
      int64_t run = 0;
      std::string id, status;
      WriterIdentity writer;
      ColumnLoader load(select);
      load.load(run);
      load.load(id);
      load.load(status);
      load.load(writer.boot_id);
      load.load(writer.pid_namespace);
      load.load(writer.pid);
      load.load(writer.start_ticks);
      if (load.damaged() || id.empty() || run < 1 || run > kMostRuns) {
        refuse(id, damaged("its row"));
        continue;
      }
      present.bind_text(1, id);
      TOPSPIN_ASSIGN(const bool known, present.step());
      present.reset();
      if (known)
        ++counts_.present;
      else if (status == "running" && fate_of(writer) == WriterFate::kAlive)
        ++counts_.recording;
      else
        runs.emplace_back(run, id);
    }
  }

  void refuse(const std::string& id, const Error& why) {
    counts_.damaged.push_back(
        fmt::format("{} was left out: {}", id.empty() ? "a run" : "run " + id, why.message));
  }

  /// Whether an error was caused by the run's own rows. Such a run is left out; any other error,
  /// like a full disk, ends the merge.
  static bool is_of_the_run(const Error& error) {
    return error.code == ErrorCode::kInput || error.code == ErrorCode::kInternal ||
           error.code == ErrorCode::kUsage;
  }

  Status copy_run(int64_t run, const std::string& id) {
    if (auto checked = check_rows(*reader_, id); !checked.ok()) {
      if (!is_of_the_run(checked.error())) return checked;
      refuse(id, checked.error());
      return {};
    }
    TOPSPIN_ASSIGN(const int64_t number, reserve(id));
    Status copied = copy_reserved(run, id, number);
    if (!copied.ok()) {
      batch_.reset();
      TOPSPIN_TRY(remove_run(number));
      if (!is_of_the_run(copied.error())) return copied;
      refuse(id, copied.error());
      return {};
    }
    ++counts_.runs;
    return {};
  }

  /// Reserves a number for the run with a row that readers do not return.
  Result<int64_t> reserve(const std::string& id) {
    TOPSPIN_ASSIGN(Transaction writing, Transaction::begin(into_));
    TOPSPIN_ASSIGN(const int64_t last, into_.query_int("SELECT coalesce(max(run), 0) FROM run"));
    if (last >= kMostRuns) {
      return make_error(ErrorCode::kOutput,
                        fmt::format("{} has no number left for another run", into_.path()));
    }
    {
      TOPSPIN_ASSIGN(
          Statement insert,
          into_.prepare("INSERT INTO run (run, id, status, writer_boot_id, writer_pid_namespace,"
                        " writer_pid, writer_start_ticks, started_wall_ns, started_monotonic_ns,"
                        " window_ns, interval_ns, reply_timeout_ns, max_flows, max_stored_flows)"
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, 0, 0, 0, 0)"));
      const WriterIdentity us = this_writer();
      TOPSPIN_TRY(run_with(insert, last + 1, fmt::format("{} {}", kMergingStatus, id),
                           std::string(kMergingStatus), us.boot_id, us.pid_namespace, us.pid,
                           us.start_ticks));
    }
    TOPSPIN_TRY(writing.commit());
    return last + 1;
  }

  Status copy_reserved(int64_t run, const std::string& id, int64_t number) {
    for (const RunTable& table : tables_) {
      if (table.tie != RunTable::Tie::kNone && table.name != kRunTable)
        TOPSPIN_TRY(copy_rows(table, run, number));
    }
    TOPSPIN_TRY(end_batch());
    TOPSPIN_ASSIGN(Transaction writing, Transaction::begin(into_));
    TOPSPIN_ASSIGN(const int64_t known, count_of(id));
    if (known != 0) {  // another merge was faster
      return make_error(ErrorCode::kInput, "another program stored it meanwhile");
    }
    TOPSPIN_TRY(into_.execute(fmt::format("DELETE FROM run WHERE run = {}", number)));
    for (const RunTable& table : tables_) {
      if (table.name == kRunTable) TOPSPIN_TRY(copy_rows(table, run, number));
    }
    {
      // Its writer is gone. For a writer on another host, that could never be known here.
      TOPSPIN_ASSIGN(Statement mark,
                     into_.prepare(fmt::format("{} AND status = 'running'", kMarkInterruptedSql)));
      mark.bind_int(1, number);
      TOPSPIN_TRY(mark.run());
    }
    return writing.commit();
  }

  Result<int64_t> count_of(const std::string& id) {
    TOPSPIN_ASSIGN(Statement select, into_.prepare("SELECT count(*) FROM run WHERE id = ?1"));
    select.bind_text(1, id);
    TOPSPIN_ASSIGN(const bool row, select.step());
    return row ? select.int_at(0) : 0;
  }

  /// Copies in transactions of one batch each, or in the caller's transaction.
  Status copy_rows(const RunTable& table, int64_t old_run, int64_t new_run) {
    const bool packed = table.tie == RunTable::Tie::kRow;
    const std::string_view key = packed ? "row" : "run";
    TOPSPIN_ASSIGN(Statement select,
                   from_.prepare(fmt::format("SELECT {0}, {1} FROM {2} WHERE {0} BETWEEN ?1 AND ?2",
                                             key, list(table.columns), quoted_name(table.name))));
    select.bind_int(1, packed ? old_run << 32 : old_run);
    select.bind_int(2, packed ? (old_run << 32) | kLastNumber : old_run);
    TOPSPIN_ASSIGN(Statement insert,
                   into_.prepare(fmt::format("INSERT INTO {} ({}, {}) VALUES ({})",
                                             quoted_name(table.name), key, list(table.columns),
                                             parameters(1, table.columns.size() + 1))));
    while (true) {
      TOPSPIN_ASSIGN(const bool row, select.step());
      if (!row) return {};
      if (!select.is_int(0)) return damaged(table.name);
      TOPSPIN_TRY(begin_batch());
      const int64_t number = packed ? (new_run << 32) | (select.int_at(0) & kLastNumber) : new_run;
      insert.bind_int(1, number);
      for (size_t i = 1; i <= table.columns.size(); ++i) {
        const int column = static_cast<int>(i);
        if (!copy_value(select, column, insert, column + 1)) return damaged(table.name);
        batch_bytes_ += sizeof(int64_t);
        if (!select.is_int(column)) batch_bytes_ += select.bytes_at(column).size();
      }
      TOPSPIN_TRY(insert.run());
      if (++batch_rows_ >= kRowsATransaction || batch_bytes_ >= kBytesATransaction)
        TOPSPIN_TRY(end_batch());
    }
  }

  /// Does nothing if a transaction is open, be it ours or the caller's.
  Status begin_batch() {
    if (into_.in_transaction()) return {};
    TOPSPIN_ASSIGN(Transaction writing, Transaction::begin(into_));
    batch_.emplace(std::move(writing));
    batch_rows_ = batch_bytes_ = 0;
    batch_began_ = std::chrono::steady_clock::now();
    return {};
  }

  /// Commits, and then pauses for a quarter of the time for which others could not write.
  Status end_batch() {
    if (!batch_) return {};
    TOPSPIN_TRY(batch_->commit());
    batch_.reset();
    std::this_thread::sleep_for((std::chrono::steady_clock::now() - batch_began_) / 4);
    return {};
  }

  Status remove_what_the_dead_left() {
    std::vector<int64_t> left;
    {
      TOPSPIN_ASSIGN(
          Statement select,
          into_.prepare(fmt::format("SELECT run, writer_boot_id, writer_pid_namespace, writer_pid,"
                                    " writer_start_ticks FROM run WHERE status = '{}'",
                                    kMergingStatus)));
      while (true) {
        TOPSPIN_ASSIGN(const bool row, select.step());
        if (!row) break;
        int64_t run = 0;
        WriterIdentity writer;
        ColumnLoader load(select);
        load.load(run);
        load.load(writer.boot_id);
        load.load(writer.pid_namespace);
        load.load(writer.pid);
        load.load(writer.start_ticks);
        if (!load.damaged() && run >= 1 && run <= kMostRuns && fate_of(writer) == WriterFate::kGone)
          left.push_back(run);
      }
    }
    for (const int64_t run : left) TOPSPIN_TRY(remove_run(run));
    return {};
  }

  Status remove_run(int64_t run) { return delete_run_rows(into_, tables_, run); }

  /// Copies the gate's log as a whole, or reports what is wrong with it.
  Status copy_logs() {
    if (auto checked = check_gate_log(from_.path()); !checked.ok()) {
      counts_.damaged.push_back(
          fmt::format("the gate's log was left out: {}", checked.error().message));
      return {};
    }
    TOPSPIN_ASSIGN(Transaction writing, Transaction::begin(into_));
    for (const RunTable& table : tables_) {
      if (table.tie == RunTable::Tie::kNone) TOPSPIN_TRY(copy_log(table));
    }
    return writing.commit();
  }

  /// Copies rows that do not refer to a run by number, except those that already exist unchanged.
  Status copy_log(const RunTable& table) {
    std::string same;
    for (size_t i = 0; i < table.columns.size(); ++i) {
      same +=
          fmt::format("{}{} IS ?{}", i == 0 ? "" : " AND ", quoted_name(table.columns[i]), i + 1);
    }
    TOPSPIN_ASSIGN(Statement select,
                   from_.prepare(fmt::format("SELECT {} FROM {} ORDER BY position",
                                             list(table.columns), quoted_name(table.name))));
    TOPSPIN_ASSIGN(
        Statement insert,
        into_.prepare(fmt::format(
            "INSERT INTO {0} ({1}) SELECT {2} WHERE NOT EXISTS (SELECT 1 FROM {0} WHERE {3})",
            quoted_name(table.name), list(table.columns), parameters(1, table.columns.size()),
            same)));
    while (true) {
      TOPSPIN_ASSIGN(const bool row, select.step());
      if (!row) return {};
      for (size_t i = 0; i < table.columns.size(); ++i) {
        const int column = static_cast<int>(i);
        if (!copy_value(select, column, insert, column + 1)) return damaged(table.name);
      }
      TOPSPIN_TRY(insert.run());
    }
  }

  Connection& into_;
  Connection& from_;
  std::unique_ptr<RunStore> reader_;
  std::vector<RunTable> tables_;
  MergeCounts counts_;
  std::optional<Transaction> batch_;
  size_t batch_rows_ = 0;
  size_t batch_bytes_ = 0;
  std::chrono::steady_clock::time_point batch_began_;
};

bool same_file(const std::string& a, const std::string& b) {
  struct stat of_a {
  }, of_b{};
  return stat(a.c_str(), &of_a) == 0 && stat(b.c_str(), &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
         of_a.st_ino == of_b.st_ino;
}

}  // namespace

Result<std::unique_ptr<Connection>> copy_of_run(Connection& from, const std::string& id) {
  TOPSPIN_ASSIGN(auto copy, new_database_in_memory(fmt::format("the copy of run {}", id)));
  TOPSPIN_TRY(Merge(*copy, from).run_one(id));
  return copy;
}

Result<MergeCounts> merge_database(const std::string& into, const std::string& from) {
  if (same_file(into, from)) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{} and {} are one file; name the databases to join", into, from));
  }
  TOPSPIN_ASSIGN(const auto source, open_for_reading(from));
  TOPSPIN_ASSIGN(const auto target, open_for_writing(into, {}));
  Result<MergeCounts> counts = Merge(*target, *source).run();
  leave_wal_mode(*target);
  return counts;
}

}  // namespace topspin
