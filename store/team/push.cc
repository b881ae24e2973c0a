// Stores runs in a team's store, and gets their files back.
#include <algorithm>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "store/run_store.h"
#include "store/runs/fold_rows.h"
#include "store/runs/one_run.h"
#include "store/runs/run_tables.h"
#include "store/schema/database.h"
#include "store/sqlite/file_access.h"
#include "store/team/run_bytes.h"
#include "store/team/session.h"
#include "store/team/team_schema.h"
#include "store/team/team_text.h"
#include "store/team_store.h"

namespace topspin {
namespace {

/// PostgreSQL has 65,535 parameters to a statement.
constexpr size_t kMostParameters = 30'000;

/// The values of rows, which own their text until they are sent.
class Rows {
 public:
  void null() { values_.push_back({std::nullopt, false}); }
  void text(std::string_view value) { values_.push_back({to_team_text(value), false}); }
  void plain(std::string value) { values_.push_back({std::move(value), false}); }
  void bytes(std::string_view value) { values_.push_back({std::string(value), true}); }
  size_t size() const { return values_.size(); }
  void clear() { values_.clear(); }

  std::vector<PostgresParameter> parameters() const {
    std::vector<PostgresParameter> parameters;
    for (const Value& value : values_) {
      PostgresParameter& parameter = parameters.emplace_back();
      if (value.content) parameter.value = *value.content;
      parameter.is_bytes = value.is_bytes;
    }
    return parameters;
  }

 private:
  struct Value {
    std::optional<std::string> content;
    bool is_bytes = false;
  };
  std::vector<Value> values_;
};

void add_value(Rows& rows, const Statement& select, int column, TeamColumn::Type type) {
  if (select.is_null(column))
    rows.null();
  else if (select.is_int(column))
    rows.plain(std::to_string(select.int_at(column)));
  else if (type == TeamColumn::Type::kText)
    rows.text(select.bytes_at(column));
  else
    rows.bytes(select.bytes_at(column));
}

class Push {
 public:
  Push(TeamSession& session, Connection& copy, const std::string& run_id)
      : store_(*session.connection), project_(session.project), copy_(copy), run_(run_id) {}

  /// Stores everything in one transaction. `file`: the run's own.
  Result<Pushed> run(std::string_view file, std::span<const TeamMetric> metrics) {
    TOPSPIN_ASSIGN(const auto chunks, compress_in_chunks(file));
    TOPSPIN_ASSIGN(const auto tables, team_tables());
    // Another push may take the same number, or be of the same run.
    constexpr int kTries = 50;
    for (int i = 0; i < kTries; ++i) {
      pushed_ = {};
      const Status done = attempt(tables, file.size(), chunks, metrics);
      if (done.ok()) return pushed_;
      const std::string state = store_.last_state();
      if (state == "42703" && there_.empty()) {  // undefined_column: an older store
        TOPSPIN_ASSIGN(there_, columns_in_store(store_));
        continue;
      }
      if (state != "23505" && state != "40001") return done.error();
      TOPSPIN_ASSIGN(const PostgresRows present,
                     store_.query("SELECT 1 FROM topspin.run WHERE project = $1 AND run = $2",
                                  {project_, run_}));
      if (present.size() > 0) {
        Pushed pushed;
        pushed.was_there = true;
        return pushed;
      }
    }
    return make_error(ErrorCode::kOutput,
                      fmt::format("the store {} is so busy that run {} found no number; try again",
                                  store_.name(), run_));
  }

 private:
  Status attempt(const std::vector<TeamTable>& tables, size_t file_bytes,
                 const std::vector<std::string>& chunks, std::span<const TeamMetric> metrics) {
    TOPSPIN_ASSIGN(PostgresTransaction transaction, PostgresTransaction::begin(store_));
    for (const TeamTable& table : tables) {
      if (table.name == "run")
        TOPSPIN_TRY(insert_run(table, file_bytes, chunks.size()));
      else
        TOPSPIN_TRY(insert_rows(table));
    }
    TOPSPIN_TRY(insert_metrics(metrics));
    for (size_t i = 0; i < chunks.size(); ++i) {
      const std::string position = std::to_string(i);
      const PostgresParameter values[] = {{project_}, {run_}, {position}, {chunks[i], true}};
      TOPSPIN_ASSIGN([[maybe_unused]] const PostgresRows rows,
                     store_.query("INSERT INTO topspin.file_chunk (project, run, position, data)"
                                  " VALUES ($1, $2, $3::bigint, $4::bytea)",
                                  values));
      pushed_.bytes += chunks[i].size();
    }
    return transaction.commit();
  }

