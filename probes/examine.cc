// examine_probes: for `doctor`. Each rung is opened for real, on topspin itself, made to see some
// sleeps and CPU time, read and closed. Nothing is inferred from versions or configuration.
#include <ctime>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/unique_fd.h"
#include "probes/counters/counters.h"
#include "probes/owners/flow_owner.h"
#include "probes/probes.h"
#include "probes/proc/subject.h"
#include "probes/resources/resources.h"
#include "probes/scheduler/scheduler_rung.h"
#include "probes/sockets/examine_sockets.h"
#include "probes/stacks/cpu_stacks.h"

namespace topspin {
namespace {

constexpr int kSleeps = 5;
// Long enough that even an emulated CPU is asleep before the time is over.
constexpr int64_t kSleepNs = 3 * kNanosPerMilli;

void sleep_and_work() {
  for (int count = 0; count < kSleeps; ++count) {
    const timespec pause{0, kSleepNs};
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
    report.remedy = rung_remedy(rung, opened.error());
    return report;
  }
  (void)(*opened)->read();
  sleep_and_work();
  const SchedulerReading reading = (*opened)->read();
  if (!reading.totals.cpu_ns || *reading.totals.cpu_ns == 0)
    report.reason = "it opens, but sees no CPU time of topspin's own";
  else if (reading.totals.queue_wait && reading.totals.queue_wait->count() + 1 < kSleeps)
    report.reason = "it opens, but misses wakeups of topspin's own";
  else if (rung == Rung::kPerf && reading.totals.on_cpu->count() < kSleeps - 1)
    report.reason = "it opens, but misses switches of topspin's own";
  else
    report.works = true;
  return report;
}

/// Beside whichever BPF rung works.
RungReport examine_timers(const Subject& self, ProcReader& proc) {
  RungReport report{"timers", Rung::kRawTracepoint, false, "", ""};
  const ProbeOptions options;
  for (const Rung rung : {Rung::kTpBtf, Rung::kRawTracepoint}) {
    auto opened = open_scheduler_rung(rung, self, options, proc);
    if (!opened.ok()) {
      report.reason = opened.error().message;
      report.remedy = rung_remedy(rung, opened.error());
      continue;
    }
    report.remedy = "";
    report.reason = (*opened)->timers_missing();
    if (!report.reason.empty()) return report;
    sleep_and_work();
    const SchedulerReading reading = (*opened)->read();
    // A sleep may end by a switch that the kernel does not show.
    if (reading.totals.timer_oversleep->count() + 1 < kSleeps)
      report.reason = "it opens, but misses sleeps of topspin's own";
    else
      report.works = true;
    return report;
  }
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

/// Opened on topspin itself, which then uses some CPU time. The software events must all be there;
/// the hardware ones are a line of their own.
void examine_perf(const Subject& self, ProcReader& proc, std::vector<RungReport>& reports) {
  const auto failed = [](const char* name, const Error& error) {
    return RungReport{name, Rung::kPerf, false, error.message,
                      error.code == ErrorCode::kPermission
                          ? "sudo sysctl kernel.perf_event_paranoid=1, or sudo setcap "
                            "cap_perfmon+ep \"$(command -v topspin)\""
                          : ""};
  };
  auto counters = Counters::open(self, proc);
  if (counters.ok()) {
    sleep_and_work();
    const CounterInterval counted = counters->take_interval();
    const bool time = counted.task_clock_ns && counted.task_clock_ns->count > 0;
    reports.push_back({"counters", Rung::kPerf, time,
                       time ? "" : "it opens, but counts no time of topspin's own", ""});
    const bool hardware = counted.instructions && counted.instructions->count > 0;
    reports.push_back({"counters of hardware", Rung::kPerf, hardware,
                       hardware               ? ""
                       : counted.instructions ? "it opens, but counts no instruction"
                                              : counters->reason(),
                       ""});
  } else {
    reports.push_back(failed("counters", counters.error()));
  }
  auto stacks = CpuStacks::open(self, 1000, proc);
  if (!stacks.ok()) {
    reports.push_back(failed("stacks", stacks.error()));
    return;
  }
  const int64_t end_ns = process_cpu_now_ns() + 20 * kNanosPerMilli;
  while (process_cpu_now_ns() < end_ns) {
  }
  const bool sampled = !stacks->take_interval().changed.empty();
  reports.push_back({"stacks", Rung::kPerf, sampled,
                     sampled ? "" : "it opens, but topspin's own work is in no sample", ""});
}

/// Has the owner of a socket of topspin's own found.
RungReport examine_owners(Rung rung) {
  RungReport report{"owners", rung, false, "", ""};
  ProbeOptions options;
  options.forced["owners"] = rung;
  FlowOwnerLimits limits;
  limits.walk_ns_per_resolve = kNanosPerSecond;  // one walk, however busy the host
  const auto owners = FlowOwners::open({}, options, limits);
  if (owners->status().rung != rung) {
    report.reason = owners->status().reason;
    if (rung == Rung::kTpBtf) report.remedy = rung_remedy(rung, {ErrorCode::kPermission, 0, ""});
    return report;
  }
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (!socket || ::bind(socket.get(), raw, length) != 0 ||
      ::getsockname(socket.get(), raw, &length) != 0) {
    report.reason = "cannot try it: no UDP socket on 127.0.0.1";
    return report;
  }
  Sample sample;
  FlowRow& row = sample.changed_flows.emplace_back();
  row.key.protocol = kProtocolUdp;
  row.key.low = {{127, 0, 0, 1}, ntohs(address.sin_port)};
  row.key.high = row.key.low;
  owners->resolve(sample);
  if (sample.changed_owners.empty() || sample.changed_owners[0].pid != ::getpid())
    report.reason =
        "it opens, but does not find the owner of a socket of topspin's own in one tick";
  else
    report.works = true;
  return report;
}

}  // namespace

std::string rung_remedy(Rung rung, const Error& error) {
  const bool bpf =
      rung == Rung::kTpBtf || rung == Rung::kRawTracepoint || rung == Rung::kTracepoint;
  if (rung == Rung::kTracepoint && error.message.find("no tracefs") != std::string::npos)
    return "sudo mount -t tracefs nodev /sys/kernel/tracing";
  if (error.code == ErrorCode::kPermission && bpf)
    return "sudo setcap cap_bpf,cap_perfmon,cap_net_raw+ep \"$(command -v topspin)\", or sudo";
  if (error.code == ErrorCode::kPermission && rung == Rung::kPerf)
    return "sudo sysctl kernel.perf_event_paranoid=2";
  if (error.code == ErrorCode::kPermission && rung == Rung::kProc)
    return "sudo mount -o remount,hidepid=0 /proc";
  return "";
}

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
  if (self.ok()) reports.push_back(examine_timers(*self, proc));
  reports.push_back(examine_resources(proc));
  for (const Rung rung : {Rung::kTpBtf, Rung::kProc}) reports.push_back(examine_owners(rung));
  if (self.ok()) examine_perf(*self, proc, reports);
  if (self.ok()) {
    for (RungReport& report : examine_sockets(*self)) reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace topspin
