// The bottom rung: /proc/PID/task/TID/{schedstat,status}. It needs no privilege. It has exact sums
// for threads that still exist, and no distributions. Owned by Probes, on its thread.
//
// Reading a thread takes about 24 us. A reading stops when its time is used up, and the next one
// continues with the next threads, so sums of large subjects lag behind and catch up. What a thread
// did between the last reading and its exit is lost.
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <tuple>

#include <unistd.h>

#include "core/base/clock.h"
#include "probes/proc/process_tree.h"
#include "probes/scheduler/rungs/scheduler_rung.h"

namespace topspin {
namespace {

constexpr int64_t kReadBudgetNs = 100 * kNanosPerMilli;
constexpr int64_t kClockSlackNs = 20 * kNanosPerMilli;  // the kernel charges accounts tick by tick
constexpr size_t kLeastThreads = 256;
constexpr size_t kRowBacklog = 4;  // this many intervals' rows may wait

struct Account {
  std::optional<uint64_t> cpu_ns;
  std::optional<uint64_t> run_delay_ns;
  std::optional<uint64_t> voluntary;
  std::optional<uint64_t> involuntary;
};

void add_growth(std::optional<uint64_t>& sum, std::optional<uint64_t> now,
                std::optional<uint64_t> before) {
  if (now) sum = sum.value_or(0) + (*now - std::min(before.value_or(0), *now));
}

class ProcRung final : public SchedulerRung {
 public:
  ProcRung(const Subject& subject, const ProbeOptions& options, ProcReader& proc)
      : tree_(subject, proc), proc_(proc), options_(options) {}

  Status start() {
    ticks_per_second_ = static_cast<uint64_t>(::sysconf(_SC_CLK_TCK));
    timespec boot{};
    ::clock_gettime(CLOCK_BOOTTIME, &boot);
    // A thread that started in the same clock tick as the opening counts as older, so that nothing
    // counts twice.
    opened_ticks_ = static_cast<uint64_t>(boot.tv_sec) * ticks_per_second_ +
                    static_cast<uint64_t>(boot.tv_nsec) * ticks_per_second_ / kNanosPerSecond;
    opening_ = true;
    read_threads(std::nullopt);
    opening_ = false;
    rows_.clear();
    if (tree_.processes().empty()) return {};
    if (!totals_.cpu_ns && !totals_.voluntary)
      return make_error(ErrorCode::kPermission,
                        "cannot read schedstat and status of the subject's threads under /proc; "
                        "mount /proc without hidepid, or run as the subject's user");
    return {};
  }

  SchedulerReading read() override {
    read_threads(kReadBudgetNs);
    SchedulerReading reading;
    reading.totals.cpu_ns = totals_.cpu_ns;
    // The rungs that measure each wait replace the first sum with their own.
    reading.totals.run_queue_wait_ns = totals_.run_delay_ns;
    reading.totals.kernel_run_delay_ns = totals_.run_delay_ns;
    reading.totals.voluntary_switches = totals_.voluntary;
    reading.totals.involuntary_switches = totals_.involuntary;
    while (rows_.size() > kRowBacklog * options_.max_thread_rows_per_interval) {
      rows_.erase(std::prev(rows_.end()));
      ++rows_refused_;
    }
    reading.losses.thread_rows_unstored = rows_refused_;
    const size_t count = std::min<size_t>(rows_.size(), options_.max_thread_rows_per_interval);
    for (size_t taken = 0; taken < count; ++taken) {
      auto node = rows_.extract(rows_.begin());
      reading.changed_threads.push_back(std::move(node.mapped()));
    }
    reading.processes = tree_.processes();
    return reading;
  }

 private:
  using Key = std::pair<int32_t, int32_t>;  // pid, tid

  using Identity = std::tuple<int32_t, int32_t, int64_t>;  // pid, tid, start time

