// The top rung: scheduler.bpf.c, loaded, attached, seeded and read. Owned by the scheduler probe,
// on its thread.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "probes/bpf/subject_watch.h"
#include "probes/scheduler/blocking_calls.h"
#include "probes/scheduler/rungs/bpf_rung.h"
#include "scheduler.skel.h"

namespace topspin {
namespace {

class TpBtfRung final : public BpfRung<scheduler> {
 public:
  TpBtfRung(AttachedRung<scheduler> attached, const ProbeOptions& options)
      : BpfRung(std::move(attached), options.max_thread_rows_per_interval),
        holders_(bpf_map__fd(skeleton_->maps.holders), options.proc_root) {}

  Status seed(const Subject& subject) { return seed_subject(watch(), subject); }

  void follow_cgroup(uint64_t id) override {
    skeleton_->bss->subject_cgroup_id = id;
    (void)walk_subject(watch());  // if it fails, the next walk finds the new cgroup's threads
  }
  int task_storage_fd() const override { return bpf_map__fd(skeleton_->maps.threads); }

  SchedulerReading read() override {
    SchedulerReading reading;
    // If a walk fails, the sums of running threads do not advance, and catch up with the next walk.
    // A walk that worked while opening has no reason to fail.
    (void)walk_threads(reading);
    const topspin_totals& totals = skeleton_->bss->totals;
    add_counters(reading, totals.counters);
    finish(reading, totals, holders_);
    std::sort(reading.processes.begin(), reading.processes.end());
    return reading;
  }

 private:
  SubjectWatch watch() const {
    return {bpf_map__fd(skeleton_->maps.threads), sizeof(topspin_thread), TOPSPIN_SEEDED,
            skeleton_->links.walk_threads, &skeleton_->bss->totals.threads_joined};
  }

  /// One pass of the kernel over all tasks.
  Status walk_threads(SchedulerReading& reading) {
    const UniqueFd walk(bpf_iter_create(bpf_link__fd(skeleton_->links.walk_threads)));
    if (!walk)
      return make_error(ErrorCode::kInternal,
                        fmt::format("cannot walk the threads: {}", std::strerror(errno)), errno);
    buffer_.resize(
        256 * (sizeof(topspin_record) + sizeof(topspin_times) + sizeof(topspin_thread_sleeps)));
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
        topspin_thread_sleeps sleeps{};
        std::memcpy(&record, buffer_.data() + whole, sizeof(record));
        size_t length = sizeof(record);
        if (record.flags & TOPSPIN_RECORD_CHANGED) {
          const char* rest = buffer_.data() + whole + sizeof(record);
          length += sizeof(times) + sizeof(sleeps);
          if (size - whole < length) break;
          std::memcpy(&times, rest, sizeof(times));
          std::memcpy(&sleeps, rest + sizeof(times), sizeof(sleeps));
        }
        take_record(record, times, sleeps, reading);
        whole += length;
      }
      kept = size - whole;
      std::memmove(buffer_.data(), buffer_.data() + whole, kept);
    }
  }

  void take_record(const topspin_record& record, const topspin_times& times,
                   const topspin_thread_sleeps& sleeps, SchedulerReading& reading) {
    const uint32_t flags = record.flags;
    if (flags & TOPSPIN_RECORD_CHANGED) push_row(make_row(record, times, sleeps));
    if (flags & TOPSPIN_RECORD_QUEUED) ++reading.open_waits;
    if ((flags & TOPSPIN_RECORD_LEADER) && (flags & TOPSPIN_RECORD_LIVE))
      reading.processes.push_back(record.pid);
  }

  CpuHolders holders_;
  std::vector<char> buffer_;
};

}  // namespace

SchedulerRungResult open_scheduler_tp_btf(const Subject& subject, const ProbeOptions& options,
                                          int thread_storage_fd) {
  const bool cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
  const auto prepare = [&](scheduler& skeleton, const BpfLog& log) -> Status {
    skeleton.bss->subject_cgroup_id = cgroup ? subject.cgroup_id : 0;
    skeleton.rodata->max_rows = options.max_threads;
    name_blocking_calls(skeleton.rodata->blocked_by_of_call);
    bpf_program__set_autoload(skeleton.progs.cgroup_attach_task, cgroup);
    if (thread_storage_fd < 0) return {};
    if (const int error = bpf_map__reuse_fd(skeleton.maps.threads, thread_storage_fd))
      return log.error("cannot share the map of threads", -error);
    return {};
  };
  TOPSPIN_ASSIGN(auto attached,
                 attach_rung<scheduler>("BTF tracepoint", wants_timers(options), prepare));
  auto rung = std::make_unique<TpBtfRung>(std::move(attached), options);
  TOPSPIN_TRY(rung->open_exits());
  TOPSPIN_TRY(rung->seed(subject));
  return SchedulerRungResult(std::move(rung));
}

}  // namespace topspin
