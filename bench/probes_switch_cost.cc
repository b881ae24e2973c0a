// What the scheduler probe adds to a context switch, including the wakeup. The workload is a
// ping-pong over pipes, pinned to one CPU. The rounds of the configurations alternate. Prints
// medians of CPU time, in ns and as ratios to three empty programs on the same hooks. The runqlat
// of libbpf-tools and of bpftrace and perf sched record are measured as well, if they are
// installed.
//
//   probes_switch_cost [rounds [NAME]]    NAME: only the rows whose names contain it, and the first
//   two
//
// Needs root with BPF. bench/bars has the bars: the default set costs at most 2.2 times the empty
// programs and half of runqlat; a thread that is not the subject, at most 1.2 times the empty
// programs.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/one_cpu.h"
#include "core/base/check.h"
#include "core/base/clock.h"
#include "probes/probes.h"
#include "probes_empty.skel.h"

namespace topspin {
namespace {

constexpr int kRoundTrips = 40'000;  // about 0.2 s
constexpr int kDefaultRounds = 15;

/// The two processes of the ping-pong. They wait to be told how many round trips to make.
class PingPong {
 public:
  PingPong() {
    int there[2];
    int back[2];
    int command[2];
    int answer[2];
    CHECK(::pipe(there) == 0 && ::pipe(back) == 0 && ::pipe(command) == 0 && ::pipe(answer) == 0);
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      pin();
      const pid_t partner = ::fork();
      if (partner == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        char byte = 0;
        while (::read(there[0], &byte, 1) == 1 && ::write(back[1], &byte, 1) == 1) {
        }
        ::_exit(0);
      }
      int trips = 0;
      while (::read(command[0], &trips, sizeof(trips)) == sizeof(trips)) {
        const int64_t begin_ns = process_cpu_now_ns() + cpu_ns_of(partner);
        char byte = 0;
        for (int trip = 0; trip < trips; ++trip)
          CHECK(::write(there[1], &byte, 1) == 1 && ::read(back[0], &byte, 1) == 1);
        const int64_t took_ns = process_cpu_now_ns() + cpu_ns_of(partner) - begin_ns;
        CHECK(::write(answer[1], &took_ns, sizeof(took_ns)) == sizeof(took_ns));
      }
      ::_exit(0);
    }
    command_ = command[1];
    answer_ = answer[0];
  }
  ~PingPong() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  PingPong(const PingPong&) = delete;
  PingPong& operator=(const PingPong&) = delete;

  pid_t pid() const { return pid_; }

  /// CPU ns of both processes per context switch. What else runs on that CPU does not count. A
  /// round trip has two switches.
  double run(int trips) const {
    int64_t took_ns = 0;
    CHECK(::write(command_, &trips, sizeof(trips)) == sizeof(trips));
    CHECK(::read(answer_, &took_ns, sizeof(took_ns)) == sizeof(took_ns));
    return static_cast<double>(took_ns) / trips / 2;
  }

