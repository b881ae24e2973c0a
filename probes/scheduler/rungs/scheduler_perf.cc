// The rung below BPF: context-switch records of the perf subsystem (PERF_RECORD_SWITCH) for the
// subject's own threads, inherited by what they start. Needs no privilege as long as
// kernel.perf_event_paranoid is 2 or less and the subject is the user's own.
//
// The records say when a thread got a CPU, when it left it, and whether it was still runnable then.
// So slices and preemption waits are exact. There are no records of wakeups, so the wait for a CPU
// after a wakeup is not known. Sums and rows come from the rung below (/proc), which this rung
// owns.
//
// There is one ring per CPU, as inherited perf events require. A separate thread empties them,
// because they hold only some thousand switches. Everything it shares is under one mutex. Records
// of several CPUs are sorted by time before they are counted.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>

#include <fmt/format.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/perf/perf_event.h"
#include "probes/proc/process_tree.h"
#include "probes/scheduler/rungs/scheduler_rung.h"

namespace topspin {
namespace {

/// What an unprivileged user may lock per CPU by default (perf_event_mlock_kb = 516), minus the
/// control page.
constexpr size_t kRingBytes = 512 << 10;
constexpr int kDrainEveryMs = 50;
/// If a record is younger than this, an older one on another CPU may not be written yet.
constexpr int64_t kSettleNs = kNanosPerMilli / 2;
constexpr int kMaxSeedingRounds = 32;

/// What sample_id_all appends to every record. All our events set it.
struct SampleId {
  uint32_t pid, tid;
  uint64_t time_ns;
  uint32_t cpu, reserved;
};
static_assert(sizeof(SampleId) == 24);

struct Event {
  enum class Kind : uint8_t { kIn, kOut, kOutRunnable, kExit };
  int64_t time_ns;
  int32_t tid;
  Kind kind;
};

/// The mapped ring of one CPU.
class Ring {
 public:
  static Result<Ring> open(int event_fd) {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    void* memory =
        ::mmap(nullptr, page + kRingBytes, PROT_READ | PROT_WRITE, MAP_SHARED, event_fd, 0);
    if (memory == MAP_FAILED)
      return make_error(ErrorCode::kPermission,
                        fmt::format("cannot map a ring of perf events: {}; raise "
                                    "kernel.perf_event_mlock_kb or the limit of locked memory",
                                    std::strerror(errno)),
                        errno);
    return Ring(static_cast<char*>(memory), page);
  }
  Ring(Ring&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), page_(other.page_) {}
  Ring& operator=(Ring&&) = delete;
  ~Ring() {
    if (memory_) ::munmap(memory_, page_ + kRingBytes);
  }

  /// Calls visit(header, body, body_bytes) for each record, oldest first, and frees their room.
  template <typename Visit>
  void drain(Visit visit) {
    auto* control = reinterpret_cast<perf_event_mmap_page*>(memory_);
    const uint64_t head = __atomic_load_n(&control->data_head, __ATOMIC_ACQUIRE);
    uint64_t tail = control->data_tail;
    std::vector<char> body;
    while (tail < head) {
      perf_event_header header;
      copy(tail, &header, sizeof(header));
      if (header.size < sizeof(header)) break;  // never happens
      body.resize(header.size - sizeof(header));
      copy(tail + sizeof(header), body.data(), body.size());
      visit(header, body.data(), body.size());
      tail += header.size;
    }
    __atomic_store_n(&control->data_tail, tail, __ATOMIC_RELEASE);
  }

 private:
  Ring(char* memory, size_t page) : memory_(memory), page_(page) {}
  void copy(uint64_t position, void* to, size_t bytes) const {
    const size_t offset = position % kRingBytes;
    const size_t first = std::min(bytes, kRingBytes - offset);
    std::memcpy(to, memory_ + page_ + offset, first);
    std::memcpy(static_cast<char*>(to) + first, memory_ + page_, bytes - first);
  }

  char* memory_;
  size_t page_;
};

/// Computes slices and preemptions from switches in order of time. Pure.
class SwitchAccount {
 public:
  void take(const Event& event) {
    Thread& thread = threads_[event.tid];
    switch (event.kind) {
      case Event::Kind::kIn:
        if (thread.preempted_ns != 0) {
          preemption_wait_.record(since(event.time_ns, thread.preempted_ns));
          thread.preempted_ns = 0;
        }
        thread.running_ns = event.time_ns;
        break;
      case Event::Kind::kOut:
      case Event::Kind::kOutRunnable:
      case Event::Kind::kExit:  // its events are removed then, so there is no record of its last
                                // switch
        if (thread.running_ns != 0) {
          const uint64_t slice_ns = since(event.time_ns, thread.running_ns);
          on_cpu_.record(slice_ns);
          thread.on_cpu.record(slice_ns);
          thread.running_ns = 0;
        }
        thread.preempted_ns = event.kind == Event::Kind::kOutRunnable ? event.time_ns : 0;
        thread.exited = event.kind == Event::Kind::kExit;
        if (thread.exited) ended_.push_back(event.tid);
        break;
    }
  }

