#include "load/engine/validity.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/run/run_reasons.h"

namespace topspin {
namespace {

double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

double share_ns(int64_t part, int64_t whole) {
  return whole <= 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string load_silence(const LoadResult& result) {
  const LoadAccounts& a = result.total.accounts;
  if (!result.expects_replies || a.sent == 0 || a.replied + a.late_replies > 0) return {};
  if (result.http && result.http->malformed > 0) {
    return fmt::format("{} in HTTP, of {} messages: {}; check what serves {}", kLoadSilence, a.sent,
                       http_malformed_text(*result.http), result.target);
  }
  if (result.http && !result.http->failures.empty()) {
    return fmt::format("{}, of {} messages, from {}: {}", kLoadSilence, a.sent, result.target,
                       http_failures_text(*result.http));
  }
  if (result.script && !result.script->failures.empty()) {
    std::string reasons;
    for (const auto& [reason, times] : result.script->failures)
      reasons += fmt::format("{}{} {}", reasons.empty() ? "" : ", ", times, reason);
    return fmt::format("{}, of {} messages, from {}: {}", kLoadSilence, a.sent, result.target,
                       reasons);
  }
  const bool refused = result.port_unreachable > 0 || (result.tcp && result.tcp->refused > 0);
  return fmt::format("{}, of {} messages: {} {}", kLoadSilence, a.sent,
                     refused ? "nobody listens on" : "check what serves", result.target);
}

namespace {

/// What the steps of a script, and the reasons for its losses, must fulfil.
void add_script_imbalances(const LoadResult& result, std::vector<std::string>& reasons) {
  const ScriptAccounts& script = *result.script;
  for (const LoadPart& step : script.steps) {
    AccountsContext context;
    context.has_plan = false;
    for (const std::string& wrong : find_imbalances(step.accounts, {}, context))
      reasons.push_back(fmt::format("step {}: {}", step.name, wrong));
  }
  const auto equal = [&](uint64_t left, uint64_t right, std::string_view equation) {
    if (left == right) return;
    reasons.push_back(
        fmt::format("the accounts do not balance: {}, but {} != {}", equation, left, right));
  };
  uint64_t failures = 0, errors = 0;
  for (const auto& [reason, count] : script.failures) failures += count;
  for (const auto& [reason, count] : script.errors) errors += count;
  equal(result.total.accounts.lost, failures, "lost = the sum of the failures by reason");
  equal(script.clients_failed, errors, "clients that failed = the sum of the errors by text");
  equal(result.clients_joined,
        script.clients_returned + script.clients_failed + script.clients_left,
        "clients that joined = returned + failed + left");
}

}  // namespace

std::vector<std::string> judge_load(const LoadResult& result, const ValidityLimits& limits) {
  const LoadAccounts& accounts = result.total.accounts;
  AccountsContext context;
  context.expects_replies = result.expects_replies;
  context.is_tcp = result.tcp.has_value();
  context.planned = result.planned;
  context.has_plan = result.has_plan;
  auto reasons = find_imbalances(accounts, result.tcp.value_or(TcpAccounts{}), context);

  const auto over = [&](uint64_t part, uint64_t whole, double limit, std::string_view what,
                        std::string_view of) {
    if (share(part, whole) <= limit) return;
    reasons.push_back(fmt::format("{}: {} of {} {} ({:.2f}%, limit {:.2f}%)", what, part, whole, of,
                                  100 * share(part, whole), 100 * limit));
  };
  if (accounts.scheduled == 0) {
    reasons.push_back(result.script
                          ? "nothing was due: no client came to a turn (client:every) or a step"
                          : "nothing was due: the load is too short");
  }
  if (const std::string silence = load_silence(result); !silence.empty())
    reasons.push_back(silence);
  over(accounts.sent_late, accounts.sent, limits.sent_late_share,
       "the generator or the host was too slow: sent late", "messages");
  over(accounts.never_scheduled - std::min(accounts.blocked, accounts.never_scheduled),
       accounts.scheduled, limits.never_scheduled_share,
       "the generator or the host was too slow: never sent", "due messages");
  if (result.script) {
    add_script_imbalances(result, reasons);
    over(result.script->script_late, accounts.sent, limits.script_late_share,
         "the script was too slow: its own code took or delayed longer than --late-after",
         "messages");
    over(result.script->local_errors, accounts.sent, limits.send_error_share,
         "the local kernel refused sockets or sends, for", "messages");
    const size_t before = reasons.size();
    over(result.script->clients_failed, result.clients_joined, limits.script_failed_share,
         "the script failed, for", "clients");
    const auto& errors = result.script->errors;
    const auto most =
        std::max_element(errors.begin(), errors.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    if (reasons.size() > before && most != errors.end())
      reasons.back() += fmt::format(": {}{}", errors.size() > 1 ? "mostly " : "", most->first);
  }
  over(accounts.send_errors, accounts.scheduled, limits.send_error_share,
       "the local kernel refused to send", "due messages");
  over(result.own.receive_drops, accounts.sent, limits.receive_drop_share,
       "replies were dropped at the generator's receive buffers, for", "messages");
  // Without a rate the generator is meant to be busy.
  const bool flat_out = !result.has_plan && !result.closed_loop;
  if (!flat_out && share_ns(result.own.cpu_ns, result.own.wall_ns) > limits.own_cpu_share) {
    reasons.push_back(fmt::format("the generator was the bottleneck: it used {:.0f}% of its core",
                                  100 * share_ns(result.own.cpu_ns, result.own.wall_ns)));
  }
  if (result.own.host_steal_ns) {
    const double stolen = share_ns(*result.own.host_steal_ns, result.own.wall_ns * result.own.cpus);
    if (stolen > limits.steal_share) {
      reasons.push_back(fmt::format(
          "the host was the bottleneck: the hypervisor took {:.1f}% of its CPUs (limit {:.1f}%)",
          100 * stolen, 100 * limits.steal_share));
    }
  }
  return reasons;
}

}  // namespace topspin
