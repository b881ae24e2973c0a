#include "load/engine/engine.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/base/result.h"
#include "core/tick/host_usage.h"
#include "load/engine/kernel_counters.h"
#include "load/engine/validity.h"

namespace topspin {
namespace {

constexpr int64_t kStopPollNs = 100 * kNanosPerMilli;
constexpr int64_t kHorizonPollNs = 5 * kNanosPerMilli;  // while events wait for it
// Replies are read after at most this many sends, so that they do not wait for a burst to end.
constexpr int kEventsPerRound = 64;
constexpr size_t kReadyPerRound = 256;

}  // namespace

Engine::Engine(const LoadOptions& options, Schedule schedule, Target target, const Rhythm& rhythm,
               const LedgerSettings& ledger_settings)
    : options_(options),
      feed_(options.feed),
      schedule_(std::move(schedule)),
      target_(std::move(target)),
      rhythm_(rhythm),
      limits_(share_of(read_host_limits(), options.share_count)),
      timetable_(schedule_, rhythm, options.closed_loop),
      ledger_(schedule_, ledger_settings) {}

int Engine::watch(int fd, uint32_t events, uint64_t token) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

void Engine::watch_again(int fd, uint32_t events, uint64_t token) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0);
}

int64_t Engine::leave_ns(uint32_t stay) const {
  return std::min(schedule_.stays[stay].leave_ns, until_ns_.value_or(schedule_.end_ns));
}

uint32_t Engine::clients_most() const {
  return feed_ == nullptr ? schedule_.clients_max
                          : std::min(feed_->clients_expected(), schedule_.clients_max);
}

