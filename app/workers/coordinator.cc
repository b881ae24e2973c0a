#include "app/workers/coordinator.h"

#include <algorithm>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "app/workers/store_clock.h"
#include "app/workers/worker.h"
#include "core/base/text.h"
#include "load/share/job_epochs.h"
#include "load/share/job_result.h"
#include "store/worker_store.h"

namespace topspin {
namespace {

constexpr auto kCoordinatorTurn = std::chrono::milliseconds(250);
constexpr int64_t kKeepNs = 3600 * kNanosPerSecond;  // rows of a load that ended
constexpr int64_t kAliveNs =
    3 * kNanosPerSecond;  // a worker that is invited; it says so each second
constexpr int64_t kBeginInNs = 2 * kNanosPerSecond;      // until all know when it begins
constexpr int64_t kWaitForMoreNs = 3 * kNanosPerSecond;  // for workers that were invited
constexpr int64_t kShowAfterNs = 3 * kNanosPerSecond;    // a second whose reports are not all there
constexpr int64_t kPatienceNs = 60 * kNanosPerSecond;    // with a store that is away
constexpr int64_t kSilentNs = 10 * kNanosPerSecond;      // then no last report is awaited
constexpr int64_t kLastReportsNs = 15 * kNanosPerSecond;  // for last reports

JobEpoch epoch_of_row(const EpochRow& row) {
  return {row.number, row.from_ns, row.is_last, row.members};
}
EpochRow row_of(const JobEpoch& epoch) {
  return {epoch.number, epoch.from_ns, epoch.is_last, epoch.members};
}

class Coordinator {
 public:
  Coordinator(const SharedLoadOptions& shared, const LoadOptions& options, Schedule schedule,
              const std::atomic<bool>& stop, const SharedLoadView& view)
      : shared_(shared),
        options_(options),
        schedule_(std::move(schedule)),
        stop_(stop),
        view_(view),
        clock_(0),
        job_(new_worker_id()) {}

  Result<LoadResult> run(const JobDescription& description) {
    TOPSPIN_ASSIGN(store_, WorkerStore::open(shared_.address));
    TOPSPIN_TRY(store_->remove_old(kKeepNs));
    TOPSPIN_TRY(store_->create_job(job_, encode_job(description)));
    const Status done = [&]() -> Status {
      TOPSPIN_TRY(gather());
      TOPSPIN_TRY(begin());
      return conduct();
    }();
    (void)store_->end_job(job_);
    TOPSPIN_TRY(done);
    return result();
  }

 private:
  struct Seen {  // of a worker
    MemberRow row;
    WorkerCard card;
    LoadReport sum;
    int64_t last_second = -1;
    uint32_t clients = 0;
  };
  struct Second {
    Histogram latency;
    Histogram lateness;
    std::map<std::string, LoadReport> of_workers;  // only if they are shown
  };

  Status gather() {
    int64_t enough_since_ns = 0, next_sign_ns = 0;
    size_t told = SIZE_MAX;
    const int64_t began_ns = monotonic_now_ns();
    while (true) {
      if (stop_.load()) return make_error(ErrorCode::kUsage, "stopped before the load began");
      const int64_t now = monotonic_now_ns();
      if (shared_.ready_within_ns > 0 && now - began_ns > shared_.ready_within_ns) {
        return make_error(
            ErrorCode::kUsage,
            fmt::format(
                "only {} of at least {} workers came within {}; {}", told, shared_.at_least,
                format_duration(shared_.ready_within_ns),
                refusals_.empty()
                    ? fmt::format("start them with `topspin worker --join {}`", store_->name())
                    : fmt::format("{} took no part, such as {}", refusals_.size(),
                                  refusals_.begin()->second)));
      }
      if (now >= next_sign_ns) {
        next_sign_ns = now + kNanosPerSecond;
        TOPSPIN_TRY(store_->coordinator_alive(job_));
      }
      TOPSPIN_TRY(store_->invite(job_, shared_.where, kAliveNs));
      TOPSPIN_TRY(read_members());
      size_t ready = 0, invited = 0;
      for (const auto& [id, seen] : workers_) {
        if (seen.row.heartbeat_age_ns >= kDeadAfterNs) continue;
        ready += seen.row.state == MemberState::kReady;
        invited += seen.row.state == MemberState::kInvited;
      }
      tell_refusals();
      if (ready != told) {
        tell(fmt::format("{} of at least {} workers {} ready", ready, shared_.at_least,
                         ready == 1 ? "is" : "are"));
        told = ready;
      }
      if (ready < shared_.at_least)
        enough_since_ns = 0;
      else if (enough_since_ns == 0)
        enough_since_ns = now;
      // Those that were invited say within a second whether they come.
      if (enough_since_ns != 0 && (invited == 0 || now - enough_since_ns > kWaitForMoreNs))
        return {};
      std::this_thread::sleep_for(kCoordinatorTurn);
    }
  }

