// The connection to a team's store that a process shares, with the project that is meant. Private
// to store.
#pragma once

#include <memory>
#include <string>

#include "core/base/result.h"
#include "store/team/postgres.h"

namespace topspin {

struct TeamSession {
  std::unique_ptr<PostgresConnection> connection;
  std::string project;
};

/// Connects, or returns the connection to that address that is open.
Result<std::shared_ptr<TeamSession>> team_session(const std::string& address);

}  // namespace topspin
