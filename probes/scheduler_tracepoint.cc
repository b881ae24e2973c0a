// The third rung: scheduler_tracepoint.bpf.c. Owned by Probes, on its thread.
//
// For kernels without BTF. Waits, slices and time off the CPU are measured; sums and rows come from
// the rung below (/proc), whose owner this is, and a row gets its distributions from here.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <unordered_map>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probes/bpf_object.h"
#include "probes/process_tree.h"
#include "scheduler_tracepoint.skel.h"

namespace topspin {
namespace {

constexpr int kMaxSeedingRounds = 32;
constexpr ino_t kInitialPidNamespace = 0xEFFFFFFC;

struct DestroySkeleton {
  void operator()(scheduler_tracepoint* skeleton) const { scheduler_tracepoint::destroy(skeleton); }
};
struct FreeRing {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

Result<std::string> events_directory() {
  for (const char* path :
       {"/sys/kernel/tracing/events/sched", "/sys/kernel/debug/tracing/events/sched"}) {
    if (::access((std::string(path) + "/sched_switch/format").c_str(), R_OK) == 0)
      return std::string(path);
    if (errno == EACCES)
      return make_error(ErrorCode::kPermission,
                        fmt::format("cannot read {}: needs cap_dac_read_search, or root", path),
                        EACCES);
  }
  return make_error(ErrorCode::kUnsupported,
                    "there is no tracefs; mount -t tracefs nodev /sys/kernel/tracing");
}

/// The offset of a field from lines like "\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;".
Result<uint32_t> field_offset(const std::string& events, const std::string& event,
                              const std::string& field, uint32_t size) {
  std::ifstream file(events + "/" + event + "/format");
  for (std::string line; std::getline(file, line);) {
    if (line.find(" " + field + ";") == std::string::npos) continue;
    const auto number = [&](std::string_view key) {
      uint32_t value = UINT32_MAX;
      const size_t begin = line.find(key);
      if (begin != std::string::npos)
        std::from_chars(line.data() + begin + key.size(), line.data() + line.size(), value);
      return value;
    };
    if (number("size:") == size && number("offset:") < 4096) return number("offset:");
  }
  return make_error(
      ErrorCode::kUnsupported,
      fmt::format("the tracepoint {} shows no field {} of {} bytes", event, field, size));
}

class TracepointRung final : public SchedulerRung {
 public:
  TracepointRung(std::unique_ptr<scheduler_tracepoint, DestroySkeleton> skeleton, CpuArray cpus,
                 std::unique_ptr<SchedulerRung> sums, const Subject& subject, ProcReader& proc)
      : skeleton_(std::move(skeleton)),
        cpus_(std::move(cpus)),
        sums_(std::move(sums)),
        proc_(proc),
        tree_(subject, proc) {
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

  /// The programs are attached and follow forks: scan until nobody new is found.
  void seed() {
    for (int round = 0; round < kMaxSeedingRounds; ++round) {
      size_t fresh = 0;
      tree_.update();
      for (const int32_t pid : tree_.processes()) {
        for (const int32_t tid : proc_.threads(pid)) {
          const topspin_thread thread{};
          if (bpf_map_update_elem(threads_fd(), &tid, &thread, BPF_NOEXIST) == 0)
            ++fresh;
          else if (errno == E2BIG || errno == ENOMEM)
            ++refused_;
        }
      }
      if (fresh == 0) return;
    }
  }

  SchedulerReading read() override {
    SchedulerReading reading = sums_->read();
    ended_.clear();
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
    const auto ended = ended_.find(row.tid);
    if (ended != ended_.end())
      measured = ended->second;
    else if (bpf_map_lookup_elem(threads_fd(), &row.tid, &stamped) == 0)
      measured = make_row({}, stamped.times);
    else
      return;
    row.run_queue_wait = measured.run_queue_wait;
    row.run_queue_waits = measured.run_queue_waits;
    row.run_queue_wait_max_ns = measured.run_queue_wait_max_ns;
    row.on_cpu = measured.on_cpu;
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
  ProcReader& proc_;
  ProcessTree tree_;
  std::unique_ptr<ring_buffer, FreeRing> ring_;
  std::vector<int> program_fds_;
  std::unordered_map<int32_t, ThreadRow> ended_;  // since the previous reading
  uint64_t refused_ = 0;
};

}  // namespace

SchedulerRungResult open_scheduler_tracepoint(const Subject& subject, const ProbeOptions& options,
                                              ProcReader& proc) {
  const BpfLog log;
  struct ::stat info {};
  if (::stat("/proc/self/ns/pid", &info) != 0 || info.st_ino != kInitialPidNamespace)
    return make_error(ErrorCode::kUnsupported,
                      "tracepoints know threads by their numbers in the initial pid namespace; run "
                      "topspin there");
  if (subject.kind != SubjectSpec::Kind::kProcessTree)
    return make_error(ErrorCode::kUnsupported,
                      "tracepoints without BTF follow a process and what it starts, not a cgroup");
  TOPSPIN_ASSIGN(const std::string events, events_directory());
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return log.error("cannot count the CPUs", -cpus, false);
  std::unique_ptr<scheduler_tracepoint, DestroySkeleton> skeleton(
      scheduler_tracepoint::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno, false);
  auto& offsets = skeleton->rodata->offsets;
  TOPSPIN_ASSIGN(offsets.switch_prev_pid, field_offset(events, "sched_switch", "prev_pid", 4));
  TOPSPIN_ASSIGN(offsets.switch_prev_state, field_offset(events, "sched_switch", "prev_state", 8));
  TOPSPIN_ASSIGN(offsets.switch_next_pid, field_offset(events, "sched_switch", "next_pid", 4));
  TOPSPIN_ASSIGN(offsets.wakeup_pid, field_offset(events, "sched_wakeup", "pid", 4));
  TOPSPIN_ASSIGN(offsets.fork_parent_pid,
                 field_offset(events, "sched_process_fork", "parent_pid", 4));
  TOPSPIN_ASSIGN(offsets.fork_child_pid,
                 field_offset(events, "sched_process_fork", "child_pid", 4));
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
  auto rung = std::make_unique<TracepointRung>(std::move(skeleton), std::move(array),
                                               std::move(sums), subject, proc);
  TOPSPIN_TRY(rung->open_ring());
  rung->seed();
  return SchedulerRungResult(std::move(rung));
}

}  // namespace topspin
