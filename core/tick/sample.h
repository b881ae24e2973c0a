// Sample: everything that was measured in one tick. The writer stores it, and the views render it.
//
// Counts and histograms are of the interval, gauges are at its end. A value that could not be
// measured is nullopt, never 0. Every tick has its losses. Plain values; a Sample never changes
// after it was made.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/flow/calls.h"
#include "core/flow/flow.h"
#include "core/flow/flow_owner.h"
#include "core/number/coarse_histogram.h"
#include "core/number/histogram.h"
#include "core/number/number.h"
#include "core/tick/busy_stretch.h"
#include "core/tick/cpu_holder.h"
#include "core/tick/reply_parts.h"
#include "core/tick/sockets.h"
#include "core/tick/syscall_row.h"
#include "probes/interrupts/numbers.h"
#include "probes/runtime/numbers.h"

namespace topspin {

/// The rung that a probe uses: its way of measuring on this host. Runs from different rungs are not
/// compared.
enum class Rung : uint8_t {
  kTpBtf,          // BPF, BTF-typed tracepoints, task storage
  kFentry,         // the same, with functions of the kernel instead of tracepoints that it lacks
  kRawTracepoint,  // BPF, raw tracepoints, pid-keyed map
  kTracepoint,     // BPF or perf on tracefs tracepoints
  kPerf,           // perf events
  kProc,           // sums read from /proc
  kNone,           // not running; `reason` says why
};
/// "tp_btf", "fentry", "raw_tp", "tracepoint", "perf", "proc", "none"
std::string_view rung_name(Rung rung);
std::optional<Rung> parse_rung(std::string_view name);

struct ProbeStatus {
  std::string name;  // "scheduler", "resources", ...
  Rung rung = Rung::kNone;
  std::string reason;  // why the rung above is not used; empty on the top rung
};

/// Who got the CPU when a runnable thread lost it.
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

/// The state of a thread that left its CPU voluntarily.
enum class OffCpuState : uint8_t {
  kSleeping,         // interruptible: waiting for a socket, a lock, a timer
  kUninterruptible,  // D: waiting for a disk, a page, a lock in the kernel
  kOther,            // stopped, traced, frozen
};
inline constexpr size_t kOffCpuStateCount = 3;
std::string_view off_cpu_state_name(OffCpuState state);  // "sleeping", ...

struct OffCpuTime {
  std::optional<uint64_t> count;
  std::optional<uint64_t> ns;  // until the wakeup, without the wait for a CPU that follows
};

/// What a thread that left its CPU voluntarily waited for, by the system call in progress.
enum class BlockedBy : uint8_t {
  kFutex,      // locks, condition variables, parking
  kPoll,       // epoll, poll, select, io_uring; reads of eventfd, timerfd and the like
  kSocket,     // receiving, sending, accepting, connecting
  kPipe,       // a pipe or FIFO
  kDisk,       // files and block devices; other calls in which it slept uninterruptibly
  kSleep,      // nanosleep, pause, waiting for a signal
  kWait,       // waiting for a child: wait, vfork
  kPageFault,  // no system call in progress
  kStopped,    // stopped, traced or frozen, whatever the call
  kOther,
};
inline constexpr size_t kBlockedByCount = 10;
std::string_view blocked_by_name(BlockedBy reason);  // "futex", ...
std::optional<BlockedBy> parse_blocked_by(std::string_view name);

/// The use of one CPU by the subject's threads.
struct CpuScheduling {
  int32_t cpu = 0;
  uint64_t switches = 0;  // threads of the subject that got this CPU
  uint64_t waits = 0;     // of those, how many had waited for it
  uint64_t wait_ns = 0;
  // The length of its run queue whenever a thread of the subject was woken onto it, including that
  // thread and the running one.
  uint64_t queue_samples = 0;
  uint64_t queue_length_sum = 0;
  uint64_t queue_length_max = 0;
};

/// What the kernel's scheduler did with the subject's threads.
struct SchedulerInterval {
  std::optional<Histogram> run_queue_latency;  // runnable (woken or preempted) to running
  // Waking to wakeup, for threads woken on another CPU than the one they last ran on. On the same
  // CPU the two coincide.
  std::optional<Histogram> wake_delivery;
  std::optional<Histogram> queue_wait;       // woken to running
  std::optional<Histogram> preemption_wait;  // preempted to running again
  std::optional<Histogram> on_cpu;           // slices: from getting a CPU to leaving it
  // Threads woken by one of their timers (nanosleep, timeouts of epoll, poll, select and futexes,
  // timerfd): from the requested time to running, and the three parts that add up to it.
  std::optional<Histogram> timer_oversleep;
  std::optional<Histogram> timer_slack;        // what the kernel was allowed to add (timer slack)
  std::optional<Histogram> timer_late_expiry;  // beyond that, until the timer fired
  std::optional<Histogram> timer_queueing;     // fired to running
  // From running after a sleep to the next sleep, including waits for a CPU in between.
  std::optional<Histogram> busy_stretch;
  // Each sleep from leaving the CPU to the wakeup, by BlockedBy. Their sum is that of off_cpu.
  std::array<std::optional<Histogram>, kBlockedByCount> blocked_by;
  std::optional<uint64_t> run_queue_wait_ns;  // the sum of run_queue_latency, if that is measured
  // The kernel's own sum. From Linux 6.12 on it may count sleeping as waiting (delayed dequeue).
  std::optional<uint64_t> kernel_run_delay_ns;
  std::optional<uint64_t> cpu_ns;  // time on a CPU
  std::optional<uint64_t> voluntary_switches;
  std::optional<uint64_t> involuntary_switches;
  std::optional<uint64_t> migrations;
  std::array<Preemptions, kPreemptorCount> preempted_by;  // by Preemptor
  std::array<OffCpuTime, kOffCpuStateCount> off_cpu;      // by OffCpuState
  // The waits for a CPU by what held it: CpuHolder (core/tick/cpu_holder.h). Their sum is
  // run_queue_wait_ns, except for waits that are open.
  std::array<std::optional<uint64_t>, kCpuHolderCount> waited_behind;
  std::optional<uint64_t> cpu_holders_missed;  // a loss
  std::vector<CpuScheduling> cpus;  // ascending; without CPUs that the subject did not use

