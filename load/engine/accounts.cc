#include "load/engine/accounts.h"

#include <fmt/format.h>

namespace topspin {

std::vector<std::string> find_imbalances(const LoadAccounts& accounts, const TcpAccounts& tcp,
                                         const AccountsContext& context) {
  std::vector<std::string> wrong;
  const auto equal = [&](uint64_t left, uint64_t right, std::string_view equation) {
    if (left != right) {
      wrong.push_back(
          fmt::format("the accounts do not balance: {}, but {} != {}", equation, left, right));
    }
  };
  if (context.has_plan) {
    equal(accounts.scheduled, context.planned, "scheduled = what the stages ask for");
  }
  equal(accounts.scheduled, accounts.sent + accounts.send_errors + accounts.never_scheduled,
        "scheduled = sent + send_errors + never_scheduled");
  if (context.expects_replies) {
    equal(accounts.sent, accounts.replied + accounts.late_replies + accounts.lost,
          "sent = replied + late_replies + lost");
  }
  if (context.is_tcp) {
    equal(accounts.lost, tcp.lost(),
          "lost = refused + reset_before_bytes + reset_after_bytes + truncated + timeouts + "
          "failed");
  }
  if (accounts.sent_late > accounts.sent) {
    wrong.push_back(fmt::format("the accounts do not balance: sent_late {} > sent {}",
                                accounts.sent_late, accounts.sent));
  }
  if (accounts.blocked > accounts.never_scheduled) {
    wrong.push_back(fmt::format("the accounts do not balance: blocked {} > never_scheduled {}",
                                accounts.blocked, accounts.never_scheduled));
  }
  return wrong;
}

}  // namespace topspin
