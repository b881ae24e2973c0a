#include "store/retention/compaction.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "core/tick/numbers.h"
#include "store/run_store.h"
#include "store/runs/gate_log.h"
#include "store/schema/database.h"
#include "store/schema/tick_rows.h"

namespace topspin {
namespace {

int64_t minute_of(const Sample& tick) {
  return (std::max<int64_t>(tick.elapsed_ns, 1) - 1) / kCompactedTickNs;
}

/// Replaces the rows of several ticks by those of one.
class MinuteWriter {
 public:
  static Result<MinuteWriter> prepare(Connection& connection, int64_t run) {
    TOPSPIN_ASSIGN(TickRows rows, TickRows::prepare(connection));
    std::vector<Statement> changes;
    // ?1: the run; ?2, ?3: the first and the last tick, which is that of the minute.
    for (const std::string& sql :
         {std::string("DELETE FROM tick WHERE run = ?1 AND tick BETWEEN ?2 AND ?3"),
          std::string("DELETE FROM histogram WHERE run = ?1 AND tick BETWEEN ?2 AND ?3"),
          std::string("DELETE FROM cpu_tick WHERE run = ?1 AND tick BETWEEN ?2 AND ?3"),
          std::string("DELETE FROM counter WHERE run = ?1 AND tick BETWEEN ?2 AND ?3"),
          std::string("INSERT OR REPLACE INTO thread_tick SELECT run, ?3, thread, sum(cpu_ns),"
                      " sum(run_queue_wait_ns), sum(run_queue_waits) FROM thread_tick"
                      " WHERE run = ?1 AND tick BETWEEN ?2 AND ?3 GROUP BY thread"),
          std::string("DELETE FROM thread_tick WHERE run = ?1 AND tick BETWEEN ?2 AND ?3 - 1"),
          fmt::format("DELETE FROM thread_tick WHERE run = ?1 AND tick = ?3 AND ?2 <= ?3"
                      " AND thread NOT IN (SELECT thread FROM thread_tick WHERE run = ?1 AND"
                      " tick = ?3 ORDER BY coalesce(cpu_ns, 0) + coalesce(run_queue_wait_ns, 0)"
                      " DESC, thread LIMIT {})",
                      kThreadTicksKept),
          // A bare column beside max() is of the row that has the maximum.
          std::string("INSERT OR REPLACE INTO late_message SELECT run, ?3, flow, time_ns,"
                      " max(lateness_ns) FROM late_message"
                      " WHERE run = ?1 AND tick BETWEEN ?2 AND ?3 GROUP BY flow"),
          std::string("DELETE FROM late_message WHERE run = ?1 AND tick BETWEEN ?2 AND ?3 - 1"),
          fmt::format("DELETE FROM late_message WHERE run = ?1 AND tick = ?3 AND ?2 <= ?3"
                      " AND flow NOT IN (SELECT flow FROM late_message WHERE run = ?1 AND"
                      " tick = ?3 ORDER BY lateness_ns DESC, flow LIMIT {})",
                      kLateMessagesKept),
          std::string("UPDATE slow_reply SET tick = ?3 WHERE row BETWEEN ?1 << 32 AND"
                      " (?1 << 32) + 4294967295 AND tick BETWEEN ?2 AND ?3"),
          std::string(
              "UPDATE busy_stretch SET tick = ?3 WHERE run = ?1 AND tick BETWEEN ?2 AND ?3")}) {
      TOPSPIN_ASSIGN(Statement change, connection.prepare(sql));
      changes.push_back(std::move(change));
    }
    return MinuteWriter(run, std::move(rows), std::move(changes));
  }

  Status replace(const TickFolder::Minute& minute) {
    for (Statement& change : changes_) {
      change.bind_int(1, run_);
      change.bind_int(2, static_cast<int64_t>(minute.first_tick));
      change.bind_int(3, static_cast<int64_t>(minute.merged.tick));
      TOPSPIN_TRY(change.run());
    }
    return rows_.insert(run_, minute.merged, minute.merged.losses);
  }

 private:
  MinuteWriter(int64_t run, TickRows rows, std::vector<Statement> changes)
      : run_(run), rows_(std::move(rows)), changes_(std::move(changes)) {}