  /// What workers say that were invited and cannot, or may not, send this load.
  void tell_refusals() {
    for (const auto& [id, seen] : workers_) {
      if (seen.row.state != MemberState::kFailed || refusals_.contains(id)) continue;
      refusals_.emplace(id, fmt::format("{}: {}", named(id), seen.row.why));
      tell("a worker takes no part: " + refusals_[id]);
    }
  }

  Status begin() {
    TOPSPIN_TRY(clock_.measure(*store_));
    TOPSPIN_ASSIGN(const int64_t now_ns, store_->clock());
    start_ns_ = now_ns + kBeginInNs;
    JobEpoch first;
    for (const auto& [id, seen] : workers_) {
      if (seen.row.state == MemberState::kReady && seen.row.heartbeat_age_ns < kDeadAfterNs &&
          first.members.size() < kMaxWorkers)
        first.members.push_back(id);
    }
    TOPSPIN_TRY(store_->begin(job_, start_ns_, row_of(first)));
    epochs_.push_back(std::move(first));
    start_monotonic_ns_ = clock_.to_monotonic(start_ns_);
    if (view_.begins) view_.begins(start_monotonic_ns_, clock_.error_ns());
    return {};
  }

  void tell(const std::string& sentence) const {
    if (view_.tell) view_.tell(sentence);
  }
  int64_t load_now_ns() const { return monotonic_now_ns() - start_monotonic_ns_; }
  int64_t end_ns() const {
    return epochs_.back().is_last ? std::min(schedule_.end_ns, epochs_.back().from_ns)
                                  : schedule_.end_ns;
  }

  /// Until all reports are there that will come.
  Status conduct() {
    int64_t away_since_ns = 0;
    while (true) {
      Status done = turn();
      if (done.ok()) {
        if (away_since_ns != 0) tell("the store is back");
        away_since_ns = 0;
        show();
        if (is_complete()) return read_reports(true);
      } else {
        const int64_t now = monotonic_now_ns();
        if (away_since_ns == 0) {
          away_since_ns = now;
          tell(done.error().message);
        }
        if (now - away_since_ns > kPatienceNs) return done;
        if (store_->connect_again().ok()) back_since_ns_ = monotonic_now_ns();
      }
      std::this_thread::sleep_for(kCoordinatorTurn);
    }
  }

  Status turn() {
    const int64_t now = monotonic_now_ns();
    if (now >= next_sign_ns_) {
      next_sign_ns_ = now + kNanosPerSecond;
      TOPSPIN_TRY(store_->coordinator_alive(job_));
      if (!epochs_.back().is_last && load_now_ns() < schedule_.end_ns)
        TOPSPIN_TRY(store_->invite(job_, shared_.where, kAliveNs));
    }
    TOPSPIN_TRY(read_members());
    TOPSPIN_TRY(decide());
    return read_reports(false);
  }

  Status read_members() {
    TOPSPIN_ASSIGN(auto rows, store_->members(job_));
    bool has_strangers = false;
    for (MemberRow& row : rows) {
      Seen& seen = workers_[row.worker];
      has_strangers = has_strangers || (seen.card.id.empty() && row.state != MemberState::kEnded);
      seen.row = std::move(row);
    }
    if (!has_strangers) return {};
    // One that ends removes its card, so those that are known are kept.
    TOPSPIN_ASSIGN(const auto cards, store_->cards());
    for (auto& [id, seen] : workers_) {
      if (const auto card = cards.find(id); card != cards.end()) seen.card = card->second;
    }
    return {};
  }

  Status decide() {
    const int64_t now_ns = load_now_ns();
    if (epochs_.back().is_last || now_ns >= schedule_.end_ns) return {};
    // While the store was away nobody could be heard of.
    if (monotonic_now_ns() - back_since_ns_ < 2 * kDeadAfterNs) return {};
    std::vector<JobMember> members;
    for (const auto& [id, seen] : workers_) {
      members.push_back({id, seen.row.state == MemberState::kReady, seen.row.heartbeat_age_ns,
                         seen.row.claimed_until_ns});
    }
    const auto next = stop_.load() ? last_epoch(epochs_.back(), members, now_ns)
                                   : next_epoch(epochs_.back(), members, now_ns);
    if (!next) return {};
    TOPSPIN_ASSIGN(const bool is_taken,
                   store_->put_epoch(job_, row_of(*next), losers(epochs_.back(), *next)));
    if (!is_taken) {
      // A claim has grown, or an answer was lost and it is there already. The next turn decides
      // anew.
      TOPSPIN_ASSIGN(const auto rows, store_->epochs(job_));
      for (size_t i = epochs_.size(); i < rows.size(); ++i) tell_epoch(epoch_of_row(rows[i]));
      return {};
    }
    tell_epoch(*next);
    return {};
  }

