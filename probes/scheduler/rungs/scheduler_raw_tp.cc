// The second rung: scheduler_raw.bpf.c. Owned by the scheduler probe, on its thread.
//
// The subject is found through /proc. The programs are attached first and follow forks, so scanning
// until nothing new appears closes the gap. Sums are the totals of exited threads plus every
// element of the map. For a thread that is on a CPU, the CPU time is read from /proc.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <unordered_map>
#include <utility>

#include <unistd.h>

#include "probes/bpf/capabilities.h"
#include "probes/bpf/tracepoints.h"
#include "probes/proc/process_tree.h"
#include "probes/scheduler/blocking_calls.h"
#include "probes/scheduler/rungs/bpf_rung.h"
#include "scheduler_raw.skel.h"

namespace topspin {
namespace {

constexpr uint32_t kBatch = 1024;

class RawTpRung final : public BpfRung<scheduler_raw> {
 public:
  RawTpRung(AttachedRung<scheduler_raw> attached, const Subject& subject,
            const ProbeOptions& options, ProcReader& proc)
      : BpfRung(std::move(attached), options.max_thread_rows_per_interval),
        proc_(proc),
        tree_(subject, proc),
        is_cgroup_(subject.kind == SubjectSpec::Kind::kCgroup),
        threads_fd_(bpf_map__fd(skeleton_->maps.threads)),
        sleeps_fd_(bpf_map__fd(skeleton_->maps.sleeps)),
        holders_(bpf_map__fd(skeleton_->maps.holders), options.proc_root) {}

  void seed() { refused_ += name_threads(tree_, proc_, threads_fd_, &element_of); }

  void follow_cgroup(uint64_t id) override {
    skeleton_->bss->subject_cgroup_id = id;
    add_newcomers();
  }

  SchedulerReading read() override {
    SchedulerReading reading;
    if (is_cgroup_) add_newcomers();
    // Reads the totals first: a thread that exits in between is missing in one reading, which the
    // probe smooths, and is never counted twice.
    topspin_totals totals;
    std::memcpy(&totals, &skeleton_->bss->totals, sizeof(totals));
    add_counters(reading, totals.counters);
    add_counters(reading, left_);
    std::set<int32_t> processes;
    for_each_thread([&](int32_t, const topspin_raw_thread& raw) {
      if (raw.thread.member != TOPSPIN_MEMBER) {
        if (raw.thread.pid > 0) processes.insert(raw.thread.pid);
        return;
      }
      take_thread(raw, reading);
      processes.insert(raw.thread.pid);
    });
    reported_cpu_ns_ = std::exchange(reporting_cpu_ns_, {});
    reading.losses.scheduler_map_full = refused_;
    finish(reading, totals, holders_);
    reading.processes.assign(processes.begin(), processes.end());
    return reading;
  }

 private:
  static topspin_raw_thread element_of(int32_t pid, int32_t tid) {
    topspin_raw_thread raw{};
    raw.thread.member = TOPSPIN_SEEDED;
    raw.thread.pid = pid;
    raw.thread.tid = tid;
    return raw;
  }

  /// For a cgroup: finds threads that joined it other than by fork, and threads that left it.
  void add_newcomers() {
    const NamedThreads named = name_newcomers(tree_, proc_, threads_fd_, &element_of);
    refused_ += named.refused;
    if (is_cgroup_) drop_leavers(named.present);
  }

  void drop_leavers(const std::set<int32_t>& present) {
    std::vector<topspin_thread> suspects;
    for_each_thread([&](int32_t tid, const topspin_raw_thread& raw) {
      if (!present.contains(tid)) suspects.push_back(raw.thread);
    });
    if (suspects.empty()) return;
    tree_.update();  // threads that started since the last update have not left
    for (const topspin_thread& thread : suspects) {
      if (std::ranges::binary_search(tree_.processes(), thread.pid)) continue;
      // If the thread exits, its last event will come.
      if (!proc_.thread_stat(thread.pid, thread.tid)) continue;
      if (bpf_map_delete_elem(threads_fd_, &thread.tid) != 0) continue;
      (void)bpf_map_delete_elem(sleeps_fd_, &thread.tid);
      add(left_, since_joining(thread));
    }
  }

  static void add(topspin_counters& sum, const topspin_counters& part) {
    sum.cpu_ns += part.cpu_ns;
    sum.run_delay_ns += part.run_delay_ns;
    sum.voluntary_switches += part.voluntary_switches;
    sum.involuntary_switches += part.involuntary_switches;
    sum.migrations += part.migrations;
    sum.minor_faults += part.minor_faults;
    sum.major_faults += part.major_faults;
  }

