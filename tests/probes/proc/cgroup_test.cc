// A cgroup as the subject of the other probes than the scheduler's (see ladder_test.cc for that
// one). One process inside and one outside do the same kind of work, and only the one inside is
// counted. Uses real BPF and perf events.
#include <map>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/proc/proc_reader.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/own_cgroup.h"
#include "tests/probes/probe_fixture.h"

namespace topspin {
namespace {

constexpr int kExchanges = 40;

/// Accepts connections from itself one after the other, and answers once on each. Then computes for
/// 50 ms.
void serve_oneself(int exchanges) {
  const auto bound = [](int type, sockaddr_in& address) {
    UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    CHECK(fd && ::bind(fd.get(), raw, length) == 0 && ::getsockname(fd.get(), raw, &length) == 0);
    return fd;
  };
  const auto connected = [](int type, const sockaddr_in& address) {
    UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    CHECK(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    return fd;
  };
  sockaddr_in address{};
  char byte = 'x';
  const UniqueFd listener = bound(SOCK_STREAM, address);
  CHECK(::listen(listener.get(), 8) == 0);
  ::usleep(300'000);  // the probe counts accepts from when it has seen the process listen
  for (int exchange = 0; exchange < exchanges; ++exchange) {
    const UniqueFd client = connected(SOCK_STREAM, address);
    const UniqueFd server(::accept(listener.get(), nullptr, nullptr));
    CHECK(::send(client.get(), &byte, 1, 0) == 1 && ::recv(server.get(), &byte, 1, 0) == 1);
    CHECK(::send(server.get(), &byte, 1, 0) == 1 && ::recv(client.get(), &byte, 1, 0) == 1);
  }
  burn_cpu_ns(50 * kNanosPerMilli);
}

TEST(InACgroup, CallsSocketsCountersAndStacksAreThoseOfItsProcessesAlone) {
  SKIP_WITHOUT_BPF();
  const OwnCgroup cgroup;
  if (!cgroup.missing().empty()) GTEST_SKIP() << cgroup.missing();
  ForkedSubject inside([] { serve_oneself(kExchanges); });
  ForkedSubject outside([] { serve_oneself(3 * kExchanges); });
  cgroup.take_in(inside.pid(), "/inner");  // a cgroup inside the subject's is part of the subject
  ProbeOptions options;
  options.syscalls = options.counters = true;
  options.stacks_per_second = 500;
  auto opened = Probes::open(cgroup.spec(), options);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  Probes& probes = **opened;
  std::map<std::string, ProbeStatus> status;
  for (const ProbeStatus& one : probes.status()) status[one.name] = one;
  for (const char* name : {"scheduler", "accepts", "replies", "syscalls"})
    ASSERT_EQ(status[name].rung, Rung::kTpBtf) << name << ": " << status[name].reason;
  (void)probes.take_interval();
  inside.go();
  outside.go();
  for (int wait = 0; wait < 20; ++wait) {
    ::usleep(10'000);
    probes.handle_events();  // as a recording would
  }
  inside.wait_done();
  outside.wait_done();
  const ProbeInterval interval = probes.take_interval();

  std::map<std::string, SyscallRow> calls;
  for (const SyscallRow& row : interval.changed_syscalls) calls[row.name] = row;
  EXPECT_EQ(calls["accept"].count, uint64_t{kExchanges});
  EXPECT_EQ(calls["connect"].count, uint64_t{kExchanges});
  EXPECT_EQ(calls["sendto"].count, uint64_t{2 * kExchanges});

  ASSERT_TRUE(interval.sockets && interval.sockets->accept_delay &&
              interval.sockets->reply_runtime);
  EXPECT_EQ(interval.sockets->accept_delay->count(), uint64_t{kExchanges});
  EXPECT_EQ(interval.sockets->reply_runtime->count(), uint64_t{kExchanges});

  const auto cpu_ns = static_cast<double>(*interval.scheduler->cpu_ns);
  EXPECT_GE(cpu_ns, 49e6);
  // The sums must be nearer to what the process inside took than to what both took.
  const auto of_outside =
      ProcReader(options.proc_root).thread_schedstat(outside.pid(), outside.pid());
  ASSERT_TRUE(of_outside);
  const double most_ns = cpu_ns + static_cast<double>(of_outside->cpu_ns) / 2;
  if (status["counters"].rung == Rung::kPerf) {
    ASSERT_TRUE(interval.counters.task_clock_ns);
    EXPECT_GE(static_cast<double>(interval.counters.task_clock_ns->count), 0.8 * cpu_ns);
    EXPECT_LE(static_cast<double>(interval.counters.task_clock_ns->count), most_ns);
  }
  ASSERT_EQ(status["stacks"].rung, Rung::kPerf) << status["stacks"].reason;
  {
    uint64_t samples = 0;
    for (const StackRow& stack : interval.changed_stacks) samples += stack.samples;
    EXPECT_GE(static_cast<double>(samples), 0.5 * cpu_ns / 2e6);
    EXPECT_LE(static_cast<double>(samples), most_ns / 2e6);
  }
}

}  // namespace
}  // namespace topspin
