// The top rung: scheduler.bpf.c, loaded, attached, seeded and read. Owned by Probes, on its thread.
//
// Order of opening, so that no fork is missed: attach, name the root (through a pidfd, so that it
// is the right process), then walk all tasks until a walk finds nobody new. A fork of a member
// after attaching makes a member; a fork before its parent was named is found by the walk.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/unique_fd.h"
#include "probes/bpf/bpf_object.h"
#include "probes/scheduler/timers.h"
#include "scheduler.skel.h"

namespace topspin {
namespace {

constexpr int kMaxSeedingWalks = 32;

struct DestroySkeleton {
  void operator()(scheduler* skeleton) const { scheduler::destroy(skeleton); }
};
struct FreeRing {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

class TpBtfRung final : public SchedulerRung {
 public:
  TpBtfRung(std::unique_ptr<scheduler, DestroySkeleton> skeleton, CpuArray cpus,
            uint64_t rows_per_interval)
      : skeleton_(std::move(skeleton)), cpus_(std::move(cpus)), rows_(rows_per_interval) {
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, skeleton_->obj) {
      if (bpf_program__fd(program) >= 0) program_fds_.push_back(bpf_program__fd(program));
    }
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

  Status seed(const Subject& subject) {
    if (subject.kind == SubjectSpec::Kind::kProcessTree) {
      const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, subject.pid, 0)));
      const int key = pidfd.get();
      topspin_thread thread{};
      thread.member = TOPSPIN_SEEDED;
      if (!pidfd || bpf_map_update_elem(bpf_map__fd(skeleton_->maps.threads), &key, &thread,
                                        BPF_NOEXIST) != 0)
        return make_error(ErrorCode::kUsage,
                          fmt::format("cannot mark process {}: {}; is it still running?",
                                      subject.pid, std::strerror(errno)),
                          errno);
    }
    uint64_t joined = UINT64_MAX;
    for (int walk = 0; walk < kMaxSeedingWalks && joined != skeleton_->bss->totals.threads_joined;
         ++walk) {
      joined = skeleton_->bss->totals.threads_joined;
      TOPSPIN_TRY(walk_threads(nullptr));
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
    (void)walk_threads(nullptr);  // one that fails leaves the new cgroup's threads to the next
  }
  int task_storage_fd() const override { return bpf_map__fd(skeleton_->maps.threads); }

  SchedulerReading read() override {
    SchedulerReading reading;
    // A walk that fails leaves the sums of threads that still run where they were: they catch up
    // with the next. It has no cause to fail once it worked while opening.
    (void)walk_threads(&reading);
    ring_buffer__consume(ring_.get());
    cpus_.read(reading);
    const topspin_totals& totals = skeleton_->bss->totals;
    add_counters(reading, totals.counters);
    reading.losses.scheduler_map_full = totals.threads_refused;
    reading.losses.thread_rows_unstored = totals.rows_refused + rows_.dropped();
    reading.losses.scheduler_ring_full = totals.exits_unsent;
    add_program_stats(reading, program_fds_);
    reading.changed_threads = rows_.take();
    std::sort(reading.processes.begin(), reading.processes.end());
    return reading;
  }

 private:
  /// One pass of the kernel over all tasks; `reading` may be null.
  Status walk_threads(SchedulerReading* reading) {
    const UniqueFd walk(bpf_iter_create(bpf_link__fd(skeleton_->links.walk_threads)));
    if (!walk)
      return make_error(ErrorCode::kInternal,
                        fmt::format("cannot walk the threads: {}", std::strerror(errno)), errno);
    buffer_.resize(256 * (sizeof(topspin_record) + sizeof(topspin_times)));
    size_t kept = 0;  // bytes of a record cut in two by the end of a read
    while (true) {
      const ssize_t got = ::read(walk.get(), buffer_.data() + kept, buffer_.size() - kept);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got < 0)
        return make_error(ErrorCode::kInternal,
                          fmt::format("cannot walk the threads: {}", std::strerror(errno)), errno);
      if (got == 0) return {};
      const size_t size = kept + static_cast<size_t>(got);
      size_t whole = 0;
      while (size - whole >= sizeof(topspin_record)) {
        topspin_record record;
        topspin_times times{};
        std::memcpy(&record, buffer_.data() + whole, sizeof(record));
        size_t length = sizeof(record);
        if (record.flags & TOPSPIN_RECORD_CHANGED) {
          length += sizeof(times);
          if (size - whole < length) break;
          std::memcpy(&times, buffer_.data() + whole + sizeof(record), sizeof(times));
        }
        if (reading) take_record(record, times, *reading);
        whole += length;
      }
      kept = size - whole;
      std::memmove(buffer_.data(), buffer_.data() + whole, kept);
    }
  }

  void take_record(const topspin_record& record, const topspin_times& times,
                   SchedulerReading& reading) {
    const uint32_t flags = record.flags;
    if (flags & TOPSPIN_RECORD_CHANGED) rows_.push(make_row(record, times));
    if (flags & TOPSPIN_RECORD_QUEUED) ++reading.open_waits;
    if ((flags & TOPSPIN_RECORD_LEADER) && (flags & TOPSPIN_RECORD_LIVE))
      reading.processes.push_back(record.pid);
  }

  static int on_exit_record(void* context, void* data, size_t size) {
    if (auto row = make_exit_row(data, size))
      static_cast<TpBtfRung*>(context)->rows_.push(std::move(*row));
    return 0;
  }

  std::unique_ptr<scheduler, DestroySkeleton> skeleton_;
  CpuArray cpus_;
  RowQueue rows_;
  std::unique_ptr<ring_buffer, FreeRing> ring_;
  std::vector<int> program_fds_;
  std::unique_ptr<Timers> timers_;
  std::string timers_missing_ = "not asked for";
  std::vector<char> buffer_;
};

}  // namespace

SchedulerRungResult open_scheduler_tp_btf(const Subject& subject, const ProbeOptions& options) {
  const BpfLog log;
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return log.error("cannot count the CPUs", -cpus);
  std::unique_ptr<scheduler, DestroySkeleton> skeleton(scheduler::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno);
  const bool cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
  skeleton->bss->subject_cgroup_id = cgroup ? subject.cgroup_id : 0;
  skeleton->rodata->max_rows = options.max_threads;
  bpf_map__set_max_entries(skeleton->maps.cpus, static_cast<uint32_t>(cpus));
  bpf_program__set_autoload(skeleton->progs.cgroup_attach_task, cgroup);
  if (const int error = scheduler::load(skeleton.get()))
    return log.error("cannot load the BTF tracepoint programs", -error);
  TOPSPIN_ASSIGN(CpuArray array,
                 CpuArray::map(bpf_map__fd(skeleton->maps.cpus), static_cast<uint32_t>(cpus)));
  if (const int error = scheduler::attach(skeleton.get()))
    return log.error("cannot attach the BTF tracepoint programs", -error);
  auto rung = std::make_unique<TpBtfRung>(std::move(skeleton), std::move(array),
                                          options.max_thread_rows_per_interval);
  TOPSPIN_TRY(rung->open_ring());
  if (wants_timers(options)) rung->attach_timers();
  TOPSPIN_TRY(rung->seed(subject));
  return SchedulerRungResult(std::move(rung));
}

}  // namespace topspin
