// MetricsOutput: what leaves a recording while it runs: --textfile and --listen. On the recording's
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/scrape/listener.h"
#include "app/scrape/metrics_page.h"
#include "app/scrape/textfile.h"

namespace topspin {

class MetricsOutput {
 public:
  /// Opens what an option names; nullptr if none does. Call it before privileges and the right to
  /// open sockets are given up.
  static Result<std::unique_ptr<MetricsOutput>> open(const std::string& textfile,
                                                     const std::string& listen);

  /// Begins to serve. Returns sentences about where.
  Result<std::vector<std::string>> begin(const RunInfo& run);
  /// After each tick.
  void update(int64_t now_ns, const RunFold& fold, const LiveFacts& facts);
  /// A problem that the user should know of; each once.
  std::optional<std::string> take_problem();

  bool listens() const { return listener_ != nullptr; }
  /// The directory in which files are renamed; -1: none is.
  int directory_fd() const { return textfile_ ? textfile_->directory_fd() : -1; }

 private:
  MetricsPage page_;  // outlives the two below
  std::unique_ptr<Textfile> textfile_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace topspin
