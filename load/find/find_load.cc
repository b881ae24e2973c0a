#include "load/find/find_load.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <pthread.h>

#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/tick/host_usage.h"
#include "load/engine/accounts.h"
#include "load/engine/kernel_counters.h"
#include "load/engine/validity.h"
#include "load/find/find_search.h"

namespace topspin {
namespace {

constexpr uint64_t kMessagesAbove = 20;
constexpr double kLeastMessages = 1.05 * kSamplesAbovePercentile;  // above it, to have ten
constexpr int64_t kMostHoldNs = 15 * kNanosPerSecond;  // unless a percentile cannot be had before
constexpr int64_t kLeastWarmUpNs = kNanosPerSecond / 2;
constexpr double kArrivalsPerS = 5'000;       // of clients, at the beginning of a stage
constexpr int64_t kRestNs = kNanosPerSecond;  // after a stage that failed
constexpr double kMostWorthwhileS = 60;
constexpr uint64_t kHopeless = 10;  // so many messages, none of them answered
constexpr int64_t kSampleNs = kNanosPerSecond / 4;
constexpr size_t kMeasured = 2;  // the stage's part that is judged
// Without a level to begin with: so many messages per second.
constexpr double kFromRate = 200;
constexpr double kMostRate = 10'000'000;
// Each client sends once in this time, unless the rules allow longer replies.
constexpr int64_t kLeastClientPeriodNs = 20 * kNanosPerMilli;
constexpr int64_t kMostClientPeriodNs = kNanosPerSecond;
constexpr int64_t kPeriodsPerBound = 2;

double share_of_whole(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

/// How many clients send a rate: each is free again long before its next message, even if each
/// reply is as slow as a rule allows.
uint32_t clients_for(const LoadOptions& options, const FindRules& rules, double rate) {
  if (options.find.clients) return *options.find.clients;
  const int64_t period_ns = std::clamp(kPeriodsPerBound * rules.latency_bound_ns.value_or(0),
                                       kLeastClientPeriodNs, kMostClientPeriodNs);
  const double clients = std::ceil(rate * static_cast<double>(period_ns) / 1e9);
  return static_cast<uint32_t>(std::clamp(clients, 1.0, static_cast<double>(kMaxClients)));
}

std::string level_name(FindBy by, double level) {
  return fmt::format("{}_{:.10g}", find_by_name(by), level);
}

/// Looks at the CPUs of the host and of the subject while a stage runs, on a thread of its own,
/// because walking through /proc takes longer than a generator may be late.
class CpuSampler {
 public:
  explicit CpuSampler(const FindWatch& watch) : watch_(watch) {
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "topspin-find");
      std::unique_lock lock(mutex_);
      while (!is_over_) {
        lock.unlock();
        Sample sample{monotonic_now_ns(), read_host_cpu_time(),
                      watch_.subject_cpu ? watch_.subject_cpu() : std::nullopt};
        lock.lock();
        samples_.push_back(std::move(sample));
        changed_.wait_for(lock, std::chrono::nanoseconds(kSampleNs), [&] { return is_over_; });
      }
    });
  }
  ~CpuSampler() { end(); }
  CpuSampler(const CpuSampler&) = delete;
  CpuSampler& operator=(const CpuSampler&) = delete;

