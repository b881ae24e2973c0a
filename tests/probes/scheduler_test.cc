// The scheduler probe against subjects of known behaviour, each with an independent source.
#include <fstream>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "probes/probes.h"
#include "probes/proc_reader.h"
#include "tests/probes/forked_subject.h"

namespace topspin {
namespace {

TEST(Smoke, prints) {
  ForkedSubject subject([] {
    pin_to_cpu(0);
    ping_pong(20000);
  });
  SubjectSpec spec{SubjectSpec::Kind::kProcessTree, subject.pid(), ""};
  auto probes = Probes::open(spec, {});
  ASSERT_TRUE(probes.ok()) << probes.error().message;
  for (auto& s : (*probes)->status())
    std::printf("%s %d %s\n", s.name.c_str(), int(s.rung), s.reason.c_str());
  subject.run();
  auto i = (*probes)->take_interval();
  auto& s = *i.scheduler;
  if (s.run_queue_latency) {
    auto show = [](const char* n, const Histogram& h) {
      auto u = h.summary();
      std::printf("%s n=%lu sum=%ld p50=%ld p99=%ld max=%ld\n", n, u.count, u.sum,
                  u.p50.value_or(-1), u.p99.value_or(-1), u.max.value_or(-1));
    };
    show("rq", *s.run_queue_latency);
    show("queue", *s.queue_wait);
    show("preempt", *s.preemption_wait);
    show("delivery", *s.wake_delivery);
  }
  std::printf("delay %lu cpu %lu vol %lu inv %lu mig %lu\n", s.run_queue_wait_ns.value_or(0),
              s.cpu_ns.value_or(0), s.voluntary_switches.value_or(0),
              s.involuntary_switches.value_or(0), s.migrations.value_or(0));
  std::printf("left %lu missed %lu full %lu alive %d\n", i.losses.scheduler_left_censored,
              i.losses.scheduler_missed_runs, i.losses.scheduler_map_full, i.subject_alive);
  auto& r = *i.resources;
  std::printf("rss %ld pss %ld maps %ld fds %ld proc %ld thr %ld min %ld\n",
              r.rss_bytes.value_or(-1), r.pss_bytes.value_or(-1), r.mappings.value_or(-1),
              r.fds.value_or(-1), r.processes.value_or(-1), r.threads.value_or(-1),
              r.minor_faults.value_or(-1));
  for (auto& t : i.changed_threads)
    std::printf("%d/%d %s exited %d cpu %lu wait %lu n %lu\n", t.pid, t.tid, t.name.c_str(),
                t.exited, t.cpu_ns.value_or(0), t.run_queue_wait_ns.value_or(0),
                t.run_queue_waits.value_or(0));
}

}  // namespace
}  // namespace topspin
