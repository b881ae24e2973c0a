// What travels in the store: the description of a load, and a worker's reports. Both are foreign
// bytes to the one that reads them. Nothing executable travels: a description has the name of a
// workload that the worker knows, and the texts of its options. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "load/engine/schedule_feed.h"
#include "load/load.h"

namespace topspin {

struct JobDescription {
  std::string workload;  // its name
  std::string target;
  std::map<std::string, std::string> options;  // texts by name, as on the command line
};

std::string encode_job(const JobDescription& job);
/// kInput: the bytes are no description.
Result<JobDescription> decode_job(std::string_view bytes);
/// The options, checked. kUsage: this topspin has no such workload or option, or it cannot be
/// shared.
Result<LoadOptions> job_options(const JobDescription& job);

std::string encode_report(const LoadReport& report);
/// kInput: the bytes are no report.
Result<LoadReport> decode_report(std::string_view bytes);

}  // namespace topspin
