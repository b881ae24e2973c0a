#include "load/engine/engine.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/base/os_error.h"
#include "core/tick/host_usage.h"
#include "load/engine/kernel_counters.h"
#include "load/engine/validity.h"

namespace topspin {
namespace {

constexpr int64_t kStopPollNs = 100 * kNanosPerMilli;
// Replies are read after at most this many sends, so that they do not wait for a burst to end.
constexpr int kEventsPerRound = 64;
constexpr size_t kReadyPerRound = 256;

}  // namespace

Engine::Engine(const LoadOptions& options, Schedule schedule, Target target, const Rhythm& rhythm,
               const LedgerSettings& ledger_settings)
    : options_(options),
      schedule_(std::move(schedule)),
      target_(std::move(target)),
      rhythm_(rhythm),
      limits_(read_host_limits()),
      timetable_(schedule_, rhythm, options.closed_loop),
      ledger_(schedule_, ledger_settings) {}

int Engine::watch(int fd, uint32_t events, uint64_t token) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

int64_t Engine::leave_ns(uint32_t stay) const {
  return std::min(schedule_.stays[stay].leave_ns, until_ns_.value_or(schedule_.end_ns));
}

void Engine::count_descriptors(int64_t change) {
  if (change > 0) sockets_opened_ += static_cast<uint64_t>(change);
  descriptors_ += static_cast<uint64_t>(change);
  descriptors_max_ = std::max(descriptors_max_, descriptors_);
}

void Engine::handle(const TimetableEvent& event, Workload& workload, int64_t now_ns) {
  switch (event.kind) {
    case TimetableEventKind::kJoin:
      ++open_stays_;
      ++clients_;
      ++clients_joined_;
      clients_max_ = std::max(clients_max_, clients_);
      workload.join(event.stay);
      break;
    case TimetableEventKind::kLeave:
      --clients_;
      workload.leave(event.stay);
      break;
    case TimetableEventKind::kDue:
      // If the next moment is already due too, this one is skipped, because sending both in a burst
      // would not be the scheduled traffic.
      if (now_ns - event.time_ns > rhythm_.period_ns && !options_.closed_loop) {
        ledger_.never_sent(event.time_ns, false);
      } else {
        workload.due(event.stay, event.time_ns);
      }
      break;
  }
}

void Engine::wait(Workload& workload, bool more_is_due) {
  int timeout_ms = 0;
  if (!more_is_due) {
    const int64_t now = now_ns();
    int64_t wake_ns = std::min(now + kStopPollNs, next_progress_ns_);
    if (const auto next = timetable_.next_ns()) {
      wake_ns = std::min(wake_ns, *next);
    }
    if (const auto expiry = ledger_.next_expiry_ns()) wake_ns = std::min(wake_ns, *expiry);
    if (wake_ns > now) {
      if (wake_ns != armed_ns_) {
        const int64_t at = to_monotonic(wake_ns);
        itimerspec when{};
        when.it_value.tv_sec = at / kNanosPerSecond;
        when.it_value.tv_nsec = at % kNanosPerSecond;
        CHECK(timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0);
        armed_ns_ = wake_ns;
      }
      timeout_ms = -1;
    }
  }
  std::array<epoll_event, kReadyPerRound> events;
  const int n =
      epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  for (int i = 0; i < n; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    // The timer is edge-triggered and set again before each wait, so it need not be read.
    if (event.data.u64 == kTimerToken) {
      armed_ns_ = -1;
    } else {
      workload.ready(event.data.u64, event.events);
    }
  }
}

void Engine::report_progress(const LoadProgressSink& progress, int64_t now_ns) {
  if (now_ns < next_progress_ns_) return;
  next_progress_ns_ += options_.progress_ns;
  if (next_progress_ns_ <= now_ns) next_progress_ns_ = now_ns + options_.progress_ns;
  LoadProgress line;
  line.elapsed_ns = now_ns;
  for (const LoadPart& part : ledger_.parts()) {
    if (part.begin_ns <= now_ns) line.stage = part.name;
  }
  line.clients = clients_;
  line.accounts = ledger_.total_accounts();
  std::tie(line.latency_intended, line.own_lateness) = ledger_.take_recent();
  if (progress) progress(line);
}

Result<LoadResult> Engine::run(Workload& workload, const std::atomic<bool>& stop,
                               const LoadProgressSink& progress) {
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return os_error("epoll_create1");
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return os_error("timerfd_create");
  if (watch(timer_.get(), EPOLLIN | EPOLLET, kTimerToken) != 0) return os_error("epoll_ctl");
  TOPSPIN_TRY(workload.prepare(*this));

  const KernelCounters counters_before = read_kernel_counters();
  const auto host_before = read_host_cpu_time();
  const int64_t cpu_before = thread_cpu_now_ns();
  const ClockAnchor anchor = take_clock_anchor();
  start_ns_ = anchor.monotonic_ns;
  next_progress_ns_ = options_.progress_ns;

  std::optional<int64_t> stopped_ns;
  while (true) {
    int64_t now = now_ns();
    if (!stopped_ns && stop.load(std::memory_order_relaxed)) {
      while (const auto event = timetable_.pop(now)) {
        handle(*event, workload, now);
      }
      workload.flush();
      timetable_.stop(now);
      stopped_ns = now;
      until_ns_ = now + 1;
    }
    bool more_is_due = true;
    for (int i = 0; i < kEventsPerRound; ++i) {
      const auto event = timetable_.pop(now);
      if (!event) {
        more_is_due = false;
        break;
      }
      handle(*event, workload, now);
    }
    workload.flush();
    now = now_ns();
    ledger_.expire(now, [&](uint32_t stay, uint64_t number) { workload.overdue(stay, number); });
    report_progress(progress, now);
    if (open_stays_ == 0 && !timetable_.next_ns()) break;
    wait(workload, more_is_due);
  }

  LoadResult result;
  result.workload = options_.workload;
  result.target = target_.described();
  result.started_wall_ns = anchor.wall_ns;
  result.started_monotonic_ns = anchor.monotonic_ns;
  result.stopped_early = stopped_ns.has_value();
  result.closed_loop = options_.closed_loop;
  result.clients_max = clients_max_;
  result.clients_joined = clients_joined_;
  result.own.wall_ns = now_ns();
  result.own.cpu_ns = thread_cpu_now_ns() - cpu_before;
  if (const auto host = read_host_cpu_time(); host && host_before) {
    result.own.host_busy_ns = host->busy_ns - host_before->busy_ns;
    result.own.host_steal_ns = host->steal_ns - host_before->steal_ns;
  }
  result.own.cpus = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
  result.own.rss_bytes = own_rss_bytes();
  result.own.descriptors_max = descriptors_max_;
  result.own.sockets_opened = sockets_opened_;
  for (const auto& [number, count] : errors_) {
    const char* name = strerrorname_np(number);
    result.errors[name != nullptr ? name : fmt::format("errno {}", number)] += count;
  }
  if (target_.is_loopback) {
    result.kernel = counters_between(counters_before, read_kernel_counters());
  }

  // A stopped load is judged by what was due until then.
  const int64_t until_ns = until_ns_.value_or(schedule_.end_ns);
  if (rhythm_.period_ns > 0) {
    result.planned = count_planned(schedule_, rhythm_, until_ns);
  } else {
    result.planned = static_cast<uint64_t>(
        std::count_if(schedule_.stays.begin(), schedule_.stays.end(),
                      [&](const ClientStay& client) { return client.join_ns < until_ns; }));
  }
  result.stages = ledger_.parts();
  if (stopped_ns) {
    std::erase_if(result.stages, [&](const LoadPart& part) { return part.begin_ns > *stopped_ns; });
    result.stages.back().end_ns = std::min(result.stages.back().end_ns, *stopped_ns);
  }
  result.total.name = "total";
  result.total.end_ns = stopped_ns.value_or(schedule_.end_ns);
  for (const LoadPart& part : result.stages) result.total.merge(part);
  workload.report(result);
  result.invalid_reasons = judge_load(result);
  if (!result.invalid_reasons.empty() && !target_.why_unreachable.empty()) {
    result.invalid_reasons.push_back(fmt::format("none of the addresses of {} can be reached: {}",
                                                 target_.parts.host, target_.why_unreachable));
  }
  return result;
}

Result<LoadResult> run_clients(Workload& workload, const LoadOptions& options, const Target& target,
                               const EngineSettings& settings, const std::atomic<bool>& stop,
                               const LoadProgressSink& progress) {
  TOPSPIN_ASSIGN(Schedule schedule, make_schedule(options.stages));
  LedgerSettings ledger;
  ledger.timeout_ns = options.timeout_ns;
  ledger.late_after_ns = options.late_after_ns;
  ledger.closed_loop = settings.waits_for_ever;
  ledger.late_window_ns = settings.late_window_ns;
  Rhythm rhythm;
  if (!settings.due_once)
    rhythm = {options.period_ns, options.grid_ns.value_or(options.period_ns / 1000)};
  Engine engine(options, std::move(schedule), target, rhythm, ledger);
  return engine.run(workload, stop, progress);
}

}  // namespace topspin