  void tell_epoch(JobEpoch epoch) {
    const double from_s = static_cast<double>(epoch.from_ns) / 1e9;
    if (epoch.is_last) {
      tell(fmt::format("the load ends at {:.0f}s", from_s));
    } else {
      const std::vector<std::string> before = epochs_.back().members;
      const auto has = [](const std::vector<std::string>& ids, const std::string& id) {
        return std::find(ids.begin(), ids.end(), id) != ids.end();
      };
      for (const std::string& id : epoch.members) {
        if (!has(before, id)) tell(fmt::format("worker {} joins at {:.0f}s", named(id), from_s));
      }
      for (const std::string& id : before) {
        if (has(epoch.members, id)) continue;
        const MemberRow& row = workers_[id].row;
        tell(fmt::format("worker {} {}; others have its clients from {:.0f}s", named(id),
                         row.state == MemberState::kFailed  ? "failed: " + row.why
                         : row.state == MemberState::kReady ? "was not heard of"
                                                            : "leaves",
                         from_s));
      }
      tell(fmt::format("{} workers from {:.0f}s", epoch.members.size(), from_s));
    }
    epochs_.push_back(std::move(epoch));
  }

  std::string named(const std::string& id) {
    const WorkerCard& card = workers_[id].card;
    return card.host.empty() ? id : fmt::format("{} ({})", id, card.host);
  }

  bool may_still_say(const Seen& seen) const {
    return !seen.sum.is_last && seen.row.state != MemberState::kInvited &&
           seen.row.state != MemberState::kFailed && seen.row.heartbeat_age_ns < kSilentNs;
  }

  /// Each worker's rows come in the order of their seconds. At the end those are looked for, too,
  /// of workers that are not heard of.
  Status read_reports(bool of_the_silent) {
    int64_t from = INT64_MAX;
    for (const auto& [id, seen] : workers_) {
      if (of_the_silent ? !seen.sum.is_last : may_still_say(seen))
        from = std::min(from, seen.last_second + 1);
    }
    if (from == INT64_MAX) return {};
    TOPSPIN_ASSIGN(const auto rows, store_->reports(job_, from));
    for (const ReportRow& row : rows) {
      const auto found = workers_.find(row.worker);
      if (found == workers_.end() || row.second <= found->second.last_second) continue;
      Seen& seen = found->second;
      TOPSPIN_ASSIGN(LoadReport report, decode_report(row.bytes));
      seen.last_second = row.second;
      seen.clients = report.clients;
      Second& second = seconds_[std::max(row.second, shown_ + 1)];
      for (const auto& [position, part] : report.stages) {
        total_.merge(part.accounts);
        second.latency.merge(part.latency_intended);
        second.lateness.merge(part.own_lateness);
      }
      if (view_.of_worker) second.of_workers[row.worker].merge(report);
      seen.sum.merge(std::move(report));
    }
    return {};
  }

  /// Shows the seconds whose reports are all there, or late.
  void show() {
    while (true) {
      const int64_t next = shown_ + 1;
      const int64_t second_end_ns = (next + 1) * kNanosPerSecond;
      if (load_now_ns() < second_end_ns || second_end_ns > end_ns() + kNanosPerSecond - 1) return;
      const JobEpoch* epoch = epoch_at(epochs_, next * kNanosPerSecond);
      const bool all = std::all_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
        const Seen& seen = worker.second;
        const bool takes_part =
            epoch != nullptr && std::find(epoch->members.begin(), epoch->members.end(),
                                          worker.first) != epoch->members.end();
        return !takes_part || !may_still_say(seen) || seen.last_second >= next;
      });
      if (!all && load_now_ns() < second_end_ns + kShowAfterNs) return;
      shown_ = next;
      const Second second = std::move(seconds_[next]);
      seconds_.erase(next);
      LoadProgress line;
      line.elapsed_ns = second_end_ns;
      for (size_t s = 0; s < schedule_.stages.size(); ++s) {
        if (schedule_.stage_begin_ns[s] < second_end_ns) line.stage = schedule_.stages[s].name;
      }
      for (const auto& [id, seen] : workers_) {
        // One that has died is noticed later, when others have its clients.
        if (may_still_say(seen) && seen.last_second >= next) line.clients += seen.clients;
      }
      line.accounts = total_;
      line.latency_intended = second.latency;
      line.own_lateness = second.lateness;
      if (view_.progress) view_.progress(line);
      for (const auto& [id, report] : second.of_workers) {
        LoadProgress own;
        own.elapsed_ns = second_end_ns;
        own.stage = line.stage;
        own.clients = report.clients;
        for (const auto& [position, part] : workers_[id].sum.stages)
          own.accounts.merge(part.accounts);
        for (const auto& [position, part] : report.stages) {
          own.latency_intended.merge(part.latency_intended);
          own.own_lateness.merge(part.own_lateness);
        }
        view_.of_worker(named(id), own);
      }
    }
  }