  /// What was used between two moments, on CLOCK_MONOTONIC, as far as samples lie there.
  void describe(int64_t from_ns, int64_t to_ns, int64_t cpus, FindStage& stage) {
    end();
    const auto inside = [&](const Sample& sample) {
      return sample.at_ns >= from_ns && sample.at_ns <= to_ns;
    };
    const auto first = std::find_if(samples_.begin(), samples_.end(), inside);
    const auto last = std::find_if(samples_.rbegin(), samples_.rend(), inside);
    if (first == samples_.end() || last->at_ns <= first->at_ns) return;
    const auto wall_ns = static_cast<double>(last->at_ns - first->at_ns);
    if (first->host && last->host && cpus > 0) {
      stage.host_busy_share = static_cast<double>(last->host->busy_ns - first->host->busy_ns) /
                              (wall_ns * static_cast<double>(cpus));
    }
    if (!first->subject || !last->subject) return;
    SubjectUse& use = stage.subject.emplace();
    use.cpus =
        static_cast<double>(std::max<int64_t>(0, last->subject->all_ns - first->subject->all_ns)) /
        wall_ns;
    for (const auto& [id, thread] : last->subject->threads) {
      const auto before = first->subject->threads.find(id);
      const int64_t used_ns =
          thread.cpu_ns - (before == first->subject->threads.end() ? 0 : before->second.cpu_ns);
      const double share = static_cast<double>(used_ns) / wall_ns;
      if (share <= use.thread_share) continue;
      use.thread_share = share;
      use.thread = fmt::format("{} ({})", thread.name, id);
    }
  }

 private:
  struct Sample {
    int64_t at_ns;
    std::optional<HostCpuTime> host;
    std::optional<SubjectCpu> subject;
  };
  void end() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  const FindWatch& watch_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_over_ = false;
  std::vector<Sample> samples_;
  std::thread thread_;
};

/// Of the load's thread, while the stage is measured. Of several threads: the busiest, over the
/// whole stage, because only that is known.
class OwnCpu {
 public:
  explicit OwnCpu(int64_t from_ns) : from_ns_(from_ns) {}
  void add(const LoadProgress& line) {
    if (line.elapsed_ns < from_ns_) return;
    if (!first_) first_ = {line.elapsed_ns, thread_cpu_now_ns()};
    last_ = {line.elapsed_ns, thread_cpu_now_ns()};
  }
  double share(const LoadResult& result) const {
    double most = 0;
    for (const WorkerPart& thread : result.workers) {
      if (thread.cpu_ns && thread.wall_ns.value_or(0) > 0)
        most = std::max(most,
                        static_cast<double>(*thread.cpu_ns) / static_cast<double>(*thread.wall_ns));
    }
    if (!result.workers.empty()) return most;
    if (first_ && last_.first > first_->first)
      return static_cast<double>(last_.second - first_->second) /
             static_cast<double>(last_.first - first_->first);
    return result.own.wall_ns <= 0
               ? 0
               : static_cast<double>(result.own.cpu_ns) / static_cast<double>(result.own.wall_ns);
  }

 private:
  int64_t from_ns_;
  std::optional<std::pair<int64_t, int64_t>> first_;
  std::pair<int64_t, int64_t> last_;
};

void describe_part(const LoadResult& result, const LoadPart& part, FindStage& stage) {
  const LoadAccounts& a = part.accounts;
  stage.measured_ns = part.end_ns - part.begin_ns;
  stage.scheduled = a.scheduled;
  stage.sent = a.sent;
  stage.replied = a.replied;
  stage.lost = a.lost + a.late_replies;
  stage.http_errors = a.http_errors;
  stage.blocked = a.blocked;
  stage.latency = part.latency_intended.summary();
  stage.own_lateness = part.own_lateness.summary();
  stage.listen_overflows = result.kernel.tcp_listen_overflows;
  stage.udp_receive_errors = result.kernel.udp_rcvbuf_errors;
}

template <typename T>
void add_optional(std::optional<T>& sum, const std::optional<T>& more) {
  if (more) sum = sum.value_or(0) + *more;
}

void add_workers(LoadResult& whole, const LoadResult& stage) {
  whole.are_threads = whole.are_threads || stage.are_threads;
  for (const WorkerPart& worker : stage.workers) {
    const auto same = std::find_if(whole.workers.begin(), whole.workers.end(),
                                   [&](const WorkerPart& w) { return w.id == worker.id; });
    if (same == whole.workers.end()) {
      whole.workers.push_back(worker);
      whole.workers.back().invalid_reasons.clear();
      continue;
    }
    same->accounts.merge(worker.accounts);
    same->latency_intended.merge(worker.latency_intended);
    same->own_lateness.merge(worker.own_lateness);
    same->planned += worker.planned;
    add_optional(same->cpu_ns, worker.cpu_ns);
    add_optional(same->wall_ns, worker.wall_ns);
  }
}

