// Pushes runs to a team's store, with the numbers that dashboards show.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace topspin {

/// `given`, or $TOPSPIN_STORE. kUsage, with the option to give, if there is neither.
Result<std::string> team_address(const std::string& given, const char* option);

struct PushCounts {
  uint64_t pushed = 0;
  uint64_t present = 0;             // the store had them
  uint64_t recording = 0;           // left out because they are still being written
  uint64_t failed = 0;              // left out because they are damaged
  std::vector<std::string> doubts;  // one sentence each
};

/// Pushes the runs that `words` name; all if there are none. `tell` gets a line for each. An error
/// of the store ends it; what was pushed before stays.
Result<PushCounts> push_runs(const std::string& database, const std::vector<std::string>& words,
                             const std::string& address,
                             const std::function<void(const std::string&)>& tell);

}  // namespace topspin
