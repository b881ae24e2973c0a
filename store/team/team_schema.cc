#include "store/team/team_schema.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/tick/numbers.h"
#include "store/runs/run_tables.h"
#include "store/schema/database.h"
#include "store/team/races.h"

namespace topspin {
namespace {

constexpr std::array<std::string_view, 6> kIdentity = {"label", "argument", "invalid_reason",
                                                       "doubt", "probe",    "plan"};
constexpr std::array<std::string_view, 6> kLoad = {
    "stage", "load", "load_part", "load_count", "load_distribution", "load_invalid_reason"};
constexpr std::array<std::string_view, 3> kTotals = {"total", "total_counter", "total_cpu"};

Result<TeamTable> read_table(Connection& file, std::string_view name) {
  TeamTable table;
  table.name = name;
  TOPSPIN_ASSIGN(Statement select,
                 file.prepare("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid"));
  select.bind_text(1, name);
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) break;
    TeamColumn column;
    column.name = select.bytes_at(0);
    const std::string_view type = select.bytes_at(1);
    column.type = type == "INTEGER" ? TeamColumn::Type::kInteger
                  : type == "TEXT"  ? TeamColumn::Type::kText
                                    : TeamColumn::Type::kBytes;
    column.is_key = select.int_at(2) > 0;
    if (column.name != "run" || name == "run") table.columns.push_back(std::move(column));
  }
  if (name == "total") {
    for (const RegisteredNumber& number : numbers())
      if (number.histogram || number.signed_histogram) table.histograms.emplace_back(number.name);
  }
  return table;
}

Result<std::vector<TeamTable>> read_tables() {
  TOPSPIN_ASSIGN(const auto file, new_database_in_memory("a new database"));
  std::vector<std::string_view> names = {"run"};
  for (const TeamPart part : {TeamPart::kIdentity, TeamPart::kLoad, TeamPart::kTotals})
    for (const std::string_view name : team_table_names(part)) names.push_back(name);
  std::vector<TeamTable> tables;
  for (const std::string_view name : names) {
    TOPSPIN_ASSIGN(tables.emplace_back(), read_table(*file, name));
  }
  return tables;
}

/// The columns that only the store has, with their types.
std::vector<std::pair<std::string, std::string>> own_columns(const TeamTable& table) {
  if (table.name != "run") return {};
  return {{"file_bytes", "bigint"}, {"file_chunks", "bigint"}, {"stored_wall_ns", "bigint"}};
}

std::string create_table(const TeamTable& table) {
  std::string columns = "project text NOT NULL, run text NOT NULL", key = "project, run";
  for (const TeamColumn& column : table.columns) {
    const std::string name = team_column_name(table, column);
    if (name == "run") continue;
    const bool in_key = column.is_key && table.name != "run";
    columns += fmt::format(", {} {}{}", quoted_name(name), sql_type(column.type),
                           in_key ? " NOT NULL" : "");
    if (in_key) key += ", " + quoted_name(name);
  }
  for (const auto& [name, type] : own_columns(table))
    columns += fmt::format(", {} {}", quoted_name(name), type);
  for (const std::string& name : table.histograms)
    columns += fmt::format(", {} bytea", quoted_name(name));
  return fmt::format("CREATE TABLE IF NOT EXISTS topspin.{} ({}, PRIMARY KEY ({}))",
                     quoted_name(table.name), columns, key);
}

/// For people and dashboards (docs/team-store.md).
constexpr const char* kViews[] = {
    ("CREATE OR REPLACE VIEW topspin.runs AS"
     " SELECT project, run, number, to_timestamp(started_wall_ns / 1e9) AS started, status,"
     " duration_ns / 1e9 AS duration_seconds, source_branch AS branch, source_commit AS "
     "commit_hash,"
     " source_dirty AS changed, hostname, kernel, cpu_model, interface, subject,"
     " to_timestamp(stored_wall_ns / 1e9) AS stored, file_bytes"
     " FROM topspin.run"),
    ("CREATE OR REPLACE VIEW topspin.metrics AS"
     " SELECT v.project, v.run, r.number, to_timestamp(r.started_wall_ns / 1e9) AS started,"
     " r.status, r.source_branch AS branch, r.source_commit AS commit_hash, v.metric, v.name,"
     " v.unit, v.statistic, v.better, v.gating, v.value"
     " FROM topspin.metric_value v JOIN topspin.run r ON r.project = v.project AND r.run = v.run"),
    ("CREATE OR REPLACE VIEW topspin.labels AS"
     " SELECT project, run, \"key\", value FROM topspin.label")};