std::vector<std::string> find_all_imbalances(const LoadResult& result) {
  AccountsContext context;
  context.expects_replies = result.expects_replies;
  context.is_tcp = result.tcp.has_value();
  context.planned = result.planned;
  context.has_plan = result.has_plan;
  return find_imbalances(result.total.accounts, result.tcp.value_or(TcpAccounts{}), context);
}

/// The first of them that says the load asks the impossible of this host.
bool is_of_host(const Error& error) {
  return error.code == ErrorCode::kPermission || error.code == ErrorCode::kUnsupported;
}

class LoadFinder {
 public:
  LoadFinder(const LoadOptions& options, const FindRules& rules, const std::atomic<bool>& stop,
             const FindWatch& watch)
      : options_(options),
        rules_(rules),
        stop_(stop),
        watch_(watch),
        search_(settings(options, rules)) {
    find_.by = *options.find.by;
    find_.rules = rules.texts;
    decides_itself_ = options.closed_loop || options.workload == WorkloadKind::kScript;
    if (!decides_itself_) per_client_s_ = 1e9 / static_cast<double>(options.period_ns);
  }

  Result<LoadResult> run() {
    while (const auto level = search_.next()) {
      if (stop_.load() && whole_) break;
      if (const std::string why = too_long(*level); !why.empty()) {
        if (!whole_) return make_error(ErrorCode::kUsage, why);
        reasons_.push_back(why);
        break;
      }
      TOPSPIN_ASSIGN(const FindStage stage, try_level(*level));
      if (stage.verdict != FindVerdict::kUnknown) search_.add(*level, stage.verdict);
      if (is_silent_) break;
      if (stage.verdict == FindVerdict::kUnknown && !is_longer_) break;
      if (stage.verdict == FindVerdict::kBroken || stage.verdict == FindVerdict::kGenerator) rest();
    }
    CHECK(whole_.has_value());
    find_.end = search_.end();
    find_.kept = search_.kept();
    find_.failed = search_.failed();
    find_.limits = find_limits(find_);
    whole_->find = std::move(find_);
    whole_->stopped_early = stop_.load();
    for (const std::string& wrong : find_all_imbalances(*whole_)) reasons_.push_back(wrong);
    whole_->invalid_reasons = std::move(reasons_);
    return std::move(*whole_);
  }

 private:
  static FindSearchSettings settings(const LoadOptions& options, const FindRules& rules) {
    const LoadFindOptions& find = options.find;
    FindSearchSettings settings;
    settings.by = *find.by;
    settings.within = find.within_percent / 100.0;
    const double period_s = static_cast<double>(options.period_ns) / 1e9;
    const bool is_rate = settings.by == FindBy::kRate;
    settings.most = find.most.value_or(is_rate ? kMostRate : kMaxClients);
    if (is_rate && find.clients) settings.most = std::min(settings.most, 1e6 * *find.clients);
    // Below this, a stage would take too long to have its percentile.
    const double messages = kLeastMessages / (1 - rules.quantile);
    const double least_rate = messages / kMostWorthwhileS;
    settings.least =
        std::max(1.0, is_rate ? std::ceil(least_rate) : std::ceil(least_rate * period_s));
    settings.least = std::min({settings.least, settings.most, find.from.value_or(settings.least)});
    const double from = is_rate ? kFromRate : std::ceil(kFromRate * std::min(period_s, 10.0));
    settings.from = std::clamp(find.from.value_or(from), settings.least, settings.most);
    return settings;
  }

