#include "store/merge.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>

#include "store/database.h"
#include "store/row_values.h"
#include "store/writer_identity.h"

namespace topspin {
namespace {

constexpr int64_t kLastNumber = std::numeric_limits<uint32_t>::max();
constexpr int64_t kMostRuns = std::numeric_limits<int32_t>::max();

/// How a table's rows belong to a run: by a column run; by a key that packs the run and a number
/// (schema.sql); or not at all, as the gate's log, whose rows have a position of their own.
enum class Tie : uint8_t { kRun, kRow, kNone };

struct Table {
  std::string name;
  Tie tie = Tie::kNone;
  std::vector<std::string> columns;  // but for the one that ties it, or its position
};

/// The names come from our own schema, which open_for_writing() has checked or made.
std::string quoted(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

Result<std::vector<std::string>> texts(Connection& connection, const std::string& sql) {
  TOPSPIN_ASSIGN(Statement select, connection.prepare(sql));
  std::vector<std::string> all;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return all;
    all.emplace_back(select.bytes_at(0));
  }
}

/// Every table of ours, run first.
Result<std::vector<Table>> tables_of(Connection& connection) {
  TOPSPIN_ASSIGN(const auto names,
                 texts(connection,
                       "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE "
                       "'sqlite_%' ORDER BY name <> 'run', name"));
  std::vector<Table> tables;
  for (const std::string& name : names) {
    // A generated column is not in table_info: the run of a packed key is not told twice.
    TOPSPIN_ASSIGN(
        auto columns,
        texts(connection, fmt::format("SELECT name FROM pragma_table_info({})", quoted(name))));
    Table& table = tables.emplace_back();
    table.name = name;
    const auto has = [&](std::string_view column) {
      return std::find(columns.begin(), columns.end(), column) != columns.end();
    };
    table.tie = has("run") ? Tie::kRun : has("row") ? Tie::kRow : Tie::kNone;
    const std::string_view key = table.tie == Tie::kRun   ? "run"
                                 : table.tie == Tie::kRow ? "row"
                                                          : "position";
    std::erase(columns, key);
    table.columns = std::move(columns);
  }
  return tables;
}

std::string list(const std::vector<std::string>& columns) {
  std::string out;
  for (const std::string& column : columns) out += (out.empty() ? "" : ", ") + quoted(column);
  return out;
}

std::string parameters(size_t first, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += fmt::format("{}?{}", i == 0 ? "" : ", ", first + i);
  return out;
}

/// Column `column` of a row to parameter `parameter`; the bytes are the row's until its next step.
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
    return false;  // a real: none of our tables has one
  return true;
}

class Merge {
 public:
  Merge(Connection& into, Connection& from) : into_(into), from_(from) {}

  Result<MergeCounts> run() {
    TOPSPIN_ASSIGN(tables_, tables_of(into_));
    // One moment of the source, whoever writes to it meanwhile.
    TOPSPIN_ASSIGN(Transaction reading, Transaction::begin(from_, "BEGIN"));
    TOPSPIN_ASSIGN(Transaction writing, Transaction::begin(into_));
    TOPSPIN_ASSIGN(const auto runs, find_runs());
    for (const int64_t run : runs) TOPSPIN_TRY(copy_run(run));
    for (const Table& table : tables_) {
      if (table.tie == Tie::kNone) TOPSPIN_TRY(copy_log(table));
    }
    TOPSPIN_TRY(writing.commit());
    return counts_;
  }

 private:
  Error damaged(std::string_view what) const {
    return make_error(ErrorCode::kInput,
                      fmt::format("{} is damaged: {} cannot be read; nothing was taken from it",
                                  from_.path(), what));
  }

