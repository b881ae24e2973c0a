#include "app/workers/worker.h"

#include <array>
#include <cstdlib>
#include <random>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/version.h"
#include "app/workers/shared_schedule.h"
#include "app/workers/store_clock.h"
#include "load/load.h"
#include "load/share/job_epochs.h"
#include "load/share/job_result.h"
#include "load/share/job_text.h"
#include "load/share/worker_share.h"
#include "store/worker_store.h"

namespace topspin {
namespace {

constexpr auto kTurn = std::chrono::milliseconds(50);
constexpr int64_t kHeartbeatNs = kNanosPerSecond;
constexpr int64_t kTryAgainNs = kNanosPerSecond;  // to reach the store
constexpr size_t kMostAddresses = 16;

/// Addresses of this host that others may know it by.
std::string own_addresses() {
  std::string text;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return text;
  size_t count = 0;
  for (const ifaddrs* one = all; one != nullptr && count < kMostAddresses; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    std::array<char, INET6_ADDRSTRLEN> name{};
    if (one->ifa_addr->sa_family == AF_INET) {
      const auto& v4 = reinterpret_cast<const sockaddr_in&>(*one->ifa_addr);
      if (ntohl(v4.sin_addr.s_addr) >> 24 == 127) continue;
      inet_ntop(AF_INET, &v4.sin_addr, name.data(), name.size());
    } else if (one->ifa_addr->sa_family == AF_INET6) {
      const auto& v6 = reinterpret_cast<const sockaddr_in6&>(*one->ifa_addr);
      if (IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) || IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) continue;
      inet_ntop(AF_INET6, &v6.sin6_addr, name.data(), name.size());
    } else {
      continue;
    }
    text += fmt::format("{}{}", text.empty() ? "" : " ", name.data());
    ++count;
  }
  ::freeifaddrs(all);
  return text;
}

WorkerCard make_card(const WorkerOptions& options) {
  WorkerCard card;
  card.id = new_worker_id();
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0) card.host = host.data();
  card.labels = options.labels;
  card.addresses = own_addresses();
  card.allowed = options.allowed_text;
  card.version = kVersion;
  card.cores = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    card.descriptors = static_cast<int64_t>(std::min<rlim_t>(limit.rlim_max, INT64_MAX));
  return card;
}

/// The engine's side of a load: its own thread.
class ShareRun {
 public:
  ShareRun(LoadOptions options, int64_t start_monotonic_ns, uint32_t clients_expected,
           int64_t end_ns)
      : feed_(start_monotonic_ns, clients_expected, end_ns), options_(std::move(options)) {
    options_.feed = &feed_;
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "topspin-load");
      const auto result = run_load(options_, stop_, {});
      if (!result.ok()) failure_ = result.error().message;
      is_over_.store(true, std::memory_order_release);
    });
  }
  ShareRun(const ShareRun&) = delete;
  ShareRun& operator=(const ShareRun&) = delete;
  ~ShareRun() {
    stop_.store(true);
    thread_.join();
  }

  SharedSchedule& feed() { return feed_; }
  bool is_over() const { return is_over_.load(std::memory_order_acquire); }
  void stop() { stop_.store(true); }
  /// REQUIRES: is_over().
  const std::string& failure() const { return failure_; }

 private:
  SharedSchedule feed_;
  LoadOptions options_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> is_over_{false};
  std::string failure_;
  std::thread thread_;
};

/// A worker's life; its own thread is the one that talks to the store.
class Worker {
 public:
  Worker(const WorkerOptions& options, const std::atomic<bool>& stop,
         const std::function<void(const std::string&)>& tell)
      : options_(options),
        stop_(stop),
        tell_(tell),
        card_(make_card(options)),
        clock_(options.clock_skew_ns) {}

  Status open() {
    TOPSPIN_ASSIGN(store_, WorkerStore::open(options_.address));
    TOPSPIN_TRY(clock_.measure(*store_));
    card_.clock_offset_ns = clock_.offset_ns();
    card_.clock_error_ns = clock_.error_ns();
    TOPSPIN_TRY(store_->register_worker(card_));
    tell_(fmt::format("worker {} waits for loads of {}", card_.id, store_->name()));
    return {};
  }

  void live() {
    int64_t next_ns = 0;
    while (!stop_.load()) {
      const int64_t now = monotonic_now_ns();
      if (now >= next_ns) {
        next_ns = now + kHeartbeatNs;
        do_with_store([&]() -> Status {
          TOPSPIN_ASSIGN(const bool is_known, store_->heartbeat(card_.id));
          if (!is_known) TOPSPIN_TRY(store_->register_worker(card_));
          TOPSPIN_ASSIGN(const auto invitation, store_->invitation(card_.id));
          if (!invitation) return {};
          work(invitation->first, invitation->second);
          next_ns = 0;
          return {};
        });
      }
      std::this_thread::sleep_for(kTurn);
    }
    do_with_store([&] { return store_->remove_worker(card_.id); });
  }

