#include "probes/syscalls/syscalls.h"

#include <algorithm>
#include <cerrno>
#include <type_traits>

#include "probes/bpf/bpf_object.h"
#include "probes/bpf/mapped_array.h"
#include "probes/bpf/subject_watch.h"
#include "probes/bpf/tracepoints.h"
#include "probes/proc/syscall_names.h"
#include "probes/syscalls/syscalls_abi.h"
#include "syscalls.skel.h"
#include "syscalls_tracepoint.skel.h"

namespace topspin {
namespace {

/// For both rungs, whose skeletons have these variables and maps in common.
template <typename Skeleton>
class BpfSyscallProbe final : public SyscallProbe {
 public:
  BpfSyscallProbe(OwnedSkeleton<Skeleton> skeleton, MappedBpfArray<topspin_syscall> cells)
      : skeleton_(std::move(skeleton)),
        cells_(std::move(cells)),
        copies_(cells_.size()),
        program_fds_(loaded_programs(skeleton_->obj)) {}

  Skeleton& skeleton() { return *skeleton_; }
  /// For the top rung in cgroup mode: each reading first walks over the threads.
  void walk_each_time(const SubjectWatch& watch) { walked_ = watch; }
  void add_refused(uint64_t threads) { refused_ += threads; }
  void follow_cgroup(uint64_t id) override {
    if constexpr (std::is_same_v<Skeleton, syscalls>) {
      skeleton_->bss->subject_cgroup_id = id;
      if (walked_) (void)walk_subject(*walked_).ok();
    }
  }

  SyscallReading read() override {
    // If a walk fails, threads that joined the cgroup other than by fork are found by the next
    // walk.
    if (walked_) (void)walk_subject(*walked_).ok();
    SyscallReading reading;
    const auto& variables = *skeleton_->bss;
    for (int32_t number = 0; number < TOPSPIN_SYSCALL_NUMBERS; ++number) {
      const uint32_t slot = __atomic_load_n(&variables.slots[number], __ATOMIC_ACQUIRE);
      if (slot == 0 || slot > TOPSPIN_SYSCALL_SLOTS) continue;
      if (auto row = read_slot(number, slot)) reading.changed.push_back(std::move(*row));
    }
    const ProgramStats stats = read_program_stats(program_fds_);
    reading.bpf_ns = stats.run_ns;
    reading.losses.syscalls_missed_runs = stats.missed_runs;
    reading.losses.syscalls_left_censored = variables.left_censored;
    reading.losses.syscalls_uncounted = variables.uncounted + variables.threads_refused + refused_;
    return reading;
  }

 private:
  /// What was read of one kind of call on one CPU.
  struct Copy {
    uint64_t calls = 0;
    uint64_t errors = 0;
    uint64_t blocked_ns = 0;
    Histogram latency;
  };

  /// Merges all CPUs; nullopt if nothing has changed.
  std::optional<SyscallRow> read_slot(int32_t number, uint32_t slot) {
    SyscallRow row;
    bool changed = false;
    for (size_t index = slot - 1; index < cells_.size(); index += TOPSPIN_SYSCALL_SLOTS) {
      const topspin_syscall& cell = cells_[index];
      Copy& copy = copies_[index];
      const uint64_t calls = __atomic_load_n(&cell.calls, __ATOMIC_ACQUIRE);
      if (calls != copy.calls) {
        changed = true;
        copy = {calls, cell.errors, cell.blocked_ns, read_histogram(cell.latency)};
      }
      row.errors += copy.errors;
      row.blocked_ns += copy.blocked_ns;
      row.latency.merge(copy.latency);
    }
    if (!changed) return std::nullopt;
    row.number = number;
    row.name = syscall_name(number);
    // The histogram's count, so that the two agree although calls continue while we read.
    row.count = row.latency.count();
    return row;
  }

  OwnedSkeleton<Skeleton> skeleton_;
  MappedBpfArray<topspin_syscall> cells_;
  std::vector<Copy> copies_;
  std::vector<int> program_fds_;
  std::optional<SubjectWatch> walked_;
  uint64_t refused_ = 0;
};

/// Loads and attaches the object of either rung.
template <typename Skeleton>
Result<std::unique_ptr<BpfSyscallProbe<Skeleton>>> start(OwnedSkeleton<Skeleton> skeleton,
                                                         const BpfLog& log, bool needs_btf) {
  TOPSPIN_ASSIGN(auto cells, load_programs<topspin_syscall>(*skeleton, skeleton->maps.cells,
                                                            TOPSPIN_SYSCALL_SLOTS, log,
                                                            "system call", needs_btf));
  TOPSPIN_TRY(attach_programs(*skeleton, log, "system call", needs_btf));
  return std::make_unique<BpfSyscallProbe<Skeleton>>(std::move(skeleton), std::move(cells));
}

}  // namespace

Result<std::unique_ptr<SyscallProbe>> SyscallProbe::open_tp_btf(const Subject& subject) {
  const BpfLog log;
  OwnedSkeleton<syscalls> skeleton(syscalls::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno);
  const bool cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
  skeleton->bss->subject_cgroup_id = cgroup ? subject.cgroup_id : 0;
  bpf_program__set_autoload(skeleton->progs.cgroup_attach_task, cgroup);
  TOPSPIN_ASSIGN(auto probe, start(std::move(skeleton), log, true));
  syscalls& started = probe->skeleton();
  const SubjectWatch watch{.threads_fd = bpf_map__fd(started.maps.threads),
                           .thread_bytes = bpf_map__value_size(started.maps.threads),
                           .walk = started.links.walk_threads,
                           .threads_joined = &started.bss->threads_joined};
  TOPSPIN_TRY(seed_subject(watch, subject));
  if (cgroup) probe->walk_each_time(watch);
  return Result<std::unique_ptr<SyscallProbe>>(std::move(probe));
}

Result<std::unique_ptr<SyscallProbe>> SyscallProbe::open_tracepoint(const Subject& subject,
                                                                    uint64_t max_threads,
                                                                    ProcReader& proc) {
  const BpfLog log;
  TOPSPIN_TRY(can_follow_by_tracepoints(subject));
  TOPSPIN_ASSIGN(const std::string events, tracepoint_events());
  OwnedSkeleton<syscalls_tracepoint> skeleton(syscalls_tracepoint::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno, false);
  auto& constants = *skeleton->rodata;
  TOPSPIN_ASSIGN(constants.offsets, scheduler_fields(events));
  TOPSPIN_ASSIGN(constants.enter_number,
                 tracepoint_field(events, "raw_syscalls/sys_enter", "id", sizeof(long)));
  TOPSPIN_ASSIGN(constants.exit_result,
                 tracepoint_field(events, "raw_syscalls/sys_exit", "ret", sizeof(long)));
  bpf_map__set_max_entries(skeleton->maps.threads,
                           static_cast<uint32_t>(std::clamp<uint64_t>(max_threads, 1024, 1 << 20)));
  make_safe_in_scheduler(skeleton->maps.threads);
  TOPSPIN_ASSIGN(auto probe, start(std::move(skeleton), log, false));
  const int threads_fd = bpf_map__fd(probe->skeleton().maps.threads);
  topspin_watched_thread named{};
  named.member = 1;
  ProcessTree tree(subject, proc);
  probe->add_refused(name_threads(tree, proc, threads_fd, [&](int32_t, int32_t) { return named; }));
  return Result<std::unique_ptr<SyscallProbe>>(std::move(probe));
}

}  // namespace topspin
