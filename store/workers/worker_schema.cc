#include "store/workers/worker_schema.h"

#include <fmt/format.h>

#include "store/team/races.h"

namespace topspin {
namespace {

constexpr const char* kWorkerBeginnings[] = {
    "CREATE SCHEMA IF NOT EXISTS topspin_workers",
    ("CREATE TABLE IF NOT EXISTS topspin_workers.schema_version (name text PRIMARY KEY,"
     " version bigint NOT NULL)"),
    ("INSERT INTO topspin_workers.schema_version (name, version) VALUES ('workers', 0)"
     " ON CONFLICT (name) DO NOTHING")};

constexpr const char* kWorkerTables[] = {
    ("CREATE TABLE IF NOT EXISTS topspin_workers.worker (project text NOT NULL,"
     " worker text NOT NULL, host text NOT NULL, labels text NOT NULL, addresses text NOT NULL,"
     " allowed text NOT NULL, version text NOT NULL, cores bigint NOT NULL,"
     " descriptors bigint NOT NULL, clock_offset_ns bigint NOT NULL,"
     " clock_error_ns bigint NOT NULL, heartbeat_ns bigint NOT NULL,"
     " PRIMARY KEY (project, worker))"),
    ("CREATE TABLE IF NOT EXISTS topspin_workers.job (project text NOT NULL, job text NOT NULL,"
     " description bytea NOT NULL, created_ns bigint NOT NULL, start_ns bigint, ended_ns bigint,"
     " coordinator_ns bigint NOT NULL, PRIMARY KEY (project, job))"),
    ("CREATE TABLE IF NOT EXISTS topspin_workers.member (project text NOT NULL, job text NOT NULL,"
     " worker text NOT NULL, state text NOT NULL, why text NOT NULL, invited_ns bigint NOT NULL,"
     " heartbeat_ns bigint NOT NULL, claimed_until_ns bigint NOT NULL,"
     " PRIMARY KEY (project, job, worker))"),
    ("CREATE INDEX IF NOT EXISTS member_worker ON topspin_workers.member (project, worker)"),
    ("CREATE TABLE IF NOT EXISTS topspin_workers.epoch (project text NOT NULL, job text NOT NULL,"
     " epoch bigint NOT NULL, from_ns bigint NOT NULL, is_last bigint NOT NULL,"
     " members text NOT NULL, PRIMARY KEY (project, job, epoch))"),
    ("CREATE TABLE IF NOT EXISTS topspin_workers.report (project text NOT NULL, job text NOT NULL,"
     " second bigint NOT NULL, worker text NOT NULL, data bytea NOT NULL,"
     " PRIMARY KEY (project, job, second, worker))")};

std::string set_worker_version() {
  return fmt::format(
      "UPDATE topspin_workers.schema_version SET version = {} WHERE name = 'workers'",
      kWorkerSchemaVersion);
}

// A worker may say what it does; only a coordinator may make others send.
constexpr const char* kWorkerRoles[] = {
    "CREATE ROLE topspin_worker NOLOGIN",
    "CREATE ROLE topspin_coordinator NOLOGIN",
    "GRANT USAGE ON SCHEMA topspin_workers TO topspin_worker, topspin_coordinator",
    ("GRANT SELECT ON ALL TABLES IN SCHEMA topspin_workers TO topspin_worker,"
     " topspin_coordinator"),
    "GRANT INSERT, UPDATE, DELETE ON topspin_workers.worker TO topspin_worker",
    "GRANT UPDATE ON topspin_workers.member TO topspin_worker",
    "GRANT INSERT ON topspin_workers.report TO topspin_worker",
    ("GRANT INSERT, UPDATE, DELETE ON topspin_workers.job, topspin_workers.member,"
     " topspin_workers.epoch TO topspin_coordinator"),
    "GRANT DELETE ON topspin_workers.report, topspin_workers.worker TO topspin_coordinator"};

Error newer_tables(const PostgresConnection& store, int64_t version) {
  return make_error(ErrorCode::kInput,
                    fmt::format("the tables for workers in {} were made by a newer topspin: schema "
                                "{}, this one knows {}; upgrade topspin",
                                store.name(), version, kWorkerSchemaVersion));
}

Status make_worker_tables(PostgresConnection& store) {
  TOPSPIN_ASSIGN(PostgresTransaction transaction, PostgresTransaction::begin(store));
  // The row's lock makes others wait who do the same.
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 store.query("SELECT version FROM topspin_workers.schema_version"
                             " WHERE name = 'workers' FOR UPDATE"));
  const int64_t version = rows.size() == 1 ? rows.integer(0, 0).value_or(0) : 0;
  if (version > kWorkerSchemaVersion) return newer_tables(store, version);
  for (const char* statement : kWorkerTables) TOPSPIN_TRY(store.execute(statement));
  TOPSPIN_TRY(store.execute(set_worker_version()));
  return transaction.commit();
}

}  // namespace

Result<std::string> init_worker_tables(PostgresConnection& store) {
  TOPSPIN_TRY(make_beginnings(store, kWorkerBeginnings));
  TOPSPIN_TRY(despite_races(store, [&] { return make_worker_tables(store); }));
  return make_roles(store, kWorkerRoles);
}

Status check_worker_tables(PostgresConnection& store) {
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 store.query("SELECT version FROM topspin_workers.schema_version"
                             " WHERE name = 'workers'"));
  const int64_t version = rows.size() == 1 ? rows.integer(0, 0).value_or(0) : 0;
  if (version > kWorkerSchemaVersion) return newer_tables(store, version);
  if (version >= 1) return {};
  return make_error(ErrorCode::kInput,
                    fmt::format("the store {} has no tables for workers yet; its owner makes them "
                                "with `topspin store init`",
                                store.name()));
}

std::vector<std::string> worker_table_statements() {
  std::vector<std::string> all(std::begin(kWorkerBeginnings), std::end(kWorkerBeginnings));
  all.insert(all.end(), std::begin(kWorkerTables), std::end(kWorkerTables));
  all.push_back(set_worker_version());
  all.insert(all.end(), std::begin(kWorkerRoles), std::end(kWorkerRoles));
  return all;
}

}  // namespace topspin
