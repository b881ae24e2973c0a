// JSON of what `topspin read` saw. Names and shapes are fixed: programs rely on them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/flow.h"
#include "core/flow_owner.h"

namespace topspin {

/// Of every JSON object that topspin prints.
inline constexpr int kSchemaVersion = 1;

struct FileReading {
  std::string file;
  std::string link_type;
  FlowInterval totals;
  std::optional<int64_t> period_ns;  // declared with --period
  int64_t reply_timeout_ns = 0;
  bool complete = true;              // the file was read to its end
  std::optional<std::string> error;  // why not
  std::vector<std::string> doubts;   // numbers that may be wrong, a sentence each
  uint64_t hidden_by_tag = 0;        // frames that the filter hid because of their VLAN tag
};

/// One object, pretty-printed, with a newline at the end. ASCII only: hostile text stays escaped.
std::string file_reading_json(const FileReading& reading);

/// The same numbers for people.
std::string file_reading_text(const FileReading& reading);

/// "super-packets  3 frames hold at least 30 segments...": a line for people, or nothing.
std::string super_packets_text(const FlowInterval& flows);

/// One flow as one object on one line, with a newline at the end.
std::string flow_json_line(const FlowRow& flow, const OwnerTable& owners = {});

}  // namespace topspin
