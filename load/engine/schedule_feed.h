// ScheduleFeed: what a worker's engine gets from, and gives to, the thread that talks to the team's
// store. The engine's schedule then begins without stays. They are added and cut short while it
// runs, and nothing is done that lies beyond a horizon (docs/decisions/0017-workers.md).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/run/load_result.h"
#include "load/engine/schedule.h"

namespace topspin {

struct StayCut {
  uint32_t stay = 0;     // index into the engine's stays
  int64_t leave_ns = 0;  // earlier than before; not after join_ns: the stay never begins
};

/// First the cuts, then the new stays, which get the next indices.
struct ScheduleChange {
  std::vector<StayCut> cuts;
  std::vector<ClientStay> stays;  // in the order of join_ns
};

/// What a worker did since its last report, and some sums since it began. Times are since the load
/// began.
struct LoadReport {
  int64_t until_ns = 0;  // all that was due before is accounted for
  uint32_t clients = 0;
  bool is_last = false;
  std::vector<std::pair<uint32_t, LoadPart>> stages;  // by position; accounts and histograms only
  // Since the worker began.
  std::optional<TcpAccounts> tcp;
  std::optional<HttpAccounts> http;
  std::optional<TlsAccounts> tls;
  Histogram connect_latency;
  uint64_t bytes_received = 0;
  uint64_t port_unreachable = 0;
  std::map<std::string, uint64_t> errors;
  GeneratorCost own;
  int64_t clock_offset_ns = 0;  // this host's clock minus the store's
  int64_t clock_error_ns = 0;   // of that
  uint64_t store_away = 0;      // of never_scheduled: because the store did not answer in time
  // Only of the last one.
  uint64_t planned = 0;
  std::vector<std::string> invalid_reasons;

  /// `later` is the next report of the same worker.
  void merge(LoadReport later);
};

class ScheduleFeed {
 public:
  virtual ~ScheduleFeed() = default;
  /// When the load began or begins, on CLOCK_MONOTONIC.
  virtual int64_t start_monotonic_ns() const = 0;
  /// About how many clients it will have at once; for limits of the host.
  virtual uint32_t clients_expected() const = 0;
  /// Nothing may be done yet that is due at this moment or later. It only grows. A change that
  /// comes before the new horizon is there to be taken when the horizon is.
  virtual int64_t horizon_ns() const = 0;
  /// The share is empty from here on, and the engine ends once it has come.
  virtual int64_t end_ns() const = 0;
  virtual std::optional<ScheduleChange> take_change() = 0;
  /// Once per second of the load, and once when it has ended. The engine's thread calls it.
  virtual void report(LoadReport report) = 0;
};

/// What feeds have in common: changes and reports pass between the engine's thread and another one.
class QueuedFeed : public ScheduleFeed {
 public:
  std::optional<ScheduleChange> take_change() override;
  void report(LoadReport report) override;

  void change(ScheduleChange change);
  /// All that was reported since the last call, as one; so it is bounded while nobody takes it.
  std::optional<LoadReport> take_report();

 private:
  std::mutex mutex_;
  std::deque<ScheduleChange> changes_;
  std::optional<LoadReport> report_;
};

}  // namespace topspin