/// What has no counterpart in a run's file.
constexpr const char* kOwnTables[] = {
    ("CREATE TABLE IF NOT EXISTS topspin.file_chunk (project text NOT NULL, run text NOT NULL,"
     " position bigint NOT NULL, data bytea NOT NULL, PRIMARY KEY (project, run, position))"),
    ("CREATE TABLE IF NOT EXISTS topspin.metric_value (project text NOT NULL, run text NOT NULL,"
     " metric text NOT NULL, name text NOT NULL, unit text, statistic text, better text,"
     " gating bigint, value double precision, PRIMARY KEY (project, run, metric))"),
    ("CREATE TABLE IF NOT EXISTS topspin.acceptance (project text NOT NULL, entry text NOT NULL,"
     " accepted_wall_ns bigint NOT NULL, kind text NOT NULL, run_id text, series text,"
     " row_index bigint, metric text, because text NOT NULL, PRIMARY KEY (project, entry))"),
    ("CREATE TABLE IF NOT EXISTS topspin.judgement (project text NOT NULL, entry text NOT NULL,"
     " judged_wall_ns bigint NOT NULL, mode text NOT NULL, verdict text NOT NULL,"
     " exit_code bigint NOT NULL, seed bigint NOT NULL, document text NOT NULL,"
     " PRIMARY KEY (project, entry))"),
    ("CREATE UNIQUE INDEX IF NOT EXISTS run_number ON topspin.run (project, number)"),
    ("CREATE INDEX IF NOT EXISTS run_branch ON topspin.run (project, source_branch, number)"),
    ("CREATE INDEX IF NOT EXISTS run_commit ON topspin.run (project, source_commit)"),
    ("CREATE INDEX IF NOT EXISTS label_value ON topspin.label (project, \"key\", value)")};

/// What comes before the transaction that makes the tables.
constexpr const char* kBeginnings[] = {
    "CREATE SCHEMA IF NOT EXISTS topspin",
    ("CREATE TABLE IF NOT EXISTS topspin.schema_version (name text PRIMARY KEY,"
     " version bigint NOT NULL)"),
    ("INSERT INTO topspin.schema_version (name, version) VALUES ('runs', 0)"
     " ON CONFLICT (name) DO NOTHING")};

std::string set_version() {
  return fmt::format("UPDATE topspin.schema_version SET version = {} WHERE name = 'runs'",
                     kTeamSchemaVersion);
}

Result<std::vector<std::string>> table_statements() {
  TOPSPIN_ASSIGN(const auto tables, team_tables());
  std::vector<std::string> statements;
  statements.reserve(tables.size() + std::size(kOwnTables));
  for (const TeamTable& table : tables) statements.push_back(create_table(table));
  statements.insert(statements.end(), std::begin(kOwnTables), std::end(kOwnTables));
  return statements;
}

std::vector<std::string> role_statements() {
  return {"CREATE ROLE topspin_reader NOLOGIN",
          "CREATE ROLE topspin_writer NOLOGIN",
          "GRANT USAGE ON SCHEMA topspin TO topspin_reader, topspin_writer",
          "GRANT SELECT ON ALL TABLES IN SCHEMA topspin TO topspin_reader, topspin_writer",
          "GRANT INSERT ON ALL TABLES IN SCHEMA topspin TO topspin_writer",
          "REVOKE INSERT ON topspin.schema_version FROM topspin_writer"};
}

/// Columns of a newer topspin that the store's tables lack.
Status add_missing_columns(PostgresConnection& store, const std::vector<TeamTable>& tables) {
  TOPSPIN_ASSIGN(const auto there, columns_in_store(store));
  for (const TeamTable& table : tables) {
    const auto found = there.find(table.name);
    if (found == there.end()) continue;
    const auto add = [&](const std::string& name, std::string_view type) -> Status {
      if (found->second.contains(name)) return {};
      return store.execute(fmt::format("ALTER TABLE topspin.{} ADD COLUMN IF NOT EXISTS {} {}",
                                       quoted_name(table.name), quoted_name(name), type));
    };
    for (const TeamColumn& column : table.columns)
      TOPSPIN_TRY(add(team_column_name(table, column), sql_type(column.type)));
    for (const auto& [name, type] : own_columns(table)) TOPSPIN_TRY(add(name, type));
    for (const std::string& name : table.histograms) TOPSPIN_TRY(add(name, "bytea"));
  }
  return {};
}