  struct Thread {
    ThreadRow row;
    Account baseline;
    Account last;
    int64_t read_ns = 0;  // when `last` was read, monotonic
    bool has_row = false;
    uint64_t seen = 0;  // the reading that last found it listed
  };

  void read_threads(std::optional<int64_t> budget_ns) {
    tree_.update();
    ++reading_;
    std::vector<Key> listed;
    for (const int32_t pid : tree_.processes()) {
      for (const int32_t tid : proc_.threads(pid)) listed.emplace_back(pid, tid);
    }
    for (const Key& key : listed) {
      const auto known = threads_.find(key);
      if (known != threads_.end()) known->second.seen = reading_;
    }
    // Starts where the last reading stopped, and goes round once.
    const auto begin = std::lower_bound(listed.begin(), listed.end(), resume_);
    std::rotate(listed.begin(), begin, listed.end());
    resume_ = {};
    const int64_t begin_ns = monotonic_now_ns();
    size_t read = 0;
    for (const Key& key : listed) {
      // A few threads are always read, whatever the time: on a busy host, time passes while we do
      // not run.
      if (budget_ns && ++read > kLeastThreads && monotonic_now_ns() - begin_ns > *budget_ns) {
        resume_ = key;
        break;
      }
      read_thread(key);
    }
    for (auto it = threads_.begin(); it != threads_.end();) {
      if (it->second.seen == reading_) {
        ++it;
        continue;
      }
      end_row(it->second);
      it = threads_.erase(it);
    }
  }

  std::optional<Account> read_account(const Key& key) {
    Account now;
    if (const auto schedstat = proc_.thread_schedstat(key.first, key.second)) {
      now.cpu_ns = schedstat->cpu_ns;
      now.run_delay_ns = schedstat->run_delay_ns;
    }
    if (const auto status = proc_.thread_status(key.first, key.second)) {
      now.voluntary = status->voluntary_switches;
      now.involuntary = status->involuntary_switches;
    }
    if (!now.cpu_ns && !now.voluntary) return std::nullopt;
    return now;
  }

  static Identity identity(const ThreadRow& row) { return {row.pid, row.tid, row.start_time_ns}; }

  void grant_row(Thread& thread) {
    thread.has_row = rows_granted_ < options_.max_threads;
    thread.has_row ? ++rows_granted_ : ++rows_refused_;
  }

  void end_row(Thread& thread) {
    thread.row.exited = true;
    if (!thread.has_row) return;
    rows_[identity(thread.row)] = thread.row;
    --rows_granted_;  // the limit is for rows at the same time
    thread.has_row = false;
  }

  /// If a thread that is not the leader calls exec, it gets the leader's number and start time in
  /// /proc. The signs of this are an account that fell, or grew by more than the time since it was
  /// last read, and another thread of the process that is gone. The account then continues that
  /// thread's.
  void follow_exec(const Key& key, Thread& leader, const Account& now) {
    const auto fell = [](std::optional<uint64_t> current, std::optional<uint64_t> before) {
      return current && before && *current < *before;
    };
    const auto follows = [&](const Account& before) {
      return !fell(now.cpu_ns, before.cpu_ns) && !fell(now.run_delay_ns, before.run_delay_ns) &&
             !fell(now.voluntary, before.voluntary) && !fell(now.involuntary, before.involuntary);
    };
    const int64_t elapsed_ns = monotonic_now_ns() - leader.read_ns;
    const uint64_t possible_ns = static_cast<uint64_t>(elapsed_ns + kClockSlackNs);
    const bool too_much =
        now.cpu_ns && leader.last.cpu_ns && *now.cpu_ns > *leader.last.cpu_ns + possible_ns;
    if (follows(leader.last) && !too_much) return;
    const Thread* other = nullptr;
    for (auto it = threads_.lower_bound({key.first, 0});
         it != threads_.end() && it->first.first == key.first; ++it) {
      if (!follows(it->second.last)) continue;
      // It may have been listed just before it called exec.
      if (it->second.seen == reading_ && proc_.thread_stat(key.first, it->first.second)) continue;
      if (!other || it->second.last.cpu_ns > other->last.cpu_ns) other = &it->second;
    }
    if (!other) return;
    end_row(leader);
    Thread thread;
    thread.row.pid = key.first;
    thread.row.tid = key.second;
    thread.row.start_time_ns = other->row.start_time_ns;
    const auto stat = proc_.thread_stat(key.first, key.second);
    thread.row.name = stat ? stat->name : leader.row.name;
    thread.baseline = thread.last = other->last;
    thread.seen = reading_;
    grant_row(thread);
    leader = std::move(thread);
  }