uint64_t Engine::due_most() const {
  if (feed_ == nullptr) return count_planned(schedule_, rhythm_, schedule_.end_ns);
  return clients_most() * static_cast<uint64_t>(schedule_.end_ns / rhythm_.period_ns + 1);
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
        if (event.time_ns >= held_ns_ && event.time_ns < released_ns_) ++store_away_;
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
      wake_ns = std::min(wake_ns, std::max(*next, *next < horizon_ns_ ? 0 : now + kHorizonPollNs));
    }
    if (const auto expiry = ledger_.next_expiry_ns()) wake_ns = std::min(wake_ns, *expiry);
    if (wake_ns > now) {
      // A timer that is set for an earlier moment stays: setting it for each reply that is awaited
      // took a sixth of a busy generator's time.
      if (armed_ns_ < 0 || wake_ns < armed_ns_) {
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

void Engine::report_progress(Workload& workload, const LoadProgressSink& progress, int64_t now_ns) {
  if (now_ns < next_progress_ns_) return;
  next_progress_ns_ += options_.progress_ns;
  if (next_progress_ns_ <= now_ns) next_progress_ns_ = now_ns + options_.progress_ns;
  if (feed_ != nullptr) {
    // At whole seconds of the load, as all workers.
    next_progress_ns_ = (now_ns / options_.progress_ns + 1) * options_.progress_ns;
    report_share(workload, now_ns, {});
    return;
  }
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

void Engine::take_changes(Workload& workload) {
  if (feed_ == nullptr) return;
  // The horizon first: what changes before it can then be taken.
  const int64_t horizon_ns = feed_->horizon_ns();
  while (auto change = feed_->take_change()) {
    for (const StayCut& cut : change->cuts) {
      schedule_.stays[cut.stay].leave_ns = cut.leave_ns;
      timetable_.stay_cut(cut.stay);
    }
    if (change->stays.empty()) continue;
    const size_t first = schedule_.stays.size();
    schedule_.stays.insert(schedule_.stays.end(), change->stays.begin(), change->stays.end());
    ledger_.add_clients(change->stays.size());
    workload.stays_added();
    timetable_.stays_added(first);
  }
  const int64_t now = now_ns();
  const auto next = timetable_.next_ns();
  const bool waits = next && *next <= now && *next >= horizon_ns_;
  if (waits && !is_held_) held_ns_ = horizon_ns_;
  if (is_held_ || waits) released_ns_ = now;
  is_held_ = waits && horizon_ns <= *next;
  horizon_ns_ = horizon_ns;
}

void Engine::fill_costs(LoadResult& result) const {
  result.own.wall_ns = now_ns() - std::max<int64_t>(0, began_ns_);
  result.own.cpu_ns = thread_cpu_now_ns() - cpu_before_ns_;
  if (const auto host = read_host_cpu_time(); host && host_before_) {
    result.own.host_busy_ns = host->busy_ns - host_before_->busy_ns;
    result.own.host_steal_ns = host->steal_ns - host_before_->steal_ns;
  }
  result.own.cpus = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
  result.own.rss_bytes = own_rss_bytes();
  result.own.descriptors_max = descriptors_max_;
  result.own.sockets_opened = sockets_opened_;
  for (const auto& [number, count] : errors_) {
    const char* name = strerrorname_np(number);
    result.errors[name != nullptr ? name : fmt::format("errno {}", number)] += count;
  }
}

void Engine::report_share(Workload& workload, int64_t now_ns, LoadReport report) {
  report.until_ns = std::min({now_ns, horizon_ns_, timetable_.next_ns().value_or(now_ns)});
  report.clients = clients_;
  report.stages = ledger_.take_parts();
  LoadResult now;
  fill_costs(now);
  workload.report(now);
  report.tcp = now.tcp;
  report.http = std::move(now.http);
  report.tls = std::move(now.tls);
  report.connect_latency = std::move(now.connect_latency);
  report.bytes_received = now.bytes_received;
  report.port_unreachable = now.port_unreachable;
  report.errors = std::move(now.errors);
  report.own = now.own;
  report.store_away = store_away_;
  feed_->report(std::move(report));
}

bool Engine::is_over() const {
  if (open_stays_ > 0 || timetable_.next_ns()) return false;
  return feed_ == nullptr || until_ns_ || reach_ns(now_ns()) >= feed_->end_ns();
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
  host_before_ = read_host_cpu_time();
  cpu_before_ns_ = thread_cpu_now_ns();
  const ClockAnchor anchor = take_clock_anchor();
  start_ns_ = feed_ == nullptr ? anchor.monotonic_ns : feed_->start_monotonic_ns();
  began_ns_ = anchor.monotonic_ns - start_ns_;
  const int64_t begun_seconds = std::max<int64_t>(0, began_ns_) / options_.progress_ns;
  next_progress_ns_ = (begun_seconds + 1) * options_.progress_ns;

  std::optional<int64_t> stopped_ns;
  while (true) {
    take_changes(workload);
    int64_t now = now_ns();
    if (!stopped_ns && stop.load(std::memory_order_relaxed)) {
      while (const auto event = timetable_.pop(reach_ns(now))) {
        handle(*event, workload, now);
      }
      workload.flush();
      timetable_.stop(now);
      stopped_ns = now;
      until_ns_ = now + 1;
    }
    bool more_is_due = true;
    for (int i = 0; i < kEventsPerRound; ++i) {
      const auto event = timetable_.pop(reach_ns(now));
      if (!event) {
        more_is_due = false;
        break;
      }
      handle(*event, workload, now);
    }
    workload.flush();
    now = now_ns();
    ledger_.expire(now, [&](uint32_t stay, uint64_t number) { workload.overdue(stay, number); });
    report_progress(workload, progress, now);
    if (is_over()) break;
    wait(workload, more_is_due);
  }

  LoadResult result;
  result.workload = options_.workload;
  result.target = target_.described();
  result.started_wall_ns = anchor.to_wall(start_ns_);
  result.started_monotonic_ns = start_ns_;
  result.stopped_early = stopped_ns.has_value();
  result.closed_loop = options_.closed_loop;
  result.clients_max = clients_max_;
  result.clients_joined = clients_joined_;
  fill_costs(result);
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
  result.stages = ledger_.whole_parts();
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
  if (feed_ != nullptr) {
    LoadReport last;
    last.is_last = true;
    last.planned = result.planned;
    last.invalid_reasons = result.invalid_reasons;
    report_share(workload, now_ns(), std::move(last));
  }
  return result;
}

Result<LoadResult> run_clients(Workload& workload, const LoadOptions& options, const Target& target,
                               const EngineSettings& settings, const std::atomic<bool>& stop,
                               const LoadProgressSink& progress) {
  TOPSPIN_ASSIGN(Schedule schedule, make_schedule(options.stages));
  if (options.feed != nullptr) schedule.stays = {};  // they come from there
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
