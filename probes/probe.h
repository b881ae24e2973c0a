// Probe: one thing that topspin measures about the subject. A probe is a folder in probes/, with
// its BPF, its user side, and a line in probes/all.cc; docs/new-probe.md explains how.
//
// Each probe has a ladder of ways to measure, and uses the best rung that this kernel and these
// privileges allow. If none works, the reason is recorded; that is never a failure. All probes live
// on the session's thread; only ProbeKind::begin may use others, until the probe is open.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/tick/sample.h"
#include "probes/proc/proc_reader.h"
#include "probes/proc/process_tree.h"
#include "probes/proc/subject.h"

namespace topspin {

struct ProbeOptions {
  std::map<std::string, Rung> forced;  // probe name -> the only rung to try
  std::set<std::string> asked;         // probes on request that have no separate option
  uint64_t max_threads = 65'536;  // with one row each; others are counted in thread_rows_unstored
  uint64_t max_thread_rows_per_interval = 20'000;
  bool counters = false;            // perf counters: they cost at each context switch
  int64_t stacks_per_second = 0;    // CPU samples with stacks, per CPU in use; 0: none
  std::string proc_root = "/proc";  // for tests

  std::string runtime;            // --runtime: the runtimes to look inside; empty: none
  bool syscalls = false;          // measure system calls: some 160 ns each for the subject
  uint64_t max_sockets = 16'384;  // listening and UDP sockets with one row each
};

/// A Sample in which the probes have set their parts: what they measured since the previous
/// interval, or since they were opened.
struct ProbeInterval : Sample {
  int64_t begin_ns = 0;  // monotonic
  int64_t end_ns = 0;
  bool subject_alive = true;  // at least one process of it; a cgroup may fill again

  /// Run time of a probe's BPF programs. 0 if the kernel does not count it.
  void add_bpf_ns(int64_t run_ns) {
    if (run_ns > 0) self.bpf_ns = self.bpf_ns.value_or(0) + run_ns;
  }
};

/// The state that the probes of a recording share. It lives as long as they do.
struct ProbeContext {
  ProbeContext(Subject watched, const ProbeOptions& wanted)
      : options(wanted),
        subject(std::move(watched)),
        proc(options.proc_root),
        tree(subject, proc) {}

  ProbeOptions options;
  Subject subject;
  ProcReader proc;
  ProcessTree tree;
  std::vector<std::string> events;  // messages for the user, one sentence each

  // Set by the scheduler probe, which comes first, for the probes after it.
  int task_storage_fd = -1;             // its map with the threads' waits; -1: there is none. Known
                                        // when it begins to open, and gone if it cannot fill it
  std::string timers_missing;           // why it does not measure timers; empty: it does
  std::vector<int32_t> processes;       // of the subject in this interval, alive, ascending
  std::optional<int64_t> minor_faults;  // of all threads, even those that were never waited for
  std::optional<int64_t> major_faults;
};

/// The permanent self-test: compares our histogram's sum with the kernel's own sum, for the same
/// threads and time. Absent on rungs that have only one of the two.
struct SchedulerSelfTest {
  enum class Verdict : uint8_t {
    kAgree,
    kKernelCountsSleep,  // they differ because the kernel counts sleep, as from 6.12 on
    kDiffer,             // they differ for an unknown reason
  };
  uint64_t histogram_sum_ns = 0;
  uint64_t run_delay_ns = 0;
  uint64_t waits = 0;
  Verdict verdict = Verdict::kAgree;
  std::string sentence;  // empty: they agree
};

/// The resources that the subject's command used in its whole life, including all processes that it
/// started and waited for (wait4's rusage). An independent check of what the probes counted.
struct CommandUsage {
  uint64_t cpu_ns = 0;
  uint64_t voluntary_switches = 0;
  uint64_t involuntary_switches = 0;
};

class Probe {
 public:
  virtual ~Probe() = default;

  /// A status for each of its names, in their order.
  virtual std::vector<ProbeStatus> status() const = 0;

  /// Sets what it has measured since the previous call, or since it was opened, including its
  /// losses.
  virtual void read(ProbeInterval& interval) = 0;

  /// What the end of the run cuts off, according to the last read().
  virtual LossInterval end_losses() const { return {}; }

  /// The Linux capabilities (CAP_* numbers) that read() needs after opening.
  virtual std::vector<int> capabilities_needed() const { return {}; }

  /// The subject's cgroup was removed and created again. Returns a message for the user, or an
  /// empty text.
  virtual std::string follow_cgroup(uint64_t /*new_id*/) { return {}; }

  /// Readable when handle_notices() should be called, soon; -1: never.
  virtual int notice_fd() const { return -1; }
  virtual void handle_notices() {}

  virtual std::optional<SchedulerSelfTest> self_test() const { return std::nullopt; }

  /// See Probes::doubts().
  virtual std::vector<std::string> doubts(bool /*is_command*/,
                                          const std::optional<CommandUsage>& /*usage*/) const {
    return {};
  }
};

/// For `doctor`: whether a rung of a probe works on this host.
struct RungReport {
  std::string probe;
  Rung rung = Rung::kNone;
  bool works = false;
  std::string reason;  // why it does not work
  std::string remedy;  // the command or setting that fixes it; empty: nothing does
};

/// A kind of probe, as probes/all.cc lists it.
struct ProbeKind {
  std::vector<std::string> names;  // as in --probe, in a run's `probes` and in doctor

  /// Opens the probe on its best rung. REQUIRES: there is a subject. nullptr for FlowOwners, which
  /// a recording opens itself.
  std::unique_ptr<Probe> (*open)(ProbeContext& context) = nullptr;

  /// Instead of `open`, for a probe with much to load. Called for all probes before any is opened:
  /// starts what needs no other probe, on a thread of its own, and returns what opens the probe.
  std::function<std::unique_ptr<Probe>()> (*begin)(ProbeContext& context) = nullptr;

  /// For `doctor`: opens each rung with topspin itself as the subject, checks that it sees
  /// something, and closes it. It infers nothing from versions or configuration.
  void (*examine)(ProbeContext& self, std::vector<RungReport>& reports) = nullptr;

  /// Whether the user asked for it; nullptr if it always runs.
  bool (*wanted)(const ProbeOptions& options) = nullptr;
};

/// For ProbeKind::open. REQUIRES: the constructor of OneProbe climbs the ladder.
template <typename OneProbe>
std::unique_ptr<Probe> open_as(ProbeContext& context) {
  return std::make_unique<OneProbe>(context);
}

/// Every kind, in the order in which they are opened and read.
const std::vector<ProbeKind>& all_probes();

/// Whether the user asked for this probe, with --probe NAME=on or by naming a rung of it.
bool is_asked_for(const ProbeOptions& options, const std::string& probe);

/// Whether the user allows this probe to use this rung.
bool may_use(const ProbeOptions& options, std::string_view probe, Rung rung);

/// Calls `open` for each rung of the ladder that the user allows, from the top, until one opens.
/// Returns the rung that opened, and why no better one did.
ProbeStatus climb(const std::string& probe, std::span<const Rung> ladder,
                  const ProbeOptions& options, const std::function<Status(Rung)>& open);

/// The capabilities that a probe on BPF needs after opening.
std::vector<int> bpf_capabilities_needed();

/// A rung that does not open, with the remedy.
RungReport refused_rung(const std::string& probe, Rung rung, const Error& error);

/// For examine(): some sleeps and some CPU time of topspin's own.
inline constexpr int kExamineSleeps = 5;
void sleep_and_work();

}  // namespace topspin
