// Probes: what the kernel did with the subject's threads, and what the subject holds. The one
// public face of this folder.
//
// Each probe has a ladder of ways to measure and stands on the highest rung that this kernel and
// these privileges allow; status() says which and why. A probe that cannot run is a recorded
// reason, never a failure of open(). Lives on one thread, the session's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "core/result.h"
#include "core/sample.h"
#include "probes/probe.h"

namespace topspin {

/// One interval of everything that probes measure, since the previous take_interval() or open().
struct ProbeInterval {
  int64_t begin_ns = 0;  // monotonic
  int64_t end_ns = 0;
  std::optional<SchedulerInterval> scheduler;
  std::optional<ResourceReading> resources;
  PressureInterval pressure;
  CounterInterval counters;
  std::vector<StackRow> changed_stacks;
  LossInterval losses;  // the scheduler_*, thread_*, syscalls_*, socket_* and repl* fields
  std::vector<ThreadRow> changed_threads;
  std::optional<int64_t> bpf_ns;  // run time of our BPF programs, if kernel.bpf_stats_enabled

  std::optional<SocketInterval> sockets;
  std::vector<SocketRow> changed_sockets;
  std::vector<SyscallRow> changed_syscalls;

  bool subject_alive = true;  // at least one process of it; a cgroup may fill again
};

/// The permanent self-test: our histogram's sum beside the kernel's own account, for the same
/// threads and time. Absent on rungs that have only one of the two.
struct SchedulerSelfTest {
  enum class Verdict : uint8_t {
    kAgree,
    kKernelCountsSleep,  // known of kernels from 6.12 on: no fault of ours
    kDiffer,             // for no reason that is known
  };
  uint64_t histogram_sum_ns = 0;
  uint64_t run_delay_ns = 0;
  uint64_t waits = 0;
  Verdict verdict = Verdict::kAgree;
  std::string sentence;  // empty: they agree
};
/// Pure. `kernel_counts_sleep`: whether this kernel is one that may.
SchedulerSelfTest judge_self_test(uint64_t histogram_sum_ns, uint64_t run_delay_ns, uint64_t waits,
                                  bool kernel_counts_sleep);

/// What the kernel charged the subject's command, with all that it started and waited for, in its
/// whole life: wait4's rusage. An independent source for what the probes counted.
struct CommandUsage {
  uint64_t cpu_ns = 0;
  uint64_t voluntary_switches = 0;
  uint64_t involuntary_switches = 0;
};
/// Why the probes' sums of a run are in doubt beside `usage`; nullopt: they are not. Pure.
std::optional<std::string> doubt_sums(Rung rung, const SchedulerInterval& sums,
                                      const CommandUsage& usage);

class Probes {
 public:
  virtual ~Probes() = default;

  /// Fails only if the subject does not exist (kUsage) or may not be seen at all (kPermission).
  static Result<std::unique_ptr<Probes>> open(const SubjectSpec& subject,
                                              const ProbeOptions& options);

  virtual const std::vector<ProbeStatus>& status() const = 0;
  virtual ProbeInterval take_interval() = 0;

  /// What is to be told about the subject, a sentence each, since the last call.
  virtual std::vector<std::string> take_events() = 0;

  /// Readable when handle_events() should be called, soon: some probes cost nothing until the
  /// subject gives them something to see. -1: never. take_interval() handles events too.
  virtual int event_fd() const = 0;
  virtual void handle_events() = 0;

  /// Since open, as of the last interval.
  virtual std::optional<SchedulerSelfTest> self_test() const = 0;

  /// Why numbers of the run may be wrong, as of the last interval, a sentence each. `is_command`:
  /// the subject is a command of ours, of which the kernel keeps an account; `usage`: that account,
  /// if the command had ended before the interval.
  virtual std::vector<std::string> doubts(bool is_command,
                                          const std::optional<CommandUsage>& usage) const = 0;

  /// What ending here cuts off, as of the last interval: waits still open (right-censored). To be
  /// merged into the losses of the last tick, and of no other.
  virtual LossInterval end_losses() const = 0;

  /// The Linux capabilities (CAP_* numbers) that must be kept after opening for take_interval() to
  /// work.
  virtual std::vector<int> capabilities_needed() const = 0;
};

/// For `doctor`: what each rung of each probe says on this host, in ladder order.
struct RungReport {
  std::string probe;
  Rung rung = Rung::kNone;
  bool works = false;
  std::string reason;  // why not
  std::string remedy;  // the command or setting that mends it; empty: nothing does
};
std::vector<RungReport> examine_probes();

std::string bpf_library_version();

}  // namespace topspin