 private:
  /// Runs `attempt`. After an error of the store it connects again, at most once a second. False:
  /// it failed.
  template <typename Attempt>
  bool do_with_store(Attempt attempt) {
    if (is_away_) {
      if (monotonic_now_ns() < try_again_ns_) return false;
      try_again_ns_ = monotonic_now_ns() + kTryAgainNs;
      if (const Status back = store_->connect_again(); !back.ok()) return false;
      is_away_ = false;
      back_since_ns_ = monotonic_now_ns();
      tell_("the store is back");
    }
    const Status done = attempt();
    if (done.ok()) return true;
    tell_(done.error().message);
    is_away_ = true;
    try_again_ns_ = monotonic_now_ns() + kTryAgainNs;
    return false;
  }

  void work(const std::string& job, const std::string& bytes) {
    const auto prepared = [&]() -> Result<LoadOptions> {
      TOPSPIN_ASSIGN(const JobDescription description, decode_job(bytes));
      TOPSPIN_ASSIGN(LoadOptions options, job_options(description));
      options.allowed = options_.allowed;
      TOPSPIN_TRY(check_reach(options));
      return options;
    }();
    if (!prepared.ok()) {
      tell_(fmt::format("refused load {}: {}", job, prepared.error().message));
      do_with_store([&] {
        return store_->set_state(job, card_.id, MemberState::kFailed, prepared.error().message);
      });
      return;
    }
    const auto schedule = make_schedule(prepared->stages);
    if (!schedule.ok()) return;  // job_options() has made one
    if (!do_with_store([&]() -> Status {
          TOPSPIN_TRY(clock_.measure(*store_));
          return store_->set_state(job, card_.id, MemberState::kReady);
        }))
      return;
    tell_(fmt::format("takes part in load {}: {} to {}", job, workload_name(prepared->workload),
                      prepared->target));
    Share share(job, *prepared, *schedule, card_.id);
    while (take_part(share)) std::this_thread::sleep_for(kTurn);
    share.run.reset();
    tell_(share.is_orphan ? "is free again" : fmt::format("load {} is over for this worker", job));
  }

  /// What a worker knows of the load that it takes part in.
  struct Share {
    Share(std::string id, const LoadOptions& load, const Schedule& whole, const std::string& worker)
        : job(std::move(id)), options(load), schedule(whole), clients(whole, worker) {}
    std::string job;
    const LoadOptions& options;
    const Schedule& schedule;
    WorkerShare clients;
    std::unique_ptr<ShareRun> run;  // since the start is known
    int64_t start_monotonic_ns = 0;
    uint64_t epochs = 0;  // known
    int64_t last_from_ns = 0;
    int64_t next_claim_ns = 0;
    int64_t next_heartbeat_ns = 0;
    std::optional<ReportRow> in_doubt;  // sent, and perhaps stored
    int64_t last_second = -1;
    int64_t clock_offset_ns = 0;  // by which the start was computed
    int64_t clock_error_ns = 0;
    bool said_leaving = false;
    int64_t said_leaving_ns = 0;
    bool has_me = false;  // the last epoch
    bool is_orphan = false;
  };

  /// One turn. False: the worker's part is over.
  bool take_part(Share& share) {
    const int64_t now = monotonic_now_ns();
    if (stop_.load() && !share.said_leaving) {
      tell_("hands over its clients");
      share.said_leaving = do_with_store(
          [&] { return store_->set_state(share.job, card_.id, MemberState::kLeaving); });
      share.said_leaving_ns = now;
    }
    if (now >= share.next_claim_ns) {
      share.next_claim_ns = now + kClaimEveryNs;
      do_with_store([&] { return claim(share); });
      if (now >= share.next_heartbeat_ns) {
        share.next_heartbeat_ns = now + 10 * kHeartbeatNs;
        do_with_store([&]() -> Status {
          TOPSPIN_ASSIGN(const bool is_known, store_->heartbeat(card_.id));
          return is_known ? Status() : store_->register_worker(card_);
        });
      }
    }
    const bool engine_is_over = share.run && share.run->is_over();
    const bool all_said = flush(share);
    if (share.is_orphan) {
      if (share.run) share.run->stop();
      return share.run && !engine_is_over;
    }
    if (!share.run && share.said_leaving) {
      do_with_store([&] { return store_->set_state(share.job, card_.id, MemberState::kEnded); });
      return false;
    }
    if (!engine_is_over || !all_said) return true;
    const std::string& failure = share.run->failure();
    if (!failure.empty()) tell_(failure);
    return !do_with_store([&] {
      return store_->set_state(share.job, card_.id,
                               failure.empty() ? MemberState::kEnded : MemberState::kFailed,
                               failure);
    });
  }