  const Histogram& on_cpu() const { return on_cpu_; }
  const Histogram& preemption_wait() const { return preemption_wait_; }
  uint64_t preempted_now() const {
    return static_cast<uint64_t>(std::ranges::count_if(
        threads_, [](const auto& entry) { return entry.second.preempted_ns != 0; }));
  }

  std::optional<CoarseHistogram> on_cpu_of(int32_t tid) const {
    const auto found = threads_.find(tid);
    if (found == threads_.end()) return std::nullopt;
    return found->second.on_cpu;
  }
  /// Forgets the threads that had ended by the previous call: their last rows are complete.
  void forget_ended() {
    for (const int32_t tid : forgettable_) {
      const auto found = threads_.find(tid);
      if (found != threads_.end() && found->second.exited) threads_.erase(found);
    }
    forgettable_ = std::exchange(ended_, {});
  }

 private:
  struct Thread {
    int64_t running_ns = 0;    // since when; 0: it does not run, or its start was not seen
    int64_t preempted_ns = 0;  // likewise
    bool exited = false;
    CoarseHistogram on_cpu;
  };
  static uint64_t since(int64_t now_ns, int64_t then_ns) {
    return now_ns > then_ns ? static_cast<uint64_t>(now_ns - then_ns) : 0;
  }

  std::unordered_map<int32_t, Thread> threads_;
  std::vector<int32_t> ended_, forgettable_;
  Histogram on_cpu_;
  Histogram preemption_wait_;
};

Error cannot_open(int os_errno) {
  if (os_errno == EACCES || os_errno == EPERM) return perf_events_refused(os_errno);
  return make_error(os_errno == EMFILE ? ErrorCode::kPermission : ErrorCode::kUnsupported,
                    fmt::format("cannot open perf events: {}", std::strerror(os_errno)), os_errno);
}

class PerfRung final : public SchedulerRung {
 public:
  PerfRung(const Subject& subject, ProcReader& proc) : proc_(proc), tree_(subject, proc) {}
  ~PerfRung() override {
    if (!drainer_.joinable()) return;
    const uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof(one));
    drainer_.join();
  }

  Status start(std::unique_ptr<SchedulerRung> sums) {
    sums_ = std::move(sums);
    stop_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
    if (!stop_) return cannot_open(errno);
    const long cpus = ::sysconf(_SC_NPROCESSORS_CONF);
    for (int cpu = 0; cpu < cpus; ++cpu) cpus_.push_back({cpu, -1});
    // Threads that are started by a thread with an open event have one too: scan until there is no
    // new one.
    for (int round = 0; round < kMaxSeedingRounds; ++round) {
      bool fresh = false;
      tree_.update();
      for (const int32_t pid : tree_.processes()) {
        for (const int32_t tid : proc_.threads(pid)) {
          if (!seeded_.insert(tid).second) continue;
          fresh = true;
          TOPSPIN_TRY(watch(tid));
        }
      }
      if (!fresh) break;
    }
    if (rings_.empty())
      return make_error(ErrorCode::kUsage, "no thread of the subject is left to watch");
    drainer_ = std::thread([this] { drain_until_stopped(); });
    return {};
  }

  SchedulerReading read() override {
    SchedulerReading reading = sums_->read();
    const std::lock_guard lock(mutex_);
    drain(monotonic_now_ns());
    reading.totals.on_cpu = account_.on_cpu();
    reading.totals.preemption_wait = account_.preemption_wait();
    reading.losses.scheduler_ring_full = lost_;
    reading.open_waits = account_.preempted_now();
    for (ThreadRow& row : reading.changed_threads) row.on_cpu = account_.on_cpu_of(row.tid);
    account_.forget_ended();
    return reading;
  }

 private:
  struct Cpu {
    int number;
    int output;  // the event whose ring all events of this CPU write to; -1: none, or offline
  };

