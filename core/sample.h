// Sample: one tick of everything, immutable once made. The writer stores it, the views render it.
//
// Counts and histograms are of the interval, gauges at its end. What could not be measured is
// nullopt, never 0. Losses travel with every tick. Plain values; nobody changes one that is made.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/coarse_histogram.h"
#include "core/flow.h"
#include "core/flow_owner.h"
#include "core/histogram.h"
#include "core/sockets.h"
#include "core/syscall_row.h"

namespace topspin {

/// The rung of its ladder on which a probe stands. Runs from different rungs do not compare.
enum class Rung : uint8_t {
  kTpBtf,          // BPF, BTF-typed tracepoints, task storage
  kRawTracepoint,  // BPF, raw tracepoints, pid-keyed map
  kTracepoint,     // BPF or perf on tracefs tracepoints
  kPerf,           // perf events
  kProc,           // sums read from /proc
  kNone,           // not running: the reason says why
};
std::string_view rung_name(Rung rung);  // "tp_btf", "raw_tp", "tracepoint", "perf", "proc", "none"
std::optional<Rung> parse_rung(std::string_view name);

struct ProbeStatus {
  std::string name;  // "scheduler", "resources", ...
  Rung rung = Rung::kNone;
  std::string reason;  // why not the rung above; empty on the top rung
};

/// Who got the CPU when a thread was put off it though it could have gone on.
enum class Preemptor : uint8_t {
  kSameProcess,
  kSameCgroup,  // another process of the same cgroup (v2)
  kOther,
  kKernelThread,
  kNobody,  // the CPU went idle: the thread was throttled by its cgroup's quota, or moved
};
inline constexpr size_t kPreemptorCount = 5;
std::string_view preemptor_name(Preemptor by);  // "same_process", ...

struct Preemptions {
  std::optional<uint64_t> count;
  std::optional<uint64_t> wait_ns;  // until the thread ran again
};

/// What a thread did that left its CPU of its own accord.
enum class OffCpuState : uint8_t {
  kSleeping,         // interruptible: waiting for a socket, a lock, a timer
  kUninterruptible,  // D: waiting for a disk, a page, a lock in the kernel
  kOther,            // stopped, traced, frozen
};
inline constexpr size_t kOffCpuStateCount = 3;
std::string_view off_cpu_state_name(OffCpuState state);  // "sleeping", ...

struct OffCpuTime {
  std::optional<uint64_t> count;
  std::optional<uint64_t> ns;  // to the wakeup; the wait for a CPU that follows is not in it
};

/// One CPU, as far as the subject's threads met it.
struct CpuScheduling {
  int32_t cpu = 0;
  uint64_t switches = 0;  // threads of the subject that got this CPU
  uint64_t waits = 0;     // of those, how many had waited for it
  uint64_t wait_ns = 0;
  // The length of its run queue when a thread of the subject was woken onto it, that thread and the
  // running one included.
  uint64_t queue_samples = 0;
  uint64_t queue_length_sum = 0;
  uint64_t queue_length_max = 0;
};

/// What the kernel's scheduler did with the subject's threads.
struct SchedulerInterval {
  std::optional<Histogram> run_queue_latency;  // runnable (woken or preempted) to running
  // Waking to wakeup, of threads woken on another CPU than they last ran on; on the same one the
  // two are one moment.
  std::optional<Histogram> wake_delivery;
  std::optional<Histogram> queue_wait;       // woken to running
  std::optional<Histogram> preemption_wait;  // preempted to running again
  std::optional<Histogram> on_cpu;           // slices: from getting a CPU to leaving it
  // Threads woken by a timer of theirs (nanosleep, timeouts of epoll, poll, select and futexes,
  // timerfd): from the time asked for to running, and the three parts that it is the sum of.
  std::optional<Histogram> timer_oversleep;
  std::optional<Histogram> timer_slack;        // what the kernel was allowed to add (timer slack)
  std::optional<Histogram> timer_late_expiry;  // beyond that, until the timer fired
  std::optional<Histogram> timer_queueing;     // fired to running
  std::optional<uint64_t> run_queue_wait_ns;   // the sum of run_queue_latency, where it is measured
  // The kernel's own sum. From Linux 6.12 on it may count sleeping as waiting (delayed dequeue).
  std::optional<uint64_t> kernel_run_delay_ns;
  std::optional<uint64_t> cpu_ns;  // time on a CPU
  std::optional<uint64_t> voluntary_switches;
  std::optional<uint64_t> involuntary_switches;
  std::optional<uint64_t> migrations;
  std::array<Preemptions, kPreemptorCount> preempted_by;  // by Preemptor
  std::array<OffCpuTime, kOffCpuStateCount> off_cpu;      // by OffCpuState
  std::vector<CpuScheduling> cpus;  // ascending, without those that the subject did not meet

