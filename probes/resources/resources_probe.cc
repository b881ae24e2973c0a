// The probe "resources".
#include <linux/capability.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "probes/bpf/capabilities.h"
#include "probes/probe.h"
#include "probes/resources/resources.h"

namespace topspin {
namespace {

constexpr Rung kResourceRungs[] = {Rung::kProc};

class ResourcesProbe final : public Probe {
 public:
  explicit ResourcesProbe(ProbeContext& context)
      : context_(context), resources_(context.proc, context.subject.cgroup_directory) {
    status_ = climb("resources", kResourceRungs, context.options, [](Rung) { return Status(); });
    if (reads() && context.subject.pid != 0) resources_.begin_pressure(context.subject.pid);
  }

  std::vector<ProbeStatus> status() const override { return {status_}; }

  void read(ProbeInterval& interval) override {
    if (!reads()) return;
    interval.resources = resources_.read(context_.processes, interval.end_ns);
    interval.pressure = resources_.pressure();
    if (context_.minor_faults) interval.resources->minor_faults = context_.minor_faults;
    if (context_.major_faults) interval.resources->major_faults = context_.major_faults;
    // Of a process tree that has ended nothing can be read, so the number is absent and not 0.
    if (context_.subject.kind == SubjectSpec::Kind::kProcessTree && context_.processes.empty())
      interval.resources->processes.reset();
  }

  std::vector<int> capabilities_needed() const override {
    // For smaps_rollup, maps and fd of another user. Kept only if we have it.
    return reads() && has_effective_capability(CAP_SYS_PTRACE) ? std::vector<int>{CAP_SYS_PTRACE}
                                                               : std::vector<int>{};
  }

 private:
  bool reads() const { return status_.rung == Rung::kProc; }

  ProbeContext& context_;
  ResourceProbe resources_;
  ProbeStatus status_;
};

RungReport examine_resources(ProcReader& proc) {
  RungReport report{"resources", Rung::kProc, false, "", ""};
  ResourceProbe probe(proc);
  const ResourceReading reading = probe.read({::getpid()}, monotonic_now_ns());
  if (!reading.rss_bytes)
    report.reason = "cannot read /proc/self/status";
  else if (!reading.pss_bytes)
    report.reason = "no PSS: cannot read /proc/self/smaps_rollup (CONFIG_PROC_PAGE_MONITOR)";
  else
    report.works = true;
  return report;
}

}  // namespace

ProbeKind resources_probe() {
  ProbeKind kind;
  kind.names = {"resources"};
  kind.open = open_as<ResourcesProbe>;
  kind.examine = [](ProbeContext& self, std::vector<RungReport>& reports) {
    reports.push_back(examine_resources(self.proc));
  };
  return kind;
}

}  // namespace topspin
