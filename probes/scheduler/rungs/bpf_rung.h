// BpfRung is the user side that the three BPF rungs of the scheduler share: the mapped CPUs, the
// ring of exited threads, rows, timers, and the kernel's account of the programs. Each rung adds
// how the subject's threads are identified and read. Owned by the scheduler probe, on its thread.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "probes/bpf/bpf_object.h"
#include "probes/scheduler/cpu_array.h"
#include "probes/scheduler/cpu_holders.h"
#include "probes/scheduler/rungs/scheduler_rung.h"
#include "probes/scheduler/thread_rows.h"
#include "probes/scheduler/timers.h"

namespace topspin {

/// The entries of a map of threads by number. Each takes 1 KiB.
inline uint32_t thread_map_entries(const ProbeOptions& options) {
  return static_cast<uint32_t>(std::clamp<uint64_t>(options.max_threads, 1024, 1 << 20));
}

/// The programs of a rung, loaded and attached.
template <typename Skeleton>
struct AttachedRung {
  OwnedSkeleton<Skeleton> skeleton;
  MappedBpfArray<topspin_cpu> cpus;
  std::string timers_missing;  // why they measure no timers; empty: they do
};

/// `prepare` sets constants and sizes.
template <typename Skeleton, typename Prepare>
Result<AttachedRung<Skeleton>> attach_once(std::string_view programs, bool with_timers,
                                           const Prepare& prepare) {
  const BpfLog log;
  OwnedSkeleton<Skeleton> skeleton(Skeleton::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno);
  TOPSPIN_TRY(prepare(*skeleton, log));
  auto& progs = skeleton->progs;
  for (bpf_program* program : {progs.hrtimer_expire_entry, progs.hrtimer_expire_exit})
    bpf_program__set_autoload(program, with_timers);
  TOPSPIN_ASSIGN(auto cpus,
                 load_programs<topspin_cpu>(*skeleton, skeleton->maps.cpus, 1, log, programs));
  TOPSPIN_TRY(attach_programs(*skeleton, log, programs));
  return AttachedRung<Skeleton>{std::move(skeleton), std::move(cpus), {}};
}

/// If the kernel refuses them with the timers' programs, opens them without.
template <typename Skeleton, typename Prepare>
Result<AttachedRung<Skeleton>> attach_rung(std::string_view programs, bool wants_timers,
                                           const Prepare& prepare) {
  auto attached = attach_once<Skeleton>(programs, wants_timers, prepare);
  if (!wants_timers) {
    if (attached.ok()) attached->timers_missing = "not asked for";
    return attached;
  }
  if (!attached.ok()) {
    auto without = attach_once<Skeleton>(programs, false, prepare);
    if (without.ok()) without->timers_missing = attached.error().message;
    return without;
  }
  if (auto learned = learn_timers(attached->skeleton->bss->known_timers); !learned.ok()) {
    auto& links = attached->skeleton->links;
    for (bpf_link** link : {&links.hrtimer_expire_entry, &links.hrtimer_expire_exit})
      bpf_link__destroy(std::exchange(*link, nullptr));
    attached->timers_missing = learned.error().message;
  }
  return attached;
}

/// REQUIRES of Skeleton: the maps `cpus` and `exits` of scheduler_maps.bpf.h.
template <typename Skeleton>
class BpfRung : public SchedulerRung {
 public:
  BpfRung(AttachedRung<Skeleton> attached, uint64_t rows_per_interval)
      : skeleton_(std::move(attached.skeleton)),
        cpus_(std::move(attached.cpus)),
        rows_(rows_per_interval),
        program_fds_(loaded_programs(skeleton_->obj)),
        timers_missing_(std::move(attached.timers_missing)) {
    if (timers_missing_.empty()) cpus_.add_timers();
  }

  /// Called before the threads are named to the programs, so that no exit is missed.
  Status open_exits() {
    TOPSPIN_ASSIGN(exits_, open_ring(bpf_map__fd(skeleton_->maps.exits), &on_exit, this, "exits"));
    return {};
  }

  std::string timers_missing() const override { return timers_missing_; }

 protected:
  virtual void take_exited(ThreadRow row) { rows_.push(std::move(row)); }

  /// Calls take_exited() for each thread that exited.
  void take_exits() { ring_buffer__consume(exits_.get()); }

  void read_cpus(SchedulerReading& reading) { cpus_.read(reading); }

  void read_program_account(SchedulerReading& reading) const {
    const ProgramStats stats = read_program_stats(program_fds_);
    reading.losses.scheduler_missed_runs += stats.missed_runs;
    if (stats.run_ns > 0) reading.bpf_ns = stats.run_ns;
  }

  /// For rungs whose programs keep topspin_totals. Called after the walk over the threads.
  void finish(SchedulerReading& reading, const topspin_totals& totals, CpuHolders& holders) {
    take_exits();
    read_cpus(reading);
    holders.read(cpus_.cpus(), reading);
    reading.losses.scheduler_map_full += totals.threads_refused;
    reading.losses.thread_rows_unstored = totals.rows_refused + rows_.dropped();
    reading.losses.scheduler_ring_full = totals.exits_unsent;
    read_program_account(reading);
    reading.changed_threads = rows_.take();
  }

  OwnedSkeleton<Skeleton> skeleton_;

  void push_row(ThreadRow row) { rows_.push(std::move(row)); }

 private:
  static int on_exit(void* context, void* data, size_t size) {
    if (auto row = make_exit_row(data, size))
      static_cast<BpfRung*>(context)->take_exited(std::move(*row));
    return 0;
  }

  CpuArray cpus_;
  RowQueue rows_;
  std::vector<int> program_fds_;
  RingBuffer exits_;
  std::string timers_missing_;
};

}  // namespace topspin