  /// Calls visit(name, member) for each distribution, and for each count: one list for probes,
  /// store and reports.
  template <typename Scheduler, typename Visit>
  static void for_each_histogram(Scheduler& scheduler, Visit visit) {
    visit("run_queue_latency_ns", scheduler.run_queue_latency);
    visit("wake_delivery_ns", scheduler.wake_delivery);
    visit("queue_wait_ns", scheduler.queue_wait);
    visit("preemption_wait_ns", scheduler.preemption_wait);
    visit("on_cpu_ns", scheduler.on_cpu);
    visit("timer_oversleep_ns", scheduler.timer_oversleep);
    visit("timer_slack_ns", scheduler.timer_slack);
    visit("timer_late_expiry_ns", scheduler.timer_late_expiry);
    visit("timer_queueing_ns", scheduler.timer_queueing);
  }
  template <typename Scheduler, typename Visit>
  static void for_each_count(Scheduler& scheduler, Visit visit) {
    visit("run_queue_wait_ns", scheduler.run_queue_wait_ns);
    visit("kernel_run_delay_ns", scheduler.kernel_run_delay_ns);
    visit("cpu_ns", scheduler.cpu_ns);
    visit("voluntary_switches", scheduler.voluntary_switches);
    visit("involuntary_switches", scheduler.involuntary_switches);
    visit("migrations", scheduler.migrations);
    visit("preempted_by_same_process", scheduler.preempted_by[0].count);
    visit("preempted_by_same_process_wait_ns", scheduler.preempted_by[0].wait_ns);
    visit("preempted_by_same_cgroup", scheduler.preempted_by[1].count);
    visit("preempted_by_same_cgroup_wait_ns", scheduler.preempted_by[1].wait_ns);
    visit("preempted_by_other", scheduler.preempted_by[2].count);
    visit("preempted_by_other_wait_ns", scheduler.preempted_by[2].wait_ns);
    visit("preempted_by_kernel_thread", scheduler.preempted_by[3].count);
    visit("preempted_by_kernel_thread_wait_ns", scheduler.preempted_by[3].wait_ns);
    visit("preempted_by_nobody", scheduler.preempted_by[4].count);
    visit("preempted_by_nobody_wait_ns", scheduler.preempted_by[4].wait_ns);
    visit("off_cpu_sleeping", scheduler.off_cpu[0].count);
    visit("off_cpu_sleeping_ns", scheduler.off_cpu[0].ns);
    visit("off_cpu_uninterruptible", scheduler.off_cpu[1].count);
    visit("off_cpu_uninterruptible_ns", scheduler.off_cpu[1].ns);
    visit("off_cpu_other", scheduler.off_cpu[2].count);
    visit("off_cpu_other_ns", scheduler.off_cpu[2].ns);
  }

  /// Takes up the interval that follows.
  void merge(const SchedulerInterval& later);
};

/// How near the subject is to a limit that each process has for itself: of all its processes, the
/// one that has used the greatest part of its own limit.
struct LimitUse {
  std::optional<int64_t> used;
  std::optional<int64_t> limit;
};

/// What the subject held at the end of the interval. Sums over its processes.
struct ResourceReading {
  std::optional<int64_t> rss_bytes;
  std::optional<int64_t> pss_bytes;
  std::optional<int64_t> anonymous_bytes;
  std::optional<int64_t> vsz_bytes;
  std::optional<int64_t> swap_bytes;
  std::optional<int64_t> mappings;
  std::optional<int64_t> processes;
  std::optional<int64_t> threads;
  std::optional<int64_t> fds;
  std::optional<int64_t> minor_faults;  // since the subject's start, processes that left included
  std::optional<int64_t> major_faults;