Error newer_store(const PostgresConnection& store, int64_t version) {
  return make_error(ErrorCode::kInput,
                    fmt::format("the store {} was made by a newer topspin: schema {}, this one "
                                "knows {}; upgrade topspin",
                                store.name(), version, kTeamSchemaVersion));
}

/// Makes or updates the tables in one transaction.
Status make_tables(PostgresConnection& store) {
  TOPSPIN_ASSIGN(const auto statements, table_statements());
  TOPSPIN_ASSIGN(const auto tables, team_tables());
  TOPSPIN_ASSIGN(PostgresTransaction transaction, PostgresTransaction::begin(store));
  // The row's lock makes others wait who do the same.
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 store.query("SELECT version FROM topspin.schema_version WHERE name = 'runs'"
                             " FOR UPDATE"));
  const int64_t version = rows.size() == 1 ? rows.integer(0, 0).value_or(0) : 0;
  if (version > kTeamSchemaVersion) return newer_store(store, version);
  for (const std::string& statement : statements) TOPSPIN_TRY(store.execute(statement));
  TOPSPIN_TRY(add_missing_columns(store, tables));
  for (const char* view : kViews) TOPSPIN_TRY(store.execute(view));
  TOPSPIN_TRY(store.execute(set_version()));
  return transaction.commit();
}

}  // namespace

std::vector<std::string_view> team_table_names(TeamPart part) {
  switch (part) {
    case TeamPart::kIdentity: return {kIdentity.begin(), kIdentity.end()};
    case TeamPart::kLoad: return {kLoad.begin(), kLoad.end()};
    case TeamPart::kTotals: return {kTotals.begin(), kTotals.end()};
  }
  return {};
}

Result<std::vector<TeamTable>> team_tables() {
  static const Result<std::vector<TeamTable>> kTables = read_tables();
  return kTables;
}

std::string_view sql_type(TeamColumn::Type type) {
  switch (type) {
    case TeamColumn::Type::kInteger: return "bigint";
    case TeamColumn::Type::kText: return "text";
    case TeamColumn::Type::kBytes: return "bytea";
  }
  return "text";
}

std::string team_column_name(const TeamTable& table, const TeamColumn& column) {
  if (table.name == "run" && column.name == "run") return "number";
  if (table.name == "run" && column.name == "id") return "run";
  return column.name;
}

Result<std::map<std::string, std::set<std::string>>> columns_in_store(PostgresConnection& store) {
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 store.query("SELECT CAST(table_name AS text), CAST(column_name AS text)"
                             " FROM information_schema.columns WHERE table_schema = 'topspin'"));
  std::map<std::string, std::set<std::string>> columns;
  for (size_t row = 0; row < rows.size(); ++row)
    columns[std::string(rows.bytes(row, 0))].emplace(rows.bytes(row, 1));
  return columns;
}

Result<std::vector<std::string>> team_store_statements() {
  TOPSPIN_ASSIGN(const auto tables, table_statements());
  std::vector<std::string> all(std::begin(kBeginnings), std::end(kBeginnings));
  all.insert(all.end(), tables.begin(), tables.end());
  all.insert(all.end(), std::begin(kViews), std::end(kViews));
  all.push_back(set_version());
  const std::vector<std::string> roles = role_statements();
  all.insert(all.end(), roles.begin(), roles.end());
  return all;
}

Result<TeamRoles> init_team_store(PostgresConnection& store) {
  TOPSPIN_TRY(make_beginnings(store, kBeginnings));
  TOPSPIN_TRY(despite_races(store, [&] { return make_tables(store); }));
  return TeamRoles{.refused = make_roles(store, role_statements())};
}

Status check_team_schema(PostgresConnection& store) {
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 store.query("SELECT version FROM topspin.schema_version WHERE name = 'runs'"));
  const int64_t version = rows.size() == 1 ? rows.integer(0, 0).value_or(0) : 0;
  if (version > kTeamSchemaVersion) return newer_store(store, version);
  if (version >= 1) return {};
  return make_error(ErrorCode::kInput,
                    fmt::format("the store {} has no tables yet; its owner makes them with "
                                "`topspin store init`",
                                store.name()));
}

}  // namespace topspin
