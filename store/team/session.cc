#include "store/team/session.h"

#include <map>

#include "store/team_address.h"
#include "store/team_store.h"

namespace topspin {

Result<std::shared_ptr<TeamSession>> team_session(const std::string& address) {
  // It lives until the process ends; closing it then would only cost time.
  static auto* const kOpen = new std::map<std::string, std::shared_ptr<TeamSession>>;
  if (const auto found = kOpen->find(address); found != kOpen->end()) return found->second;
  TOPSPIN_ASSIGN(TeamAddress parsed, parse_team_address(address));
  auto session = std::make_shared<TeamSession>();
  TOPSPIN_ASSIGN(session->connection, PostgresConnection::connect(parsed.url));
  session->project = std::move(parsed.project);
  kOpen->emplace(address, session);
  return session;
}

Status open_team_store(const std::string& address) {
  TOPSPIN_ASSIGN([[maybe_unused]] const auto session, team_session(address));
  return {};
}

}  // namespace topspin
