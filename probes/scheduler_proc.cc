// The bottom rung: /proc/PID/task/TID/{schedstat,status}. No privilege, exact sums of what still
// runs, no distribution. Owned by Probes, on its thread.
//
// A thread costs about 24 us to read; a reading stops after its budget and goes on with the next
// threads next time, so sums of large subjects lag and catch up. A thread that exits takes what it
// did since it was last read with it.
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>

#include <unistd.h>

#include "core/clock.h"
#include "probes/process_tree.h"
#include "probes/scheduler_rung.h"

namespace topspin {
namespace {

constexpr int64_t kReadBudgetNs = 100 * kNanosPerMilli;
constexpr size_t kRowBacklog = 4;  // as many intervals' rows may wait

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
    // A thread whose start time is in the tick of opening counts as older: nothing counts twice.
    opened_ticks_ = static_cast<uint64_t>(boot.tv_sec) * ticks_per_second_ +
                    static_cast<uint64_t>(boot.tv_nsec) * ticks_per_second_ / kNanosPerSecond;
    opening_ = true;
    read_threads(INT64_MAX);
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
    read_threads(monotonic_now_ns() + kReadBudgetNs);
    SchedulerReading reading;
    reading.totals.cpu_ns = totals_.cpu_ns;
    // The rungs that measure each wait put their own sum in the place of the first.
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

  struct Thread {
    ThreadRow row;
    Account baseline;
    Account last;
    bool has_row = false;
    uint64_t seen = 0;  // the reading that last found it listed
  };

  void read_threads(int64_t deadline_ns) {
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
    // From where the last reading stopped, once round.
    const auto begin = std::lower_bound(listed.begin(), listed.end(), resume_);
    std::rotate(listed.begin(), begin, listed.end());
    resume_ = {};
    for (const Key& key : listed) {
      if (monotonic_now_ns() > deadline_ns) {
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
      it->second.row.exited = true;
      if (it->second.has_row) {
        rows_[it->first] = it->second.row;
        --rows_granted_;  // the limit is of rows at one time
      }
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
      // What a thread did before the probe opened is not ours.
      if (opening_ || stat->start_ticks <= opened_ticks_) {
        const auto before = read_account(key);
        if (!before) return;
        thread.baseline = thread.last = *before;
      }
      thread.seen = reading_;
      thread.has_row = rows_granted_ < options_.max_threads;
      thread.has_row ? ++rows_granted_ : ++rows_refused_;
      known = threads_.emplace(key, std::move(thread)).first;
    }
    Thread& thread = known->second;
    const auto now = read_account(key);
    if (!now) return;
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
    if (changed && thread.has_row) rows_[key] = thread.row;
  }

  ProcessTree tree_;
  ProcReader& proc_;
  ProbeOptions options_;
  uint64_t ticks_per_second_ = 100;
  uint64_t opened_ticks_ = 0;
  bool opening_ = false;
  std::map<Key, Thread> threads_;
  std::map<Key, ThreadRow> rows_;  // to hand out
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
