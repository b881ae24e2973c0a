// Engine: one thread, one epoll, one timerfd, the timetable and the ledger; a Workload says what a
// moment of the schedule does. Internal to load.
//
// Life of a due moment: the timetable gives it once its time has come -> Workload::due() sends and
// enters it in the ledger -> epoll says that the socket has something -> Workload::ready() reads
// and has the ledger match it; or the ledger declares it overdue.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include <sys/epoll.h>

#include "core/result.h"
#include "core/unique_fd.h"
#include "load/ledger.h"
#include "load/load.h"
#include "load/preflight.h"
#include "load/schedule.h"
#include "load/target.h"
#include "load/timetable.h"

namespace topspin {

class Engine;

/// What the engine asks of a workload. Sessions are indices into Schedule::sessions. A workload
/// calls Engine::session_closed() once for every session that joined: in leave(), or later, when it
/// has nothing more to wait for.
class Workload {
 public:
  virtual ~Workload() = default;

  /// Once, before the load begins: sockets that all share, preflight of what it needs.
  virtual Status prepare(Engine& engine) = 0;
  virtual void join(uint32_t session) = 0;
  virtual void due(uint32_t session, int64_t intended_ns) = 0;
  /// After a round of due(): send what was gathered.
  virtual void flush() {}
  virtual void leave(uint32_t session) = 0;
  /// Events of a descriptor given to Engine::watch().
  virtual void ready(uint64_t token, uint32_t events) = 0;
  /// The message's timeout has passed.
  virtual void overdue(uint32_t session, uint64_t number) = 0;
  /// Once, at the end: what only it knows.
  virtual void report(LoadResult& result) = 0;
};

class Engine {
 public:
  /// A rhythm without a period: joining is itself the moment that is due.
  Engine(const LoadOptions& options, Schedule schedule, Target target, const Rhythm& rhythm,
         const LedgerSettings& ledger_settings);

  Result<LoadResult> run(Workload& workload, const std::atomic<bool>& stop,
                         const std::function<void(const LoadProgress&)>& progress);

  const LoadOptions& options() const { return options_; }
  const Schedule& schedule() const { return schedule_; }
  const Target& target() const { return target_; }
  const HostLimits& limits() const { return limits_; }
  const ClientSession& session(uint32_t index) const { return schedule_.sessions[index]; }
  const Rhythm& rhythm() const { return rhythm_; }
  Ledger& ledger() { return ledger_; }

  /// Nanoseconds since the load began.
  int64_t now_ns() const { return monotonic_now_ns() - start_ns_; }
  int64_t to_monotonic(int64_t load_ns) const { return start_ns_ + load_ns; }

  /// Answers errno, or 0.
  [[nodiscard]] int watch(int fd, uint32_t events, uint64_t token);
  /// When the client leaves: as scheduled, or when the load was stopped.
  int64_t leave_ns(uint32_t session) const;
  void add_due(uint32_t session, int64_t time_ns) { timetable_.add_due(session, time_ns); }
  void session_closed() { --open_sessions_; }
  void count_error(int number) { ++errors_[number]; }
  void count_descriptors(int64_t change);

 private:
  static constexpr uint64_t kTimerToken = ~uint64_t{0};

  void handle(const TimetableEvent& event, Workload& workload, int64_t now_ns);
  void wait(Workload& workload, bool more_is_due);
  void report_progress(const std::function<void(const LoadProgress&)>& progress, int64_t now_ns);

  LoadOptions options_;
  Schedule schedule_;
  Target target_;
  Rhythm rhythm_;
  HostLimits limits_;
  Timetable timetable_;
  Ledger ledger_;
  UniqueFd epoll_;
  UniqueFd timer_;
  int64_t armed_ns_ = -1;
  int64_t start_ns_ = 0;  // monotonic
  int64_t next_progress_ns_ = 0;
  std::optional<int64_t> until_ns_;  // stopped early: nothing at or after it was asked for
  uint64_t open_sessions_ = 0;       // joined and not closed
  uint32_t clients_ = 0;             // joined and not left
  uint32_t clients_max_ = 0;
  uint64_t clients_joined_ = 0;
  uint64_t sockets_opened_ = 0;
  uint64_t descriptors_ = 0;
  uint64_t descriptors_max_ = 0;
  std::map<int, uint64_t> errors_;
};

std::unique_ptr<Workload> make_udp_pingpong();
std::unique_ptr<Workload> make_tcp_connect();
std::unique_ptr<Workload> make_http();
std::unique_ptr<Workload> make_accept_queue();

/// Has no clients that come and go, and so its own loop.
Result<LoadResult> run_udp_flood(const LoadOptions& options, const Target& target,
                                 const std::atomic<bool>& stop,
                                 const std::function<void(const LoadProgress&)>& progress);

}  // namespace topspin
