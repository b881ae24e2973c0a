// The probe "interrupts": the time that hard interrupts and softirqs took on the CPUs where the
// subject ran or waited. BPF sums the time by CPU. Which CPUs count in a tick is known from the
// scheduler probe, which is read first, and from the interrupts that interrupted a thread of the
// subject. It runs on request, because it costs each softirq of the host some 200 ns.
#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/base/unique_fd.h"
#include "interrupts.skel.h"
#include "interrupts_raw.skel.h"
#include "probes/bpf/bpf_object.h"
#include "probes/bpf/mapped_array.h"
#include "probes/bpf/subject_watch.h"
#include "probes/interrupts/interrupts_abi.h"
#include "probes/probe.h"

namespace topspin {
namespace {

constexpr Rung kInterruptRungs[] = {Rung::kTpBtf, Rung::kRawTracepoint};

/// A loaded and attached object, of either rung.
class Interrupts {
 public:
  virtual ~Interrupts() = default;
  /// By CPU, since opening.
  virtual std::vector<topspin_interrupt_cpu> read() = 0;
  virtual ProgramStats stats() const = 0;
  virtual uint64_t threads_refused() const { return 0; }
  virtual void follow_cgroup(uint64_t /*id*/) {}
};

template <typename Skeleton>
class BpfInterrupts : public Interrupts {
 public:
  BpfInterrupts(OwnedSkeleton<Skeleton> skeleton, MappedBpfArray<topspin_interrupt_cpu> cpus)
      : skeleton_(std::move(skeleton)),
        cpus_(std::move(cpus)),
        program_fds_(loaded_programs(skeleton_->obj)) {}

  std::vector<topspin_interrupt_cpu> read() override {
    std::vector<topspin_interrupt_cpu> copy(cpus_.size());
    for (size_t cpu = 0; cpu < copy.size(); ++cpu) copy[cpu] = cpus_[cpu];
    return copy;
  }
  ProgramStats stats() const override { return read_program_stats(program_fds_); }

 protected:
  Skeleton& skeleton() const { return *skeleton_; }

 private:
  OwnedSkeleton<Skeleton> skeleton_;
  MappedBpfArray<topspin_interrupt_cpu> cpus_;
  std::vector<int> program_fds_;
};

class TpBtfInterrupts final : public BpfInterrupts<interrupts> {
 public:
  using BpfInterrupts::BpfInterrupts;

  Status watch(const Subject& subject) {
    follows_cgroup_ = subject.kind == SubjectSpec::Kind::kCgroup;
    return seed_subject(subject_watch(), subject);
  }
  std::vector<topspin_interrupt_cpu> read() override {
    // If a walk fails, threads that joined the cgroup other than by fork are found by the next
    // walk.
    if (follows_cgroup_) (void)walk_subject(subject_watch()).ok();
    return BpfInterrupts::read();
  }
  uint64_t threads_refused() const override { return skeleton().bss->threads_refused; }
  void follow_cgroup(uint64_t id) override {
    if (follows_cgroup_) skeleton().bss->subject_cgroup_id = id;
  }

 private:
  SubjectWatch subject_watch() const {
    return {.threads_fd = bpf_map__fd(skeleton().maps.threads),
            .thread_bytes = bpf_map__value_size(skeleton().maps.threads),
            .walk = skeleton().links.walk_threads,
            .threads_joined = &skeleton().bss->threads_joined};
  }
  bool follows_cgroup_ = false;
};

/// Loads and attaches the object of either rung.
template <typename Class, typename Skeleton>
Result<std::unique_ptr<Class>> start(OwnedSkeleton<Skeleton> skeleton, const BpfLog& log,
                                     bool needs_btf) {
  TOPSPIN_ASSIGN(auto cpus, load_programs<topspin_interrupt_cpu>(*skeleton, skeleton->maps.cpus, 1,
                                                                 log, "interrupt", needs_btf));
  TOPSPIN_TRY(attach_programs(*skeleton, log, "interrupt", needs_btf));
  return std::make_unique<Class>(std::move(skeleton), std::move(cpus));
}

Result<std::unique_ptr<Interrupts>> open_rung(Rung rung, const Subject& subject) {
  const BpfLog log;
  if (rung == Rung::kRawTracepoint) {
    OwnedSkeleton<interrupts_raw> skeleton(interrupts_raw::open(nullptr));
    if (!skeleton) return log.error("cannot read the BPF object", errno, false);
    TOPSPIN_ASSIGN(auto opened,
                   start<BpfInterrupts<interrupts_raw>>(std::move(skeleton), log, false));
    return Result<std::unique_ptr<Interrupts>>(std::move(opened));
  }
  OwnedSkeleton<interrupts> skeleton(interrupts::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno);
  const bool cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
  skeleton->bss->subject_cgroup_id = cgroup ? subject.cgroup_id : 0;
  bpf_program__set_autoload(skeleton->progs.cgroup_attach_task, cgroup);
  TOPSPIN_ASSIGN(auto opened, start<TpBtfInterrupts>(std::move(skeleton), log, true));
  TOPSPIN_TRY(opened->watch(subject));
  return Result<std::unique_ptr<Interrupts>>(std::move(opened));
}

void add(std::optional<uint64_t>& sum, uint64_t now, uint64_t before) {
  sum = sum.value_or(0) + (now - before);
}

class InterruptsProbe final : public Probe {
 public:
  explicit InterruptsProbe(ProbeContext& context)
      : status_{"interrupts", Rung::kNone, "not asked for: --probe interrupts=on"} {
    if (!is_asked_for(context.options, "interrupts")) return;
    status_ = climb("interrupts", kInterruptRungs, context.options, [&](Rung rung) -> Status {
      TOPSPIN_ASSIGN(interrupts_, open_rung(rung, context.subject));
      return {};
    });
    if (interrupts_) before_ = interrupts_->read();
  }

