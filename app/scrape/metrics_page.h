// MetricsPage: the numbers of a recording as text, for whoever scrapes it.
//
// The recording's thread updates it after a tick, and another one renders it when it is wanted.
// Only the copy of the totals is made under the mutex.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "core/run/run.h"
#include "core/run/run_fold.h"
#include "report/export/export.h"

namespace topspin {

/// The page at a moment.
struct MetricsSnapshot {
  RunInfo run;
  std::shared_ptr<const RunFold> fold;
  LiveFacts facts;
  int64_t wall_ns = 0;  // of the last update
  uint64_t update = 0;  // its number; 0: there was none
};

class MetricsPage {
 public:
  /// Copying the totals (a megabyte) at each of ten ticks a second would be a waste.
  static constexpr int64_t kUpdateNs = 1'000'000'000;

  /// Before the first update there is nothing to render.
  void begin(const RunInfo& run);
  /// Does nothing if the last update was less than kUpdateNs ago, unless it `must`.
  void update(int64_t now_ns, const RunFold& fold, const LiveFacts& facts, bool must = false);

  std::string render(LiveFormat format) const;
  MetricsSnapshot snapshot() const;

 private:
  mutable std::mutex mutex_;
  RunInfo run_;  // guarded by mutex_, as is what follows
  std::shared_ptr<const RunFold> fold_ = std::make_shared<RunFold>();
  LiveFacts facts_;
  int64_t updated_ns_ = 0, updated_wall_ns_ = 0;
  uint64_t updates_ = 0;
};

}  // namespace topspin
