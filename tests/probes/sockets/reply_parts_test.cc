// The parts of each reply, compared with the subject's own clock. For each part a server spends a
// known time in it, and records how long that took. Uses real BPF and real traffic on loopback.
#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <ctime>
#include <functional>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/probes.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"
#include "tests/support/own_network.h"

namespace topspin {
namespace {

const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new test::OwnNetwork);

constexpr uint16_t kServerPort = 7120;
constexpr int kRequests = 10;
constexpr int64_t kSpentNs = 4 * kNanosPerMilli;

/// The subject's account of itself: the times that it spent in what is tested, by its own clock.
struct Account {
  std::atomic<bool> has_slept{false};  // so that the probes have seen a switch to the reader
  int64_t spent_ns = 0;
  int64_t inside_ns = 0;  // from the end of each read until its reply was sent; only server()
  int32_t reader_tid = 0, sender_tid = 0;
  std::array<int64_t, kRequests> ready_to_read_ns{};  // end of what kept it from reading
};

template <typename Call>
void spend(Account& account, const Call& call) {
  const int64_t begin_ns = monotonic_now_ns();
  call();
  account.spent_ns += monotonic_now_ns() - begin_ns;
}
timespec duration_of(int64_t ns) { return {ns / kNanosPerSecond, ns % kNanosPerSecond}; }
void sleep_for(int64_t ns) {
  const timespec time = duration_of(ns);
  ::nanosleep(&time, nullptr);
}

class ReplyParts : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_BPF();
    if (!test::OwnNetwork::why_not().empty()) GTEST_SKIP() << test::OwnNetwork::why_not();
    for (UniqueFd* fd : {&server_, &client_}) {
      *fd = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_in any{};
      any.sin_family = AF_INET;
      any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (fd == &server_) any.sin_port = htons(kServerPort);  // a chosen port makes it a server's
      ASSERT_EQ(::bind(fd->get(), reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
    }
    sockaddr_in to{};
    socklen_t length = sizeof(to);
    ::getsockname(server_.get(), reinterpret_cast<sockaddr*>(&to), &length);
    ASSERT_EQ(::connect(client_.get(), reinterpret_cast<sockaddr*>(&to), length), 0);
  }

  static uint16_t port_of(const UniqueFd& fd) {
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
    return ntohs(address.sin_port);
  }

  // Called in the subject.
  void read_request() {
    char byte = 0;
    peer_length_ = sizeof(peer_);
    CHECK(::recvfrom(server_.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&peer_),
                     &peer_length_) == 1);
  }
  void send_reply() {
    CHECK(::sendto(server_.get(), "y", 1, 0, reinterpret_cast<sockaddr*>(&peer_), peer_length_) ==
          1);
  }
  /// A server with one thread. Both functions get the number of the request.
  std::function<void()> server(const std::function<void(int)>& before_read,
                               const std::function<void(int)>& before_send) {
    return [=, this] {
      account_->reader_tid = account_->sender_tid = static_cast<int32_t>(::gettid());
      for (int i = 0; i < kRequests; ++i) {
        before_read(i);
        account_->ready_to_read_ns[i] = monotonic_now_ns();
        read_request();
        const int64_t read_ns = monotonic_now_ns();
        before_send(i);
        send_reply();
        account_->inside_ns += monotonic_now_ns() - read_ns;
      }
    };
  }

  // Called in the test.
  void ask() {
    char byte = 0;
    ASSERT_EQ(::send(client_.get(), "x", 1, 0), 1);
    asked_ns_.push_back(monotonic_now_ns());
    ASSERT_EQ(::recv(client_.get(), &byte, 1, 0), 1);
  }
  /// Runs `work` in the subject, makes each request with `ask_one`, and reads the parts.
  void run(const std::function<void()>& work, const std::function<void()>& ask_one) {
    // Before the first switch to a thread that the probes see, what it did is not known. That
    // switch itself may be hidden.
    ForkedSubject subject([this, &work] {
      sleep_for(kNanosPerMilli);
      sleep_for(kNanosPerMilli);
      account_->has_slept = true;
      work();
    });
    subject_ = subject.pid();
    ProbeOptions options;
    options.forced = {{"scheduler", Rung::kTpBtf}};
    auto opened = Probes::open(process_tree(subject.pid()), options);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    const auto probes = std::move(opened).value();
    probes->handle_events();
    subject.go();
    while (!account_->has_slept) ::sched_yield();
    for (int i = 0; i < kRequests; ++i) ask_one();
    subject.wait_done();
    interval_ = probes->take_interval();
    check_sums();
  }
  void run(const std::function<void()>& work) {
    run(work, [this] { ask(); });
  }