  static topspin_counters since_joining(const topspin_thread& thread) {
    const auto since = [](uint64_t now, uint64_t baseline) {
      return now > baseline ? now - baseline : 0;
    };
    topspin_counters account;
    account.cpu_ns = since(thread.folded.cpu_ns, thread.baseline.cpu_ns);
    account.run_delay_ns = since(thread.folded.run_delay_ns, thread.baseline.run_delay_ns);
    account.voluntary_switches =
        since(thread.folded.voluntary_switches, thread.baseline.voluntary_switches);
    account.involuntary_switches =
        since(thread.folded.involuntary_switches, thread.baseline.involuntary_switches);
    account.migrations = since(thread.folded.migrations, thread.baseline.migrations);
    account.minor_faults = since(thread.folded.minor_faults, thread.baseline.minor_faults);
    account.major_faults = since(thread.folded.major_faults, thread.baseline.major_faults);
    return account;
  }

  void take_thread(const topspin_raw_thread& raw, SchedulerReading& reading) {
    topspin_thread thread = raw.thread;
    if (thread.state == TOPSPIN_RUNNING) {
      // At most one thread per CPU. If this is its first run, the censored wait is left out.
      if (const auto now = proc_.thread_schedstat(thread.pid, thread.tid)) {
        thread.folded.cpu_ns = std::max<uint64_t>(thread.folded.cpu_ns, now->cpu_ns);
        thread.folded.run_delay_ns =
            std::max<uint64_t>(thread.folded.run_delay_ns, now->run_delay_ns);
      }
    }
    topspin_record record{};
    record.pid = thread.pid;
    record.tid = thread.tid;
    record.start_boottime_ns = thread.start_boottime_ns;
    record.busy_stretch_max = thread.busy_stretch_max;
    record.since_joining = since_joining(thread);
    std::memcpy(record.comm, raw.comm, sizeof(record.comm));
    add_counters(reading, record.since_joining);
    if (thread.state == TOPSPIN_QUEUED || thread.state == TOPSPIN_PREEMPTED) ++reading.open_waits;
    if (!thread.has_row) return;
    // Kept only for the threads of this reading, so that threads that are gone take no memory.
    const auto before = reported_cpu_ns_.find(thread.tid);
    if (before == reported_cpu_ns_.end() || before->second != record.since_joining.cpu_ns) {
      topspin_thread_sleeps sleeps{};
      (void)bpf_map_lookup_elem(sleeps_fd_, &thread.tid, &sleeps);
      push_row(make_row(record, thread.times, sleeps));
    }
    reporting_cpu_ns_[thread.tid] = record.since_joining.cpu_ns;
  }

  template <typename Visit>
  void for_each_thread(Visit visit) {
    std::vector<int32_t> keys(kBatch);
    std::vector<topspin_raw_thread> values(kBatch);
    uint32_t in = 0;
    uint32_t out = 0;
    bool first = true;
    while (true) {
      uint32_t count = kBatch;
      const int error = bpf_map_lookup_batch(threads_fd_, first ? nullptr : &in, &out, keys.data(),
                                             values.data(), &count, nullptr);
      if (error != 0 && errno != ENOENT) return;
      for (uint32_t index = 0; index < count; ++index) visit(keys[index], values[index]);
      if (error != 0) return;
      in = out;
      first = false;
    }
  }

  ProcReader& proc_;
  ProcessTree tree_;
  bool is_cgroup_;
  int threads_fd_;
  int sleeps_fd_;
  CpuHolders holders_;
  std::unordered_map<int32_t, uint64_t> reported_cpu_ns_;   // in the previous reading
  std::unordered_map<int32_t, uint64_t> reporting_cpu_ns_;  // in the current one
  topspin_counters left_{};                                 // of threads that left the cgroup
  uint64_t refused_ = 0;
};

}  // namespace

SchedulerRungResult open_scheduler_raw_tp(const Subject& subject, const ProbeOptions& options,
                                          ProcReader& proc) {
  if (!in_initial_pid_namespace())
    return make_error(ErrorCode::kUnsupported,
                      "raw tracepoints know threads by their numbers in the initial pid "
                      "namespace; run topspin there");
  const auto prepare = [&](scheduler_raw& skeleton, const BpfLog&) -> Status {
    const bool cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
    skeleton.bss->subject_cgroup_id = cgroup ? subject.cgroup_id : 0;
    skeleton.rodata->own_process = ::getpid();
    skeleton.rodata->max_rows = options.max_threads;
    name_blocking_calls(skeleton.rodata->blocked_by_of_call);
    bpf_map__set_max_entries(skeleton.maps.threads, thread_map_entries(options));
    bpf_map__set_max_entries(skeleton.maps.sleeps, thread_map_entries(options));
    make_safe_in_scheduler(skeleton.maps.threads);
    make_safe_in_scheduler(skeleton.maps.sleeps);
    return {};
  };
  TOPSPIN_ASSIGN(auto attached,
                 attach_rung<scheduler_raw>("raw tracepoint", wants_timers(options), prepare));
  auto rung = std::make_unique<RawTpRung>(std::move(attached), subject, options, proc);
  TOPSPIN_TRY(rung->open_exits());
  rung->seed();
  return SchedulerRungResult(std::move(rung));
}

}  // namespace topspin
