#include "store/runs/run_edit.h"

#include <algorithm>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "store/run_store.h"
#include "store/runs/gate_log.h"
#include "store/runs/run_tables.h"
#include "store/schema/database.h"
#include "store/sqlite/packet_files.h"
#include "store/sqlite/row_values.h"
#include "store/sqlite/writer_identity.h"

namespace topspin {
namespace {

struct FoundRun {
  int64_t number = 0;
  bool is_recording = false;
};

Result<FoundRun> find_for_change(Connection& connection, const std::string& id) {
  TOPSPIN_ASSIGN(Statement select,
                 connection.prepare(fmt::format(
                     "SELECT run, status, writer_boot_id, writer_pid_namespace, writer_pid,"
                     " writer_start_ticks FROM run WHERE id = ?1 AND {}",
                     kIsWholeSql)));
  select.bind_text(1, id);
  TOPSPIN_ASSIGN(const bool row, select.step());
  if (!row) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{} does not hold run {} any more; nothing was changed",
                                  connection.path(), id));
  }
  FoundRun run;
  std::string status;
  WriterIdentity writer;
  ColumnLoader load(select);
  load.load(run.number);
  load.load(status);
  load.load(writer.boot_id);
  load.load(writer.pid_namespace);
  load.load(writer.pid);
  load.load(writer.start_ticks);
  if (load.damaged() || run.number < 1) {
    return make_error(ErrorCode::kInput,
                      fmt::format("{} is damaged: run {} cannot be read", connection.path(), id));
  }
  run.is_recording =
      status == run_status_name(RunStatus::kRunning) && fate_of(writer) != WriterFate::kGone;
  return run;
}

Status remove_in_transaction(Connection& connection, std::span<const std::string> ids) {
  TOPSPIN_ASSIGN(const auto tables, run_tables(connection));
  TOPSPIN_ASSIGN(Transaction writing, Transaction::begin(connection));
  for (const std::string& id : ids) {
    TOPSPIN_ASSIGN(const FoundRun run, find_for_change(connection, id));
    if (run.is_recording) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("run {} is still being recorded, or its recorder is in another container; "
                      "stop it first. Nothing was removed",
                      id));
    }
    TOPSPIN_TRY(delete_run_rows(connection, tables, run.number));
  }
  return writing.commit();
}

}  // namespace

Result<RemovedRuns> remove_runs(const std::string& path, std::span<const std::string> ids) {
  TOPSPIN_ASSIGN(const auto connection, open_existing_for_writing(path));
  const Status removed = remove_in_transaction(*connection, ids);
  RemovedRuns result;
  if (removed.ok()) {
    TOPSPIN_ASSIGN(const int64_t page_bytes, connection->query_int("PRAGMA page_size"));
    TOPSPIN_ASSIGN(const int64_t before, connection->query_int("PRAGMA page_count"));
    // The runs are already removed. If another writer holds the lock, the pages stay for later.
    [[maybe_unused]] const Status vacuumed = connection->execute("PRAGMA incremental_vacuum");
    TOPSPIN_ASSIGN(const int64_t after, connection->query_int("PRAGMA page_count"));
    TOPSPIN_ASSIGN(const int64_t unused, connection->query_int("PRAGMA freelist_count"));
    result.bytes_freed = static_cast<uint64_t>(std::max<int64_t>(0, before - after) * page_bytes);
    result.bytes_unused = static_cast<uint64_t>(unused * page_bytes);
    for (const std::string& id : ids) {
      const auto packets = remove_packet_file(connection->path(), id);
      result.bytes_freed += packets.value_or(0);
      result.packet_files_left += packets ? 0 : 1;
    }
  }
  leave_wal_mode(*connection);
  if (!removed.ok()) return removed.error();
  return result;
}

Result<std::vector<std::string>> runs_before(const std::string& path, int64_t before_wall_ns,
                                             bool baselines_too) {
  std::vector<Acceptance> accepted;
  if (!baselines_too) {
    TOPSPIN_ASSIGN(accepted, read_acceptances(path));
  }
  TOPSPIN_ASSIGN(const auto store, RunStore::open(path));
  std::vector<Error> unreadable;
  TOPSPIN_ASSIGN(const auto runs, store->list_runs(&unreadable));
  std::vector<std::string> ids;
  for (const StoredRun& run : runs) {
    const bool is_baseline = std::any_of(accepted.begin(), accepted.end(), [&](const auto& a) {
      return a.kind == Acceptance::Kind::kBaseline && a.run_id == run.info.id;
    });
    if (run.info.started_wall_ns < before_wall_ns && run.end.status != RunStatus::kRunning &&
        !is_baseline)
      ids.push_back(run.info.id);
  }
  return ids;
}

namespace {

Status change_in_transaction(Connection& connection, std::span<const std::string> ids,
                             const LabelChanges& changes) {
  TOPSPIN_ASSIGN(Transaction writing, Transaction::begin(connection));
  {
    TOPSPIN_ASSIGN(Statement set,
                   connection.prepare("INSERT INTO label (run, key, value) VALUES (?1, ?2, ?3)"
                                      " ON CONFLICT (run, key) DO UPDATE SET value = ?3"));
    TOPSPIN_ASSIGN(Statement remove,
                   connection.prepare("DELETE FROM label WHERE run = ?1 AND key = ?2"));
    for (const std::string& id : ids) {
      TOPSPIN_ASSIGN(const FoundRun run, find_for_change(connection, id));
      for (const auto& [key, value] : changes) {
        Statement& change = value ? set : remove;
        change.bind_int(1, run.number);
        change.bind_text(2, key);
        if (value) change.bind_text(3, *value);
        TOPSPIN_TRY(change.run());
      }
    }
  }
  return writing.commit();
}

}  // namespace

Status change_labels(const std::string& path, std::span<const std::string> ids,
                     const LabelChanges& changes) {
  TOPSPIN_ASSIGN(const auto connection, open_existing_for_writing(path));
  Status changed = change_in_transaction(*connection, ids, changes);
  leave_wal_mode(*connection);
  return changed;
}

}  // namespace topspin
