// What the subject's system calls cost, compared with subjects that count their own calls and block
// for a known time. Uses real BPF. Counts are exact; times have bounds that no load on the host can
// break.
#include <cerrno>
#include <csignal>
#include <ctime>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "probes/proc/syscall_names.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"

namespace topspin {
namespace {

ProbeOptions with_syscalls(Rung rung) {
  ProbeOptions options;
  options.syscalls = true;
  // The other probes are off as far as possible, so that a failure is this probe's.
  options.forced = {{"scheduler", Rung::kProc},
                    {"accepts", Rung::kNone},
                    {"replies", Rung::kNone},
                    {"syscalls", rung}};
  return options;
}

const ProbeStatus& status_of(const Probes& probes, std::string_view name) {
  for (const ProbeStatus& status : probes.status()) {
    if (status.name == name) return status;
  }
  static const ProbeStatus kMissing{"missing", Rung::kNone, "no such probe"};
  return kMissing;
}

/// Why the rung on tracepoints cannot be expected here; nullopt if it must work.
std::optional<std::string> no_tracepoints_reason() {
  struct ::stat info {};
  if (::stat("/proc/self/ns/pid", &info) != 0 || info.st_ino != 0xEFFFFFFC)
    return "needs the initial pid namespace";
  if (::access("/sys/kernel/tracing/events/raw_syscalls/sys_enter/format", R_OK) != 0)
    return "needs tracefs: mount -t tracefs nodev /sys/kernel/tracing";
  return std::nullopt;
}

/// Steal time of all CPUs: the eighth number in the first line of /proc/stat, in clock ticks.
int64_t stolen_ns() {
  std::ifstream file("/proc/stat");
  std::string word;
  int64_t ticks = 0;
  file >> word;
  for (int field = 0; field < 8; ++field) file >> ticks;
  return ticks * (kNanosPerSecond / ::sysconf(_SC_CLK_TCK));
}

/// Watches a subject. `rows_` has the last row of each kind of call.
class Syscalls : public testing::TestWithParam<Rung> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_BPF();
    if (GetParam() == Rung::kTracepoint)
      if (const auto reason = no_tracepoints_reason()) GTEST_SKIP() << *reason;
  }

  void watch(const SubjectSpec& subject) {
    auto opened = Probes::open(subject, with_syscalls(GetParam()));
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    probes_ = std::move(opened).value();
    ASSERT_EQ(status_of(*probes_, "syscalls").rung, GetParam())
        << status_of(*probes_, "syscalls").reason;
  }
  void take() {
    const ProbeInterval interval = probes_->take_interval();
    losses_.merge(interval.losses);
    for (const SyscallRow& row : interval.changed_syscalls) rows_[row.name] = row;
  }
  uint64_t count(const char* name) { return rows_[name].count; }

  std::unique_ptr<Probes> probes_;
  std::map<std::string, SyscallRow> rows_;
  LossInterval losses_;
};

TEST(SyscallNames, AreThoseOfThisArchitecture) {
  EXPECT_EQ(syscall_name(SYS_accept4), "accept4");
  EXPECT_EQ(syscall_name(SYS_close), "close");
  EXPECT_EQ(syscall_name(SYS_futex), "futex");
  EXPECT_EQ(syscall_name(1023), "syscall_1023");
  EXPECT_EQ(syscall_name(-1), "syscall_-1");
  EXPECT_EQ(syscall_number("shutdown"), SYS_shutdown);
  EXPECT_EQ(syscall_number("no_such_call"), -1);
}

TEST_P(Syscalls, CountsAcceptSendShutdownAndCloseExactly) {
  constexpr int kConnections = 37;
  constexpr int kSendsEach = 3;
  ForkedSubject subject([] {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    CHECK(::bind(listener, raw, length) == 0 && ::listen(listener, 8) == 0);
    CHECK(::getsockname(listener, raw, &length) == 0);
    for (int connection = 0; connection < kConnections; ++connection) {
      const int client = ::socket(AF_INET, SOCK_STREAM, 0);
      CHECK(::connect(client, raw, length) == 0);
      const int server = ::accept(listener, nullptr, nullptr);
      CHECK(server >= 0);
      for (int send = 0; send < kSendsEach; ++send) CHECK(::send(server, "x", 1, 0) == 1);
      CHECK(::shutdown(server, SHUT_RDWR) == 0);
      CHECK(::shutdown(listener, 77) == -1);  // one failing call per connection
      ::close(server);
      ::close(client);
    }
    ::close(-1);
  });
  watch(process_tree(subject.pid()));
  subject.run();
  take();
  EXPECT_EQ(count("accept"), kConnections);
  EXPECT_EQ(count("connect"), kConnections);
  EXPECT_EQ(count("sendto"), kConnections * kSendsEach);
  EXPECT_EQ(count("shutdown"), 2 * kConnections);
  EXPECT_EQ(rows_["shutdown"].errors, kConnections);
  EXPECT_EQ(rows_["sendto"].errors, 0u);
  EXPECT_EQ(count("close"), 2 * kConnections + 1);
  EXPECT_EQ(rows_["close"].errors, 1u);
  EXPECT_EQ(count("socket"), kConnections + 1);
  EXPECT_EQ(rows_["sendto"].latency.count(), count("sendto"));
  EXPECT_EQ(losses_.syscalls_uncounted, 0u);
}

