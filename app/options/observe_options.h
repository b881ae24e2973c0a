// What record (and live and run, which share them) and read can be told about observing.
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

/// As typed; turned into typed values by the functions below, which refuse nonsense with kUsage.
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
  bool count_payload = false;  // no option: the screens ask for it
  std::string db;              // empty: TOPSPIN_DB, or topspin.db
  std::vector<std::string> labels;
};

/// How long a flow stays active if nothing says it: a period and a half, so that a message that is
/// late is none that is missing; from 1 s to 1 h.
int64_t default_window_ns(std::optional<int64_t> period_ns);

/// FILTER, -F, --period, --window, --reply-timeout, --key, --max-flows, --segment-size.
void add_flow_options(CLI::App& command, ObserveOptions& options);
/// --label, of a command that stores runs.
void add_label_option(CLI::App& command, std::vector<std::string>& labels);

/// The filter expression: the trailing words joined, or the file's text without its # comments.
Result<std::string> filter_text(const ObserveOptions& options);

/// kUsage if the filter does not compile and is a command without its "--"; says so. Everything
/// else that may be wrong with a filter is the capture's to say.
Status check_filter_words(const ObserveOptions& options);

Result<FlowTableOptions> flow_table_options(const ObserveOptions& options);

/// `text` as a duration above zero, or kUsage naming `option`.
Result<int64_t> positive_duration(const std::string& text, const char* option);

/// KEY=VALUE words; kUsage if one has no key.
Result<std::map<std::string, std::string>> parse_labels(const std::vector<std::string>& labels);

/// The database to use: as given, else TOPSPIN_DB, else topspin.db in the working directory.
std::string database_path(const std::string& given);

}  // namespace topspin