  std::optional<int64_t> file_bytes;    // resident pages of mapped files
  std::optional<int64_t> shared_bytes;  // resident pages of shared memory (shmem, tmpfs)
  std::optional<int64_t> page_table_bytes;
  std::optional<int64_t> socket_fds;  // the fds by what they are; their sum is `fds` but for what
  std::optional<int64_t> pipe_fds;    // was opened or closed between two looks
  std::optional<int64_t> file_fds;    // files, directories, devices
  std::optional<int64_t> anonymous_fds;    // epoll, eventfd, timerfd and other anonymous inodes
  std::optional<int64_t> other_fds;        // message queues, namespaces, what could not be told
  std::optional<int64_t> cgroup_bytes;     // memory.current of the subject's cgroup (v2)
  LimitUse address_space_bytes;            // RLIMIT_AS, or what the architecture has
  LimitUse process_mappings;               // vm.max_map_count
  LimitUse process_fds;                    // RLIMIT_NOFILE
  LimitUse memory_bytes;                   // of the whole subject: resident, swapped and page
                                           // tables, against that plus what is still available
  std::optional<int64_t> ephemeral_ports;  // that one address has towards one other end
};

/// Time in which work stood still for want of a resource, as the kernel's PSI counts it. "some": at
/// least one task waited; "full": all of them did.
struct StallInterval {
  std::optional<uint64_t> cpu_some_ns;
  std::optional<uint64_t> memory_some_ns;
  std::optional<uint64_t> memory_full_ns;
  std::optional<uint64_t> io_some_ns;
  std::optional<uint64_t> io_full_ns;
};

/// What the host and the subject's cgroup were short of in the interval.
struct PressureInterval {
  StallInterval host;
  StallInterval cgroup;                       // of the subject's cgroup, whoever else is in it
  std::optional<uint64_t> cpu_quota_periods;  // of that cgroup, in which it wanted to run
  std::optional<uint64_t> throttled_periods;  // of those, in which it used its quota up
  std::optional<uint64_t> throttled_ns;       // summed over its CPUs
};

/// A counter of perf events over the interval. The kernel shares a few hardware counters among more
/// events by taking turns: `count` was counted during running_ns out of enabled_ns.
struct EventCount {
  uint64_t count = 0;
  uint64_t enabled_ns = 0;  // summed over threads
  uint64_t running_ns = 0;

  /// The count for all of enabled_ns, assuming that the rest was like what was seen; nullopt if the
  /// event never had a turn.
  std::optional<uint64_t> scaled() const;
};

/// What perf events counted in the subject's threads, user space and (where allowed) the kernel.
struct CounterInterval {
  std::optional<EventCount> task_clock_ns;
  std::optional<EventCount> context_switches;
  std::optional<EventCount> cpu_migrations;
  std::optional<EventCount> minor_faults;
  std::optional<EventCount> major_faults;
  std::optional<EventCount> cycles;
  std::optional<EventCount> instructions;
  std::optional<EventCount> cache_references;
  std::optional<EventCount> cache_misses;
  std::optional<EventCount> branches;
  std::optional<EventCount> branch_misses;

  void merge(const CounterInterval& later);

  /// Calls visit(name, member) for each field: one list for probes, store and reports.
  template <typename Visit>
  static void for_each_field(Visit visit) {
    visit("task_clock_ns", &CounterInterval::task_clock_ns);
    visit("context_switches", &CounterInterval::context_switches);
    visit("cpu_migrations", &CounterInterval::cpu_migrations);
    visit("minor_faults", &CounterInterval::minor_faults);
    visit("major_faults", &CounterInterval::major_faults);
    visit("cycles", &CounterInterval::cycles);
    visit("instructions", &CounterInterval::instructions);
    visit("cache_references", &CounterInterval::cache_references);
    visit("cache_misses", &CounterInterval::cache_misses);
    visit("branches", &CounterInterval::branches);
    visit("branch_misses", &CounterInterval::branch_misses);
  }
};

/// What a field of LossInterval says about the run. docs/losses.md has a row for each field.
enum class LossKind : uint8_t {
  kUnseen,  // something was not seen at all: these alone are "losses" (losses_total)
  kPart,    // a distribution or a list misses some of its entries; the sums that gate have them
  kRow,     // no row of its own in the database; every sum includes it
  kNote,    // no loss: seen late, or cut off by the start or the end of the run
};

/// Anything seen too late or not at all. A run with losses above its limit judges nothing.
struct LossInterval {
  uint64_t capture_kernel_drops = 0;     // ps_drop
  uint64_t capture_interface_drops = 0;  // ps_ifdrop
  uint64_t capture_gap_ns = 0;           // the interface was away
  uint64_t evicted_flows = 0;
  uint64_t flow_rows_unstored = 0;         // beyond the limit of stored flow rows
  uint64_t scheduler_map_full = 0;         // a thread found no room in a BPF map
  uint64_t scheduler_missed_runs = 0;      // BPF programs skipped by the kernel's recursion guard
  uint64_t scheduler_left_censored = 0;    // waits already under way when the probe attached
  uint64_t scheduler_right_censored = 0;   // waits still open at the end
  uint64_t scheduler_hidden_switches = 0;  // not shown to us; their waits are in, slices are not
  uint64_t scheduler_ring_full = 0;        // records that found no room in a ring to user space
  uint64_t thread_rows_unstored = 0;
  uint64_t flow_owners_missed = 0;      // sockets or owners that found no room in a table or ring
  uint64_t ticks_unstored = 0;          // given up while the database could not be written
  uint64_t late_ticks = 0;              // this tick came more than a tenth of its interval late
  uint64_t counter_threads_missed = 0;  // threads that could not be counted by perf events
  uint64_t stack_samples_lost = 0;      // CPU samples that found no room in the ring
  uint64_t stacks_unstored = 0;         // CPU samples of stacks beyond the limit of different ones

