// The probe "syscalls", on request.
#include <algorithm>
#include <utility>

#include <sys/syscall.h>
#include <unistd.h>

#include "probes/growth.h"
#include "probes/probe.h"
#include "probes/syscalls/syscalls.h"

namespace topspin {
namespace {

constexpr Rung kSyscallRungs[] = {Rung::kTpBtf, Rung::kTracepoint};

Result<std::unique_ptr<SyscallProbe>> open_rung(Rung rung, ProbeContext& context) {
  if (rung == Rung::kTpBtf) return SyscallProbe::open_tp_btf(context.subject);
  return SyscallProbe::open_tracepoint(context.subject, context.options.max_threads, context.proc);
}

class SyscallsProbe final : public Probe {
 public:
  explicit SyscallsProbe(ProbeContext& context)
      : status_{"syscalls", Rung::kNone, "not asked for: --syscalls"} {
    if (!context.options.syscalls) return;
    status_ = climb("syscalls", kSyscallRungs, context.options, [&](Rung rung) -> Status {
      TOPSPIN_ASSIGN(calls_, open_rung(rung, context));
      return {};
    });
  }

  std::vector<ProbeStatus> status() const override { return {status_}; }

  void read(ProbeInterval& interval) override {
    if (!calls_) return;
    SyscallReading reading = calls_->read();
    interval.changed_syscalls = std::move(reading.changed);
    interval.losses.merge(growth(reading.losses, previous_.losses));
    interval.add_bpf_ns(reading.bpf_ns - previous_.bpf_ns);
    previous_ = std::move(reading);
  }

  std::vector<int> capabilities_needed() const override {
    return calls_ ? bpf_capabilities_needed() : std::vector<int>{};
  }

  std::string follow_cgroup(uint64_t new_id) override {
    if (calls_) calls_->follow_cgroup(new_id);
    return {};
  }

 private:
  std::unique_ptr<SyscallProbe> calls_;  // nullptr: not measured
  ProbeStatus status_;
  SyscallReading previous_;
};

RungReport examine_syscalls(Rung rung, ProbeContext& self) {
  auto opened = open_rung(rung, self);
  if (!opened.ok()) return refused_rung("syscalls", rung, opened.error());
  RungReport report{"syscalls", rung, false, "", ""};
  ::syscall(SYS_getppid);
  const SyscallReading reading = (*opened)->read();
  report.works = std::any_of(reading.changed.begin(), reading.changed.end(),
                             [](const SyscallRow& row) { return row.number == SYS_getppid; });
  if (!report.works) report.reason = "it opens, but misses a system call of topspin's own";
  return report;
}

}  // namespace

ProbeKind syscalls_probe() {
  ProbeKind kind;
  kind.names = {"syscalls"};
  kind.open = open_as<SyscallsProbe>;
  kind.examine = [](ProbeContext& self, std::vector<RungReport>& reports) {
    for (const Rung rung : kSyscallRungs) reports.push_back(examine_syscalls(rung, self));
  };
  return kind;
}

}  // namespace topspin