  Status claim(Share& share) {
    const int64_t now_ns = monotonic_now_ns() - share.start_monotonic_ns;
    const int64_t until_ns = share.run ? std::max<int64_t>(0, now_ns + kClaimAheadNs) : 0;
    TOPSPIN_TRY(store_->claim(share.job, card_.id, until_ns));
    TOPSPIN_ASSIGN(const JobView view, store_->view(share.job, share.epochs));
    // After an absence of the store the coordinator has to find it again, too.
    const bool is_alone = view.coordinator_age_ns > kCoordinatorDeadNs &&
                          monotonic_now_ns() - back_since_ns_ > kCoordinatorDeadNs;
    if (view.is_over || is_alone) {
      if (!share.is_orphan)
        tell_(fmt::format("gives up load {}: nobody waits for it any more", share.job));
      share.is_orphan = true;
    }
    if (!view.start_ns) return {};
    if (!share.run) start(share, *view.start_ns, view);
    for (const EpochRow& row : view.epochs) {
      if (row.number < share.epochs) continue;
      const JobEpoch epoch{row.number, row.from_ns, row.is_last, row.members};
      ScheduleChange change = share.clients.apply(epoch);
      const bool breaks_claim =
          !change.cuts.empty() && row.from_ns < share.run->feed().horizon_ns();
      if (row.number != share.epochs || row.from_ns < share.last_from_ns || breaks_claim) {
        tell_("gives up the load: the store's epochs contradict what this worker has claimed");
        share.is_orphan = true;
        return {};
      }
      share.run->feed().change(std::move(change));
      share.epochs = row.number + 1;
      share.last_from_ns = row.from_ns;
      share.has_me =
          std::find(row.members.begin(), row.members.end(), card_.id) != row.members.end();
      if (row.is_last || (share.said_leaving && !share.has_me)) {
        share.run->feed().end_at(std::min(row.from_ns, share.schedule.end_ns));
        // Nothing can change before its end any more.
        if (row.is_last) share.run->feed().extend_to(INT64_MAX / 2);
      }
    }
    share.run->feed().extend_to(until_ns);
    // One that is in no epoch when it wants to leave will not be in a later one.
    if (share.said_leaving && !share.has_me &&
        monotonic_now_ns() > share.said_leaving_ns + kDeadAfterNs)
      share.run->feed().end_at(std::min(share.run->feed().end_ns(), until_ns - kClaimAheadNs));
    return {};
  }

  void start(Share& share, int64_t start_ns, const JobView& view) {
    share.start_monotonic_ns = clock_.to_monotonic(start_ns);
    share.clock_offset_ns = clock_.offset_ns();
    share.clock_error_ns = clock_.error_ns();
    const size_t members = view.epochs.empty() ? 1 : view.epochs.back().members.size();
    const auto clients = share.schedule.clients_max / std::max<size_t>(1, members) + 1;
    share.run = std::make_unique<ShareRun>(share.options, share.start_monotonic_ns,
                                           static_cast<uint32_t>(clients), share.schedule.end_ns);
  }

  /// Stores what the engine reported. True: there is nothing left.
  bool flush(Share& share) {
    if (!share.run) return true;
    if (!share.in_doubt) {
      auto report = share.run->feed().take_report();
      if (!report) return true;
      report->clock_offset_ns = share.clock_offset_ns;
      report->clock_error_ns = share.clock_error_ns;
      // How far the clocks went apart meanwhile is a part of the error.
      if (report->is_last && do_with_store([&] { return clock_.measure(*store_); })) {
        report->clock_error_ns =
            clock_.error_ns() + std::abs(clock_.offset_ns() - share.clock_offset_ns);
      }
      // The row of the second that has just ended; a later one if that has a row.
      const int64_t second = (report->until_ns + kNanosPerSecond / 2) / kNanosPerSecond - 1;
      share.last_second = std::max(share.last_second + 1, second);
      share.in_doubt = ReportRow{card_.id, share.last_second, encode_report(*report)};
    }
    if (do_with_store([&] { return store_->put_report(share.job, *share.in_doubt); }))
      share.in_doubt.reset();
    return false;
  }

  const WorkerOptions& options_;
  const std::atomic<bool>& stop_;
  const std::function<void(const std::string&)>& tell_;
  WorkerCard card_;
  StoreClock clock_;
  std::unique_ptr<WorkerStore> store_;
  bool is_away_ = false;
  int64_t try_again_ns_ = 0;
  int64_t back_since_ns_ = INT64_MIN / 2;
};

}  // namespace

std::string new_worker_id() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

Status run_worker(const WorkerOptions& options, const std::atomic<bool>& stop,
                  const std::function<void(const std::string&)>& tell) {
  Worker worker(options, stop, tell);
  TOPSPIN_TRY(worker.open());
  worker.live();
  return {};
}

}  // namespace topspin
