// The third rung: scheduler_tracepoint.bpf.c. Owned by Probes, on its thread.
//
// For kernels without BTF. Waits, slices and time off the CPU are measured; sums and rows come from
// the rung below (/proc), whose owner this is, and a row gets its distributions from here.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "probes/bpf/bpf_object.h"
#include "probes/bpf/tracepoints.h"
#include "scheduler_tracepoint.skel.h"

namespace topspin {
namespace {

struct DestroySkeleton {
  void operator()(scheduler_tracepoint* skeleton) const { scheduler_tracepoint::destroy(skeleton); }
};
struct FreeRing {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

class TracepointRung final : public SchedulerRung {
 public:
  TracepointRung(std::unique_ptr<scheduler_tracepoint, DestroySkeleton> skeleton, CpuArray cpus,
                 std::unique_ptr<SchedulerRung> sums)
      : skeleton_(std::move(skeleton)), cpus_(std::move(cpus)), sums_(std::move(sums)) {
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

  void seed(const Subject& subject, ProcReader& proc) {
    const topspin_thread thread{};
    refused_ = name_threads(subject, proc, threads_fd(), std::as_bytes(std::span(&thread, 1)));
  }

  SchedulerReading read() override {
    SchedulerReading reading = sums_->read();
    // A thread that ended after /proc was read for the previous reading is missed there in this
    // one.
    ended_before_ = std::exchange(ended_, {});
    ring_buffer__consume(ring_.get());
    cpus_.read(reading);
    // Not known without a task_struct: absent, not nothing.
    reading.totals.wake_delivery.reset();
    for (Preemptions& by : reading.totals.preempted_by) by = {};
    reading.totals.cpus.clear();
    reading.losses.scheduler_map_full = skeleton_->bss->threads_refused + refused_;
    reading.losses.scheduler_ring_full = skeleton_->bss->exits_unsent;
    add_program_stats(reading, program_fds_);
    for (ThreadRow& row : reading.changed_threads) add_distributions(row);
    return reading;
  }

 private:
  int threads_fd() const { return bpf_map__fd(skeleton_->maps.threads); }

  void add_distributions(ThreadRow& row) {
    topspin_thread stamped;
    ThreadRow measured;
    // A number may have two rows: of one that has ended and of one that took it over.
    const ThreadRow* ended = row.exited || !is_known(row.tid) ? find_ended(row.tid) : nullptr;
    if (ended)
      measured = *ended;
    else if (bpf_map_lookup_elem(threads_fd(), &row.tid, &stamped) == 0)
      measured = make_row({}, stamped.times);
    else
      return;
    row.run_queue_wait = measured.run_queue_wait;
    row.run_queue_wait_ns = measured.run_queue_wait_ns;
    row.run_queue_waits = measured.run_queue_waits;
    row.run_queue_wait_max_ns = measured.run_queue_wait_max_ns;
    row.on_cpu = measured.on_cpu;
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

  static int on_exit_record(void* context, void* data, size_t size) {
    if (auto row = make_exit_row(data, size)) {
      const int32_t tid = row->tid;
      static_cast<TracepointRung*>(context)->ended_[tid] = std::move(*row);
    }
    return 0;
  }

  std::unique_ptr<scheduler_tracepoint, DestroySkeleton> skeleton_;
  CpuArray cpus_;
  std::unique_ptr<SchedulerRung> sums_;
  std::unique_ptr<ring_buffer, FreeRing> ring_;
  std::vector<int> program_fds_;
  std::unordered_map<int32_t, ThreadRow> ended_;         // since the previous reading
  std::unordered_map<int32_t, ThreadRow> ended_before_;  // and between that and the one before
  uint64_t refused_ = 0;
};

}  // namespace

SchedulerRungResult open_scheduler_tracepoint(const Subject& subject, const ProbeOptions& options,
                                              ProcReader& proc) {
  const BpfLog log;
  TOPSPIN_TRY(can_follow_by_tracepoints(subject));
  TOPSPIN_ASSIGN(const std::string events, tracepoint_events());
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return log.error("cannot count the CPUs", -cpus, false);
  std::unique_ptr<scheduler_tracepoint, DestroySkeleton> skeleton(
      scheduler_tracepoint::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno, false);
  TOPSPIN_ASSIGN(skeleton->rodata->offsets, scheduler_fields(events));
  bpf_map__set_max_entries(skeleton->maps.cpus, static_cast<uint32_t>(cpus));
  bpf_map__set_max_entries(skeleton->maps.threads, static_cast<uint32_t>(std::clamp<uint64_t>(
                                                       options.max_threads, 1024, 1 << 20)));
  if (const int error = scheduler_tracepoint::load(skeleton.get()))
    return log.error("cannot load the tracepoint programs", -error, false);
  TOPSPIN_ASSIGN(CpuArray array,
                 CpuArray::map(bpf_map__fd(skeleton->maps.cpus), static_cast<uint32_t>(cpus)));
  if (const int error = scheduler_tracepoint::attach(skeleton.get()))
    return log.error("cannot attach the tracepoint programs", -error, false);
  TOPSPIN_ASSIGN(std::unique_ptr<SchedulerRung> sums, open_scheduler_proc(subject, options, proc));
  auto rung =
      std::make_unique<TracepointRung>(std::move(skeleton), std::move(array), std::move(sums));
  TOPSPIN_TRY(rung->open_ring());
  rung->seed(subject, proc);
  return SchedulerRungResult(std::move(rung));
}

}  // namespace topspin
