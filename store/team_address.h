// The address of a team's store: a connection URI of PostgreSQL, and the project behind "#", as in
// postgresql://ci@db.example/topspin#shop. The project is "default" if there is none. Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace topspin {

/// Whether the name of a database is an address of a store: postgresql://... or postgres://...
bool is_team_address(std::string_view name);

struct TeamAddress {
  std::string url;      // for libpq
  std::string project;  // whose runs are meant
};

/// kUsage if it is no address, or names no valid project: up to 100 letters, digits, '-', '_', '.'
/// and '/'.
Result<TeamAddress> parse_team_address(const std::string& address);

/// kUsage if `path` is an address: what `verb` says is done with files only.
Status refuse_team_address(std::string_view path, std::string_view verb);

/// The address without passwords, for messages.
std::string address_without_secrets(std::string_view address);

}  // namespace topspin
