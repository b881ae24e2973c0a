// The tables in which workers and coordinators meet, in a schema of their own: roles of the runs'
// tables get no right on them. Private to store.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "store/team/postgres.h"

namespace topspin {

inline constexpr int64_t kWorkerSchemaVersion = 1;

/// Creates the tables and roles, or brings those of an older topspin up to date. Returns why the
/// roles were refused; empty: they are there. kInput if the tables are newer.
Result<std::string> init_worker_tables(PostgresConnection& store);

/// kInput if there are no tables, or newer ones.
Status check_worker_tables(PostgresConnection& store);

/// Every statement of init_worker_tables() for a new store.
std::vector<std::string> worker_table_statements();

/// The server's clock, in nanoseconds since the Unix epoch. The clock has microseconds.
inline constexpr const char* kServerClock =
    "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) * 1000";

}  // namespace topspin