 private:
  pid_t pid_ = -1;
  int command_ = -1;
  int answer_ = -1;
};

/// The first path that exists; empty if none does.
std::string find_tool(std::initializer_list<const char*> paths) {
  for (const char* path : paths) {
    if (::access(path, R_OK) == 0) return path;
  }
  return "";
}

/// What bpftrace's own runqlat.bt measures, without the kernel header that it includes.
constexpr const char* kBpftrace =
    "tracepoint:sched:sched_wakeup, tracepoint:sched:sched_wakeup_new { @woken[args->pid] = nsecs; "
    "}"
    "tracepoint:sched:sched_switch {"
    "  if (args->prev_state == 0) { @woken[args->prev_pid] = nsecs; }"
    "  $since = @woken[args->next_pid];"
    "  if ($since) { @waits_us = hist((nsecs - $since) / 1000); }"
    "  delete(@woken[args->next_pid]);"
    "}";

/// What is attached stays so for as long as this lives.
using Attached = std::shared_ptr<void>;

struct Configuration {
  std::string name;
  std::function<Attached()> attach;
  std::vector<double> switch_ns;
};

enum class Set { kScheduler, kSchedulerAndTimers, kDefault };

Attached open_probes(pid_t pid, Set set, ProbeOptions options = {}) {
  SubjectSpec subject;
  subject.kind = SubjectSpec::Kind::kProcessTree;
  subject.pid = pid;
  options.forced["scheduler"] = Rung::kTpBtf;
  if (set != Set::kDefault) options.forced["accepts"] = options.forced["replies"] = Rung::kNone;
  if (set == Set::kScheduler) options.forced["timers"] = Rung::kNone;
  auto probes = Probes::open(subject, options);
  CHECK(probes.ok());
  if ((*probes)->status()[0].rung != Rung::kTpBtf) {
    fmt::print(stderr, "cannot measure: {}\n", (*probes)->status()[0].reason);
    std::exit(4);
  }
  return Attached(std::move(probes).value().release(),
                  [](void* p) { delete static_cast<Probes*>(p); });
}

Attached attach_empty() {
  auto* skeleton = probes_empty::open_and_load();
  CHECK(skeleton != nullptr && probes_empty::attach(skeleton) == 0);
  return Attached(skeleton, [](void* p) { probes_empty::destroy(static_cast<probes_empty*>(p)); });
}

Attached start_tool(std::vector<std::string> command) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = -1;
  CHECK(::posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  ::sleep(3);  // until it has attached
  if (::waitpid(pid, nullptr, WNOHANG) == pid) {
    fmt::print(stderr, "{} ended at once: its row says nothing\n", command[0]);
    return {};
  }
  return Attached(new pid_t(pid), [](void* p) {
    auto* running = static_cast<pid_t*>(p);
    ::kill(*running, SIGINT);
    ::waitpid(*running, nullptr, 0);
    delete running;
  });
}

int run(int rounds, const std::string& only) {
  const PingPong ping_pong;
  const PingPong bystander;  // a subject that never runs while we measure
  std::vector<Configuration> configurations;
  configurations.push_back({"nothing", [] { return Attached(); }, {}});
  configurations.push_back({"three empty programs", attach_empty, {}});
  configurations.push_back(
      {"scheduler", [&] { return open_probes(ping_pong.pid(), Set::kScheduler); }, {}});
  configurations.push_back({"scheduler and timers",
                            [&] { return open_probes(ping_pong.pid(), Set::kSchedulerAndTimers); },
                            {}});
  configurations.push_back(
      {"the default set", [&] { return open_probes(ping_pong.pid(), Set::kDefault); }, {}});
  configurations.push_back({"scheduler, not the subject",
                            [&] { return open_probes(bystander.pid(), Set::kSchedulerAndTimers); },
                            {}});
  const auto add_options = [&](const std::string& name, ProbeOptions options) {
    configurations.push_back(
        {name, [&, options] { return open_probes(ping_pong.pid(), Set::kDefault, options); }, {}});
  };
  ProbeOptions full;
  full.syscalls = true;
  add_options("default and system calls", full);
  full = {};
  full.counters = true;
  add_options("default and counters", full);
  full = {};
  full.stacks_per_second = 99;
  add_options("default and stacks at 99 Hz", full);
  full.syscalls = full.counters = true;
  add_options("the full set", full);
  const auto add_tool = [&](const std::string& name, std::vector<std::string> command) {
    if (!command[0].empty())
      configurations.push_back({name, [command] { return start_tool(command); }, {}});
  };
  add_tool("runqlat", {find_tool({"/usr/sbin/runqlat", "/usr/local/sbin/runqlat",
                                  "/usr/local/bin/runqlat", "/usr/bin/runqlat"}),
                       "600"});
  add_tool("bpftrace, as its runqlat.bt", {find_tool({"/usr/bin/bpftrace"}), "-e", kBpftrace});
  add_tool("perf sched record", {find_tool({"/usr/bin/perf"}), "sched", "record", "-a", "-o",
                                 "/dev/null", "--", "sleep", "600"});

  configurations.erase(std::remove_if(configurations.begin() + 2, configurations.end(),
                                      [&](const Configuration& one) {
                                        return one.name.find(only) == one.name.npos;
                                      }),
                       configurations.end());

  for (int round = 0; round < rounds; ++round) {
    for (Configuration& configuration : configurations) {
      const Attached attached = configuration.attach();
      ::usleep(kSettleUs);
      ping_pong.run(kRoundTrips / 10);
      configuration.switch_ns.push_back(ping_pong.run(kRoundTrips));
    }
  }
  // The difference to "nothing" of the same round, so that a slow round does not count against one
  // configuration.
  const auto added = [&](const Configuration& configuration) {
    std::vector<double> differences;
    for (size_t round = 0; round < configuration.switch_ns.size(); ++round)
      differences.push_back(configuration.switch_ns[round] - configurations[0].switch_ns[round]);
    return median(differences);
  };
  const double empty_ns = added(configurations[1]);
  fmt::print("{:<30}{:>12}{:>12}{:>14}\n", "", "ns/switch", "added ns", "times empty");
  for (const Configuration& configuration : configurations)
    fmt::print("{:<30}{:>12.0f}{:>12.0f}{:>14.2f}\n", configuration.name,
               median(configuration.switch_ns), added(configuration),
               added(configuration) / empty_ns);
  return 0;
}

}  // namespace
}  // namespace topspin

int main(int argc, char** argv) {
  return topspin::run(argc > 1 ? std::atoi(argv[1]) : topspin::kDefaultRounds,
                      argc > 2 ? argv[2] : "");
}