  /// Calls visit(name, member) for each distribution, and for each count.
  template <typename Scheduler, typename Visit>
  static void for_each_histogram(Scheduler& scheduler, Visit visit) {
    for_each_value_of<std::optional<Histogram>>(scheduler, visit);
  }
  template <typename Scheduler, typename Visit>
  static void for_each_count(Scheduler& scheduler, Visit visit) {
    for_each_value_of<std::optional<uint64_t>>(scheduler, visit);
  }

  /// The numbers of this struct (core/number/number.h).
  template <typename Visit>
  static void for_each_number(Visit visit);

  /// Merges the interval that follows this one.
  void merge(const SchedulerInterval& later);
};

template <typename Visit>
void SchedulerInterval::for_each_number(Visit visit) {
  using S = SchedulerInterval;
  using N = Number;
  visit(N::distribution("run_queue_latency_ns", "run-queue latency",
                        "From runnable (woken or preempted) to running."),
        &S::run_queue_latency);
  visit(N::distribution("wake_delivery_ns", "wake delivery",
                        "From waking to wakeup, of threads woken on another CPU."),
        &S::wake_delivery);
  visit(N::distribution("queue_wait_ns", "wait after a wakeup", "From woken to running."),
        &S::queue_wait);
  visit(N::distribution("preemption_wait_ns", "wait after a preemption",
                        "From preempted to running again."),
        &S::preemption_wait);
  visit(N::distribution("on_cpu_ns", "slices on a CPU", "From getting a CPU to leaving it."),
        &S::on_cpu);
  visit(N::distribution("timer_oversleep_ns", "timer oversleep",
                        "From the time that a timer was set for to running; the sum of the next "
                        "three."),
        &S::timer_oversleep);
  visit(N::distribution("timer_slack_ns", "timer slack",
                        "What the kernel was allowed to add to a timer."),
        &S::timer_slack);
  visit(N::distribution("timer_late_expiry_ns", "late timer expiry",
                        "Beyond the slack, until the timer fired."),
        &S::timer_late_expiry);
  visit(N::distribution("timer_queueing_ns", "queueing after a timer",
                        "From the timer firing to running."),
        &S::timer_queueing);
  visit(N::distribution("busy_stretch_ns", "busy stretches",
                        "From running after a sleep to the next sleep, waits for a CPU in between "
                        "included."),
        &S::busy_stretch);
  constexpr std::array<std::array<std::string_view, 3>, kBlockedByCount> kBlocked = {{
      {"blocked_by_futex_ns", "blocked by a futex", "Sleeps in futex calls: locks, parking."},
      {"blocked_by_poll_ns", "blocked by polling",
       "Sleeps in epoll, poll, select, io_uring, and in reads of eventfd, timerfd and the like."},
      {"blocked_by_socket_ns", "blocked by a socket",
       "Sleeps in receiving, sending, accepting and connecting."},
      {"blocked_by_pipe_ns", "blocked by a pipe", "Sleeps in reads and writes of pipes."},
      {"blocked_by_disk_ns", "blocked by a disk",
       "Sleeps in calls on files, and uninterruptible ones in calls of no other kind."},
      {"blocked_by_sleep_ns", "blocked by its own sleep",
       "Sleeps in nanosleep, pause and waits for a signal."},
      {"blocked_by_wait_ns", "blocked by a child", "Sleeps in wait and vfork."},
      {"blocked_by_page_fault_ns", "blocked by a page fault",
       "Sleeps with no system call in progress."},
      {"blocked_by_stopped_ns", "stopped", "Stopped, traced or frozen."},
      {"blocked_by_other_ns", "blocked by another call", "Sleeps in any other system call."},
  }};
  for (size_t i = 0; i < kBlockedByCount; ++i) {
    visit(
        N::distribution(kBlocked[i][0], kBlocked[i][1], kBlocked[i][2]), [i](auto& s) -> auto& {
          return s.blocked_by[i];
        });
  }
  visit(N::count("run_queue_wait_ns", "run-queue wait",
                 "Time that threads waited for a CPU: the sum of run_queue_latency_ns."),
        &S::run_queue_wait_ns);
  visit(N::count("kernel_run_delay_ns", "run delay by the kernel",
                 "The same, as the kernel sums it; from Linux 6.12 on it may count sleep."),
        &S::kernel_run_delay_ns);
  visit(N::count("cpu_ns", "CPU time", "Time on a CPU."), &S::cpu_ns);
  visit(N::count("voluntary_switches", "voluntary switches",
                 "Context switches of threads that went to sleep."),
        &S::voluntary_switches);
  visit(N::count("involuntary_switches", "involuntary switches",
                 "Context switches of threads that could have continued to run."),
        &S::involuntary_switches);
  visit(N::count("migrations", "migrations", "Moves of a thread to another CPU."), &S::migrations);
  constexpr std::array<std::array<std::string_view, 3>, kPreemptorCount> kBy = {{
      {"preempted_by_same_process", "preempted_by_same_process_wait_ns", "the same process"},
      {"preempted_by_same_cgroup", "preempted_by_same_cgroup_wait_ns", "the same cgroup"},
      {"preempted_by_other", "preempted_by_other_wait_ns", "another process"},
      {"preempted_by_kernel_thread", "preempted_by_kernel_thread_wait_ns", "a kernel thread"},
      {"preempted_by_nobody", "preempted_by_nobody_wait_ns", "nobody: throttled or moved"},
  }};
  for (size_t i = 0; i < kPreemptorCount; ++i) {
    visit(
        N::count(kBy[i][0], kBy[i][2], "Preemptions, by who got the CPU."), [i](auto& s) -> auto& {
          return s.preempted_by[i].count;
        });
    visit(
        N::count(kBy[i][1], kBy[i][2], "Wait until the preempted thread ran again."),
        [i](auto& s) -> auto& { return s.preempted_by[i].wait_ns; });
  }
  constexpr std::array<std::array<std::string_view, 3>, kOffCpuStateCount> kOff = {{
      {"off_cpu_sleeping", "off_cpu_sleeping_ns", "sleeping"},
      {"off_cpu_uninterruptible", "off_cpu_uninterruptible_ns", "uninterruptible"},
      {"off_cpu_other", "off_cpu_other_ns", "stopped, traced or frozen"},
  }};
  for (size_t i = 0; i < kOffCpuStateCount; ++i) {
    visit(
        N::count(kOff[i][0], kOff[i][2], "How often threads left their CPU, by state."),
        [i](auto& s) -> auto& { return s.off_cpu[i].count; });
    visit(
        N::count(kOff[i][1], kOff[i][2], "Time off the CPU until the wakeup, by state."),
        [i](auto& s) -> auto& { return s.off_cpu[i].ns; });
  }
  constexpr std::array<std::array<std::string_view, 3>, kCpuHolderCount> kBehind = {{
      {"waited_behind_subject_ns", "waited behind itself",
       "Waits for a CPU that another thread of the subject had."},
      {"waited_behind_process_ns", "waited behind other processes",
       "Waits for a CPU that a process had which is not of the subject."},
      {"waited_behind_kernel_thread_ns", "waited behind kernel threads",
       "Waits for a CPU that a thread of the kernel had."},
      {"waited_behind_interrupts_ns", "waited behind interrupts",
       "Waits for a CPU that interrupts had (if the kernel accounts for their time) or that the "
       "hypervisor had taken away."},
      {"waited_behind_idle_ns", "waited for an idle CPU",
       "Waits for a CPU that was idle and had to wake up."},
      {"waited_behind_quota_ns", "waited for the quota",
       "Waits of threads that the quota of their cgroup held back, or that were about to be "
       "moved."},
      {"waited_behind_unseen_ns", "waited behind unknown",
       "Waits for a CPU when it is not known who had it."},
  }};
  for (size_t i = 0; i < kCpuHolderCount; ++i) {
    visit(
        N::count(kBehind[i][0], kBehind[i][1], kBehind[i][2]), [i](auto& s) -> auto& {
          return s.waited_behind[i];
        });
  }
  visit(N::lost("loss_cpu_holders_missed", LossKind::kPart,
                "times that a process which had a CPU found no room"),
        &S::cpu_holders_missed);
}

/// How near the subject is to a limit that applies to each process separately. The values are those
/// of the process that has used the greatest part of its limit.
struct LimitUse {
  std::optional<int64_t> used;
  std::optional<int64_t> limit;
};

/// The resources that the subject held at the end of the interval. Sums over its processes.
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
  std::optional<int64_t> minor_faults;  // since the subject's start, including ended processes
  std::optional<int64_t> major_faults;

