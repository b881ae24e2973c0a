// Time in interrupts, compared with /proc/softirqs and /proc/stat. A subject on one CPU sends
// datagrams to itself in a network namespace of the test. Uses real BPF. Counts lie between those
// of the kernel before and after; times have bounds that no load on the host can break.
#include <csignal>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"
#include "tests/support/own_network.h"

namespace topspin {
namespace {

const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new test::OwnNetwork);

constexpr int kDatagrams = 20'000;
constexpr int kCpu = 0;

/// The kernel delivers each datagram in a softirq, which interrupts the thread that sent it.
void send_to_myself() {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  CHECK(::bind(fd.get(), raw, length) == 0 && ::getsockname(fd.get(), raw, &length) == 0);
  char byte = 0;
  for (int i = 0; i < kDatagrams; ++i) {
    CHECK(::sendto(fd.get(), "x", 1, 0, raw, length) == 1);
    CHECK(::recv(fd.get(), &byte, 1, 0) == 1);
  }
}

/// The work of a subject. It stops so that the test can measure exactly the sending.
void send_between_two_stops() {
  pin_to_cpu(kCpu);
  ::raise(SIGSTOP);
  send_to_myself();
  ::raise(SIGSTOP);
}

/// How many softirqs of all kinds a CPU has handled since boot.
uint64_t softirqs_by_proc(int cpu) {
  std::ifstream file("/proc/softirqs");
  std::string line;
  std::getline(file, line);
  uint64_t sum = 0;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    uint64_t count = 0;
    for (int column = 0; column <= cpu && words >> count; ++column) {
    }
    sum += count;
  }
  return sum;
}

/// The columns irq and softirq of a CPU in /proc/stat: the time since boot.
uint64_t interrupt_ns_by_proc(int cpu) {
  std::ifstream file("/proc/stat");
  const std::string wanted = "cpu" + std::to_string(cpu);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0;
    words >> name >> user >> nice >> system >> idle >> iowait >> irq >> softirq;
    if (name == wanted)
      return (irq + softirq) * static_cast<uint64_t>(kNanosPerSecond / ::sysconf(_SC_CLK_TCK));
  }
  return 0;
}

/// Whether the kernel measures the time of interrupts in /proc/stat. Otherwise it only counts the
/// timer ticks that fell on an interrupt.
bool kernel_accounts_interrupts() {
  FILE* const pipe = ::popen(
      "(zcat /proc/config.gz || cat /boot/config-$(uname -r)) 2>/dev/null |"
      " grep -x CONFIG_IRQ_TIME_ACCOUNTING=y",
      "r");
  char line[128];
  const bool found = pipe && ::fgets(line, sizeof(line), pipe);
  if (pipe) ::pclose(pipe);
  return found;
}

class InterruptsOf : public testing::TestWithParam<Rung> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_BPF();
    if (!test::OwnNetwork::why_not().empty()) GTEST_SKIP() << test::OwnNetwork::why_not();
  }
  void watch(pid_t pid, Rung scheduler = Rung::kTpBtf) {
    ProbeOptions options;
    options.forced = {{"scheduler", scheduler},
                      {"accepts", Rung::kNone},
                      {"replies", Rung::kNone},
                      {"interrupts", GetParam()}};
    auto opened = Probes::open(process_tree(pid), options);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    probes_ = std::move(opened).value();
    for (const ProbeStatus& status : probes_->status()) {
      if (status.name != "interrupts") continue;
      ASSERT_EQ(status.rung, GetParam()) << status.reason;
    }
  }
  static void await_stop(const ForkedSubject& subject) {
    int status = 0;
    ASSERT_EQ(::waitpid(subject.pid(), &status, WUNTRACED), subject.pid());
    ASSERT_TRUE(WIFSTOPPED(status));
  }
  /// Also takes the kernel's counts before and after the reading.
  InterruptInterval take() {
    softirqs_before_ = softirqs_by_proc(kCpu);
    ProbeInterval interval = probes_->take_interval();
    softirqs_after_ = softirqs_by_proc(kCpu);
    interval_ns_ = interval.end_ns - interval.begin_ns;
    return interval.part<InterruptInterval>().value();
  }

  std::unique_ptr<Probes> probes_;
  uint64_t softirqs_before_ = 0, softirqs_after_ = 0;
  int64_t interval_ns_ = 0;
};