  /// Why a stage at the level would take too long to have its percentile; empty if it would not.
  std::string too_long(double level) const {
    const FindStagePlan plan = plan_find_stage(options_, rules_, level, per_client_s_, "");
    const double most_ns =
        std::max(static_cast<double>(options_.find.hold_ns), kMostWorthwhileS * 1e9 * (1 + 1e-6)) +
        static_cast<double>(plan.options.period_ns);
    if (static_cast<double>(plan.measured_ns) <= most_ns) return {};
    return fmt::format(
        "p{:g} needs {:.0f} messages, which at {} take {}, and more than a minute is not worth it; "
        "search higher levels (--find-from, --find-max), or by a lower percentile",
        100 * rules_.quantile, std::ceil(kLeastMessages / (1 - rules_.quantile) - 1e-6),
        find_.by == FindBy::kRate ? fmt::format("{:g}/s", level)
                                  : fmt::format("{:g} client{}", level, level == 1 ? "" : "s"),
        format_duration(plan.measured_ns));
  }

  Result<FindStage> try_level(double level) {
    const uint32_t times = ++tried_[level];
    is_longer_ = false;
    FindStage stage;
    stage.level = level;
    stage.name = level_name(find_.by, level);
    if (times > 1) stage.name += fmt::format("_{}", times);
    const FindStagePlan plan = plan_find_stage(options_, rules_, level, per_client_s_, stage.name);
    stage.clients = plan.options.stages[kMeasured].to;
    const int64_t measured_from_ns =
        plan.options.stages[0].duration_ns + plan.options.stages[1].duration_ns;
    OwnCpu own(measured_from_ns);
    CpuSampler cpus(watch_);
    auto result =
        whole_ ? run_load(plan.options, stop_, [&](const LoadProgress& line) { own.add(line); })
               : run_first(plan.options, own);
    if (!result.ok()) {
      // More clients than this host allows is a limit of the generator, once something was tried.
      if (!whole_ || !is_of_host(result.error())) return result.error();
      stage.verdict = FindVerdict::kGenerator;
      stage.why = result.error().message;
      return done(std::move(stage));
    }
    const bool is_whole = !result->stopped_early && result->stages.size() > kMeasured;
    if (result->stages.size() > kMeasured) {
      const LoadPart& part = result->stages[kMeasured];
      describe_part(*result, part, stage);
      const int64_t began_ns = result->started_monotonic_ns;
      cpus.describe(began_ns + part.begin_ns, began_ns + part.end_ns, result->own.cpus, stage);
      stage.own_cpu_share = own.share(*result);
      if (is_whole) judge(*result, part, stage);
    }
    for (const std::string& wrong : find_all_imbalances(*result))
      reasons_.push_back(fmt::format("stage {}: {}", stage.name, wrong));
    look_for_answers(*result, stage);
    if (!is_whole && stage.why.empty()) stage.why = "the load was stopped";
    if (whole_)
      add_find_stage(*whole_, *result);
    else
      whole_ = std::move(*result);
    // One that was stopped before its measured part is not shown.
    return stage.measured_ns > 0 ? done(std::move(stage)) : std::move(stage);
  }

  /// The first stage ends early if nobody listens, or answers.
  Result<LoadResult> run_first(LoadOptions options, OwnCpu& own) {
    options.progress_ns = kNanosPerSecond / 10;
    std::atomic<bool> stop = stop_.load();
    return run_load(options, stop, [&](const LoadProgress& line) {
      own.add(line);
      const LoadAccounts& a = line.accounts;
      // Refused ones are lost at once; others, when their time is over.
      const bool is_silent = a.sent >= kHopeless && a.replied + a.late_replies == 0;
      const bool are_lost = a.lost >= kHopeless && a.lost >= a.sent / 2;
      const bool is_over_time = line.elapsed_ns > 2 * (options_.timeout_ns + kNanosPerSecond);
      if ((is_silent && (are_lost || is_over_time)) || stop_.load()) stop.store(true);
    });
  }

