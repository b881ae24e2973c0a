// Engine: runs a schedule with one thread, one epoll, one timerfd, the timetable and the ledger.
// The Workload decides what is done at a due moment. Internal to load.
//
// Life of a due moment: the timetable returns it when its time has come -> Workload::due() sends a
// message and enters it in the ledger -> epoll reports that the socket is readable ->
// Workload::ready() reads the answer, and the ledger matches it. Otherwise the ledger declares the
// message overdue.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>

#include <sys/epoll.h>

#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "core/tick/host_usage.h"
#include "load/engine/ledger.h"
#include "load/engine/preflight.h"
#include "load/engine/schedule.h"
#include "load/engine/schedule_feed.h"
#include "load/engine/timetable.h"
#include "load/load.h"
#include "load/wire/target.h"

namespace topspin {

class Engine;

/// The interface of a workload. Stays are indices into Schedule::stays. A workload calls
/// Engine::stay_closed() once for every stay that joined: in leave(), or later, when it has nothing
/// more to wait for.
class Workload {
 public:
  virtual ~Workload() = default;

  /// Called once, before the load begins: opens shared sockets and checks what the load needs.
  virtual Status prepare(Engine& engine) = 0;
  virtual void join(uint32_t stay) = 0;
  virtual void due(uint32_t stay, int64_t intended_ns) = 0;
  /// Called after a round of due(): sends what was gathered.
  virtual void flush() {}
  virtual void leave(uint32_t stay) = 0;
  /// Handles events of a descriptor that was given to Engine::watch().
  virtual void ready(uint64_t token, uint32_t events) = 0;
  /// Called when the message's timeout has passed.
  virtual void overdue(uint32_t stay, uint64_t number) = 0;
  /// Adds what only the workload knows, as it is now. Called at the end, and for each report to a
  /// ScheduleFeed.
  virtual void report(LoadResult& result) = 0;
  /// Engine::schedule() has more stays than before.
  virtual void stays_added() {}
};

class Engine {
 public:
  /// A rhythm without a period: the only due moment is that of joining.
  Engine(const LoadOptions& options, Schedule schedule, Target target, const Rhythm& rhythm,
         const LedgerSettings& ledger_settings);

  Result<LoadResult> run(Workload& workload, const std::atomic<bool>& stop,
                         const LoadProgressSink& progress);

  const LoadOptions& options() const { return options_; }
  const Schedule& schedule() const { return schedule_; }
  const Target& target() const { return target_; }
  const HostLimits& limits() const { return limits_; }
  /// The most clients at once; of a share of a load about that.
  uint32_t clients_most() const;
  /// How many moments are due in the whole load; of a share at most that.
  uint64_t due_most() const;
  const ClientStay& stay(uint32_t index) const { return schedule_.stays[index]; }
  const Rhythm& rhythm() const { return rhythm_; }
  Ledger& ledger() { return ledger_; }

  /// Nanoseconds since the load began.
  int64_t now_ns() const { return monotonic_now_ns() - start_ns_; }
  int64_t to_monotonic(int64_t load_ns) const { return start_ns_ + load_ns; }

  /// Returns errno, or 0.
  [[nodiscard]] int watch(int fd, uint32_t events, uint64_t token);
  /// With EPOLLET: what still holds is told again in the next round. REQUIRES: watch().
  void watch_again(int fd, uint32_t events, uint64_t token);
  /// When the client leaves: at the scheduled time, or when the load was stopped.
  int64_t leave_ns(uint32_t stay) const;
  void add_due(uint32_t stay, int64_t time_ns) { timetable_.add_due(stay, time_ns); }
  void stay_closed() { --open_stays_; }
  void count_error(int number) { ++errors_[number]; }
  void count_descriptors(int64_t change);

 private:
  static constexpr uint64_t kTimerToken = ~uint64_t{0};

  void handle(const TimetableEvent& event, Workload& workload, int64_t now_ns);
  void wait(Workload& workload, bool more_is_due);
  void report_progress(Workload& workload, const LoadProgressSink& progress, int64_t now_ns);
  void take_changes(Workload& workload);
  void report_share(Workload& workload, int64_t now_ns, LoadReport report);
  void fill_costs(LoadResult& result) const;
  bool is_over() const;
  /// The last moment whose events may be done now.
  int64_t reach_ns(int64_t now_ns) const { return std::min(now_ns, horizon_ns_ - 1); }

  LoadOptions options_;
  ScheduleFeed* feed_;  // or null
  Schedule schedule_;
  Target target_;
  Rhythm rhythm_;
  HostLimits limits_;
  Timetable timetable_;
  Ledger ledger_;
  UniqueFd epoll_;
  UniqueFd timer_;
  int64_t armed_ns_ = -1;
  int64_t start_ns_ = 0;                                      // monotonic
  int64_t horizon_ns_ = std::numeric_limits<int64_t>::max();  // of the feed, as last read
  // What was due from held_ns_ to released_ns_ had to wait for a new horizon.
  int64_t held_ns_ = 0;
  int64_t released_ns_ = 0;
  bool is_held_ = false;
  uint64_t store_away_ = 0;
  int64_t began_ns_ = 0;  // since the load began: 0 but for a feed
  int64_t cpu_before_ns_ = 0;
  std::optional<HostCpuTime> host_before_;
  int64_t next_progress_ns_ = 0;
  std::optional<int64_t> until_ns_;  // set when stopped early; nothing is due from then on
  uint64_t open_stays_ = 0;          // joined and not closed
  uint32_t clients_ = 0;             // joined and not left
  uint32_t clients_max_ = 0;
  uint64_t clients_joined_ = 0;
  uint64_t sockets_opened_ = 0;
  uint64_t descriptors_ = 0;
  uint64_t descriptors_max_ = 0;
  std::map<int, uint64_t> errors_;
};

/// What the engine needs to know about a kind of load in addition to its options.
struct EngineSettings {
  bool due_once = false;        // due only when joining; else once per period
  bool waits_for_ever = false;  // waits for overdue replies until their client closes
  int64_t late_window_ns = 0;   // how long a late reply is still recognised as one
};

/// Runs the schedule of the options with `workload`.
Result<LoadResult> run_clients(Workload& workload, const LoadOptions& options, const Target& target,
                               const EngineSettings& settings, const std::atomic<bool>& stop,
                               const LoadProgressSink& progress);

}  // namespace topspin
