// The typed settings behind the options of record.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "app/options/record_options.h"
#include "capture/flow_tracker.h"
#include "core/base/result.h"
#include "probes/probes.h"
#include "store/retention/retention.h"

namespace topspin {

struct RecordSettings {
  FlowTableOptions table;
  LiveOptions live;
  SubjectSpec subject;
  ProbeOptions probes;
  std::map<std::string, std::string> labels;
  std::optional<int64_t> duration_ns;
  RetentionLimits retention;  // of the database, when the run has ended
  std::string subject_text;
  std::optional<int32_t> network_of;  // a process of a container: capture in its network namespace
};

/// Refuses everything that can be refused without opening anything (kUsage). Looks for the
/// container.
Result<RecordSettings> make_record_settings(const RecordOptions& options);

}  // namespace topspin