TEST_P(Syscalls, TellsBlockedFromWorking) {
  constexpr int64_t kSleepNs = 60 * kNanosPerMilli;
  ForkedSubject subject([] {
    const timespec pause{0, kSleepNs};
    for (int count = 0; count < 3; ++count) ::nanosleep(&pause, nullptr);
    // Work inside the kernel: 16 MiB of random bytes.
    static char bytes[1 << 20];
    for (int count = 0; count < 16; ++count)
      CHECK(::syscall(SYS_getrandom, bytes, sizeof(bytes), 0) == sizeof(bytes));
  });
  watch(process_tree(subject.pid()));
  subject.run();
  take();
  const SyscallRow& sleeps = rows_["clock_nanosleep"];
  ASSERT_EQ(sleeps.count, 3u);
  EXPECT_GE(sleeps.latency.sum(), static_cast<uint64_t>(3 * kSleepNs));
  EXPECT_GE(sleeps.blocked_ns, static_cast<uint64_t>(3 * kSleepNs * 9 / 10));
  EXPECT_EQ(sleeps.working_ns() + sleeps.blocked_ns, sleeps.latency.sum());
  const SyscallRow& work = rows_["getrandom"];
  ASSERT_GE(work.count, 16u);
  // 16 MiB of random bytes take more than 5 ms on any machine.
  EXPECT_GT(work.working_ns(), static_cast<uint64_t>(5 * kNanosPerMilli));
}