  /// A target that does not answer, or only with errors, is not searched: no level would help.
  void look_for_answers(const LoadResult& result, const FindStage& stage) {
    if (find_.stages.empty() && !load_silence(result).empty()) {
      is_silent_ = true;
      reasons_.push_back(load_silence(result));
    }
    has_answered_ = has_answered_ || stage.http_errors <= stage.replied / 2;
    if (has_answered_ || find_.stages.empty()) return;
    is_silent_ = true;
    reasons_.push_back(
        fmt::format("most answers were errors, even at the first level{}; say what is right with "
                    "--expect-status and --check, or correct the target",
                    result.http ? ": " + http_statuses_text(*result.http) : std::string()));
  }

  void judge(const LoadResult& result, const LoadPart& part, FindStage& stage) {
    LoadResult judged = result;
    judged.total = part;
    FindJudgement judgement = rules_.judge(judged);
    stage.verdict = judgement.verdict;
    stage.why = std::move(judgement.why);
    if (decides_itself_ && stage.clients > 0) per_client_s_ = stage.rate() / stage.clients;
    // Too few messages for a percentile: once more, longer, now that their rate is known.
    is_longer_ =
        stage.verdict == FindVerdict::kUnknown && tried_[stage.level] < 3 && per_client_s_ > 0;
    if (stage.verdict != FindVerdict::kBroken) return;
    std::string limit = find_generator_limit(result, part, stage.own_cpu_share, rules_);
    if (limit.empty()) return;
    stage.verdict = FindVerdict::kGenerator;
    stage.why = fmt::format("{} ({})", limit, stage.why);
  }

  FindStage done(FindStage stage) {
    if (watch_.on_stage) watch_.on_stage(stage);
    find_.stages.push_back(stage);
    return stage;
  }

  /// Lets the server finish what it still has.
  void rest() {
    const int64_t until_ns = monotonic_now_ns() + kRestNs;
    while (!stop_.load() && monotonic_now_ns() < until_ns)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }

  const LoadOptions& options_;
  const FindRules& rules_;
  const std::atomic<bool>& stop_;
  const FindWatch& watch_;
  FindSearch search_;
  LoadFind find_;
  std::optional<LoadResult> whole_;
  std::map<double, uint32_t> tried_;
  std::vector<std::string> reasons_;
  bool decides_itself_ = false;  // the server or a script decides how many messages there are
  double per_client_s_ = 0;      // messages of a client in a second; 0: not known yet
  bool is_silent_ = false;       // nothing that would help to search
  bool has_answered_ = false;    // without errors, mostly
  bool is_longer_ = false;
};

}  // namespace

uint64_t find_messages(double quantile) {
  return static_cast<uint64_t>(std::ceil(kMessagesAbove / (1 - quantile) - 1e-6));
}

FindStagePlan plan_find_stage(const LoadOptions& options, const FindRules& rules, double level,
                              double messages_per_client_s, const std::string& name) {
  FindStagePlan plan{options, 0};
  LoadOptions& stage = plan.options;
  uint32_t clients = 0;
  double rate = 0;
  if (*options.find.by == FindBy::kRate) {
    clients = clients_for(options, rules, level);
    rate = level;
    stage.period_ns = std::max<int64_t>(1000, std::llround(clients * 1e9 / level));
    if (stage.grid_ns && *stage.grid_ns > stage.period_ns) stage.grid_ns.reset();
  } else {
    clients = static_cast<uint32_t>(std::llround(level));
    rate = clients * messages_per_client_s;
  }
  const auto wanted = static_cast<double>(find_messages(rules.quantile));
  const double least = wanted * kLeastMessages / kMessagesAbove;
  double hold_ns = static_cast<double>(options.find.hold_ns);
  if (rate > 0) {
    hold_ns = std::max(hold_ns, std::min(wanted / rate * 1e9, static_cast<double>(kMostHoldNs)));
    hold_ns = std::max(hold_ns, least / rate * 1e9);
  } else {
    hold_ns = std::max(hold_ns, 5e9);  // as many as come
  }
  // Whole periods, so that each client sends as often as the others.
  const int64_t periods = std::max<int64_t>(
      1, static_cast<int64_t>(std::ceil(hold_ns / static_cast<double>(stage.period_ns) - 1e-9)));
  plan.measured_ns = periods * stage.period_ns;
  const int64_t arrival_ns =
      std::max(kLeastWarmUpNs, static_cast<int64_t>(std::ceil(clients / kArrivalsPerS * 1e9)));
  const int64_t first_messages_ns = std::max(kLeastWarmUpNs, stage.period_ns);
  stage.stages = {{"arrive_" + name, 0, clients, arrival_ns},
                  {"warm_up_" + name, clients, clients, first_messages_ns},
                  {name, clients, clients, plan.measured_ns}};
  stage.progress_ns = kNanosPerSecond / 2;
  stage.find = {};
  return plan;
}