  /// Whether the store has that column; counts those that it lacks.
  bool has(const TeamTable& table, const std::string& column) {
    if (there_.empty()) return true;
    const auto found = there_.find(table.name);
    if (found != there_.end() && found->second.contains(column)) return true;
    ++pushed_.columns_left_out;
    return false;
  }

  std::vector<TeamColumn> columns_of(const TeamTable& table) {
    std::vector<TeamColumn> columns;
    for (const TeamColumn& column : table.columns)
      if (has(table, team_column_name(table, column))) columns.push_back(column);
    return columns;
  }

  Status insert_run(const TeamTable& table, size_t file_bytes, size_t chunks) {
    std::string names = "project, run, number, file_bytes, file_chunks, stored_wall_ns";
    std::string values =
        "$1::text, $2::text, coalesce(max(number), 0) + 1, $3::bigint, "
        "$4::bigint, $5::bigint";
    std::string selected;
    Rows row;
    row.plain(project_);
    row.plain(run_);
    row.plain(std::to_string(file_bytes));
    row.plain(std::to_string(chunks));
    row.plain(std::to_string(wall_now_ns()));
    std::vector<TeamColumn> columns = columns_of(table);
    std::erase_if(columns, [](const TeamColumn& c) { return c.name == "run" || c.name == "id"; });
    for (size_t i = 0; i < columns.size(); ++i) {
      names += ", " + quoted_name(columns[i].name);
      values += fmt::format(", ${}::{}", i + 6, sql_type(columns[i].type));
      selected += (i == 0 ? "" : ", ") + quoted_name(columns[i].name);
    }
    TOPSPIN_ASSIGN(Statement select,
                   copy_.prepare(fmt::format("SELECT {} FROM run WHERE run = 1", selected)));
    TOPSPIN_ASSIGN(const bool found, select.step());
    if (!found) return make_error(ErrorCode::kInput, fmt::format("run {} is not there", run_));
    for (size_t i = 0; i < columns.size(); ++i)
      add_value(row, select, static_cast<int>(i), columns[i].type);
    const auto parameters = row.parameters();
    TOPSPIN_ASSIGN([[maybe_unused]] const PostgresRows rows,
                   store_.query(fmt::format("INSERT INTO topspin.run ({}) SELECT {} FROM"
                                            " topspin.run WHERE project = $1",
                                            names, values),
                                parameters));
    return {};
  }

  Status insert_rows(const TeamTable& table) {
    const std::vector<TeamColumn> columns = columns_of(table);
    std::string names, selected;
    for (const TeamColumn& column : columns) {
      names += ", " + quoted_name(column.name);
      selected += (selected.empty() ? "" : ", ") + quoted_name(column.name);
    }
    std::vector<std::string> histograms;
    for (const std::string& name : table.histograms) {
      if (!has(table, name)) continue;
      histograms.push_back(name);
      names += ", " + quoted_name(name);
    }
    const size_t width = 2 + columns.size() + histograms.size();
    TOPSPIN_ASSIGN(Statement select, copy_.prepare(fmt::format("SELECT {} FROM {} WHERE run = 1",
                                                               selected, quoted_name(table.name))));
    Rows rows;
    const auto send = [&]() -> Status {
      if (rows.size() == 0) return {};
      std::string groups;
      for (size_t first = 0; first < rows.size(); first += width) {
        groups += first == 0 ? "(" : ", (";
        for (size_t i = 0; i < width; ++i)
          groups += fmt::format("{}${}", i == 0 ? "" : ", ", first + i + 1);
        groups += ')';
      }
      const auto parameters = rows.parameters();
      TOPSPIN_ASSIGN([[maybe_unused]] const PostgresRows inserted,
                     store_.query(fmt::format("INSERT INTO topspin.{} (project, run{}) VALUES {}",
                                              quoted_name(table.name), names, groups),
                                  parameters));
      rows.clear();
      return {};
    };
    while (true) {
      TOPSPIN_ASSIGN(const bool row, select.step());
      if (!row) return send();
      if (rows.size() + width > kMostParameters) TOPSPIN_TRY(send());
      rows.plain(project_);
      rows.plain(run_);
      for (size_t i = 0; i < columns.size(); ++i)
        add_value(rows, select, static_cast<int>(i), columns[i].type);
      if (!histograms.empty()) TOPSPIN_TRY(add_histograms(rows, histograms, columns, select));
    }
  }