  std::optional<int64_t> file_bytes;    // resident pages of mapped files
  std::optional<int64_t> shared_bytes;  // resident pages of shared memory (shmem, tmpfs)
  std::optional<int64_t> page_table_bytes;
  std::optional<int64_t> socket_fds;     // fds by type; their sum is `fds`, except for those opened
  std::optional<int64_t> pipe_fds;       // or closed between the two readings
  std::optional<int64_t> file_fds;       // files, directories, devices
  std::optional<int64_t> anonymous_fds;  // epoll, eventfd, timerfd and other anonymous inodes
  std::optional<int64_t> other_fds;      // message queues, namespaces and unknown ones
  std::optional<int64_t> cgroup_bytes;   // memory.current of the subject's cgroup (v2)
  LimitUse address_space_bytes;          // RLIMIT_AS, or the architecture's limit
  LimitUse process_mappings;             // vm.max_map_count
  LimitUse process_fds;                  // RLIMIT_NOFILE
  LimitUse memory_bytes;                 // of the whole subject: resident, swapped and page
                                         // tables, against that plus what is still available
  std::optional<int64_t> ephemeral_ports;  // available from one address to one other end

  /// Replaces each value that the later reading measured.
  void merge(const ResourceReading& later);

  template <typename Visit>
  static void for_each_number(Visit visit);
};

