// The options about observing that record, live, run and read share.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "capture/flow_tracker.h"
#include "core/base/result.h"

namespace CLI {
class App;
}

namespace topspin {

/// The options as they were typed. The functions below turn them into typed values, and return
/// kUsage for nonsense.
struct ObserveOptions {
  std::vector<std::string> filter_words;
  std::string filter_file;
  std::string period;
  std::string window;  // empty: default_window_ns()
  std::string reply_timeout = "1s";
  std::string interval = "1s";
  std::string key = "outer";
  uint64_t max_flows = 1'000'000;
  std::optional<uint32_t> segment_bytes;
  bool count_payload = false;  // not an option; screens set it
  std::string db;              // empty: TOPSPIN_DB, or topspin.db
  std::vector<std::string> labels;
};

/// How long a flow stays active by default: one and a half periods, so that a late message does not
/// count as a missing one; at least 1 s, at most 1 h.
int64_t default_window_ns(std::optional<int64_t> period_ns);

/// FILTER, -F, --period, --window, --reply-timeout, --key, --max-flows, --segment-size.
void add_flow_options(CLI::App& command, ObserveOptions& options);
/// --label, for a command that stores runs.
void add_label_option(CLI::App& command, std::vector<std::string>& labels);

/// The filter expression: the trailing words joined, or the file's text without its # comments.
Result<std::string> filter_text(const ObserveOptions& options);

/// kUsage if the filter does not compile and looks like a command that lacks its "--". All other
/// errors of a filter are left to the capture.
Status check_filter_words(const ObserveOptions& options);

Result<FlowTableOptions> flow_table_options(const ObserveOptions& options);

/// Parses `text` as a duration above zero. If it is not one, kUsage with the name of `option`.
Result<int64_t> positive_duration(const std::string& text, const char* option);

/// Parses `text` as a size above zero, such as 64MiB. If it is not one, kUsage with the name of
/// `option`.
Result<uint64_t> size_in_bytes(const std::string& text, const char* option);

/// Parses KEY=VALUE words. kUsage if one has no key.
Result<std::map<std::string, std::string>> parse_labels(const std::vector<std::string>& labels);

/// The database to use: the given one, else TOPSPIN_DB, else topspin.db in the working directory.
std::string database_path(const std::string& given);

}  // namespace topspin