  void read_thread(const Key& key) {
    auto known = threads_.find(key);
    if (known == threads_.end()) {
      const auto stat = proc_.thread_stat(key.first, key.second);
      if (!stat) return;
      Thread thread;
      thread.row.pid = key.first;
      thread.row.tid = key.second;
      thread.row.name = stat->name;
      thread.row.start_time_ns = static_cast<int64_t>(
          stat->start_ticks * (static_cast<uint64_t>(kNanosPerSecond) / ticks_per_second_));
      // What a thread did before the probe opened does not count.
      if (opening_ || stat->start_ticks <= opened_ticks_) {
        const auto before = read_account(key);
        if (!before) return;
        thread.baseline = thread.last = *before;
      }
      thread.seen = reading_;
      grant_row(thread);
      known = threads_.emplace(key, std::move(thread)).first;
    }
    Thread& thread = known->second;
    const auto now = read_account(key);
    if (!now) return;
    if (key.first == key.second && thread.read_ns != 0) follow_exec(key, thread, *now);
    thread.read_ns = monotonic_now_ns();
    const bool changed = now->cpu_ns != thread.last.cpu_ns ||
                         now->voluntary != thread.last.voluntary || !thread.row.cpu_ns;
    add_growth(totals_.cpu_ns, now->cpu_ns, thread.last.cpu_ns);
    add_growth(totals_.run_delay_ns, now->run_delay_ns, thread.last.run_delay_ns);
    add_growth(totals_.voluntary, now->voluntary, thread.last.voluntary);
    add_growth(totals_.involuntary, now->involuntary, thread.last.involuntary);
    thread.last = *now;
    const auto since = [](std::optional<uint64_t> value, std::optional<uint64_t> baseline) {
      if (value) *value -= std::min(baseline.value_or(0), *value);
      return value;
    };
    thread.row.cpu_ns = since(now->cpu_ns, thread.baseline.cpu_ns);
    thread.row.run_queue_wait_ns = since(now->run_delay_ns, thread.baseline.run_delay_ns);
    thread.row.voluntary_switches = since(now->voluntary, thread.baseline.voluntary);
    thread.row.involuntary_switches = since(now->involuntary, thread.baseline.involuntary);
    if (changed && thread.has_row) rows_[identity(thread.row)] = thread.row;
  }

  ProcessTree tree_;
  ProcReader& proc_;
  ProbeOptions options_;
  uint64_t ticks_per_second_ = 100;
  uint64_t opened_ticks_ = 0;
  bool opening_ = false;
  std::map<Key, Thread> threads_;
  std::map<Identity, ThreadRow> rows_;  // to hand out
  uint64_t rows_granted_ = 0;
  uint64_t rows_refused_ = 0;
  uint64_t reading_ = 0;
  Key resume_{};
  Account totals_;
};

}  // namespace

SchedulerRungResult open_scheduler_proc(const Subject& subject, const ProbeOptions& options,
                                        ProcReader& proc) {
  auto rung = std::make_unique<ProcRung>(subject, options, proc);
  TOPSPIN_TRY(rung->start());
  return SchedulerRungResult(std::move(rung));
}

}  // namespace topspin