  const SocketInterval& sockets() const { return *interval_.sockets; }
  uint64_t sum(ReplyPart part) const {
    const auto& time = sockets().reply_parts[static_cast<size_t>(part)].time;
    return time ? time->sum() : 0;
  }
  static bool is_unread(size_t part) {
    return part <= static_cast<size_t>(ReplyPart::kUnreadUnknown);
  }

  /// The parts in ms, for messages.
  std::string all_parts() const {
    std::string text;
    for (size_t i = 0; i < kReplyPartCount; ++i) {
      const double ms = static_cast<double>(sum(static_cast<ReplyPart>(i))) / 1e6;
      if (ms > 0) text += fmt::format(" {} {:.2f}", reply_part_names()[i].field, ms);
    }
    return text;
  }

  /// Checks everything that must hold whatever the server does.
  void check_sums() {
    ASSERT_TRUE(interval_.sockets && sockets().reply);
    const SocketInterval& s = sockets();
    ASSERT_EQ(s.reply->count(), static_cast<uint64_t>(kRequests));
    std::array<uint64_t, 2> whole{};
    for (size_t i = 0; i < kReplyPartCount; ++i) {
      ASSERT_TRUE(s.reply_parts[i].time) << reply_part_names()[i].time;
      EXPECT_EQ(s.reply_parts[i].time->count(), s.reply->count()) << reply_part_names()[i].time;
      whole[is_unread(i)] += s.reply_parts[i].time->sum();
    }
    EXPECT_EQ(whole[0] + whole[1], s.reply->sum());
    EXPECT_EQ(s.reply_socket->sum() + s.reply_cpu_queue->sum() + s.reply_runtime->sum(),
              s.reply->sum());
    EXPECT_EQ(s.reply_cpu_queue->sum(),
              sum(ReplyPart::kUnreadCpuQueue) + sum(ReplyPart::kInsideCpuQueue));
    EXPECT_EQ(s.reply_runtime->sum(), whole[0] - sum(ReplyPart::kInsideCpuQueue));
    ASSERT_EQ(interval_.slowest_replies.size(), static_cast<size_t>(kRequests));
    uint64_t before_ns = UINT64_MAX, all_ns = 0;
    for (const SlowReply& reply : interval_.slowest_replies) {
      EXPECT_EQ(std::accumulate(reply.parts.begin(), reply.parts.end(), uint64_t{0}),
                reply.total_ns);
      EXPECT_LE(reply.total_ns, before_ns);
      before_ns = reply.total_ns;
      all_ns += reply.total_ns;
      EXPECT_EQ(reply.protocol, kProtocolUdp);
      EXPECT_EQ(format_endpoint(reply.local, reply.ip_version),
                "127.0.0.1:" + std::to_string(kServerPort));
      EXPECT_EQ(format_endpoint(reply.remote, reply.ip_version),
                "127.0.0.1:" + std::to_string(port_of(client_)));
      EXPECT_EQ(reply.reader_tid, account_->reader_tid);
      EXPECT_EQ(reply.sender_tid, account_->sender_tid);
    }
    EXPECT_EQ(all_ns, s.reply->sum());
  }

  /// `part` must be the time that the subject spent by its own clock, without waits for a CPU, work
  /// between sleeps, and what a hidden switch makes unknown.
  void expect_spent_in(ReplyPart part, ReplyPart queue, ReplyPart unknown) {
    const auto spent = static_cast<uint64_t>(account_->spent_ns);
    ASSERT_GE(spent, static_cast<uint64_t>(kRequests * kSpentNs));
    // Its time on a CPU also includes sending, and the code around what is tested.
    const uint64_t most =
        part == ReplyPart::kOnCpu ? static_cast<uint64_t>(account_->inside_ns) : spent;
    EXPECT_LE(sum(part), most + most / 50) << names_of(part).time << all_parts();
    const uint64_t between = part == ReplyPart::kOnCpu ? 0 : sum(ReplyPart::kOnCpu);
    EXPECT_GE(sum(part) + between + sum(queue) + sum(unknown), spent - spent / 10)
        << names_of(part).time << all_parts();
    EXPECT_GE(sum(part) + sum(unknown), static_cast<uint64_t>(kRequests * kSpentNs) * 8 / 10)
        << names_of(part).time;
    if (interval_.losses.scheduler_hidden_switches == 0) {
      EXPECT_EQ(sum(unknown), 0u) << all_parts();
    }
  }
  void expect_inside(ReplyPart part) {
    expect_spent_in(part, ReplyPart::kInsideCpuQueue, ReplyPart::kInsideUnknown);
  }
  /// From the moment the client had asked to the moment the server was ready to read, the server
  /// did what kept it from reading.
  void expect_unread(ReplyPart part) {
    uint64_t least = 0;
    for (size_t i = 0; i < asked_ns_.size(); ++i)
      least +=
          static_cast<uint64_t>(std::max<int64_t>(0, account_->ready_to_read_ns[i] - asked_ns_[i]));
    ASSERT_GT(least, 0u);
    const auto spent = static_cast<uint64_t>(account_->spent_ns);
    EXPECT_LE(sum(part), spent + spent / 50) << all_parts();
    EXPECT_GE(sum(part) + sum(ReplyPart::kUnreadCpuQueue) + sum(ReplyPart::kUnreadUnknown),
              least - least / 10)
        << all_parts();
  }
  /// A server that does `what` in each reply.
  void run_inside(const std::function<void()>& what) {
    run(server([](int) {}, [&](int) { spend(*account_.operator->(), what); }));
  }

