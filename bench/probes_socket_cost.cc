// What the syscall and socket probes add to a cheap system call, to a context switch and to a
// request over UDP, for the subject and for a process that is not the subject. The rounds of the
// configurations alternate, pinned to one CPU. Prints medians of CPU time, as differences to
// "nothing" of the same round.
//
//   probes_socket_cost [rounds [NAME]]    NAME: only the workloads whose names contain it
//
// Needs root with BPF.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/one_cpu.h"
#include "core/base/check.h"
#include "core/base/clock.h"
#include "probes/probes.h"

namespace topspin {
namespace {

constexpr int kDefaultRounds = 11;

/// One kind of work, done `times` times by a process and its partner.
struct Workload {
  const char* name;
  int times;
  int fds[2];  // of the process: the end that it reads, the end that it writes
  int partner_fds[2];
  bool calls;  // system calls alone, without a partner
};

/// A process that works when told, and a partner that answers it. Both end with their parent.
class Worker {
 public:
  explicit Worker(const Workload& workload) {
    int command[2];
    int answer[2];
    CHECK(::pipe(command) == 0 && ::pipe(answer) == 0);
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      pin();
      if (workload.calls) close_but(command[0], answer[1]);
      const pid_t partner = workload.calls ? 0 : start_partner(workload);
      int times = 0;
      while (::read(command[0], &times, sizeof(times)) == sizeof(times)) {
        const auto cpu_ns = [&] {
          return process_cpu_now_ns() + (partner > 0 ? cpu_ns_of(partner) : 0);
        };
        const int64_t begin_ns = cpu_ns();
        char byte = 0;
        for (int count = 0; count < times; ++count) {
          if (workload.calls)
            ::syscall(SYS_getppid);
          else
            CHECK(::write(workload.fds[1], &byte, 1) == 1 &&
                  ::read(workload.fds[0], &byte, 1) == 1);
        }
        const int64_t took_ns = cpu_ns() - begin_ns;
        CHECK(::write(answer[1], &took_ns, sizeof(took_ns)) == sizeof(took_ns));
      }
      ::_exit(0);
    }
    command_ = command[1];
    answer_ = answer[0];
  }
  ~Worker() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  pid_t pid() const { return pid_; }
  double run(int times) const {
    int64_t took_ns = 0;
    CHECK(::write(command_, &times, sizeof(times)) == sizeof(times));
    CHECK(::read(answer_, &took_ns, sizeof(took_ns)) == sizeof(took_ns));
    return static_cast<double>(took_ns) / times;
  }

 private:
  /// A process that is not the subject must not have the sockets of one that is.
  static void close_but(int one, int other) {
    for (int fd = 3; fd < 1024; ++fd)
      if (fd != one && fd != other) ::close(fd);
  }
  static pid_t start_partner(const Workload& workload) {
    const pid_t partner = ::fork();
    CHECK(partner >= 0);
    if (partner != 0) return partner;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    char byte = 0;
    while (::read(workload.partner_fds[0], &byte, 1) == 1 &&
           ::write(workload.partner_fds[1], &byte, 1) == 1) {
    }
    ::_exit(0);
  }