  bool is_complete() {
    const int64_t over_ns = load_now_ns() - end_ns();
    if (over_ns < 0 || monotonic_now_ns() - back_since_ns_ < kSilentNs) return false;
    if (over_ns > options_.timeout_ns + kLastReportsNs) return true;
    return std::none_of(workers_.begin(), workers_.end(),
                        [&](const auto& worker) { return may_still_say(worker.second); });
  }

  Result<LoadResult> result() {
    std::vector<JobWorker> parts;
    for (auto& worker : workers_) {
      const std::string& id = worker.first;
      Seen& seen = worker.second;
      const bool was_member = std::any_of(epochs_.begin(), epochs_.end(), [&](const JobEpoch& e) {
        return std::find(e.members.begin(), e.members.end(), id) != e.members.end();
      });
      const MemberRow& row = seen.row;
      if (!was_member) {
        if (row.state == MemberState::kFailed && !refusals_.contains(id))
          tell(fmt::format("worker {} took no part: {}", named(id), row.why));
        continue;
      }
      JobWorker& part = parts.emplace_back();
      WorkerPart& about = part.about;
      about.id = id;
      about.host = seen.card.host;
      for (const auto& [key, value] : seen.card.labels)
        about.labels += fmt::format("{}{}={}", about.labels.empty() ? "" : " ", key, value);
      about.addresses = seen.card.addresses;
      about.cores = seen.card.cores;
      about.clock_offset_ns =
          seen.last_second < 0 ? seen.card.clock_offset_ns : seen.sum.clock_offset_ns;
      about.clock_error_ns =
          seen.last_second < 0 ? seen.card.clock_error_ns : seen.sum.clock_error_ns;
      const JobEpoch& last = epochs_.back().is_last && epochs_.size() > 1
                                 ? epochs_[epochs_.size() - 2]
                                 : epochs_.back();
      const bool until_end =
          std::find(last.members.begin(), last.members.end(), id) != last.members.end();
      about.end = row.state == MemberState::kFailed ? WorkerEnd::kFailed
                  : !seen.sum.is_last               ? WorkerEnd::kDied
                  : until_end                       ? WorkerEnd::kDone
                                                    : WorkerEnd::kLeft;
      if (row.state == MemberState::kFailed) part.why = row.why;
      part.claimed_until_ns = row.claimed_until_ns;
      part.report = std::move(seen.sum);
    }
    LoadResult whole = join_job(options_, schedule_, epochs_, std::move(parts));
    whole.started_monotonic_ns = start_monotonic_ns_;
    whole.started_wall_ns = start_ns_;
    return whole;
  }

  const SharedLoadOptions& shared_;
  const LoadOptions& options_;
  Schedule schedule_;
  const std::atomic<bool>& stop_;
  const SharedLoadView& view_;
  StoreClock clock_;
  std::string job_;
  std::unique_ptr<WorkerStore> store_;
  int64_t start_ns_ = 0;  // the store's clock
  int64_t start_monotonic_ns_ = 0;
  int64_t next_sign_ns_ = 0;
  int64_t back_since_ns_ = INT64_MIN / 2;
  std::map<std::string, Seen> workers_;
  std::map<std::string, std::string> refusals_;  // by id: who took no part, and why
  std::vector<JobEpoch> epochs_;
  std::map<int64_t, Second> seconds_;  // not shown yet
  int64_t shown_ = -1;
  LoadAccounts total_;
};

}  // namespace

Result<LoadResult> run_shared_load(const SharedLoadOptions& shared, const JobDescription& job,
                                   const LoadOptions& options, const std::atomic<bool>& stop,
                                   const SharedLoadView& view) {
  TOPSPIN_ASSIGN(Schedule schedule, make_schedule(options.stages));
  return Coordinator(shared, options, std::move(schedule), stop, view).run(job);
}

}  // namespace topspin
