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

}  // namespace topspin