  /// The numbers of the runs to copy, oldest first.
  Result<std::vector<int64_t>> find_runs() {
    TOPSPIN_ASSIGN(Statement select,
                   from_.prepare("SELECT run, id, status, writer_boot_id, writer_pid_namespace,"
                                 " writer_pid, writer_start_ticks FROM run ORDER BY run"));
    TOPSPIN_ASSIGN(Statement present, into_.prepare("SELECT 1 FROM run WHERE id = ?1"));
    std::vector<int64_t> runs;
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
      if (load.damaged() || run < 1 || run > kMostRuns) return damaged("a run");
      present.bind_text(1, id);
      TOPSPIN_ASSIGN(const bool known, present.step());
      present.reset();
      if (known)
        ++counts_.present;
      else if (status == "running" && fate_of(writer) == WriterFate::kAlive)
        ++counts_.recording;
      else
        runs.push_back(run);
    }
  }

  Status copy_run(int64_t run) {
    TOPSPIN_ASSIGN(const int64_t last, into_.query_int("SELECT coalesce(max(run), 0) FROM run"));
    if (last >= kMostRuns) {
      return make_error(ErrorCode::kOutput,
                        fmt::format("{} has no number left for another run", into_.path()));
    }
    for (const Table& table : tables_) {
      if (table.tie != Tie::kNone) TOPSPIN_TRY(copy_rows(table, run, last + 1));
    }
    // Its writer is gone; if it was of another host, nobody here could ever tell.
    TOPSPIN_ASSIGN(Statement mark,
                   into_.prepare(fmt::format("{} AND status = 'running'", kMarkInterruptedSql)));
    mark.bind_int(1, last + 1);
    TOPSPIN_TRY(mark.run());
    ++counts_.runs;
    return {};
  }

  Status copy_rows(const Table& table, int64_t old_run, int64_t new_run) {
    const bool packed = table.tie == Tie::kRow;
    const std::string_view key = packed ? "row" : "run";
    TOPSPIN_ASSIGN(Statement select,
                   from_.prepare(fmt::format("SELECT {0}, {1} FROM {2} WHERE {0} BETWEEN ?1 AND ?2",
                                             key, list(table.columns), quoted(table.name))));
    select.bind_int(1, packed ? old_run << 32 : old_run);
    select.bind_int(2, packed ? (old_run << 32) | kLastNumber : old_run);
    TOPSPIN_ASSIGN(
        Statement insert,
        into_.prepare(fmt::format("INSERT INTO {} ({}, {}) VALUES ({})", quoted(table.name), key,
                                  list(table.columns), parameters(1, table.columns.size() + 1))));
    while (true) {
      TOPSPIN_ASSIGN(const bool row, select.step());
      if (!row) return {};
      if (!select.is_int(0)) return damaged(table.name);
      const int64_t number = packed ? (new_run << 32) | (select.int_at(0) & kLastNumber) : new_run;
      insert.bind_int(1, number);
      for (size_t i = 1; i <= table.columns.size(); ++i) {
        const int column = static_cast<int>(i);
        if (!copy_value(select, column, insert, column + 1)) return damaged(table.name);
      }
      TOPSPIN_TRY(insert.run());
    }
  }

  /// Rows that are about no run by number: those that are not there word for word are added.
  Status copy_log(const Table& table) {
    std::string same;
    for (size_t i = 0; i < table.columns.size(); ++i) {
      same += fmt::format("{}{} IS ?{}", i == 0 ? "" : " AND ", quoted(table.columns[i]), i + 1);
    }
    TOPSPIN_ASSIGN(Statement select,
                   from_.prepare(fmt::format("SELECT {} FROM {} ORDER BY rowid",
                                             list(table.columns), quoted(table.name))));
    TOPSPIN_ASSIGN(
        Statement insert,
        into_.prepare(fmt::format(
            "INSERT INTO {0} ({1}) SELECT {2} WHERE NOT EXISTS (SELECT 1 FROM {0} WHERE {3})",
            quoted(table.name), list(table.columns), parameters(1, table.columns.size()), same)));
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
  std::vector<Table> tables_;
  MergeCounts counts_;
};

bool same_file(const std::string& a, const std::string& b) {
  struct stat of_a {
  }, of_b{};
  return stat(a.c_str(), &of_a) == 0 && stat(b.c_str(), &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
         of_a.st_ino == of_b.st_ino;
}

}  // namespace

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
