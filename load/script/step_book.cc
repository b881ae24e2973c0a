#include "load/script/step_book.h"

#include <algorithm>

namespace topspin {
namespace {

uint64_t at_least_zero(int64_t ns) { return static_cast<uint64_t>(std::max<int64_t>(0, ns)); }

}  // namespace

std::optional<OpenStep> StepBook::begin(std::string_view name, int64_t intended_ns,
                                        int64_t actual_ns) {
  auto at = step_by_name_.find(name);
  if (at == step_by_name_.end()) {
    if (steps_.size() == kMostNames) return std::nullopt;
    at = step_by_name_.emplace(name, static_cast<uint16_t>(steps_.size())).first;
    steps_.emplace_back().name = at->first;
  }
  LoadPart& step = steps_[at->second];
  ++step.accounts.scheduled;
  ++step.accounts.sent;
  if (actual_ns - intended_ns > late_after_ns_) ++step.accounts.sent_late;
  step.own_lateness.record(at_least_zero(actual_ns - intended_ns));
  return OpenStep{at->second, intended_ns, actual_ns};
}

void StepBook::end(const OpenStep& open, int64_t now_ns) {
  LoadPart& step = steps_[open.step];
  const int64_t took_ns = now_ns - open.actual_ns;
  if (open.has_failed)
    ++step.accounts.lost;
  else
    ++(took_ns > timeout_ns_ ? step.accounts.late_replies : step.accounts.replied);
  if (open.has_failed_check && !open.has_failed) ++step.accounts.http_errors;
  // As the ledger does it: a lost one counts as the timeout.
  const int64_t counted_ns = open.has_failed ? timeout_ns_ : took_ns;
  step.latency_actual.record(at_least_zero(counted_ns));
  step.latency_intended.record(at_least_zero(counted_ns + open.actual_ns - open.intended_ns));
}

bool StepBook::check(std::string_view name, bool passed) {
  auto at = check_by_name_.find(name);
  if (at == check_by_name_.end()) {
    if (checks_.size() == kMostNames) return false;
    at = check_by_name_.emplace(name, checks_.size()).first;
    checks_.emplace_back().name = name;
  }
  ScriptCheck& check = checks_[at->second];
  ++(passed ? check.passed : check.failed);
  return true;
}

void StepBook::report(ScriptAccounts& accounts, int64_t end_ns) const {
  accounts.steps = steps_;
  for (LoadPart& step : accounts.steps) step.end_ns = end_ns;
  accounts.checks = checks_;
}

}  // namespace topspin
