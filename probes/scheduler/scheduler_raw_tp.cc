// The second rung: scheduler_raw.bpf.c. Owned by Probes, on its thread.
//
// The subject is found through /proc (the programs are attached first and follow forks, so scanning
// until nothing new appears closes the gap). Sums are the totals of exited threads plus every
// element of the map; a thread that has not left its CPU since has its CPU time read from /proc.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probes/bpf/bpf_object.h"
#include "probes/proc/process_tree.h"
#include "probes/scheduler/timers.h"
#include "scheduler_raw.skel.h"

namespace topspin {
namespace {

constexpr int kMaxSeedingRounds = 32;
constexpr uint32_t kBatch = 1024;
constexpr ino_t kInitialPidNamespace = 0xEFFFFFFC;

struct DestroySkeleton {
  void operator()(scheduler_raw* skeleton) const { scheduler_raw::destroy(skeleton); }
};
struct FreeRing {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

class RawTpRung final : public SchedulerRung {
 public:
  RawTpRung(std::unique_ptr<scheduler_raw, DestroySkeleton> skeleton, CpuArray cpus,
            const Subject& subject, const ProbeOptions& options, ProcReader& proc)
      : skeleton_(std::move(skeleton)),
        cpus_(std::move(cpus)),
        rows_(options.max_thread_rows_per_interval),
        proc_(proc),
        tree_(subject, proc),
        is_cgroup_(subject.kind == SubjectSpec::Kind::kCgroup),
        threads_fd_(bpf_map__fd(skeleton_->maps.threads)) {
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, skeleton_->obj)
        program_fds_.push_back(bpf_program__fd(program));
  }

  Status open_ring() {
    ring_.reset(
        ring_buffer__new(bpf_map__fd(skeleton_->maps.exits), &on_exit_record, this, nullptr));
    if (!ring_)
      return make_error(ErrorCode::kInternal,
                        fmt::format("cannot map the ring of exits: {}", std::strerror(errno)),
                        errno);
    return {};
  }

  Status seed() {
    for (int round = 0; round < kMaxSeedingRounds; ++round) {
      if (add_newcomers() == 0) break;
    }
    return {};
  }

  /// Not being able to is no failure: the reason stands in timers_missing().
  void attach_timers() {
    auto attached = Timers::attach(bpf_map__fd(skeleton_->maps.cpus));
    if (!attached.ok()) {
      timers_missing_ = attached.error().message;
      return;
    }
    timers_ = std::move(attached).value();
    timers_missing_.clear();
    cpus_.add_timers();
    for (const int fd : timers_->program_fds()) program_fds_.push_back(fd);
  }

  std::string timers_missing() const override { return timers_missing_; }
  void follow_cgroup(uint64_t id) override {
    skeleton_->bss->subject_cgroup_id = id;
    (void)add_newcomers();
  }

  SchedulerReading read() override {
    SchedulerReading reading;
    if (is_cgroup_) add_newcomers();
    // The totals first: a thread that exits meanwhile is missing once, which Probes smooths, and
    // never counted twice.
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
    ring_buffer__consume(ring_.get());
    cpus_.read(reading);
    reading.losses.scheduler_map_full = totals.threads_refused + refused_;
    reading.losses.thread_rows_unstored = totals.rows_refused + rows_.dropped();
    reading.losses.scheduler_ring_full = totals.exits_unsent;
    add_program_stats(reading, program_fds_);
    reading.changed_threads = rows_.take();
    reading.processes.assign(processes.begin(), processes.end());
    return reading;
  }

 private:
  /// Seeds every thread of the subject that has no element; in cgroup mode also drops those that
  /// left it. Returns how many were new.
  size_t add_newcomers() {
    tree_.update();
    size_t fresh = 0;
    std::set<int32_t> present;
    for (const int32_t pid : tree_.processes()) {
      for (const int32_t tid : proc_.threads(pid)) {
        present.insert(tid);
        topspin_raw_thread raw{};
        raw.thread.member = TOPSPIN_SEEDED;
        raw.thread.pid = pid;
        raw.thread.tid = tid;
        if (bpf_map_update_elem(threads_fd_, &tid, &raw, BPF_NOEXIST) == 0)
          ++fresh;
        else if (errno == E2BIG || errno == ENOMEM)
          ++refused_;
      }
    }
    if (is_cgroup_) drop_leavers(present);
    return fresh;
  }