  pid_t pid_ = -1;
  int command_ = -1;
  int answer_ = -1;
};

Workload calls() { return {"getppid, a call", 400'000, {-1, -1}, {-1, -1}, true}; }

Workload pipes() {
  int there[2];
  int back[2];
  CHECK(::pipe(there) == 0 && ::pipe(back) == 0);
  return {"pipes, a round trip (2 switches, 4 calls)",
          20'000,
          {back[0], there[1]},
          {there[0], back[1]},
          false};
}

/// Two connected UDP sockets: a client, whose port the kernel chooses, and a server, whose port the
/// program chooses.
Workload datagrams() {
  int sockets[2];
  sockaddr_in addresses[2]{};
  for (int side = 0; side < 2; ++side) {
    sockets[side] = ::socket(AF_INET, SOCK_DGRAM, 0);
    addresses[side].sin_family = AF_INET;
    addresses[side].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addresses[side].sin_port =
        side == 0 ? 0 : htons(static_cast<uint16_t>(41'870 + ::getpid() % 1000));
    socklen_t length = sizeof(addresses[side]);
    CHECK(::bind(sockets[side], reinterpret_cast<sockaddr*>(&addresses[side]), length) == 0);
    CHECK(::getsockname(sockets[side], reinterpret_cast<sockaddr*>(&addresses[side]), &length) ==
          0);
  }
  for (int side = 0; side < 2; ++side)
    CHECK(::connect(sockets[side], reinterpret_cast<sockaddr*>(&addresses[1 - side]),
                    sizeof(addresses[side])) == 0);
  return {"UDP, a round trip (2 switches, 4 calls)",
          10'000,
          {sockets[0], sockets[0]},
          {sockets[1], sockets[1]},
          false};
}

using Attached = std::unique_ptr<Probes>;

struct Features {
  bool accepts, replies, syscalls;
  bool scheduler = false;  // on its top rung; the replies probe then uses its numbers
};

Attached attach(pid_t pid, const Features& features) {
  SubjectSpec subject;
  subject.kind = SubjectSpec::Kind::kProcessTree;
  subject.pid = pid;
  ProbeOptions options;
  // Without `scheduler` the probe is off, because a lower rung would cost something as well.
  options.forced = {{"scheduler", features.scheduler ? Rung::kTpBtf : Rung::kNone},
                    {"sockets", Rung::kNone},
                    {"resources", Rung::kNone}};
  if (!features.accepts) options.forced["accepts"] = Rung::kNone;
  if (!features.replies) options.forced["replies"] = Rung::kNone;
  options.syscalls = features.syscalls;
  auto probes = Probes::open(subject, options);
  CHECK(probes.ok());
  for (const ProbeStatus& status : (*probes)->status()) {
    const bool wanted = (status.name == "accepts" && features.accepts) ||
                        (status.name == "replies" && features.replies) ||
                        (status.name == "syscalls" && features.syscalls);
    if (wanted && status.rung == Rung::kNone) {
      fmt::print(stderr, "cannot measure {}: {}\n", status.name, status.reason);
      std::exit(4);
    }
  }
  return std::move(probes).value();
}

void measure(const Workload& workload, int rounds) {
  const Worker worker(workload);
  const Workload idle = calls();
  const Worker bystander(idle);  // a subject that never runs while we measure
  struct Configuration {
    std::string name;
    std::function<Attached()> open;
    std::vector<double> ns;
  };
  std::vector<Configuration> configurations;
  const auto add = [&](std::string name, pid_t pid, Features features) {
    configurations.push_back({std::move(name), [=] { return attach(pid, features); }, {}});
  };
  configurations.push_back({"nothing", [] { return Attached(); }, {}});
  add("accepts", worker.pid(), {true, false, false});
  add("accepts, not the subject", bystander.pid(), {true, false, false});
  add("replies", worker.pid(), {false, true, false});
  add("replies, not the subject", bystander.pid(), {false, true, false});
  add("accepts and replies", worker.pid(), {true, true, false});
  add("scheduler", worker.pid(), {false, false, false, true});
  add("scheduler, accepts, replies", worker.pid(), {true, true, false, true});
  add("syscalls", worker.pid(), {false, false, true});
  add("syscalls, not the subject", bystander.pid(), {false, false, true});
  for (int round = 0; round < rounds; ++round) {
    for (Configuration& configuration : configurations) {
      const Attached attached = configuration.open();
      ::usleep(kSettleUs);
      worker.run(workload.times / 10);
      if (attached) attached->handle_events();  // as a recording does once the subject serves
      configuration.ns.push_back(worker.run(workload.times));
    }
  }
  fmt::print("{}\n", workload.name);
  for (const Configuration& configuration : configurations) {
    std::vector<double> added;
    for (size_t round = 0; round < configuration.ns.size(); ++round)
      added.push_back(configuration.ns[round] - configurations[0].ns[round]);
    fmt::print("  {:<28}{:>10.0f} ns{:>10.0f} added\n", configuration.name,
               median(configuration.ns), median(added));
  }
}

int run(int rounds, const std::string& only) {
  // Each workload is made just before it runs: a worker that inherits the socket of another may be
  // taken for a server.
  for (Workload (*make)() : {calls, pipes, datagrams}) {
    const Workload workload = make();
    if (std::string(workload.name).find(only) != std::string::npos) measure(workload, rounds);
  }
  return 0;
}

}  // namespace
}  // namespace topspin

int main(int argc, char** argv) {
  return topspin::run(argc > 1 ? std::atoi(argv[1]) : topspin::kDefaultRounds,
                      argc > 2 ? argv[2] : "");
}