TEST_P(Syscalls, OfAPingPongAreCountedExactlyAndAreMostlyBlocked) {
  // The partner runs on the same CPU. While the subject waits for that CPU inside a call, it is
  // blocked too.
  ForkedSubject subject([] {
    pin_to_cpu(0);
    ping_pong(2'000);
  });
  watch(process_tree(subject.pid()));
  subject.run();
  take();
  // In each of the 2,000 round trips, the subject and its partner both read and write once.
  EXPECT_EQ(count("write"), 2u * 2'000 + 1);  // + 1: the subject reports that it is done
  const SyscallRow& reads = rows_["read"];
  EXPECT_GE(reads.count, 2u * 2'000);
  EXPECT_LE(reads.blocked_ns, reads.latency.sum());
  EXPECT_GT(reads.blocked_ns, reads.latency.sum() / 2);
}

TEST_P(Syscalls, FollowThreadsAndChildrenAndNobodyElse) {
  ForkedSubject bystander([] {
    for (int count = 0; count < 500; ++count) ::getppid();
  });
  ForkedSubject subject([] {
    std::thread other([] {
      for (int count = 0; count < 50; ++count) ::getppid();
    });
    other.join();
    const pid_t child = ::fork();
    if (child == 0) {
      for (int count = 0; count < 20; ++count) ::getppid();
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    for (int count = 0; count < 3; ++count) ::getppid();
  });
  watch(process_tree(subject.pid()));
  bystander.run();
  subject.run();
  take();
  EXPECT_EQ(count("getppid"), 73u);
  EXPECT_EQ(count("fork") + count("clone") + count("clone3"), 2u);  // the thread and the child
  // The subject was in read() when it was first watched, so that call is not counted.
  EXPECT_EQ(losses_.syscalls_left_censored, 1u);
}

TEST_P(Syscalls, RowsAreCumulativeAndComeOnlyWhenTheyChange) {
  ForkedSubject subject([] {
    for (int count = 0; count < 10; ++count) ::getppid();
    ::raise(SIGSTOP);
    for (int count = 0; count < 5; ++count) ::getppid();
  });
  watch(process_tree(subject.pid()));
  subject.go();
  int status = 0;
  ASSERT_EQ(::waitpid(subject.pid(), &status, WUNTRACED), subject.pid());
  take();
  EXPECT_EQ(count("getppid"), 10u);
  rows_.clear();
  take();
  EXPECT_TRUE(rows_.empty());
  ::kill(subject.pid(), SIGCONT);
  subject.wait_done();
  take();
  EXPECT_EQ(count("getppid"), 15u);
  EXPECT_EQ(rows_.count("socket"), 0u);
}

TEST_P(Syscalls, ACallThatASignalRestartsIsNoError) {
  ForkedSubject subject([] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGUSR1, &action, nullptr);
    int pipes[2];
    CHECK(::pipe(pipes) == 0);
    const pid_t self = ::getpid();
    const pid_t child = ::fork();
    if (child == 0) {
      ::usleep(50'000);
      ::kill(self, SIGUSR1);
      ::usleep(50'000);
      CHECK(::write(pipes[1], "x", 1) == 1);
      ::_exit(0);
    }
    char byte = 0;
    CHECK(::read(pipes[0], &byte, 1) == 1);
    ::waitpid(child, nullptr, 0);
  });
  watch(process_tree(subject.pid()));
  subject.run();
  take();
  EXPECT_EQ(rows_["read"].errors, 0u);
  EXPECT_EQ(rows_["read"].count, 2u);  // interrupted once
}

INSTANTIATE_TEST_SUITE_P(Rungs, Syscalls, testing::Values(Rung::kTpBtf, Rung::kTracepoint),
                         [](const auto& rung) { return std::string(rung_name(rung.param)); });

TEST(SyscallRungs, SayTheSameOfOneWorkload) {
  SKIP_WITHOUT_BPF();
  if (const auto reason = no_tracepoints_reason()) GTEST_SKIP() << *reason;
  constexpr int kRounds = 500;
  Shared<int64_t> cpu_ns;
  ForkedSubject subject([&] {
    std::thread other([] {
      for (int count = 0; count < 200; ++count) ::usleep(100);
    });
    ping_pong(kRounds);
    other.join();
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    *cpu_ns.operator->() = used.tv_sec * kNanosPerSecond + used.tv_nsec;
  });
  auto top = Probes::open(process_tree(subject.pid()), with_syscalls(Rung::kTpBtf));
  auto below = Probes::open(process_tree(subject.pid()), with_syscalls(Rung::kTracepoint));
  ASSERT_TRUE(top.ok() && below.ok());
  const int64_t stolen_before_ns = stolen_ns();
  subject.run();
  // How long a call takes on this machine, including the BPF programs of both rungs and the switch;
  // and how much time a hypervisor took, which may be between the stamps of the two rungs.
  const double call_ns = static_cast<double>(*cpu_ns.operator->()) / (2 * kRounds);
  const auto away_ns = static_cast<double>(stolen_ns() - stolen_before_ns);
  std::map<std::string, SyscallRow> by_top, by_below;
  for (const SyscallRow& row : (*top)->take_interval().changed_syscalls) by_top[row.name] = row;
  for (const SyscallRow& row : (*below)->take_interval().changed_syscalls) by_below[row.name] = row;
  ASSERT_GE(by_top.size(), 4u);
  for (const auto& [name, row] : by_top) {
    const SyscallRow& other = by_below[name];
    EXPECT_EQ(other.count, row.count) << name;
    EXPECT_EQ(other.errors, row.errors) << name;
    // At each call and each switch, the programs of one rung run inside the time that the other one
    // measures.
    const double slack = 2 * call_ns * static_cast<double>(row.count) + away_ns +
                         0.02 * static_cast<double>(row.latency.sum());
    EXPECT_NEAR(static_cast<double>(other.latency.sum()), static_cast<double>(row.latency.sum()),
                slack)
        << name;
    EXPECT_NEAR(static_cast<double>(other.blocked_ns), static_cast<double>(row.blocked_ns), slack)
        << name;
  }
}

TEST(SyscallProbe, IsNotOpenedUnlessAskedFor) {
  ForkedSubject subject([] { ::getppid(); });
  ProbeOptions options;
  options.forced["scheduler"] = Rung::kProc;
  auto opened = Probes::open(process_tree(subject.pid()), options);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(status_of(**opened, "syscalls").rung, Rung::kNone);
  subject.run();
  EXPECT_TRUE((*opened)->take_interval().changed_syscalls.empty());
}

}  // namespace
}  // namespace topspin