  // Syscalls and sockets.
  uint64_t syscalls_uncounted = 0;      // found no room: too many threads, or kinds of call
  uint64_t syscalls_left_censored = 0;  // were under way when the probe attached
  uint64_t syscalls_missed_runs = 0;    // BPF programs skipped by the kernel's recursion guard
  uint64_t socket_map_full = 0;         // a socket, connection or thread found no room
  uint64_t socket_left_censored = 0;    // waited for an unknown time: ready before being watched
  uint64_t socket_missed_runs = 0;      // as above
  uint64_t socket_rows_unstored = 0;    // beyond the limit of rows
  uint64_t replies_unmatched = 0;       // requests whose reply came too late, or found no room
  uint64_t reply_splits_cut = 0;        // waits for a CPU longer ago than is remembered

  void merge(const LossInterval& later);

  /// Calls visit(name, member, kind, what) for each field, `what` being a few words for a screen:
  /// the one list of losses, for store, reports, rules and screens.
  template <typename Visit>
  static void for_each_described_field(Visit visit) {
    using enum LossKind;
    using L = LossInterval;
    visit("capture_kernel_drops", &L::capture_kernel_drops, kUnseen,
          "packets that found the kernel's capture buffer full");
    visit("capture_interface_drops", &L::capture_interface_drops, kUnseen,
          "packets that the interface dropped");
    visit("capture_gap_ns", &L::capture_gap_ns, kUnseen, "time that the interface was away");
    visit("evicted_flows", &L::evicted_flows, kUnseen, "flows pushed out by --max-flows");
    visit("flow_rows_unstored", &L::flow_rows_unstored, kRow,
          "flow rows beyond the limit of stored rows");
    visit("scheduler_map_full", &L::scheduler_map_full, kUnseen,
          "threads that found no room in a BPF map");
    visit("scheduler_missed_runs", &L::scheduler_missed_runs, kPart,
          "BPF programs that the kernel skipped");
    visit("scheduler_left_censored", &L::scheduler_left_censored, kNote,
          "waits already under way at the start; no loss");
    visit("scheduler_right_censored", &L::scheduler_right_censored, kNote,
          "waits still open at the end; no loss");
    visit("scheduler_hidden_switches", &L::scheduler_hidden_switches, kPart,
          "switches not shown to topspin; waits are in, slices are not");
    visit("scheduler_ring_full", &L::scheduler_ring_full, kPart,
          "records that found no room in a ring to user space");
    visit("thread_rows_unstored", &L::thread_rows_unstored, kRow, "thread rows beyond their limit");
    visit("flow_owners_missed", &L::flow_owners_missed, kPart,
          "sockets or owners that found no room");
    visit("ticks_unstored", &L::ticks_unstored, kUnseen,
          "ticks given up while the database could not be written");
    visit("late_ticks", &L::late_ticks, kNote,
          "ticks more than a tenth of an interval late; no loss");
    visit("syscalls_uncounted", &L::syscalls_uncounted, kUnseen,
          "system calls that found no room, or of another ABI");
    visit("syscalls_left_censored", &L::syscalls_left_censored, kNote,
          "calls already under way at the start; no loss");
    visit("syscalls_missed_runs", &L::syscalls_missed_runs, kPart,
          "BPF programs that the kernel skipped");
    visit("socket_map_full", &L::socket_map_full, kUnseen,
          "sockets or threads that found no room in a BPF map");
    visit("socket_left_censored", &L::socket_left_censored, kNote,
          "data or connections ready before being watched; no loss");
    visit("socket_missed_runs", &L::socket_missed_runs, kPart,
          "BPF programs that the kernel skipped");
    visit("socket_rows_unstored", &L::socket_rows_unstored, kRow, "socket rows beyond their limit");
    visit("replies_unmatched", &L::replies_unmatched, kPart,
          "requests without a reply in time, or without room");
    visit("reply_splits_cut", &L::reply_splits_cut, kPart,
          "replies with older waits than are remembered");
    visit("counter_threads_missed", &L::counter_threads_missed, kPart,
          "threads that perf events could not count");
    visit("stack_samples_lost", &L::stack_samples_lost, kPart,
          "CPU samples that found no room in the ring");
    visit("stacks_unstored", &L::stacks_unstored, kPart,
          "CPU samples of stacks beyond their limit");
  }
  /// Calls visit(name, member).
  template <typename Visit>
  static void for_each_field(Visit visit) {
    for_each_described_field([&](const char* name, uint64_t LossInterval::*member, LossKind,
                                 const char*) { visit(name, member); });
  }
};

/// How much was not seen at all: the number that every screen, report, plot and rule calls
/// "losses". Time in which the interface was away counts as one.
uint64_t losses_total(const LossInterval& losses);

/// A thread of the subject, counted since it joined the subject (or since attach).
/// Its identity is (pid, tid, start_time_ns): numbers are reused, start times are not.
struct ThreadRow {
  int32_t pid = 0;  // thread group
  int32_t tid = 0;
  int64_t start_time_ns = 0;  // since boot
  std::string name;           // comm: hostile text
  bool exited = false;
  std::optional<uint64_t> cpu_ns;
  std::optional<uint64_t> run_queue_wait_ns;
  std::optional<uint64_t> run_queue_waits;  // how many
  std::optional<uint64_t> run_queue_wait_max_ns;
  std::optional<uint64_t> voluntary_switches;
  std::optional<uint64_t> involuntary_switches;
  std::optional<uint64_t> migrations;
  std::optional<CoarseHistogram> run_queue_wait;                      // each wait
  std::optional<CoarseHistogram> on_cpu;                              // each slice
  std::array<std::optional<uint64_t>, kPreemptorCount> preempted_by;  // how often, by Preemptor
};

/// A call stack in which the subject's threads were found on a CPU, and how often since sampling
/// began.
struct StackRow {
  uint32_t number = 0;   // within the run, from 1
  std::string thread;    // comm of the thread: hostile text
  std::string frames;    // outermost first, divided by ';', which stands in no frame; "" if none
  uint64_t samples = 0;  // each worth 1/--stacks seconds of CPU time
};

/// What topspin itself used in the interval, and the host around it.
struct SelfInterval {
  int64_t cpu_ns = 0;
  int64_t rss_bytes = 0;
  std::optional<int64_t> bpf_ns;  // run time of topspin's BPF programs, if the kernel counts it
  std::optional<int64_t> host_steal_ns;  // all CPUs, from /proc/stat
  std::optional<int64_t> host_busy_ns;   // all CPUs, everything but idle and iowait
};

struct Sample {
  uint64_t tick = 0;         // 1, 2, 3, ... within the run
  int64_t monotonic_ns = 0;  // end of the interval
  int64_t elapsed_ns = 0;    // from the start of the run to the end of the interval
  int64_t interval_ns = 0;   // true length of what the probes measured; see flow_interval_ns()

  FlowInterval flows;
  std::optional<SchedulerInterval> scheduler;
  std::optional<ResourceReading> resources;
  LossInterval losses;
  SelfInterval self;
  PressureInterval pressure;
  CounterInterval counters;

  std::vector<FlowRow> changed_flows;      // as they stand now; at most the row limit a tick
  std::vector<ThreadRow> changed_threads;  // likewise
  std::vector<FlowOwner> changed_owners;   // new ones, and those that took another name

  std::optional<SocketInterval> sockets;
  std::vector<SocketRow> changed_sockets;    // as they stand now
  std::vector<SyscallRow> changed_syscalls;  // cumulative; empty unless they were asked for
  std::vector<StackRow> changed_stacks;      // with --stacks; as they stand now

  /// What a count of packets or flows is divided by for a rate: packets are cut into intervals by
  /// their own stamps, and the probes are read a little later, or much later after a standstill.
  int64_t flow_interval_ns() const {
    return flows.length_ns() > 0 ? flows.length_ns() : interval_ns;
  }
};

}  // namespace topspin
