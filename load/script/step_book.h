// StepBook: the accounts of a script's steps and checks, by name. Pure.
//
// A run of a step is a message: it is scheduled and sent when it begins, and replied, late or lost
// when it ends. So a step has the equations and the latencies of any message (engine/accounts.h).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/run/load_result.h"

namespace topspin {

/// A run of a step that has begun. Its latency counts from the intended moment and from the actual
/// one, since the load began.
struct OpenStep {
  uint16_t step = 0;
  int64_t intended_ns = 0;
  int64_t actual_ns = 0;
  bool has_failed = false;
  bool has_failed_check = false;
};

class StepBook {
 public:
  static constexpr size_t kMostNames = 100;  // of steps, and of checks: each is a row of the result

  StepBook(int64_t timeout_ns, int64_t late_after_ns)
      : timeout_ns_(timeout_ns), late_after_ns_(late_after_ns) {}

  /// nullopt: there are kMostNames other steps already.
  std::optional<OpenStep> begin(std::string_view name, int64_t intended_ns, int64_t actual_ns);
  void end(const OpenStep& open, int64_t now_ns);
  /// False if there are kMostNames other checks already.
  bool check(std::string_view name, bool passed);

  /// Fills in `steps` and `checks`.
  void report(ScriptAccounts& accounts, int64_t end_ns) const;

 private:
  int64_t timeout_ns_;
  int64_t late_after_ns_;
  std::map<std::string, uint16_t, std::less<>> step_by_name_;
  std::map<std::string, size_t, std::less<>> check_by_name_;
  std::vector<LoadPart> steps_;
  std::vector<ScriptCheck> checks_;
};

}  // namespace topspin