template <typename Visit>
void ResourceReading::for_each_number(Visit visit) {
  using R = ResourceReading;
  using N = Number;
  visit(N::gauge("rss_bytes", "RSS", "Resident memory."), &R::rss_bytes);
  visit(N::gauge("pss_bytes", "PSS", "Proportional set size: shared pages count once in all."),
        &R::pss_bytes);
  visit(N::gauge("anonymous_bytes", "anonymous memory", "Resident anonymous memory."),
        &R::anonymous_bytes);
  visit(N::gauge("vsz_bytes", "address space", "Size of the address spaces."), &R::vsz_bytes);
  visit(N::gauge("swap_bytes", "swap", "Swapped memory."), &R::swap_bytes);
  visit(N::gauge("mappings", "mappings", "Memory mappings."), &R::mappings);
  visit(N::gauge("processes", "processes", "Processes."), &R::processes);
  visit(N::gauge("threads", "threads", "Threads."), &R::threads);
  visit(N::gauge("fds", "descriptors", "Open file descriptors."), &R::fds);
  visit(N::total("minor_faults", "minor page faults",
                 "Minor page faults since the subject's start, ended processes included."),
        &R::minor_faults);
  visit(N::total("major_faults", "major page faults",
                 "Major page faults since the subject's start, ended processes included."),
        &R::major_faults);
  visit(N::gauge("file_bytes", "mapped files", "Resident pages of mapped files."), &R::file_bytes);
  visit(N::gauge("shared_bytes", "shared memory", "Resident pages of shared memory."),
        &R::shared_bytes);
  visit(N::gauge("page_table_bytes", "page tables", "Memory of page tables."),
        &R::page_table_bytes);
  visit(N::gauge("socket_fds", "sockets", "Descriptors that are sockets."), &R::socket_fds);
  visit(N::gauge("pipe_fds", "pipes", "Descriptors that are pipes."), &R::pipe_fds);
  visit(N::gauge("file_fds", "files", "Descriptors of files, directories and devices."),
        &R::file_fds);
  visit(N::gauge("anonymous_fds", "anonymous inodes",
                 "Descriptors of epoll, eventfd, timerfd and other anonymous inodes."),
        &R::anonymous_fds);
  visit(N::gauge("other_fds", "other descriptors", "Descriptors of another or an unknown kind."),
        &R::other_fds);
  visit(N::gauge("cgroup_bytes", "memory of the cgroup",
                 "memory.current of the subject's cgroup, including other processes in it.")
            .of_the_whole(),
        &R::cgroup_bytes);
  visit(
      N::gauge("address_space_used_bytes", "address space used",
               "Of the process nearest to its limit of address space.")
          .nearest_limit(),
      [](auto& r) -> auto& { return r.address_space_bytes.used; });
  visit(
      N::gauge("address_space_limit_bytes", "limit of the address space",
               "RLIMIT_AS of that process, or what the architecture has.")
          .nearest_limit(),
      [](auto& r) -> auto& { return r.address_space_bytes.limit; });
  visit(
      N::gauge("mappings_used", "mappings used", "Of the process nearest to its limit of mappings.")
          .nearest_limit(),
      [](auto& r) -> auto& { return r.process_mappings.used; });
  visit(
      N::gauge("mappings_limit", "limit of mappings", "vm.max_map_count.").nearest_limit(),
      [](auto& r) -> auto& { return r.process_mappings.limit; });
  visit(
      N::gauge("fds_used", "descriptors used",
               "Of the process nearest to its limit of descriptors.")
          .nearest_limit(),
      [](auto& r) -> auto& { return r.process_fds.used; });
  visit(
      N::gauge("fds_limit", "limit of descriptors", "RLIMIT_NOFILE of that process.")
          .nearest_limit(),
      [](auto& r) -> auto& { return r.process_fds.limit; });
  visit(
      N::gauge("memory_used_bytes", "memory used",
               "Resident and swapped memory and page tables of the subject.")
          .nearest_limit(),
      [](auto& r) -> auto& { return r.memory_bytes.used; });
  visit(
      N::gauge("memory_limit_bytes", "limit of memory",
               "That, plus what the host or the cgroup still has.")
          .nearest_limit(),
      [](auto& r) -> auto& { return r.memory_bytes.limit; });
  visit(N::gauge("ephemeral_ports", "ephemeral ports",
                 "Ports that one address has towards one other end.")
            .of_the_whole(),
        &R::ephemeral_ports);
}

