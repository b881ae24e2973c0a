// Statements that several topspins may send at the same moment, to make the same tables. Private to
// store.
#pragma once

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "store/team/postgres.h"

namespace topspin {

/// Whether another one that does the same was faster: CREATE ... IF NOT EXISTS may then fail.
inline bool is_a_race(const std::string& state) {
  constexpr std::string_view kRaces[] = {"23505",   // unique_violation, also in the catalog
                                         "42P06",   // duplicate_schema
                                         "42P07",   // duplicate_table
                                         "42710",   // duplicate_object
                                         "40001",   // serialization_failure
                                         "XX000"};  // "tuple concurrently updated"
  return std::find(std::begin(kRaces), std::end(kRaces), state) != std::end(kRaces);
}

template <typename Do>
Status despite_races(PostgresConnection& store, Do attempt) {
  constexpr int kTries = 20;
  Status done;
  for (int i = 0; i < kTries; ++i) {
    done = attempt();
    if (done.ok() || !is_a_race(store.last_state())) return done;
  }
  return done;
}

/// Makes what must be there before the transaction that makes the tables.
template <typename Statements>
Status make_beginnings(PostgresConnection& store, const Statements& statements) {
  return despite_races(store, [&]() -> Status {
    for (const auto& statement : statements) TOPSPIN_TRY(store.execute(statement));
    return {};
  });
}

/// Makes roles and gives them their rights. Returns why one was refused, since only an owner may
/// do this; empty if none was.
template <typename Statements>
std::string make_roles(PostgresConnection& store, const Statements& statements) {
  std::string refused;
  for (const auto& statement : statements) {
    const Status done = despite_races(store, [&]() -> Status {
      Status tried = store.execute(statement);
      if (!tried.ok() && store.last_state() == "42710") return {};  // the role exists
      return tried;
    });
    if (!done.ok()) refused = done.error().message;
  }
  return refused;
}

}  // namespace topspin