  UniqueFd server_, client_;
  sockaddr_in peer_{};
  socklen_t peer_length_ = 0;
  Shared<Account> account_;
  pid_t subject_ = 0;
  std::vector<int64_t> asked_ns_;  // just after each request was sent
  ProbeInterval interval_;
};

TEST_F(ReplyParts, ItsOwnSleep) {
  run_inside([] { sleep_for(kSpentNs); });
  expect_inside(ReplyPart::kSleep);
}

TEST_F(ReplyParts, AFutex) {
  run_inside([] {
    int word = 0;
    const timespec time = duration_of(kSpentNs);
    ::syscall(SYS_futex, &word, FUTEX_WAIT, 0, &time, nullptr, 0);
  });
  expect_inside(ReplyPart::kFutex);
}

TEST_F(ReplyParts, APoll) {
  run_inside([] { ::poll(nullptr, 0, static_cast<int>(kSpentNs / kNanosPerMilli)); });
  expect_inside(ReplyPart::kPoll);
}

TEST_F(ReplyParts, ASocketOfItsOwn) {
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  // The kernel counts the timeout in jiffies, and the first one is not a whole one.
  const timeval timeout{0, 2 * kSpentNs / 1'000};
  ::setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  run_inside([&] {
    char byte = 0;
    (void)!::recv(pair[0], &byte, 1, 0);
  });
  for (const int fd : pair) ::close(fd);
  expect_inside(ReplyPart::kSocket);
}

TEST_F(ReplyParts, APipe) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  run([&] {
    std::array<int, 2> wishes{};
    CHECK(::pipe2(wishes.data(), O_CLOEXEC) == 0);
    std::thread writer([&] {
      char byte = 0;
      while (::read(wishes[0], &byte, 1) == 1) {
        sleep_for(kSpentNs + kNanosPerMilli / 10);
        CHECK(::write(pipe[1], &byte, 1) == 1);
      }
    });
    server([](int) {},
           [&](int) {
             spend(*account_.operator->(), [&] {
               char byte = 0;
               CHECK(::write(wishes[1], "w", 1) == 1);
               CHECK(::read(pipe[0], &byte, 1) == 1);
             });
           })();
    ::close(wishes[1]);
    writer.join();
  });
  for (const int fd : pipe) ::close(fd);
  expect_inside(ReplyPart::kPipe);
}

TEST_F(ReplyParts, WorkOnACpu) {
  run_inside([] { burn_cpu_ns(kSpentNs); });
  expect_inside(ReplyPart::kOnCpu);
}

TEST_F(ReplyParts, WorkThatKeepsItFromReading) {
  // The next request comes while the server works between a reply and its next read.
  run(server(
      [this](int i) {
        if (i > 0) spend(*account_.operator->(), [] { burn_cpu_ns(kSpentNs * 3 / 2); });
      },
      [](int) {}));
  expect_unread(ReplyPart::kUnreadBusy);
}

TEST_F(ReplyParts, SleepThatKeepsItFromReading) {
  run(server(
      [this](int i) {
        if (i > 0) spend(*account_.operator->(), [] { sleep_for(kSpentNs * 3 / 2); });
      },
      [](int) {}));
  expect_unread(ReplyPart::kUnreadAsleep);
}

