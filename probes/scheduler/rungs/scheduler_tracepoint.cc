// The third rung: scheduler_tracepoint.bpf.c. Owned by the scheduler probe, on its thread.
//
// For kernels without BTF. It measures waits, slices and time off the CPU. Sums and rows come from
// the rung below (/proc), which this rung owns; it adds the distributions to the rows.
#include <cerrno>
#include <unordered_map>
#include <utility>

#include "probes/bpf/tracepoints.h"
#include "probes/proc/process_tree.h"
#include "probes/scheduler/rungs/bpf_rung.h"
#include "scheduler_tracepoint.skel.h"

namespace topspin {
namespace {

class TracepointRung final : public BpfRung<scheduler_tracepoint> {
 public:
  TracepointRung(OwnedSkeleton<scheduler_tracepoint> skeleton, MappedBpfArray<topspin_cpu> cpus,
                 std::unique_ptr<SchedulerRung> sums)
      : BpfRung({std::move(skeleton), std::move(cpus), kTimersNeedBpf}, 0),
        sums_(std::move(sums)) {}

  void seed(const Subject& subject, ProcReader& proc) {
    ProcessTree tree(subject, proc);
    refused_ =
        name_threads(tree, proc, threads_fd(), [](int32_t, int32_t) { return topspin_thread{}; });
  }

  SchedulerReading read() override {
    SchedulerReading reading = sums_->read();
    // If a thread ended after /proc was read for the previous reading, this reading of /proc misses
    // it.
    ended_before_ = std::exchange(ended_, {});
    take_exits();
    read_cpus(reading);
    // Not known without a task_struct, so absent and not 0.
    reading.totals.wake_delivery.reset();
    for (Preemptions& by : reading.totals.preempted_by) by = {};
    for (auto& sleeps : reading.totals.blocked_by) sleeps.reset();
    reading.totals.cpus.clear();
    reading.losses.scheduler_map_full = skeleton_->bss->threads_refused + refused_;
    reading.losses.scheduler_ring_full = skeleton_->bss->exits_unsent;
    read_program_account(reading);
    for (ThreadRow& row : reading.changed_threads) add_distributions(row);
    return reading;
  }

 private:
  int threads_fd() const { return bpf_map__fd(skeleton_->maps.threads); }

  /// The rows are those of `sums_`. The distributions of an exited thread are kept until its row
  /// comes.
  void take_exited(ThreadRow row) override {
    const int32_t tid = row.tid;
    ended_[tid] = std::move(row);
  }

  void add_distributions(ThreadRow& row) {
    topspin_thread stamped;
    ThreadRow measured;
    // A thread number may have two rows: one of a thread that has ended, and one of the thread that
    // got its number.
    const ThreadRow* ended = row.exited || !is_known(row.tid) ? find_ended(row.tid) : nullptr;
    if (ended)
      measured = *ended;
    else if (bpf_map_lookup_elem(threads_fd(), &row.tid, &stamped) == 0)
      measured = make_row(record_of(stamped), stamped.times, {});
    else
      return;
    row.run_queue_wait = measured.run_queue_wait;
    row.run_queue_wait_ns = measured.run_queue_wait_ns;
    row.run_queue_waits = measured.run_queue_waits;
    row.run_queue_wait_max_ns = measured.run_queue_wait_max_ns;
    row.on_cpu = measured.on_cpu;
    row.busy_stretch_max_ns = measured.busy_stretch_max_ns;
  }

  static topspin_record record_of(const topspin_thread& thread) {
    topspin_record record{};
    record.busy_stretch_max = thread.busy_stretch_max;
    return record;
  }

  bool is_known(int32_t tid) const {
    topspin_thread ignored;
    return bpf_map_lookup_elem(threads_fd(), &tid, &ignored) == 0;
  }
  const ThreadRow* find_ended(int32_t tid) const {
    for (const auto* rows : {&ended_, &ended_before_}) {
      if (const auto found = rows->find(tid); found != rows->end()) return &found->second;
    }
    return nullptr;
  }

  std::unique_ptr<SchedulerRung> sums_;
  std::unordered_map<int32_t, ThreadRow> ended_;         // since the previous reading
  std::unordered_map<int32_t, ThreadRow> ended_before_;  // in the interval before that
  uint64_t refused_ = 0;
};

}  // namespace

SchedulerRungResult open_scheduler_tracepoint(const Subject& subject, const ProbeOptions& options,
                                              ProcReader& proc) {
  const BpfLog log;
  TOPSPIN_TRY(can_follow_by_tracepoints(subject));
  TOPSPIN_ASSIGN(const std::string events, tracepoint_events());
  OwnedSkeleton<scheduler_tracepoint> skeleton(scheduler_tracepoint::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno, false);
  TOPSPIN_ASSIGN(skeleton->rodata->offsets, scheduler_fields(events));
  bpf_map__set_max_entries(skeleton->maps.threads, thread_map_entries(options));
  make_safe_in_scheduler(skeleton->maps.threads);
  TOPSPIN_ASSIGN(auto cpus, load_programs<topspin_cpu>(*skeleton, skeleton->maps.cpus, 1, log,
                                                       "tracepoint", false));
  TOPSPIN_TRY(attach_programs(*skeleton, log, "tracepoint", false));
  TOPSPIN_ASSIGN(std::unique_ptr<SchedulerRung> sums, open_scheduler_proc(subject, options, proc));
  auto rung =
      std::make_unique<TracepointRung>(std::move(skeleton), std::move(cpus), std::move(sums));
  TOPSPIN_TRY(rung->open_exits());
  rung->seed(subject, proc);
  return SchedulerRungResult(std::move(rung));
}

}  // namespace topspin
