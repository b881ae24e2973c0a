// examine_probes: for `doctor`. Each rung is opened for real, on topspin itself, made to see some
// sleeps and CPU time, read and closed. Nothing is inferred from versions or configuration.
#include <ctime>

#include <fmt/format.h>
#include <unistd.h>

#include "core/clock.h"
#include "probes/probes.h"
#include "probes/resources.h"
#include "probes/scheduler_rung.h"
#include "probes/subject.h"

namespace topspin {
namespace {

constexpr int kSleeps = 5;

std::string remedy(Rung rung, const Error& error) {
  const bool bpf = rung == Rung::kTpBtf || rung == Rung::kRawTracepoint;
  if (error.code == ErrorCode::kPermission && bpf)
    return "sudo setcap cap_bpf,cap_perfmon,cap_net_raw+ep \"$(command -v topspin)\", or sudo";
  if (error.code == ErrorCode::kPermission && rung == Rung::kProc)
    return "sudo mount -o remount,hidepid=0 /proc";
  return "";
}

void sleep_and_work() {
  for (int count = 0; count < kSleeps; ++count) {
    const timespec pause{0, kNanosPerMilli};
    ::nanosleep(&pause, nullptr);
  }
  const int64_t end_ns = process_cpu_now_ns() + kNanosPerMilli;
  while (process_cpu_now_ns() < end_ns) {
  }
}

RungReport examine_scheduler(Rung rung, const Subject& self, ProcReader& proc) {
  RungReport report{"scheduler", rung, false, "", ""};
  const ProbeOptions options;
  auto opened = open_scheduler_rung(rung, self, options, proc);
  if (!opened.ok()) {
    report.reason = opened.error().message;
    report.remedy = remedy(rung, opened.error());
    return report;
  }
  (void)(*opened)->read();
  sleep_and_work();
  const SchedulerReading reading = (*opened)->read();
  if (!reading.totals.cpu_ns || *reading.totals.cpu_ns == 0)
    report.reason = "it opens, but sees no CPU time of topspin's own";
  else if (reading.totals.queue_wait && reading.totals.queue_wait->count() < kSleeps)
    report.reason = "it opens, but misses wakeups of topspin's own";
  else
    report.works = true;
  return report;
}

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

std::vector<RungReport> examine_probes() {
  ProcReader proc("/proc");
  SubjectSpec spec;
  spec.kind = SubjectSpec::Kind::kProcessTree;
  spec.pid = ::getpid();
  std::vector<RungReport> reports;
  const auto self = resolve_subject(spec, proc);
  for (const Rung rung : kSchedulerLadder) {
    if (self.ok())
      reports.push_back(examine_scheduler(rung, *self, proc));
    else
      reports.push_back({"scheduler", rung, false, self.error().message, "mount /proc"});
  }
  reports.push_back(examine_resources(proc));
  return reports;
}

}  // namespace topspin
