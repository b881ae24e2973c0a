// A team's store: runs of many machines in PostgreSQL (docs/team-store.md). RunStore::open() reads
// it like a file; this is what else can be done with it.
//
// A store is opened once for the process, before it enters its sandbox, and is not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace topspin {

/// Connects to the store, unless that was done already. Call it before entering the sandbox, which
/// opens no connection.
Status open_team_store(const std::string& address);

/// A number of a run, as dashboards want it: the store keeps it beside the run.
struct TeamMetric {
  std::string metric;     // "reply_latency_ns_p99"
  std::string name;       // "reply_latency"
  std::string unit;       // "ns"; empty: not known
  std::string statistic;  // "p99"; empty: none
  std::string better;     // "lower", "higher"
  bool gating = false;
  double value = 0;
};

/// The ids among `runs` that the project has. One round trip.
Result<std::vector<std::string>> runs_in_team_store(const std::string& address,
                                                    std::span<const std::string> runs);

struct Pushed {
  bool was_there = false;       // another one was faster
  std::string damage;           // why the run cannot be read, and was not stored; empty: it was
  uint64_t bytes = 0;           // sent of the file
  size_t columns_left_out = 0;  // that an older store lacks; the file has them
};
/// Stores one run of a database file, in one transaction. After an error nothing of it is stored.
Result<Pushed> push_run(const std::string& address, const std::string& database,
                        const std::string& run_id, std::span<const TeamMetric> metrics);

/// The run's file, as it was pushed. kUsage if the store has no such run.
Result<std::string> pull_run(const std::string& address, const std::string& run_id);

/// Creates or updates the tables, views and roles. Returns why the roles could not be made, or
/// nullopt.
Result<std::optional<std::string>> make_team_store(const std::string& address);
/// The statements by which it makes a new store, for a person who may not run them.
Result<std::string> team_store_sql();

}  // namespace topspin