  int64_t run_;
  TickRows rows_;
  std::vector<Statement> changes_;
};

struct FoldedTicks {
  uint64_t before = 0, after = 0;
};

/// Reads the ticks beside the open transaction, which they do not see.
Result<FoldedTicks> fold_run(Connection& connection, RunStore& store, const StoredRun& run,
                             int64_t until_ns) {
  const auto number = static_cast<int64_t>(run.number);
  TOPSPIN_ASSIGN(Transaction writing, Transaction::begin(connection));
  FoldedTicks folded;
  {
    TOPSPIN_ASSIGN(MinuteWriter writer, MinuteWriter::prepare(connection, number));
    TickFolder folder;
    Status status;
    const auto put = [&](const std::optional<TickFolder::Minute>& minute) {
      if (!minute || !status.ok()) return;
      folded.before += minute->ticks;
      ++folded.after;
      if (minute->ticks > 1) status = writer.replace(*minute);
    };
    TOPSPIN_TRY(store.for_each_tick(run.info.id, [&](const Sample& tick) {
      if (tick.elapsed_ns <= until_ns) put(folder.add(tick));
    }));
    put(folder.finish());
    TOPSPIN_TRY(status);
    if (folded.before == folded.after) return FoldedTicks();
    TOPSPIN_ASSIGN(Statement count,
                   connection.prepare("UPDATE run SET ticks = (SELECT count(*) FROM tick WHERE"
                                      " tick.run = ?1) WHERE run = ?1"));
    count.bind_int(1, number);
    TOPSPIN_TRY(count.run());
  }
  TOPSPIN_TRY(writing.commit());
  return folded;
}

/// Why the ticks of a run are needed; empty: they are not.
Result<std::string> why_needed(Connection& connection, RunStore& store, const StoredRun& run,
                               const std::vector<Acceptance>& accepted) {
  const bool is_baseline = std::any_of(accepted.begin(), accepted.end(), [&](const auto& a) {
    return a.kind == Acceptance::Kind::kBaseline && a.run_id == run.info.id;
  });
  if (is_baseline) return std::string("gate --history holds it as a baseline");
  if (run.end.status == RunStatus::kRunning) return std::string("it is being recorded");
  if (run.end.status == RunStatus::kIncident) return std::string("an incident is about moments");
  TOPSPIN_ASSIGN(const auto stages, store.load_stages(run.info.id));
  if (run.info.plan || !stages.empty())
    return std::string("the rules and stages of its plan are judged by ticks");
  TOPSPIN_ASSIGN(Statement totals, connection.prepare("SELECT count(*) FROM total WHERE run = ?1"));
  totals.bind_int(1, static_cast<int64_t>(run.number));
  TOPSPIN_ASSIGN(const bool has_row, totals.step());
  if (!has_row || totals.int_at(0) == 0)
    return std::string("its totals are not stored, so they are found in its ticks");
  return std::string();
}

Status compact_all(Connection& connection, const std::string& path, int64_t before_wall_ns,
                   CompactionReport& report) {
  TOPSPIN_ASSIGN(const auto accepted, read_acceptances(path));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(path));
  std::vector<Error> unreadable;
  TOPSPIN_ASSIGN(const auto runs, store->list_runs(&unreadable));
  for (const StoredRun& run : runs) {
    const int64_t until_ns = foldable_ns(run.info.started_wall_ns, before_wall_ns);
    if (until_ns <= 0 || run.info.settings.interval_ns >= kCompactedTickNs) continue;
    TOPSPIN_ASSIGN(std::string why, why_needed(connection, *store, run, accepted));
    if (!why.empty()) {
      report.kept.push_back({run.number, std::move(why)});
      continue;
    }
    TOPSPIN_ASSIGN(const FoldedTicks folded, fold_run(connection, *store, run, until_ns));
    if (folded.before == 0) continue;
    ++report.folded_runs;
    report.ticks_before += folded.before;
    report.ticks_after += folded.after;
  }
  return {};
}

}  // namespace

std::optional<TickFolder::Minute> TickFolder::add(const Sample& tick) {
  std::optional<Minute> before;
  if (minute_ && minute_of(minute_->merged) != minute_of(tick))
    before = std::exchange(minute_, std::nullopt);
  if (minute_)
    merge_tick(minute_->merged, tick);
  else
    minute_ = Minute{tick, tick.tick, 0};
  ++minute_->ticks;
  return before;
}

int64_t foldable_ns(int64_t started_wall_ns, int64_t before_wall_ns) {
  int64_t old_ns = 0;
  if (__builtin_sub_overflow(before_wall_ns, started_wall_ns, &old_ns) || old_ns <= 0) return 0;
  return old_ns / kCompactedTickNs * kCompactedTickNs;
}

Result<CompactionReport> compact_runs(const std::string& path, int64_t before_wall_ns) {
  CompactionReport report;
  TOPSPIN_ASSIGN(const auto connection, open_existing_for_writing(path));
  const Status compacted = compact_all(*connection, path, before_wall_ns, report);
  if (compacted.ok()) {
    TOPSPIN_ASSIGN(const int64_t page_bytes, connection->query_int("PRAGMA page_size"));
    TOPSPIN_ASSIGN(const int64_t before, connection->query_int("PRAGMA page_count"));
    // If another writer holds the lock, the pages stay for later.
    [[maybe_unused]] const Status vacuumed = connection->execute("PRAGMA incremental_vacuum");
    TOPSPIN_ASSIGN(const int64_t after, connection->query_int("PRAGMA page_count"));
    report.bytes_freed = static_cast<uint64_t>(std::max<int64_t>(0, before - after) * page_bytes);
  }
  leave_wal_mode(*connection);
  if (!compacted.ok()) return compacted.error();
  return report;
}

}  // namespace topspin