  void drop_leavers(const std::set<int32_t>& present) {
    std::vector<topspin_thread> suspects;
    for_each_thread([&](int32_t tid, const topspin_raw_thread& raw) {
      if (!present.contains(tid)) suspects.push_back(raw.thread);
    });
    if (suspects.empty()) return;
    tree_.update();  // those that started since the last one are no leavers
    for (const topspin_thread& thread : suspects) {
      if (std::ranges::binary_search(tree_.processes(), thread.pid)) continue;
      if (!proc_.thread_stat(thread.pid, thread.tid)) continue;  // exits: its last event comes
      if (bpf_map_delete_elem(threads_fd_, &thread.tid) != 0) continue;
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
      // At most one thread a CPU. The censored wait, if that is its first run, stays out.
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
    record.since_joining = since_joining(thread);
    std::memcpy(record.comm, raw.comm, sizeof(record.comm));
    add_counters(reading, record.since_joining);
    if (thread.state == TOPSPIN_QUEUED || thread.state == TOPSPIN_PREEMPTED) ++reading.open_waits;
    if (!thread.has_row) return;
    // Kept for the threads of this reading alone: those that are gone take no memory.
    const auto before = reported_cpu_ns_.find(thread.tid);
    if (before == reported_cpu_ns_.end() || before->second != record.since_joining.cpu_ns)
      rows_.push(make_row(record, thread.times));
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

  static int on_exit_record(void* context, void* data, size_t size) {
    auto row = make_exit_row(data, size);
    if (!row) return 0;
    static_cast<RawTpRung*>(context)->rows_.push(std::move(*row));
    return 0;
  }

  std::unique_ptr<scheduler_raw, DestroySkeleton> skeleton_;
  CpuArray cpus_;
  RowQueue rows_;
  ProcReader& proc_;
  ProcessTree tree_;
  bool is_cgroup_;
  int threads_fd_;
  std::unique_ptr<ring_buffer, FreeRing> ring_;
  std::vector<int> program_fds_;
  std::unique_ptr<Timers> timers_;
  std::string timers_missing_ = "not asked for";
  std::unordered_map<int32_t, uint64_t> reported_cpu_ns_;   // by the previous reading
  std::unordered_map<int32_t, uint64_t> reporting_cpu_ns_;  // by the one under way
  topspin_counters left_{};                                 // of threads that left the cgroup
  uint64_t refused_ = 0;
};

}  // namespace

SchedulerRungResult open_scheduler_raw_tp(const Subject& subject, const ProbeOptions& options,
                                          ProcReader& proc) {
  const BpfLog log;
  struct ::stat info {};
  if (::stat("/proc/self/ns/pid", &info) != 0 || info.st_ino != kInitialPidNamespace)
    return make_error(ErrorCode::kUnsupported,
                      "raw tracepoints know threads by their numbers in the initial pid "
                      "namespace; run topspin there");
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return log.error("cannot count the CPUs", -cpus);
  std::unique_ptr<scheduler_raw, DestroySkeleton> skeleton(scheduler_raw::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno);
  const bool cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
  skeleton->bss->subject_cgroup_id = cgroup ? subject.cgroup_id : 0;
  skeleton->rodata->own_process = ::getpid();
  skeleton->rodata->max_rows = options.max_threads;
  bpf_map__set_max_entries(skeleton->maps.cpus, static_cast<uint32_t>(cpus));
  bpf_map__set_max_entries(skeleton->maps.threads, static_cast<uint32_t>(std::clamp<uint64_t>(
                                                       options.max_threads, 1024, 1 << 20)));
  if (const int error = scheduler_raw::load(skeleton.get()))
    return log.error("cannot load the raw tracepoint programs", -error);
  TOPSPIN_ASSIGN(CpuArray array,
                 CpuArray::map(bpf_map__fd(skeleton->maps.cpus), static_cast<uint32_t>(cpus)));
  if (const int error = scheduler_raw::attach(skeleton.get()))
    return log.error("cannot attach the raw tracepoint programs", -error);
  auto rung =
      std::make_unique<RawTpRung>(std::move(skeleton), std::move(array), subject, options, proc);
  TOPSPIN_TRY(rung->open_ring());
  if (wants_timers(options)) rung->attach_timers();
  TOPSPIN_TRY(rung->seed());
  return SchedulerRungResult(std::move(rung));
}

}  // namespace topspin