  /// The distributions of a row of total, which are rows of their own in the file.
  Status add_histograms(Rows& rows, const std::vector<std::string>& names,
                        const std::vector<TeamColumn>& columns, const Statement& total) {
    const auto value_of = [&](std::string_view column) {
      for (size_t i = 0; i < columns.size(); ++i)
        if (columns[i].name == column) return total.bytes_at(static_cast<int>(i));
      return std::string_view();
    };
    std::map<std::string, std::string, std::less<>> data;
    if (value_of("statistic") == "merged") {
      TOPSPIN_ASSIGN(Statement select, copy_.prepare("SELECT name, data FROM total_histogram"
                                                     " WHERE run = 1 AND part = ?1"));
      select.bind_text(1, value_of("part"));
      while (true) {
        TOPSPIN_ASSIGN(const bool row, select.step());
        if (!row) break;
        data.emplace(select.bytes_at(0), select.bytes_at(1));
      }
    }
    for (const std::string& name : names) {
      if (const auto found = data.find(name); found != data.end())
        rows.bytes(found->second);
      else
        rows.null();
    }
    return {};
  }

  Status insert_metrics(std::span<const TeamMetric> metrics) {
    for (const TeamMetric& m : metrics) {
      const std::string gating = m.gating ? "1" : "0", value = fmt::format("{}", m.value);
      const auto text_or_null = [](const std::string& text) {
        return text.empty() ? PostgresParameter{} : PostgresParameter{text};
      };
      const PostgresParameter values[] = {{project_},
                                          {run_},
                                          {m.metric},
                                          {m.name},
                                          text_or_null(m.unit),
                                          text_or_null(m.statistic),
                                          text_or_null(m.better),
                                          {gating},
                                          {value}};
      TOPSPIN_ASSIGN([[maybe_unused]] const PostgresRows rows,
                     store_.query("INSERT INTO topspin.metric_value (project, run, metric, name,"
                                  " unit, statistic, better, gating, value) VALUES ($1, $2, $3, $4,"
                                  " $5, $6, $7, $8::bigint, $9::double precision)",
                                  values));
    }
    return {};
  }