TEST_P(InterruptsOf, SoftirqsAreThoseOfProcWhereTheSubjectRan) {
  ForkedSubject subject(send_between_two_stops);
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  (void)take();  // the subject may have begun on another CPU
  const uint64_t before = softirqs_before_, after = softirqs_after_;
  ::kill(subject.pid(), SIGCONT);
  await_stop(subject);
  const InterruptInterval now = take();
  ASSERT_TRUE(now.softirqs && now.softirq_ns && now.hardirqs && now.hardirq_ns && now.missed);
  // The kernel counts a softirq when it begins, and the probe when it ends. One may be in progress.
  EXPECT_GE(*now.softirqs + *now.missed + 1, softirqs_before_ - after);
  EXPECT_LE(*now.softirqs, softirqs_after_ - before);
  EXPECT_GE(*now.softirqs + *now.missed, static_cast<uint64_t>(kDatagrams));
  EXPECT_GT(*now.softirq_ns, 0u);
  // On one CPU, the time of an interrupt and that of a softirq never overlap in these sums. The
  // reading itself takes a moment, which belongs to the next interval.
  const auto longest_ns = static_cast<uint64_t>(interval_ns_) + uint64_t{kNanosPerSecond};
  EXPECT_LE(*now.hardirq_ns + *now.softirq_ns, longest_ns);
  EXPECT_LE(now.waited_softirq_ns, now.softirq_ns);
  EXPECT_TRUE(now.waited_softirq_ns) << "the scheduler probe knows where it waited";
  if (GetParam() == Rung::kTpBtf) {
    EXPECT_GT(now.interrupted_softirq_ns, 0u) << "its own datagrams";
    EXPECT_LE(*now.interrupted_softirq_ns, *now.softirq_ns);
    EXPECT_LE(*now.interrupted_hardirq_ns, *now.hardirq_ns);
  } else {
    EXPECT_EQ(now.interrupted_softirq_ns, std::nullopt);
  }
}

TEST_P(InterruptsOf, TheirTimeIsThatOfProcStat) {
  if (!kernel_accounts_interrupts())
    GTEST_SKIP() << "needs CONFIG_IRQ_TIME_ACCOUNTING: else /proc/stat has what ticks fell upon";
  ForkedSubject subject(send_between_two_stops);
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  const uint64_t before_ns = interrupt_ns_by_proc(kCpu);
  (void)take();
  ::kill(subject.pid(), SIGCONT);
  await_stop(subject);
  const InterruptInterval now = take();
  // The kernel counts from the entry of an interrupt, topspin from that of its handler. So topspin
  // has less.
  const uint64_t by_proc_ns = interrupt_ns_by_proc(kCpu) - before_ns;
  const auto tick_ns = static_cast<uint64_t>(kNanosPerSecond / ::sysconf(_SC_CLK_TCK));
  EXPECT_LE(*now.softirq_ns + *now.hardirq_ns, by_proc_ns + 2 * tick_ns);
}

TEST_P(InterruptsOf, ASubjectThatSleepsTakesNone) {
  ForkedSubject subject([] { ::raise(SIGSTOP); });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  (void)take();
  pin_to_cpu(kCpu);
  send_to_myself();
  const InterruptInterval now = take();
  EXPECT_GE(softirqs_after_, static_cast<uint64_t>(kDatagrams));
  EXPECT_EQ(now.softirqs, 0u);
  EXPECT_EQ(now.softirq_ns, 0u);
  EXPECT_EQ(now.waited_softirq_ns, 0u);
}

TEST_P(InterruptsOf, WhereTheSubjectsCpusAreNotKnownIsAbsentAndNot0) {
  ForkedSubject subject([] {
    pin_to_cpu(kCpu);
    send_to_myself();
  });
  watch(subject.pid(), Rung::kProc);
  subject.run();
  const InterruptInterval now = take();
  EXPECT_EQ(now.waited_softirq_ns, std::nullopt);
  if (GetParam() == Rung::kTpBtf) {
    EXPECT_GE(*now.softirqs + *now.missed, static_cast<uint64_t>(kDatagrams));
  } else {
    EXPECT_EQ(now.softirqs, std::nullopt);
  }
}

INSTANTIATE_TEST_SUITE_P(Rungs, InterruptsOf, testing::Values(Rung::kTpBtf, Rung::kRawTracepoint),
                         [](const auto& of) { return std::string(rung_name(of.param)); });

TEST(Interrupts, WithoutASubjectThereIsNoNumber) {
  auto probes = Probes::open(SubjectSpec{}, {});
  ASSERT_TRUE(probes.ok()) << probes.error().message;
  EXPECT_FALSE((*probes)->take_interval().part<InterruptInterval>());
}

TEST(Interrupts, AreMeasuredOnRequest) {
  SKIP_WITHOUT_BPF();
  ForkedSubject subject([] {});
  const auto reason_of = [&](const ProbeOptions& options) -> std::string {
    auto probes = Probes::open(process_tree(subject.pid()), options);
    if (!probes.ok()) return probes.error().message;
    for (const ProbeStatus& status : (*probes)->status()) {
      if (status.name == "interrupts") return status.reason;
    }
    return "no such probe";
  };
  EXPECT_EQ(reason_of({}), "not asked for: --probe interrupts=on");
  ProbeOptions options;
  options.asked = {"interrupts"};
  EXPECT_EQ(reason_of(options), "") << "on the top rung";
}

TEST(Interrupts, DoctorSeesSoftirqsOfItsOwn) {
  SKIP_WITHOUT_BPF();
  if (!test::OwnNetwork::why_not().empty()) GTEST_SKIP() << test::OwnNetwork::why_not();
  size_t rungs = 0;
  for (const RungReport& report : examine_probes()) {
    if (report.probe != "interrupts") continue;
    ++rungs;
    EXPECT_TRUE(report.works) << rung_name(report.rung) << ": " << report.reason;
  }
  EXPECT_EQ(rungs, 2u);
}

}  // namespace
}  // namespace topspin