/// Time in which tasks were stalled for lack of a resource, as the kernel's PSI counts it. "some":
/// at least one task waited; "full": all of them did.
struct StallInterval {
  std::optional<uint64_t> cpu_some_ns;
  std::optional<uint64_t> memory_some_ns;
  std::optional<uint64_t> memory_full_ns;
  std::optional<uint64_t> io_some_ns;
  std::optional<uint64_t> io_full_ns;
};

/// The names of the numbers of a StallInterval, in the order of its members.
using StallNames = std::array<std::string_view, 5>;

/// The pressure on the host and on the subject's cgroup in the interval.
struct PressureInterval {
  StallInterval host;
  StallInterval cgroup;                       // of the subject's cgroup with everything in it
  std::optional<uint64_t> cpu_quota_periods;  // in which that cgroup wanted to run
  std::optional<uint64_t> throttled_periods;  // of those, the ones in which it used up its quota
  std::optional<uint64_t> throttled_ns;       // summed over its CPUs

  void merge(const PressureInterval& later);

  template <typename Visit>
  static void for_each_number(Visit visit);
};

template <typename Visit>
void PressureInterval::for_each_number(Visit visit) {
  using N = Number;
  const auto stalls = [&](const StallNames& names, StallInterval PressureInterval::*of) {
    constexpr std::array kMembers = {&StallInterval::cpu_some_ns, &StallInterval::memory_some_ns,
                                     &StallInterval::memory_full_ns, &StallInterval::io_some_ns,
                                     &StallInterval::io_full_ns};
    constexpr StallNames kLabels = {"stalled for a CPU", "stalled for memory",
                                    "all stalled for memory", "stalled for I/O",
                                    "all stalled for I/O"};
    for (size_t i = 0; i < kMembers.size(); ++i) {
      visit(
          N::count(names[i], kLabels[i],
                   "Time in which tasks waited for this resource (PSI); some: at least one, "
                   "full: all.")
              .of_the_whole(),
          [ of, member = kMembers[i] ](auto& p) -> auto& { return p.*of.*member; });
    }
  };
  stalls({"host_stall_cpu_some_ns", "host_stall_memory_some_ns", "host_stall_memory_full_ns",
          "host_stall_io_some_ns", "host_stall_io_full_ns"},
         &PressureInterval::host);
  stalls({"cgroup_stall_cpu_some_ns", "cgroup_stall_memory_some_ns", "cgroup_stall_memory_full_ns",
          "cgroup_stall_io_some_ns", "cgroup_stall_io_full_ns"},
         &PressureInterval::cgroup);
  visit(N::count("cpu_quota_periods", "quota periods",
                 "Periods of the cgroup's CPU quota in which it wanted to run.")
            .of_the_whole(),
        &PressureInterval::cpu_quota_periods);
  visit(N::count("throttled_periods", "throttled periods",
                 "Those of these periods in which it used up its quota.")
            .of_the_whole(),
        &PressureInterval::throttled_periods);
  visit(N::count("throttled_ns", "throttled time",
                 "Time that the cgroup was throttled, summed over CPUs.")
            .of_the_whole(),
        &PressureInterval::throttled_ns);
}

/// A counter of perf events over the interval. If there are more events than hardware counters, the
/// kernel lets them take turns: `count` was counted during running_ns out of enabled_ns.
struct EventCount {
  uint64_t count = 0;
  uint64_t enabled_ns = 0;  // summed over threads
  uint64_t running_ns = 0;

  void merge(const EventCount& later);

  /// The count extrapolated from running_ns to enabled_ns; nullopt if the event never had a turn.
  std::optional<uint64_t> scaled() const;
};

/// Counts of perf events in the subject's threads, in user space and (if allowed) in the kernel.
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

  template <typename Visit>
  static void for_each_number(Visit visit);

  /// Calls visit(name, member) for each, the name without its "counter_".
  template <typename Visit>
  static void for_each_field(Visit visit) {
    for_each_number([&](const Number& number, auto member) {
      visit(number.name.data() + kNumberPrefix.size(), member);
    });
  }
  static constexpr std::string_view kNumberPrefix = "counter_";
};

