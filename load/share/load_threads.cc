#include "load/share/load_threads.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include "core/base/check.h"
#include "core/tick/host_usage.h"
#include "load/engine/kernel_counters.h"
#include "load/engine/schedule_feed.h"
#include "load/share/job_result.h"
#include "load/share/worker_share.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

// A thread claims so much time at once. When the load is stopped, it ends where the claims end.
constexpr int64_t kThreadClaimNs = 50 * kNanosPerMilli;
constexpr int64_t kStartAfterNs = kNanosPerMilli;  // when all are ready
constexpr auto kMainTurn = std::chrono::milliseconds(10);
constexpr int64_t kProgressAfterNs = 50 * kNanosPerMilli;  // until all have reported a second

/// The moment at which all threads begin: when the last one is ready.
class CommonStart {
 public:
  explicit CommonStart(uint32_t threads) : missing_(threads) {}

  int64_t wait() {
    std::unique_lock lock(mutex_);
    if (--missing_ == 0) {
      start_ns_ = monotonic_now_ns() + kStartAfterNs;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return start_ns_ != 0; });
    return start_ns_;
  }
  /// A thread cannot take part, so nobody waits for it any more. Once all have begun, this changes
  /// nothing.
  void give_up() {
    const std::lock_guard lock(mutex_);
    if (start_ns_ != 0) return;
    is_given_up_.store(true);
    start_ns_ = monotonic_now_ns();
    changed_.notify_all();
  }
  bool is_given_up() const { return is_given_up_.load(std::memory_order_relaxed); }
  /// 0: not yet.
  int64_t start_ns() const {
    const std::lock_guard lock(mutex_);
    return start_ns_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint32_t missing_;
  int64_t start_ns_ = 0;
  std::atomic<bool> is_given_up_{false};
};

/// One thread's share. The engine's thread calls what ScheduleFeed declares, the main thread the
/// rest.
class ThreadShare : public QueuedFeed {
 public:
  ThreadShare(CommonStart& start, ScheduleChange clients, int64_t end_ns)
      : start_(start),
        clients_expected_(static_cast<uint32_t>(clients.stays.size())),
        end_ns_(end_ns) {
    change(std::move(clients));
  }

  int64_t start_monotonic_ns() const override {
    const int64_t start_ns = start_.wait();
    started_ns_.store(start_ns);
    return start_ns;
  }
  uint32_t clients_expected() const override { return clients_expected_; }
  /// Claims the near future. What is claimed is done, so a load that is stopped ends after it.
  int64_t horizon_ns() const override {
    const int64_t now = monotonic_now_ns() - started_ns_.load();
    if (horizon_ns_.load() > now + kThreadClaimNs / 2) return horizon_ns_.load();
    const std::lock_guard lock(freezing_);
    if (!is_frozen_) horizon_ns_.store(now + kThreadClaimNs);
    return horizon_ns_.load();
  }
  int64_t end_ns() const override { return start_.is_given_up() ? INT64_MIN : end_ns_.load(); }
  std::optional<ScheduleChange> take_change() override {
    return start_.is_given_up() ? std::nullopt : QueuedFeed::take_change();
  }

  /// Nothing more is claimed. Returns what was.
  int64_t freeze() {
    const std::lock_guard lock(freezing_);
    is_frozen_ = true;
    return horizon_ns_.load();
  }
  /// REQUIRES: frozen, and claimed no more than `end_ns`.
  void end_at(int64_t end_ns, ScheduleChange last) {
    change(std::move(last));
    end_ns_.store(end_ns);
    horizon_ns_.store(INT64_MAX / 2);
  }

 private:
  CommonStart& start_;
  const uint32_t clients_expected_;
  mutable std::atomic<int64_t> started_ns_{0};
  mutable std::atomic<int64_t> horizon_ns_{INT64_MIN / 2};
  std::atomic<int64_t> end_ns_;
  mutable std::mutex freezing_;
  bool is_frozen_ = false;
};

class LoadThreads {
 public:
  LoadThreads(const LoadOptions& options, const Target& target, uint32_t count, Schedule schedule)
      : options_(options), target_(target), schedule_(std::move(schedule)), start_(count) {
    JobEpoch epoch;
    for (uint32_t i = 0; i < count; ++i) epoch.members.push_back(std::to_string(i + 1));
    for (const std::string& id : epoch.members) {
      WorkerShare& clients = clients_.emplace_back(schedule_, id);
      shares_.emplace_back(start_, clients.apply(epoch), schedule_.end_ns);
      JobWorker& part = parts_.emplace_back();
      part.about.id = id;
    }
    epochs_.push_back(std::move(epoch));
  }

  Result<LoadResult> run(const std::atomic<bool>& stop, const LoadProgressSink& progress) {
    const KernelCounters counters_before = read_kernel_counters();
    const auto host_before = read_host_cpu_time();
    const ClockAnchor anchor = take_clock_anchor();
    begin();
    while (over_.load() < shares_.size()) {
      {
        std::unique_lock lock(mutex_);
        one_is_over_.wait_for(lock, kMainTurn);
      }
      if (stop.load(std::memory_order_relaxed) && epochs_.size() == 1 && start_.start_ns() != 0)
        end_all();
      take_reports();
      show(progress);
    }
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    take_reports();
    for (const std::optional<Error>& failure : failures_) {
      if (failure) return *failure;
    }
    LoadResult result = join_job(options_, schedule_, epochs_, std::move(parts_));
    result.are_threads = true;
    result.target = target_.described();
    result.started_monotonic_ns = start_.start_ns();
    result.started_wall_ns = anchor.to_wall(start_.start_ns());
    if (target_.is_loopback)
      result.kernel = counters_between(counters_before, read_kernel_counters());
    if (const auto host = read_host_cpu_time(); host && host_before) {
      result.own.host_busy_ns = host->busy_ns - host_before->busy_ns;
      result.own.host_steal_ns = host->steal_ns - host_before->steal_ns;
    }
    result.own.cpus = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
    result.own.rss_bytes = own_rss_bytes();  // of the process, which each thread has seen
    if (!result.invalid_reasons.empty() && !target_.why_unreachable.empty()) {
      result.invalid_reasons.push_back(fmt::format("none of the addresses of {} can be reached: {}",
                                                   target_.parts.host, target_.why_unreachable));
    }
    return result;
  }