  PostgresConnection& store_;
  const std::string& project_;
  Connection& copy_;
  const std::string& run_;
  Pushed pushed_;
  std::map<std::string, std::set<std::string>> there_;  // empty: assume all columns
};

/// The bytes of a database that holds this run alone, or nullopt if it holds more, or another
/// program has it open.
Result<std::optional<std::string>> file_of_one_run(Connection& from) {
  TOPSPIN_ASSIGN(const int64_t runs, from.query_int("SELECT count(*) FROM main.run"));
  if (runs != 1) return std::optional<std::string>();
  // The gate's log is the database's, not the run's.
  TOPSPIN_ASSIGN(const int64_t entries, from.query_int("SELECT (SELECT count(*) FROM acceptance)"
                                                       " + (SELECT count(*) FROM judgement)"));
  TOPSPIN_ASSIGN(const std::string mode, from.query_text("PRAGMA main.journal_mode"));
  if (entries != 0 || mode != "delete") return std::optional<std::string>();
  const UniqueFd file(open_database_file(from.path().c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  constexpr off_t kMost = off_t{1} << 31;
  if (!file || ::fstat(file.get(), &status) != 0 || status.st_size > kMost)
    return std::optional<std::string>();
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  size_t read = 0;
  while (read < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + read, bytes.size() - read);
    if (got <= 0) return std::optional<std::string>();
    read += static_cast<size_t>(got);
  }
  return std::optional(std::move(bytes));
}

/// Adds the totals of a run whose file has none: one that was interrupted, or of an older topspin.
Status add_totals(RunStore& runs, Connection& copy, const std::string& id) {
  TOPSPIN_ASSIGN(const int64_t there,
                 copy.query_int("SELECT count(*) FROM total WHERE run = 1 AND part = 'run'"));
  if (there > 0) return {};
  TOPSPIN_TRY(
      copy.execute("DELETE FROM total; DELETE FROM total_histogram;"
                   "DELETE FROM total_counter; DELETE FROM total_cpu"));
  for (const RunPart part : {RunPart::kWhole, RunPart::kMeasured}) {
    TOPSPIN_ASSIGN(const RunFold fold, runs.fold(id, part));
    TOPSPIN_TRY(insert_fold(copy, 1, part, fold));
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> runs_in_team_store(const std::string& address,
                                                    std::span<const std::string> runs) {
  TOPSPIN_ASSIGN(const auto session, team_session(address));
  TOPSPIN_TRY(check_team_schema(*session->connection));
  std::vector<std::string> present;
  for (size_t first = 0; first < runs.size(); first += kMostParameters) {
    std::vector<PostgresParameter> parameters = {{session->project}};
    std::string list;
    for (const std::string& run :
         runs.subspan(first).first(std::min(kMostParameters, runs.size() - first))) {
      parameters.push_back({run});
      list += fmt::format("{}${}", list.empty() ? "" : ", ", parameters.size());
    }
    TOPSPIN_ASSIGN(
        const PostgresRows rows,
        session->connection->query(
            fmt::format("SELECT run FROM topspin.run WHERE project = $1 AND run IN ({})", list),
            parameters));
    for (size_t row = 0; row < rows.size(); ++row) present.emplace_back(rows.bytes(row, 0));
  }
  return present;
}

Result<Pushed> push_run(const std::string& address, const std::string& database,
                        const std::string& run_id, std::span<const TeamMetric> metrics) {
  TOPSPIN_ASSIGN(const auto session, team_session(address));
  TOPSPIN_ASSIGN(const auto from, open_for_reading(database));
  const auto copy = copy_of_run(*from, run_id);
  if (!copy.ok()) return Pushed{.damage = copy.error().message};
  TOPSPIN_ASSIGN(std::optional<std::string> file, file_of_one_run(*from));
  if (!file) {
    TOPSPIN_ASSIGN(file.emplace(), (*copy)->serialize());
  }
  const Status totals = add_totals(*read_runs_of(*from), **copy, run_id);
  if (!totals.ok()) return Pushed{.damage = totals.error().message};
  return Push(*session, **copy, run_id).run(*file, metrics);
}

Result<std::string> pull_run(const std::string& address, const std::string& run_id) {
  TOPSPIN_ASSIGN(const auto session, team_session(address));
  PostgresConnection& store = *session->connection;
  const auto& project = session->project;
  TOPSPIN_ASSIGN(const PostgresRows run,
                 store.query("SELECT file_bytes, file_chunks FROM topspin.run"
                             " WHERE project = $1 AND run = $2",
                             {project, run_id}));
  if (run.size() == 0) {
    return make_error(ErrorCode::kUsage, fmt::format("the store {} has no run \"{}\" of project {}",
                                                     store.name(), run_id, project));
  }
  const std::string name = fmt::format("run {}", run_id);
  const auto bytes = run.integer(0, 0), count = run.integer(0, 1);
  constexpr int64_t kMostBytes = int64_t{4} << 30;
  if (!bytes || !count || *bytes < 0 || *bytes > kMostBytes || *count < 0 ||
      static_cast<size_t>(*count) > kMostBytes / kFileChunkBytes) {
    return make_error(ErrorCode::kInput,
                      fmt::format("the file of {} is damaged in the store", name));
  }
  std::vector<std::string> chunks;
  for (int64_t i = 0; i < *count; ++i) {  // one by one, so that the answer stays small
    const std::string position = std::to_string(i);
    TOPSPIN_ASSIGN(const PostgresRows chunk,
                   store.query("SELECT data FROM topspin.file_chunk WHERE project = $1"
                               " AND run = $2 AND position = $3::bigint",
                               {project, run_id, position}));
    if (chunk.size() != 1) break;  // too short, which decompressing finds
    chunks.emplace_back(chunk.bytes(0, 0));
  }
  return decompress_chunks(chunks, static_cast<size_t>(*bytes), name);
}

Result<std::optional<std::string>> make_team_store(const std::string& address) {
  TOPSPIN_ASSIGN(const auto session, team_session(address));
  TOPSPIN_ASSIGN(const TeamRoles roles, init_team_store(*session->connection));
  return roles.refused.empty() ? std::nullopt : std::optional(roles.refused);
}

Result<std::string> team_store_sql() {
  TOPSPIN_ASSIGN(const auto statements, team_store_statements());
  std::string sql;
  for (const std::string& statement : statements) sql += statement + ";\n";
  return sql;
}

}  // namespace topspin