template <typename Visit>
void CounterInterval::for_each_number(Visit visit) {
  using C = CounterInterval;
  using N = Number;
  visit(N::count("counter_task_clock_ns", "task clock", "CPU time by perf events."),
        &C::task_clock_ns);
  visit(N::count("counter_context_switches", "context switches", "Context switches."),
        &C::context_switches);
  visit(N::count("counter_cpu_migrations", "CPU migrations", "Moves to another CPU."),
        &C::cpu_migrations);
  visit(N::count("counter_minor_faults", "minor page faults", "Minor page faults."),
        &C::minor_faults);
  visit(N::count("counter_major_faults", "major page faults", "Major page faults."),
        &C::major_faults);
  visit(N::count("counter_cycles", "cycles", "CPU cycles."), &C::cycles);
  visit(N::count("counter_instructions", "instructions", "Instructions retired."),
        &C::instructions);
  visit(N::count("counter_cache_references", "cache references", "References to the cache."),
        &C::cache_references);
  visit(N::count("counter_cache_misses", "cache misses", "Misses of the cache."), &C::cache_misses);
  visit(N::count("counter_branches", "branches", "Branches."), &C::branches);
  visit(N::count("counter_branch_misses", "branch misses", "Mispredicted branches."),
        &C::branch_misses);
}

/// Anything seen too late or not at all. A run with losses above a limit is not usable. A probe may
/// have further losses among its numbers; for_each_loss() in core/tick/numbers.h visits them all.
/// Losses of the kind kUnseen, and those with a limit, are here.
struct LossInterval {
  uint64_t capture_kernel_drops = 0;     // ps_drop
  uint64_t capture_interface_drops = 0;  // ps_ifdrop
  uint64_t capture_gap_ns = 0;           // the interface was away
  uint64_t evicted_flows = 0;
  uint64_t packets_unwritten = 0;          // counted, but not in the file of -w
  uint64_t flow_rows_unstored = 0;         // beyond the limit of stored flow rows
  uint64_t scheduler_map_full = 0;         // a thread found no room in a BPF map
  uint64_t scheduler_missed_runs = 0;      // BPF programs skipped by the kernel's recursion guard
  uint64_t scheduler_left_censored = 0;    // waits already under way when the probe attached
  uint64_t scheduler_right_censored = 0;   // waits still open at the end
  uint64_t scheduler_hidden_switches = 0;  // not shown to us; their waits count, slices do not
  uint64_t scheduler_ring_full = 0;        // records that found no room in a ring to user space
  uint64_t thread_rows_unstored = 0;
  uint64_t flow_owners_missed = 0;      // sockets or owners that found no room in a table or ring
  uint64_t ticks_unstored = 0;          // dropped while the database could not be written
  uint64_t late_ticks = 0;              // this tick came more than a tenth of its interval late
  uint64_t counter_threads_missed = 0;  // threads that could not be counted by perf events
  uint64_t stack_samples_lost = 0;      // CPU samples that found no room in the ring
  uint64_t stacks_unstored = 0;         // CPU samples of stacks beyond the limit of distinct stacks
  uint64_t busy_stretches_lost = 0;     // long stretches that found no room in the ring

  // Syscalls and sockets.
  uint64_t syscalls_uncounted = 0;      // found no room: too many threads or kinds of calls
  uint64_t syscalls_left_censored = 0;  // were under way when the probe attached
  uint64_t syscalls_missed_runs = 0;    // BPF programs skipped by the kernel's recursion guard
  uint64_t socket_map_full = 0;         // a socket, connection or thread found no room
  uint64_t socket_left_censored = 0;    // waited for an unknown time: ready before being watched
  uint64_t socket_missed_runs = 0;      // as above
  uint64_t socket_rows_unstored = 0;    // beyond the limit of rows
  uint64_t replies_unmatched = 0;       // requests whose reply came too late, or found no room
  uint64_t reply_splits_cut = 0;        // waits for a CPU that were longer ago than is remembered

  void merge(const LossInterval& later);

  template <typename Visit>
  static void for_each_number(Visit visit);

  /// Calls visit(name, member) for each, the name without its "loss_".
  template <typename Visit>
  static void for_each_field(Visit visit) {
    for_each_number([&](const Number& number, auto member) { visit(bare_name(number), member); });
  }
  static constexpr std::string_view kNumberPrefix = "loss_";
  /// For any loss, of this struct or of a probe.
  static const char* bare_name(const Number& number) {
    return number.name.data() + kNumberPrefix.size();
  }
};

