// The tables of a team's store, and how they are made. Most mirror a table of the runs' own files:
// their columns are generated from it, so a new number or column needs no code here. Only what
// PostgreSQL, Citus, CockroachDB and YugabyteDB all accept is used (docs/team-store.md).
//
// A row belongs to (project, run); `run` is the run's id. Integers are bigint, texts are text
// (team_text.h), histograms are bytea.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "store/sqlite/sqlite.h"
#include "store/team/postgres.h"

namespace topspin {

inline constexpr int64_t kTeamSchemaVersion = 1;

struct TeamColumn {
  enum class Type : uint8_t { kInteger, kText, kBytes };
  std::string name;  // in the run's file
  Type type = Type::kInteger;
  bool is_key = false;
};

struct TeamTable {
  std::string name;
  std::vector<TeamColumn> columns;  // without the run
  /// Of table total: the distributions, each a column that a file has as a row of total_histogram.
  std::vector<std::string> histograms;
};

/// Which tables a reader needs together.
enum class TeamPart : uint8_t {
  kIdentity,  // what a list of runs shows of each: RunInfo, RunEnd
  kLoad,      // stages, and the load's account
  kTotals,    // the fold of the ticks
};
std::vector<std::string_view> team_table_names(TeamPart part);

/// Table "run" first, then those of each part.
Result<std::vector<TeamTable>> team_tables();

/// "bigint", "text" or "bytea".
std::string_view sql_type(TeamColumn::Type type);

/// The name that a column has in the store. In table run, the file's number and id are called
/// number and run.
std::string team_column_name(const TeamTable& table, const TeamColumn& column);

/// The columns that each table of the store really has; it may be of an older or a newer topspin.
Result<std::map<std::string, std::set<std::string>>> columns_in_store(PostgresConnection& store);

/// What init_team_store() could not do.
struct TeamRoles {
  std::string refused;  // the server's reason; empty: both roles exist and have their rights
};

/// Creates the tables, views and roles, or brings those of an older topspin up to date. Two at once
/// wait for each other. kInput if the store is newer.
Result<TeamRoles> init_team_store(PostgresConnection& store);

/// kInput if the store was not made yet, or by a newer topspin.
Status check_team_schema(PostgresConnection& store);

/// Every statement with which init_team_store() makes a new store, those of the roles last.
Result<std::vector<std::string>> team_store_statements();

}  // namespace topspin