  Status watch(int32_t tid) {
    perf_event_attr attributes{};
    attributes.size = sizeof(attributes);
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = PERF_COUNT_SW_DUMMY;
    attributes.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU;
    attributes.sample_id_all = 1;
    attributes.inherit = 1;
    attributes.context_switch = 1;
    attributes.task = 1;
    attributes.exclude_kernel = 1;
    attributes.exclude_hv = 1;
    attributes.use_clockid = 1;
    attributes.clockid = CLOCK_MONOTONIC;
    attributes.watermark = 1;
    attributes.wakeup_watermark = kRingBytes / 4;
    for (Cpu& cpu : cpus_) {
      UniqueFd event(static_cast<int>(
          ::syscall(SYS_perf_event_open, &attributes, tid, cpu.number, -1, PERF_FLAG_FD_CLOEXEC)));
      if (!event && errno == ENODEV) continue;  // offline
      if (!event && errno == ESRCH) return {};  // it has ended
      if (!event) return cannot_open(errno);
      if (cpu.output < 0) {
        TOPSPIN_ASSIGN(Ring ring, Ring::open(event.get()));
        rings_.push_back(std::move(ring));
        cpu.output = event.get();
      } else if (::ioctl(event.get(), PERF_EVENT_IOC_SET_OUTPUT, cpu.output) != 0) {
        return cannot_open(errno);
      }
      events_.push_back(std::move(event));
    }
    return {};
  }

  void drain_until_stopped() {
    ::prctl(PR_SET_NAME, "topspin-perf");
    std::vector<pollfd> waiting{{stop_.get(), POLLIN, 0}};
    for (const Cpu& cpu : cpus_)
      if (cpu.output >= 0) waiting.push_back({cpu.output, POLLIN, 0});
    while (true) {
      ::poll(waiting.data(), waiting.size(), kDrainEveryMs);
      if (waiting[0].revents != 0) return;
      // Once the threads have ended, their events report a hang-up forever. Then only the timeout
      // wakes us.
      for (size_t index = 1; index < waiting.size(); ++index)
        if (waiting[index].revents & (POLLHUP | POLLERR)) waiting[index].fd = -1;
      const std::lock_guard lock(mutex_);
      drain(monotonic_now_ns());
    }
  }

  /// REQUIRES: the mutex is held.
  void drain(int64_t now_ns) {
    for (Ring& ring : rings_) {
      ring.drain([&](const perf_event_header& header, const char* body, size_t bytes) {
        take_record(header, body, bytes);
      });
    }
    std::stable_sort(pending_.begin(), pending_.end(),
                     [](const Event& a, const Event& b) { return a.time_ns < b.time_ns; });
    const auto settled = std::ranges::find_if(
        pending_, [&](const Event& event) { return event.time_ns > now_ns - kSettleNs; });
    for (auto event = pending_.begin(); event != settled; ++event) account_.take(*event);
    pending_.erase(pending_.begin(), settled);
  }

  void take_record(const perf_event_header& header, const char* body, size_t bytes) {
    if (header.type == PERF_RECORD_LOST) {
      uint64_t id_and_lost[2];
      if (bytes < sizeof(id_and_lost)) return;
      std::memcpy(id_and_lost, body, sizeof(id_and_lost));
      lost_ += id_and_lost[1];
      return;
    }
    SampleId id;
    if (bytes < sizeof(id)) return;
    std::memcpy(&id, body + bytes - sizeof(id), sizeof(id));
    Event event{static_cast<int64_t>(id.time_ns), static_cast<int32_t>(id.tid), Event::Kind::kIn};
    if (header.type == PERF_RECORD_SWITCH) {
      if (header.misc & PERF_RECORD_MISC_SWITCH_OUT)
        event.kind = header.misc & PERF_RECORD_MISC_SWITCH_OUT_PREEMPT ? Event::Kind::kOutRunnable
                                                                       : Event::Kind::kOut;
    } else if (header.type == PERF_RECORD_EXIT) {
      event.kind = Event::Kind::kExit;
    } else {
      return;
    }
    pending_.push_back(event);
  }

  ProcReader& proc_;
  ProcessTree tree_;
  std::unique_ptr<SchedulerRung> sums_;
  UniqueFd stop_;
  std::vector<Cpu> cpus_;
  std::set<int32_t> seeded_;
  std::vector<UniqueFd> events_;
  std::thread drainer_;  // topspin-perf

  std::mutex mutex_;  // over all below
  std::vector<Ring> rings_;
  std::vector<Event> pending_;
  SwitchAccount account_;
  uint64_t lost_ = 0;
};

}  // namespace

SchedulerRungResult open_scheduler_perf(const Subject& subject, const ProbeOptions& options,
                                        ProcReader& proc) {
  if (subject.kind != SubjectSpec::Kind::kProcessTree)
    return make_error(
        ErrorCode::kUnsupported,
        "perf events without BPF can follow a process and what it starts, but not a cgroup");
  TOPSPIN_ASSIGN(std::unique_ptr<SchedulerRung> sums, open_scheduler_proc(subject, options, proc));
  auto rung = std::make_unique<PerfRung>(subject, proc);
  TOPSPIN_TRY(rung->start(std::move(sums)));
  return SchedulerRungResult(std::move(rung));
}

}  // namespace topspin