  ~LoadThreads() { CHECK(threads_.empty()); }
  LoadThreads(const LoadThreads&) = delete;
  LoadThreads& operator=(const LoadThreads&) = delete;

 private:
  void begin() {
    failures_.resize(shares_.size());
    for (size_t i = 0; i < shares_.size(); ++i) {
      threads_.emplace_back([this, i] {
        pthread_setname_np(pthread_self(), fmt::format("topspin-load-{}", i + 1).c_str());
        LoadOptions options = options_;
        options.feed = &shares_[i];
        options.share = static_cast<uint32_t>(i);
        options.share_count = static_cast<uint32_t>(shares_.size());
        const auto result = workload_type(options.workload).run(options, target_, never_, {});
        if (!result.ok()) {
          failures_[i] = result.error();
          start_.give_up();
        }
        over_.fetch_add(1);
        one_is_over_.notify_one();
      });
    }
  }

  /// The load was stopped: all threads end at the same moment, which none of them has passed.
  void end_all() {
    int64_t end_ns = 0;
    for (ThreadShare& share : shares_) end_ns = std::max(end_ns, share.freeze());
    if (end_ns >= schedule_.end_ns) {  // it ends by itself
      for (ThreadShare& share : shares_) share.end_at(schedule_.end_ns, {});
      epochs_.push_back({1, schedule_.end_ns, true, {}});
      return;
    }
    const JobEpoch last{1, end_ns, true, {}};
    for (size_t i = 0; i < shares_.size(); ++i) shares_[i].end_at(end_ns, clients_[i].apply(last));
    epochs_.push_back(last);
  }

  void take_reports() {
    for (size_t i = 0; i < shares_.size(); ++i) {
      auto report = shares_[i].take_report();
      if (!report) continue;
      for (const auto& [position, part] : report->stages) {
        total_.merge(part.accounts);
        recent_latency_.merge(part.latency_intended);
        recent_lateness_.merge(part.own_lateness);
      }
      parts_[i].report.merge(std::move(*report));
    }
  }

  void show(const LoadProgressSink& progress) {
    if (start_.start_ns() == 0 || !progress) return;
    const int64_t now = monotonic_now_ns() - start_.start_ns();
    if (now < shown_ns_ + options_.progress_ns + kProgressAfterNs) return;
    shown_ns_ = now / options_.progress_ns * options_.progress_ns;
    LoadProgress line;
    line.elapsed_ns = shown_ns_;
    for (size_t s = 0; s < schedule_.stages.size(); ++s) {
      if (schedule_.stage_begin_ns[s] <= shown_ns_) line.stage = schedule_.stages[s].name;
    }
    for (const JobWorker& part : parts_) line.clients += part.report.clients;
    line.accounts = total_;
    line.latency_intended = std::exchange(recent_latency_, {});
    line.own_lateness = std::exchange(recent_lateness_, {});
    progress(line);
  }

  const LoadOptions& options_;
  const Target& target_;
  const Schedule schedule_;
  CommonStart start_;
  std::deque<WorkerShare> clients_;
  std::deque<ThreadShare> shares_;
  std::vector<JobWorker> parts_;
  std::vector<JobEpoch> epochs_;
  std::atomic<bool> never_{false};
  std::vector<std::thread> threads_;
  std::vector<std::optional<Error>> failures_;  // each is its thread's until that is over
  std::atomic<size_t> over_{0};
  std::mutex mutex_;
  std::condition_variable one_is_over_;
  int64_t shown_ns_ = 0;
  LoadAccounts total_;
  Histogram recent_latency_, recent_lateness_;
};

}  // namespace

uint32_t threads_for(const LoadOptions& options, bool is_local, int64_t cpus) {
  const WorkloadType& type = workload_type(options.workload);
  // In a closed loop the server decides on the rate.
  if (!type.can_be_shared || options.closed_loop) return 1;
  uint32_t clients = 1;
  for (const LoadStage& stage : options.stages) clients = std::max({clients, stage.from, stage.to});
  const double rate = static_cast<double>(clients) * 1e9 / static_cast<double>(options.period_ns);
  const double needed = std::ceil(rate / type.per_thread_s);
  const int64_t most = std::max<int64_t>(1, is_local ? cpus / 2 : cpus);
  return static_cast<uint32_t>(
      std::clamp(needed, 1.0, static_cast<double>(std::min<int64_t>(most, kMaxLoadThreads))));
}

Result<LoadResult> run_in_threads(const LoadOptions& options, const Target& target,
                                  uint32_t threads, const std::atomic<bool>& stop,
                                  const LoadProgressSink& progress) {
  CHECK(threads > 1 && workload_type(options.workload).can_be_shared);
  TOPSPIN_ASSIGN(Schedule schedule, make_schedule(options.stages));
  LoadThreads load(options, target, threads, std::move(schedule));
  return load.run(stop, progress);
}

}  // namespace topspin
