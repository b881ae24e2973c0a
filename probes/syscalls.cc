#include "probes/syscalls.h"

#include <algorithm>
#include <cerrno>

#include "probes/bpf_object.h"
#include "probes/mapped_array.h"
#include "probes/subject_watch.h"
#include "probes/syscall_names.h"
#include "probes/syscalls_abi.h"
#include "syscalls.skel.h"

namespace topspin {
namespace {

struct DestroySkeleton {
  void operator()(syscalls* skeleton) const { syscalls::destroy(skeleton); }
};
using Skeleton = std::unique_ptr<syscalls, DestroySkeleton>;

class BpfSyscallProbe final : public SyscallProbe {
 public:
  BpfSyscallProbe(Skeleton skeleton, MappedBpfArray<topspin_syscall> cells, const Subject& subject)
      : skeleton_(std::move(skeleton)),
        cells_(std::move(cells)),
        copies_(cells_.size()),
        program_fds_(loaded_programs(skeleton_->obj)),
        follows_cgroup_(subject.kind == SubjectSpec::Kind::kCgroup) {}

  SubjectWatch watch() const {
    return {bpf_map__fd(skeleton_->maps.threads), bpf_map__value_size(skeleton_->maps.threads),
            skeleton_->links.walk_threads, &skeleton_->bss->threads_joined};
  }

  SyscallReading read() override {
    // A walk that fails leaves who joined the cgroup in other ways than by fork for the next one.
    if (follows_cgroup_) (void)walk_subject(watch()).ok();
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
    reading.losses.syscalls_uncounted = variables.uncounted + variables.threads_refused;
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

  /// All CPUs as one; nullopt if nothing has changed.
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
    // Of the histogram, so that the two agree although calls go on while we read.
    row.count = row.latency.count();
    return row;
  }

  Skeleton skeleton_;
  MappedBpfArray<topspin_syscall> cells_;
  std::vector<Copy> copies_;
  std::vector<int> program_fds_;
  bool follows_cgroup_;
};

}  // namespace

Result<std::unique_ptr<SyscallProbe>> SyscallProbe::open(const Subject& subject) {
  const BpfLog log;
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return log.error("cannot count the CPUs", -cpus);
  Skeleton skeleton(syscalls::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno);
  const bool cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
  skeleton->rodata->subject_cgroup_id = cgroup ? subject.cgroup_id : 0;
  bpf_program__set_autoload(skeleton->progs.cgroup_attach_task, cgroup);
  const uint32_t elements = static_cast<uint32_t>(cpus) * TOPSPIN_SYSCALL_SLOTS;
  bpf_map__set_max_entries(skeleton->maps.cells, elements);
  if (const int error = syscalls::load(skeleton.get()))
    return log.error("cannot load the system call programs", -error);
  TOPSPIN_ASSIGN(auto cells,
                 MappedBpfArray<topspin_syscall>::map(bpf_map__fd(skeleton->maps.cells), elements));
  if (const int error = syscalls::attach(skeleton.get()))
    return log.error("cannot attach the system call programs", -error);
  auto probe = std::make_unique<BpfSyscallProbe>(std::move(skeleton), std::move(cells), subject);
  TOPSPIN_TRY(seed_subject(probe->watch(), subject));
  return Result<std::unique_ptr<SyscallProbe>>(std::move(probe));
}

}  // namespace topspin