  std::vector<ProbeStatus> status() const override { return {status_}; }

  void read(ProbeInterval& interval) override {
    if (!interrupts_) return;
    const std::vector<topspin_interrupt_cpu> now = interrupts_->read();
    InterruptInterval& told = interval.part<InterruptInterval>().emplace();
    if (interval.scheduler && !interval.scheduler->cpus.empty()) knows_cpus_ = true;
    begin_sums(told);
    for (size_t cpu = 0; cpu < now.size(); ++cpu) add_cpu(cpu, now[cpu], interval, told);
    before_ = now;
    const ProgramStats stats = interrupts_->stats();
    const uint64_t missed = stats.missed_runs + interrupts_->threads_refused();
    told.missed = missed - std::exchange(missed_, missed);
    interval.add_bpf_ns(stats.run_ns - std::exchange(bpf_ns_, stats.run_ns));
  }

  std::vector<int> capabilities_needed() const override {
    return interrupts_ ? bpf_capabilities_needed() : std::vector<int>{};
  }

  std::string follow_cgroup(uint64_t new_id) override {
    if (interrupts_) interrupts_->follow_cgroup(new_id);
    return {};
  }

 private:
  bool sees_subject() const { return status_.rung == Rung::kTpBtf; }

  /// If the subject used no CPU, the sums are 0. If its CPUs are not known, they are absent.
  void begin_sums(InterruptInterval& told) const {
    if (sees_subject() || knows_cpus_)
      told.hardirqs = told.hardirq_ns = told.softirqs = told.softirq_ns = 0;
    if (sees_subject()) told.interrupted_hardirq_ns = told.interrupted_softirq_ns = 0;
    if (knows_cpus_) told.waited_hardirq_ns = told.waited_softirq_ns = 0;
  }

  void add_cpu(size_t cpu, const topspin_interrupt_cpu& now, const ProbeInterval& interval,
               InterruptInterval& told) const {
    const topspin_interrupt_cpu& before = before_[cpu];
    const CpuScheduling* met = nullptr;
    if (interval.scheduler) {
      for (const CpuScheduling& one : interval.scheduler->cpus)
        if (static_cast<size_t>(one.cpu) == cpu) met = &one;
    }
    if (!met && now.interrupted == before.interrupted) return;
    add(told.hardirqs, now.hardirqs, before.hardirqs);
    add(told.hardirq_ns, now.hardirq_ns, before.hardirq_ns);
    add(told.softirqs, now.softirqs, before.softirqs);
    add(told.softirq_ns, now.softirq_ns, before.softirq_ns);
    if (sees_subject()) {
      add(told.interrupted_hardirq_ns, now.interrupted_hardirq_ns, before.interrupted_hardirq_ns);
      add(told.interrupted_softirq_ns, now.interrupted_softirq_ns, before.interrupted_softirq_ns);
    }
    if (!met || met->waits == 0) return;
    add(told.waited_hardirq_ns, now.hardirq_ns, before.hardirq_ns);
    add(told.waited_softirq_ns, now.softirq_ns, before.softirq_ns);
  }

  std::unique_ptr<Interrupts> interrupts_;  // nullptr: not measured
  ProbeStatus status_;
  std::vector<topspin_interrupt_cpu> before_;
  bool knows_cpus_ = false;  // the scheduler probe has reported CPUs
  uint64_t missed_ = 0;
  int64_t bpf_ns_ = 0;
};

/// Sends datagrams over 127.0.0.1, each of which the kernel delivers in a softirq. False if that
/// could not be tried.
bool make_softirqs() {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  if (!fd || ::bind(fd.get(), raw, length) != 0 || ::getsockname(fd.get(), raw, &length) != 0)
    return false;
  for (int i = 0; i < 10; ++i) {
    if (::sendto(fd.get(), "x", 1, 0, raw, length) != 1) return false;
  }
  return true;
}

RungReport examine_rung(Rung rung, const Subject& self) {
  auto opened = open_rung(rung, self);
  if (!opened.ok()) return refused_rung("interrupts", rung, opened.error());
  RungReport report{"interrupts", rung, false, "", ""};
  if (!make_softirqs()) {
    report.reason = "cannot try it: no socket on 127.0.0.1";
    return report;
  }
  const std::vector<topspin_interrupt_cpu> cpus = (*opened)->read();
  report.works = std::any_of(cpus.begin(), cpus.end(), [&](const topspin_interrupt_cpu& cpu) {
    return cpu.softirq_ns > 0 && (rung != Rung::kTpBtf || cpu.interrupted > 0);
  });
  if (!report.works) report.reason = "it opens, but misses the softirqs of topspin's own datagrams";
  return report;
}

}  // namespace

ProbeKind interrupts_probe() {
  ProbeKind kind;
  kind.names = {"interrupts"};
  kind.open = open_as<InterruptsProbe>;
  kind.examine = [](ProbeContext& self, std::vector<RungReport>& reports) {
    for (const Rung rung : kInterruptRungs) reports.push_back(examine_rung(rung, self.subject));
  };
  return kind;
}

}  // namespace topspin
