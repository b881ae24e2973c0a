// MetricsOutput: what leaves a recording while it runs: --textfile, --listen and --otlp. On the
// recording's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/scrape/listener.h"
#include "app/scrape/metrics_page.h"
#include "app/scrape/otlp_push.h"
#include "app/scrape/textfile.h"

namespace topspin {

/// Of the options; empty: not wanted.
struct MetricsPlaces {
  std::string textfile, listen, otlp;
};

class MetricsOutput {
 public:
  /// nullptr if no option names a place. Starts the process that sends for --otlp, as `user` if
  /// given. Call it first of all: that process has nothing of what is opened later. REQUIRES: one
  /// thread.
  static Result<std::unique_ptr<MetricsOutput>> start(const MetricsPlaces& places,
                                                      const std::optional<UserIdentity>& user);
  /// Opens the other places. Call it before privileges and the right to open sockets are given up.
  Status open(const MetricsPlaces& places);

  /// Begins to serve. Returns sentences about where.
  Result<std::vector<std::string>> begin(const RunInfo& run);
  /// After each tick.
  void update(int64_t now_ns, const RunFold& fold, const LiveFacts& facts);
  /// What happened, for the log of --otlp.
  void log(std::vector<LiveEvent> events);
  /// What the user should know; each once.
  std::vector<std::string> take_problems();

  /// The recording has ended, with these totals. What sends has a few seconds left, until
  /// is_finished().
  void finish(int64_t now_ns, const RunFold& fold, const LiveFacts& facts);
  bool is_finished() const { return otlp_ == nullptr || otlp_->is_finished(); }
  /// What was dropped on the way, as a sentence; empty if nothing was.
  std::string tell_dropped() const;

  /// The process that sends for --otlp; 0: there is none.
  pid_t sender_pid() const { return otlp_ ? otlp_->sender_pid() : 0; }
  bool listens() const { return listener_ != nullptr; }
  /// The directory in which files are renamed; -1: none is.
  int directory_fd() const { return textfile_ ? textfile_->directory_fd() : -1; }

 private:
  LiveFacts with_totals(LiveFacts facts) const;

  MetricsPage page_;  // outlives those below
  std::unique_ptr<Textfile> textfile_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<OtlpPush> otlp_;
};

}  // namespace topspin