std::string find_generator_limit(const LoadResult& result, const LoadPart& part,
                                 double own_cpu_share, const FindRules& rules) {
  const ValidityLimits limits;
  const LoadAccounts& a = part.accounts;
  const uint64_t never = a.never_scheduled - std::min(a.blocked, a.never_scheduled);
  if (share_of_whole(a.sent_late, a.sent) > limits.sent_late_share)
    return fmt::format("it sent {:.1f}% of the messages late",
                       100 * share_of_whole(a.sent_late, a.sent));
  if (share_of_whole(never, a.scheduled) > limits.never_scheduled_share)
    return fmt::format("it never sent {:.1f}% of the messages",
                       100 * share_of_whole(never, a.scheduled));
  if (share_of_whole(a.send_errors, a.scheduled) > limits.send_error_share)
    return fmt::format("its kernel refused to send {:.1f}% of the messages",
                       100 * share_of_whole(a.send_errors, a.scheduled));
  if (share_of_whole(result.own.receive_drops, a.sent) > limits.receive_drop_share)
    return fmt::format("{} replies found its own receive buffers full", result.own.receive_drops);
  if (own_cpu_share > limits.own_cpu_share)
    return fmt::format("it used {:.0f}% of its CPU", 100 * own_cpu_share);
  // Its lateness is in the latency that the rules judge.
  const auto lateness = part.own_lateness.percentile(rules.quantile);
  if (lateness && rules.latency_bound_ns &&
      static_cast<int64_t>(*lateness) > *rules.latency_bound_ns / 2) {
    return fmt::format("its own lateness, p{:g} {}, is more than half of what a rule allows",
                       100 * rules.quantile, format_duration(static_cast<int64_t>(*lateness)));
  }
  if (result.own.host_steal_ns && result.own.wall_ns > 0) {
    const double stolen = static_cast<double>(*result.own.host_steal_ns) /
                          static_cast<double>(result.own.wall_ns * result.own.cpus);
    if (stolen > limits.steal_share)
      return fmt::format("the hypervisor took {:.1f}% of the CPUs of its host", 100 * stolen);
  }
  if (result.script &&
      share_of_whole(result.script->script_late, a.sent) > limits.script_late_share)
    return "the script's own code was too slow";
  return {};
}

void add_find_stage(LoadResult& whole, const LoadResult& stage) {
  const int64_t offset_ns = stage.started_monotonic_ns - whole.started_monotonic_ns;
  for (LoadPart part : stage.stages) {
    part.begin_ns += offset_ns;
    part.end_ns += offset_ns;
    whole.stages.push_back(std::move(part));
  }
  whole.add_counts(stage);
  whole.total.end_ns = offset_ns + stage.total.end_ns;
  whole.clients_max = std::max(whole.clients_max, stage.clients_max);
  whole.kernel.add_later(stage.kernel);
  whole.own.add_later(stage.own);
  add_workers(whole, stage);
}

Result<LoadResult> find_load(const LoadOptions& options, const FindRules& rules,
                             const std::atomic<bool>& stop, const FindWatch& watch) {
  CHECK(options.find.by.has_value() && rules.judge);
  LoadOptions read = options;
  TOPSPIN_TRY(read_load_files(read));
  return LoadFinder(read, rules, stop, watch).run();
}

}  // namespace topspin