template <typename Visit>
void LossInterval::for_each_number(Visit visit) {
  using enum LossKind;
  using L = LossInterval;
  using N = Number;
  visit(N::lost("loss_capture_kernel_drops", kUnseen,
                "packets that found the kernel's capture buffer full", LossLimit::kShareOfPackets),
        &L::capture_kernel_drops);
  visit(N::lost("loss_capture_interface_drops", kUnseen, "packets that the interface dropped",
                LossLimit::kShareOfPackets),
        &L::capture_interface_drops);
  visit(
      N::lost("loss_capture_gap_ns", kUnseen, "time that the interface was away", LossLimit::kAny),
      &L::capture_gap_ns);
  visit(N::lost("loss_evicted_flows", kUnseen, "flows pushed out by --max-flows", LossLimit::kAny),
        &L::evicted_flows);
  visit(N::lost("loss_packets_unwritten", kRow, "packets missing in the file of -w"),
        &L::packets_unwritten);
  visit(N::lost("loss_flow_rows_unstored", kRow, "flow rows beyond the limit of stored rows"),
        &L::flow_rows_unstored);
  visit(N::lost("loss_scheduler_map_full", kUnseen, "threads that found no room in a BPF map",
                LossLimit::kAny),
        &L::scheduler_map_full);
  visit(N::lost("loss_scheduler_missed_runs", kPart, "BPF programs that the kernel skipped"),
        &L::scheduler_missed_runs);
  visit(N::lost("loss_scheduler_left_censored", kNote,
                "waits already under way at the start; no loss"),
        &L::scheduler_left_censored);
  visit(N::lost("loss_scheduler_right_censored", kNote, "waits still open at the end; no loss"),
        &L::scheduler_right_censored);
  visit(N::lost("loss_scheduler_hidden_switches", kPart,
                "switches not shown to topspin; waits are in, slices are not"),
        &L::scheduler_hidden_switches);
  visit(N::lost("loss_scheduler_ring_full", kPart,
                "records that found no room in a ring to user space"),
        &L::scheduler_ring_full);
  visit(N::lost("loss_thread_rows_unstored", kRow, "thread rows beyond their limit"),
        &L::thread_rows_unstored);
  visit(N::lost("loss_flow_owners_missed", kPart, "sockets or owners that found no room"),
        &L::flow_owners_missed);
  visit(N::lost("loss_ticks_unstored", kUnseen,
                "ticks given up while the database could not be written", LossLimit::kAny),
        &L::ticks_unstored);
  visit(N::lost("loss_late_ticks", kNote, "ticks more than a tenth of an interval late; no loss",
                LossLimit::kShareOfTicks),
        &L::late_ticks);
  visit(N::lost("loss_syscalls_uncounted", kUnseen,
                "system calls that found no room, or of another ABI"),
        &L::syscalls_uncounted);
  visit(N::lost("loss_syscalls_left_censored", kNote,
                "calls already under way at the start; no loss"),
        &L::syscalls_left_censored);
  visit(N::lost("loss_syscalls_missed_runs", kPart, "BPF programs that the kernel skipped"),
        &L::syscalls_missed_runs);
  visit(N::lost("loss_socket_map_full", kUnseen,
                "sockets or threads that found no room in a BPF map"),
        &L::socket_map_full);
  visit(N::lost("loss_socket_left_censored", kNote,
                "data or connections ready before being watched; no loss"),
        &L::socket_left_censored);
  visit(N::lost("loss_socket_missed_runs", kPart, "BPF programs that the kernel skipped"),
        &L::socket_missed_runs);
  visit(N::lost("loss_socket_rows_unstored", kRow, "socket rows beyond their limit"),
        &L::socket_rows_unstored);
  visit(
      N::lost("loss_replies_unmatched", kPart, "requests without a reply in time, or without room"),
      &L::replies_unmatched);
  visit(N::lost("loss_reply_splits_cut", kPart, "replies with older waits than are remembered"),
        &L::reply_splits_cut);
  visit(N::lost("loss_counter_threads_missed", kPart, "threads that perf events could not count"),
        &L::counter_threads_missed);
  visit(N::lost("loss_stack_samples_lost", kPart, "CPU samples that found no room in the ring"),
        &L::stack_samples_lost);
  visit(N::lost("loss_stacks_unstored", kPart, "CPU samples of stacks beyond their limit"),
        &L::stacks_unstored);
  visit(N::lost("loss_busy_stretches_lost", kPart,
                "long busy stretches that found no room in the ring"),
        &L::busy_stretches_lost);
}

/// How much was not seen at all. Every screen, report, plot and rule calls this number "losses". A
/// gap in which the interface was away counts as one.
uint64_t losses_total(const LossInterval& losses);

/// A thread of the subject, counted since it joined the subject (or since the probe attached). Its
/// identity is (pid, tid, start_time_ns), because pids and tids are reused.
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
  std::array<std::optional<uint64_t>, kPreemptorCount> preempted_by;  // by Preemptor
  std::array<OffCpuTime, kBlockedByCount> blocked_by;                 // its sleeps, by BlockedBy
  std::optional<uint64_t> busy_stretch_max_ns;
};

/// A call stack in which the subject's threads were found on a CPU, and how often since sampling
/// began.
struct StackRow {
  uint32_t number = 0;   // within the run, from 1
  std::string thread;    // comm of the thread: hostile text
  std::string frames;    // outermost first, separated by ';', which no frame contains; "": none
  uint64_t samples = 0;  // each worth 1/--stacks seconds of CPU time
};