TEST_F(ReplyParts, AStoppedServer) {
  int64_t stopped_ns = 0;
  run(server([](int) {}, [](int) {}), [&] {
    ::kill(subject_, SIGSTOP);
    int status = 0;
    ASSERT_EQ(::waitpid(subject_, &status, WUNTRACED), subject_);
    const int64_t begin_ns = monotonic_now_ns();
    ASSERT_EQ(::send(client_.get(), "x", 1, 0), 1);
    sleep_for(kSpentNs);
    stopped_ns += monotonic_now_ns() - begin_ns;
    ::kill(subject_, SIGCONT);
    char byte = 0;
    ASSERT_EQ(::recv(client_.get(), &byte, 1, 0), 1);
  });
  account_->spent_ns = stopped_ns;
  EXPECT_GE(sum(ReplyPart::kUnreadStopped) + sum(ReplyPart::kUnreadUnknown),
            static_cast<uint64_t>(kRequests * kSpentNs));
}

/// One thread reads, works and hands over; another one sleeps and sends.
TEST_F(ReplyParts, AnotherThreadThatSends) {
  Shared<Account> between;
  run([&] {
    std::mutex mutex;
    std::condition_variable changed;
    int handed = 0, sent = 0;
    std::thread sender([&] {
      account_->sender_tid = static_cast<int32_t>(::gettid());
      for (int i = 1; i <= kRequests; ++i) {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return handed == i; });
        lock.unlock();
        spend(*account_.operator->(), [] { sleep_for(kSpentNs); });
        send_reply();
        lock.lock();
        sent = i;
        changed.notify_all();
      }
    });
    account_->reader_tid = static_cast<int32_t>(::gettid());
    for (int i = 1; i <= kRequests; ++i) {
      read_request();
      sleep_for(kNanosPerMilli);  // by then, the sender waits and sleeps
      spend(*between.operator->(), [] { burn_cpu_ns(kSpentNs); });
      std::unique_lock lock(mutex);
      handed = i;
      changed.notify_all();
      changed.wait(lock, [&] { return sent == i; });
    }
    sender.join();
  });
  expect_inside(ReplyPart::kSleep);
  EXPECT_GE(sum(ReplyPart::kBetweenThreads) + sum(ReplyPart::kInsideUnknown),
            static_cast<uint64_t>(between->spent_ns));
  EXPECT_LT(sum(ReplyPart::kFutex), static_cast<uint64_t>(between->spent_ns) / 20)
      << "its sleep until it was handed over is no lock";
  EXPECT_LT(sum(ReplyPart::kOnCpu), static_cast<uint64_t>(between->spent_ns) / 2)
      << "what the other thread worked is not its own";
}

TEST_F(ReplyParts, MoreSleepsThanAreRemembered) {
  run_inside([] {
    for (int i = 0; i < 200; ++i) sleep_for(kSpentNs / 200);
  });
  expect_inside(ReplyPart::kSleep);
  EXPECT_EQ(interval_.losses.reply_splits_cut, 0u);
}

TEST_F(ReplyParts, TheSlowestComesFirstAndSaysWhy) {
  run(server([](int) {},
             [](int i) {
               ::prctl(PR_SET_NAME, "slow one");
               sleep_for(i == 4 ? 20 * kSpentNs : kSpentNs);
             }));
  const SlowReply& slowest = interval_.slowest_replies.front();
  EXPECT_GE(slowest.total_ns, static_cast<uint64_t>(20 * kSpentNs));
  EXPECT_EQ(slowest.sender, "slow one");
  if (interval_.losses.scheduler_hidden_switches == 0) {
    EXPECT_EQ(slowest.mostly(), ReplyPart::kSleep);
  }
}

/// Without the scheduler probe's rung it is not known when a thread slept, and it is not guessed.
TEST_F(ReplyParts, WithoutTheSchedulersRungSleepIsUnknown) {
  ForkedSubject subject(server([](int) {}, [](int) { sleep_for(kSpentNs); }));
  ProbeOptions options;
  options.forced = {{"scheduler", Rung::kProc}};
  auto probes = Probes::open(process_tree(subject.pid()), options);
  ASSERT_TRUE(probes.ok());
  (*probes)->handle_events();
  subject.go();
  for (int i = 0; i < kRequests; ++i) ask();
  subject.wait_done();
  interval_ = (*probes)->take_interval();
  check_sums();
  EXPECT_GE(sum(ReplyPart::kInsideUnknown), static_cast<uint64_t>(kRequests * kSpentNs) * 8 / 10);
  EXPECT_EQ(sum(ReplyPart::kOnCpu), 0u);
  EXPECT_EQ(sum(ReplyPart::kSleep), 0u);
}

}  // namespace
}  // namespace topspin
