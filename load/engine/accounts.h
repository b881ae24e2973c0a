// The equations that the accounts of a load must fulfil. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/run/load_result.h"

namespace topspin {

/// What the accounts are checked against.
struct AccountsContext {
  bool expects_replies = true;  // udp-flood does not
  bool is_tcp = false;          // the causes in TcpAccounts must sum up to `lost`
  uint64_t planned = 0;         // what the schedule, computed apart, asks for
  bool has_plan = true;         // flat out has none
};

/// The equations that do not hold, as one sentence each with the numbers; empty if all hold.
///
///   scheduled = planned
///   scheduled = sent + send_errors + never_scheduled
///   sent      = replied + late_replies + lost                           (replies expected)
///   lost      = refused + resets + truncated + timeouts + failed        (TCP)
///   sent_late <= sent,  blocked <= never_scheduled
std::vector<std::string> find_imbalances(const LoadAccounts& accounts, const TcpAccounts& tcp,
                                         const AccountsContext& context);

}  // namespace topspin
