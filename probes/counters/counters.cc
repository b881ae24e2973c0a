#include "probes/counters/counters.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <map>

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include "probes/perf/perf_event.h"

namespace topspin {
namespace {

struct Kind {
  std::string_view name;
  std::optional<EventCount> CounterInterval::*member;
  uint32_t type;
  uint64_t config;
  bool needs_kernel;  // happens only in the kernel: user-only counting would give 0
};

constexpr Kind kKinds[] = {
    {"task_clock_ns", &CounterInterval::task_clock_ns, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK,
     false},
    {"context_switches", &CounterInterval::context_switches, PERF_TYPE_SOFTWARE,
     PERF_COUNT_SW_CONTEXT_SWITCHES, true},
    {"cpu_migrations", &CounterInterval::cpu_migrations, PERF_TYPE_SOFTWARE,
     PERF_COUNT_SW_CPU_MIGRATIONS, true},
    {"minor_faults", &CounterInterval::minor_faults, PERF_TYPE_SOFTWARE,
     PERF_COUNT_SW_PAGE_FAULTS_MIN, false},
    {"major_faults", &CounterInterval::major_faults, PERF_TYPE_SOFTWARE,
     PERF_COUNT_SW_PAGE_FAULTS_MAJ, false},
    {"cycles", &CounterInterval::cycles, PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, false},
    {"instructions", &CounterInterval::instructions, PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS,
     false},
    {"cache_references", &CounterInterval::cache_references, PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_CACHE_REFERENCES, false},
    {"cache_misses", &CounterInterval::cache_misses, PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES,
     false},
    {"branches", &CounterInterval::branches, PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
     false},
    {"branch_misses", &CounterInterval::branch_misses, PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_BRANCH_MISSES, false},
};

perf_event_attr attributes(const Kind& kind, bool with_kernel) {
  perf_event_attr attr{};
  attr.type = kind.type;
  attr.config = kind.config;
  attr.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  attr.inherit = 1;
  attr.exclude_kernel = with_kernel ? 0 : 1;
  attr.exclude_hv = 1;
  return attr;
}

/// What an event is opened on: each thread, on any CPU; or the cgroup, on each CPU.
struct Targets {
  UniqueFd cgroup;
  std::vector<std::pair<int32_t, int>> all;  // (thread or cgroup fd, CPU)
  unsigned long flags = 0;
};

Result<Targets> find_targets(const Subject& subject, ProcReader& proc) {
  Targets targets;
  if (subject.kind != SubjectSpec::Kind::kCgroup) {
    for (const ThreadOf& thread : subject_threads(subject, proc))
      targets.all.emplace_back(thread.tid, -1);
    return targets;
  }
  TOPSPIN_ASSIGN(targets.cgroup, open_cgroup_for_perf(subject));
  targets.flags = PERF_FLAG_PID_CGROUP;
  for (const int cpu : online_cpus()) targets.all.emplace_back(targets.cgroup.get(), cpu);
  return targets;
}

struct OpenedEvent {
  std::vector<UniqueFd> fds;
  uint64_t missed = 0;           // targets on which the event could not be opened
  std::optional<Error> failure;  // on the last of them
};

OpenedEvent open_on_all(const perf_event_attr& attr, const Targets& targets) {
  OpenedEvent opened;
  for (const auto& [target, cpu] : targets.all) {
    auto fd = open_perf_event(attr, target, cpu, targets.flags);
    if (fd.ok()) {
      opened.fds.push_back(std::move(*fd));
    } else if (fd.error().os_errno != ESRCH) {  // the thread has ended
      opened.failure = fd.error();
      if (opened.failure->code == ErrorCode::kUnsupported) break;
      ++opened.missed;
    }
  }
  return opened;
}

/// If a counter fell (a thread was caught between two places), it counts again only above its
/// previous value.
uint64_t grown(uint64_t now, uint64_t& before) {
  const uint64_t difference = now > before ? now - before : 0;
  before = std::max(now, before);
  return difference;
}

}  // namespace

Result<Counters> Counters::open(const Subject& subject, ProcReader& proc) {
  const bool with_kernel = perf_may_see_kernel(proc);
  TOPSPIN_ASSIGN(Targets targets, find_targets(subject, proc));
  Counters counters;
  // Use at most half of the descriptors that topspin may have, because its other parts need some.
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  const size_t most = std::max<size_t>(1, descriptors.rlim_cur / 2 / std::size(kKinds));
  if (targets.all.size() > most) {
    counters.threads_missed_ = targets.all.size() - most;
    targets.all.resize(most);
  }
  const uint64_t left_out = counters.threads_missed_;
  std::map<std::string, std::string> missing;  // reason -> names
  const auto miss = [&](std::string_view name, const std::string& why) {
    std::string& names = missing[why];
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
  };
  for (const Kind& kind : kKinds) {
    if (kind.needs_kernel && !with_kernel) {
      miss(kind.name, "happens in the kernel, which needs cap_perfmon to look into");
      continue;
    }
    const perf_event_attr attr = attributes(kind, with_kernel);
    OpenedEvent opened = open_on_all(attr, targets);
    if (opened.fds.empty()) {
      const std::string why =
          opened.failure ? opened.failure->message : "the subject has no thread";
      if (kind.type == PERF_TYPE_SOFTWARE && counters.events_.empty())
        return opened.failure ? *opened.failure : make_error(ErrorCode::kUsage, why);
      miss(kind.name, why);
      continue;
    }
    counters.threads_missed_ = std::max(counters.threads_missed_, left_out + opened.missed);
    counters.events_.push_back({kind.member, std::move(opened.fds)});
  }
  if (!with_kernel) counters.reason_ = "user space only: needs cap_perfmon for the kernel's part";
  for (const auto& [why, names] : missing) {
    counters.reason_ += fmt::format("{}{}: {}", counters.reason_.empty() ? "" : "; ", names, why);
  }
  return counters;
}

CounterInterval Counters::read() const {
  CounterInterval now;
  for (const Event& event : events_) {
    EventCount& sum = (now.*event.member).emplace();
    for (const UniqueFd& fd : event.fds) {
      std::array<uint64_t, 3> values{};  // count, enabled, running
      if (::read(fd.get(), values.data(), sizeof values) != sizeof values) continue;
      sum.count += values[0];
      sum.enabled_ns += values[1];
      sum.running_ns += values[2];
    }
  }
  return now;
}

CounterInterval Counters::take_interval() {
  const CounterInterval now = read();
  CounterInterval interval;
  for (const Event& event : events_) {
    const EventCount& after = *(now.*event.member);
    auto& before = previous_.*event.member;
    if (!before) before.emplace();
    interval.*event.member =
        EventCount{grown(after.count, before->count), grown(after.enabled_ns, before->enabled_ns),
                   grown(after.running_ns, before->running_ns)};
  }
  return interval;
}

}  // namespace topspin