/// A call stack at which threads of the subject slept: for what, who woke them, and for how long
/// since the probe began. The sum of all rows is that of off_cpu.
struct SleepStackRow {
  uint32_t number = 0;  // within the run, from 1
  std::string thread;   // comm of the thread: hostile text; "" in rows of several stacks
  std::string frames;   // as in StackRow; kShortSleeps or kUnstoredStack in rows of several stacks
  BlockedBy reason = BlockedBy::kOther;
  std::string woken_by;  // comm of the waking thread: hostile text; "[timer]", "[interrupt]"; "":
                         // not known
  uint64_t sleeps = 0;
  uint64_t slept_ns = 0;  // from leaving the CPU to the wakeup
};
/// The frames of sleeps too short to keep their stack, and of stacks beyond the limit.
inline constexpr std::string_view kShortSleeps = "[shorter than 100 us]";
inline constexpr std::string_view kUnstoredStack = "[no room for the stack]";

/// What topspin itself and the host used in the interval.
struct SelfInterval {
  int64_t cpu_ns = 0;
  int64_t rss_bytes = 0;
  std::optional<int64_t> bpf_ns;  // run time of topspin's BPF programs, if the kernel counts it
  std::optional<int64_t> host_steal_ns;  // all CPUs, from /proc/stat
  std::optional<int64_t> host_busy_ns;   // all CPUs, everything but idle and iowait

  void merge(const SelfInterval& later);

  template <typename Visit>
  static void for_each_number(Visit visit);
};

template <typename Visit>
void SelfInterval::for_each_number(Visit visit) {
  using S = SelfInterval;
  using N = Number;
  visit(N::count("self_cpu_ns", "topspin's CPU time", "CPU time of topspin itself."), &S::cpu_ns);
  visit(N::maximum("self_rss_bytes", "topspin's RSS", "Resident memory of topspin itself."),
        &S::rss_bytes);
  visit(N::count("self_bpf_ns", "BPF run time",
                 "Run time of topspin's BPF programs, where the kernel counts it."),
        &S::bpf_ns);
  visit(N::count("host_steal_ns", "stolen CPU time",
                 "CPU time that the hypervisor gave to others, over all CPUs.")
            .of_the_whole(),
        &S::host_steal_ns);
  visit(N::count("host_busy_ns", "busy CPU time of the host",
                 "CPU time of the host, without idle and iowait, over all CPUs.")
            .of_the_whole(),
        &S::host_busy_ns);
}

/// The parts that are described in the folders of their probes, one line each. Such a part names
/// its probe in kProbe, and is read as sample.part<ItsType>(). Calls (core/flow/calls.h) are
/// counted by the capture; the probe "owners" decides what is a call.
using ProbeParts = std::tuple<std::optional<InterruptInterval>, std::optional<RuntimeInterval>,
                              std::optional<CallInterval>>;

struct Sample {
  uint64_t tick = 0;         // 1, 2, 3, ... within the run
  int64_t monotonic_ns = 0;  // end of the interval
  int64_t elapsed_ns = 0;    // from the start of the run to the end of the interval
  int64_t interval_ns = 0;   // actual time that the probes measured; see flow_interval_ns()

  FlowInterval flows;
  std::optional<SchedulerInterval> scheduler;
  std::optional<ResourceReading> resources;
  LossInterval losses;
  SelfInterval self;
  PressureInterval pressure;
  CounterInterval counters;
  ProbeParts parts;

  std::vector<FlowRow> changed_flows;      // their current state; at most the row limit per tick
  std::vector<ThreadRow> changed_threads;  // likewise
  std::vector<CpuHolderRow> changed_cpu_holders;  // likewise, without a limit
  std::vector<FlowOwner> changed_owners;          // new ones, and those that changed their name

  std::optional<SocketInterval> sockets;
  std::vector<SocketRow> changed_sockets;           // their current state
  std::vector<SlowReply> slowest_replies;           // of the interval, the slowest first
  std::vector<SyscallRow> changed_syscalls;         // cumulative; empty unless requested
  std::vector<StackRow> changed_stacks;             // with --stacks; their current state
  std::vector<SleepStackRow> changed_sleep_stacks;  // likewise
  std::vector<BusyStretch> long_stretches;          // that ended in the interval
  std::vector<CalledRow> changed_called;            // their current state

  template <typename Part>
  std::optional<Part>& part() {
    return std::get<std::optional<Part>>(parts);
  }
  template <typename Part>
  const std::optional<Part>& part() const {
    return std::get<std::optional<Part>>(parts);
  }

  /// The time by which to divide a count of packets or flows to get a rate. Packets are assigned to
  /// intervals by their own timestamps; the probes are read a little later, or much later if the
  /// recorder was stopped.
  int64_t flow_interval_ns() const {
    return flows.length_ns() > 0 ? flows.length_ns() : interval_ns;
  }
};

}  // namespace topspin
