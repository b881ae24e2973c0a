// FileReading: what `topspin read` saw in a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/flow/flow.h"

namespace topspin {

struct FileReading {
  std::string file;
  std::string link_type;
  FlowInterval totals;
  std::optional<int64_t> period_ns;  // declared with --period
  int64_t reply_timeout_ns = 0;
  bool complete = true;              // the file was read to its end
  std::optional<std::string> error;  // why it is not complete
  std::vector<std::string> doubts;   // why numbers may be wrong, one sentence each
  uint64_t hidden_by_tag = 0;        // frames that the filter hid because of their VLAN tag
};

}  // namespace topspin
