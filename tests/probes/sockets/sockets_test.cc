// The subject's sockets, in a network namespace of the test: queues and drops are compared with
// /proc/net, waits and reply splits with the times that the subject and its client recorded. Uses
// real BPF and real traffic. Times are compared with bounds that both sides measured, never with
// what a host ought to need.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/proc/proc_reader.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"
#include "tests/support/in_child.h"
#include "tests/support/own_network.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new test::OwnNetwork);

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}
const sockaddr* raw(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

UniqueFd bound_socket(int type, uint16_t port) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const sockaddr_in address = loopback(port);
  CHECK(fd && ::bind(fd.get(), raw(address), sizeof(address)) == 0);
  return fd;
}
UniqueFd connected_socket(int type, uint16_t port) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  CHECK(fd && ::connect(fd.get(), raw(address), sizeof(address)) == 0);
  const int on = 1;
  if (type == SOCK_STREAM) ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

void sleep_ms(int ms) { ::usleep(static_cast<useconds_t>(ms) * 1000); }

/// A moment that lies between two readings of the clock.
struct Moment {
  int64_t after_ns = 0;
  int64_t before_ns = 0;
};
template <typename Call>
Moment time_call(const Call& call) {
  Moment moment;
  moment.after_ns = monotonic_now_ns();
  call();
  moment.before_ns = monotonic_now_ns();
  return moment;
}
/// The bounds of the time from one moment to another.
int64_t at_least(const Moment& from, const Moment& to) { return to.after_ns - from.before_ns; }
int64_t at_most(const Moment& from, const Moment& to) { return to.before_ns - from.after_ns; }

/// The drops column of the UDP socket on `port`.
uint64_t udp_drops_by_proc(uint16_t port) {
  std::ifstream file("/proc/thread-self/net/udp");
  std::string line;
  char wanted[16];
  std::snprintf(wanted, sizeof(wanted), ":%04X", port);
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string word, local;
    words >> word >> local;
    if (!local.ends_with(wanted)) continue;
    while (words >> word) {
    }
    return std::stoull(word);
  }
  return UINT64_MAX;
}

/// A number of /proc/net/netstat, read without the code under test.
uint64_t tcp_ext(const std::string& name) {
  std::ifstream file("/proc/thread-self/net/netstat");
  std::string names, values;
  while (std::getline(file, names) && std::getline(file, values)) {
    std::istringstream name_words(names), value_words(values);
    std::string n, v;
    while (name_words >> n && value_words >> v) {
      if (n == name) return std::stoull(v);
    }
  }
  return UINT64_MAX;
}

class Sockets : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_BPF();
    if (!test::OwnNetwork::why_not().empty()) GTEST_SKIP() << test::OwnNetwork::why_not();
    options_.forced = {{"scheduler", Rung::kProc}};
  }

  void watch(pid_t pid) {
    auto opened = Probes::open(process_tree(pid), options_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    probes_ = std::move(opened).value();
    for (const ProbeStatus& status : probes_->status()) {
      if (status.name == "sockets" || status.name == "accepts" || status.name == "replies") {
        ASSERT_TRUE(status.rung != Rung::kNone || options_.forced.contains(status.name))
            << status.name << ": " << status.reason;
      }
    }
  }
  /// Waits until the subject has stopped itself, and handles events as a recording would.
  void await_stop(const ForkedSubject& subject) {
    int status = 0;
    ASSERT_EQ(::waitpid(subject.pid(), &status, WUNTRACED), subject.pid());
    ASSERT_TRUE(WIFSTOPPED(status));
    if (probes_) probes_->handle_events();
  }
  void start_stopped(ForkedSubject& subject) {
    subject.go();
    await_stop(subject);
    // The kernel enables the stamping of packets in a work queue, a moment after the request.
    sleep_ms(20);
    ::kill(subject.pid(), SIGCONT);
  }
  /// Adds the interval to `all_`, and its rows to `rows_`, which has the last row of each port.
  void take() {
    const ProbeInterval interval = probes_->take_interval();
    ASSERT_TRUE(interval.sockets);
    const SocketInterval& now = *interval.sockets;
    const auto merge = [](std::optional<Histogram>& into, const std::optional<Histogram>& from) {
      if (!from) return;
      if (!into) into.emplace();
      into->merge(*from);
    };
    merge(all_.accept_delay, now.accept_delay);
    merge(all_.socket_wait, now.socket_wait);
    merge(all_.reply_socket, now.reply_socket);
    merge(all_.reply_cpu_queue, now.reply_cpu_queue);
    merge(all_.reply_runtime, now.reply_runtime);
    merge(all_.nagle_held, now.nagle_held);
    all_.replies_multiplexed =
        all_.replies_multiplexed.value_or(0) + now.replies_multiplexed.value_or(0);
    all_.udp_drops = all_.udp_drops.value_or(0) + now.udp_drops.value_or(0);
    all_.listen_overflows = all_.listen_overflows.value_or(0) + now.listen_overflows.value_or(0);
    all_.syn_drops = all_.syn_drops.value_or(0) + now.syn_drops.value_or(0);
    all_.host_listen_overflows =
        all_.host_listen_overflows.value_or(0) + now.host_listen_overflows.value_or(0);
    if (now.accept_queue_max > all_.accept_queue_max) {
      all_.accept_queue_max = now.accept_queue_max;
      all_.accept_queue_limit = now.accept_queue_limit;
    }
    for (const SocketRow& row : interval.changed_sockets) rows_[row.local.port] = row;
    losses_.merge(interval.losses);
  }

  void serve_while_starved();
  void serve_in_the_first_switch();

  ProbeOptions options_;
  std::unique_ptr<Probes> probes_;
  SocketInterval all_;
  std::map<uint16_t, SocketRow> rows_;
  LossInterval losses_;
};

/// The smoothed RTT and the congestion window that the process of a connection can read itself.
struct OwnTcpInfo {
  uint64_t srtt_ns = 0, cwnd_bytes = 0;
  bool operator==(const OwnTcpInfo&) const = default;
};
OwnTcpInfo own_tcp_info(int fd) {
  tcp_info info{};
  socklen_t length = sizeof(info);
  CHECK(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
  return {uint64_t{info.tcpi_rtt} * 1'000, uint64_t{info.tcpi_snd_cwnd} * info.tcpi_snd_mss};
}

/// A number in the output of `ss -ti`, without its unit: the rtt of "rtt:0.05/0.02" is 0.05.
std::optional<double> ss_word(const std::string& text, const std::string& word) {
  const size_t at = text.find(" " + word + ":");
  if (at == std::string::npos) return std::nullopt;
  return std::stod(text.substr(at + word.size() + 2));
}
std::string ss_of(uint16_t local_port) {
  const std::string command =
      "ss -H -t -i -n -O sport = :" + std::to_string(local_port) + " 2>/dev/null";
  FILE* const pipe = ::popen(command.c_str(), "r");
  std::string text;
  char part[4096];
  while (pipe && ::fgets(part, sizeof(part), pipe)) text += part;
  if (pipe) ::pclose(pipe);
  return text;
}

/// Connections of the subject to a listener of the test, with little traffic and with much.
struct Conversation {
  static constexpr int kCount = 3;
  std::array<OwnTcpInfo, kCount> info{};
  std::array<uint16_t, kCount> port{};
};
void converse(Conversation* told, uint16_t listening_port) {
  std::vector<UniqueFd> fds;
  for (int i = 0; i < Conversation::kCount; ++i) {
    fds.push_back(connected_socket(SOCK_STREAM, listening_port));
    // The congestion window grows with the bytes that are acknowledged.
    std::vector<char> bytes(1'000 << (4 * i));
    for (int round = 0; round < 4; ++round) {
      size_t sent = 0, got = 0;
      while (sent < bytes.size() || got < bytes.size()) {
        const ssize_t n = ::send(fds[i].get(), bytes.data(), bytes.size() - sent, MSG_DONTWAIT);
        if (n > 0) sent += static_cast<size_t>(n);
        const ssize_t m = ::recv(fds[i].get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (m > 0) got += static_cast<size_t>(m);
      }
    }
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    ::getsockname(fds[i].get(), reinterpret_cast<sockaddr*>(&address), &length);
    told->port[i] = ntohs(address.sin_port);
  }
  // Delayed acknowledgements still change the RTT. Waits until nothing changes any more.
  for (int quiet = 0; quiet < 20; ++quiet) {
    sleep_ms(10);
    for (int i = 0; i < Conversation::kCount; ++i) {
      const OwnTcpInfo now = own_tcp_info(fds[i].get());
      if (!(now == told->info[i])) quiet = 0;
      told->info[i] = now;
    }
  }
  ::raise(SIGSTOP);
}

/// Sends back what it receives on every connection, until it is destroyed.
class Echo {
 public:
  explicit Echo(uint16_t port) : listener_(bound_socket(SOCK_STREAM, port)) {
    CHECK(::listen(listener_.get(), 64) == 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~Echo() {
    end_ = true;
    thread_.join();
  }

 private:
  void serve() {
    std::vector<UniqueFd> fds;
    std::vector<char> bytes(64 << 10);
    while (!end_) {
      std::vector<pollfd> polled = {{listener_.get(), POLLIN, 0}};
      for (const UniqueFd& fd : fds) polled.push_back({fd.get(), POLLIN, 0});
      if (::poll(polled.data(), polled.size(), 10) <= 0) continue;
      for (size_t i = 1; i < polled.size(); ++i) {
        if (polled[i].revents == 0) continue;
        const ssize_t got = ::recv(polled[i].fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (got > 0) (void)!::send(polled[i].fd, bytes.data(), static_cast<size_t>(got), 0);
      }
      if (polled[0].revents != 0) fds.emplace_back(::accept(listener_.get(), nullptr, nullptr));
    }
  }
  UniqueFd listener_;
  std::atomic<bool> end_ = false;
  std::thread thread_;
};

TEST_F(Sockets, RttAndWindowAreThoseThatTheSubjectReadsItself) {
  constexpr uint16_t kPort = 7090;
  const Echo echo(kPort);
  Shared<Conversation> told;
  ForkedSubject subject([&] { converse(told.operator->(), kPort); });
  // A connection that is not the subject's.
  const UniqueFd other = connected_socket(SOCK_STREAM, kPort);
  watch(subject.pid());
  SocketInterval before = *probes_->take_interval().sockets;
  EXPECT_EQ(before.tcp_connections, 0u);
  EXPECT_EQ(before.tcp_srtt_mean_ns, std::nullopt) << "no connection: absent, not 0";
  EXPECT_EQ(before.tcp_cwnd_max_bytes, std::nullopt);
  subject.go();
  await_stop(subject);
  const SocketInterval now = *probes_->take_interval().sockets;
  std::vector<uint64_t> srtt, cwnd;
  for (const OwnTcpInfo& one : told->info) {
    srtt.push_back(one.srtt_ns);
    cwnd.push_back(one.cwnd_bytes);
  }
  EXPECT_EQ(now.tcp_connections, 3u);
  EXPECT_EQ(now.tcp_reads_cut, 0u);
  EXPECT_EQ(now.tcp_srtt_min_ns, *std::min_element(srtt.begin(), srtt.end()));
  EXPECT_EQ(now.tcp_srtt_max_ns, *std::max_element(srtt.begin(), srtt.end()));
  EXPECT_EQ(now.tcp_srtt_mean_ns, (srtt[0] + srtt[1] + srtt[2]) / 3);
  EXPECT_EQ(now.tcp_cwnd_min_bytes, *std::min_element(cwnd.begin(), cwnd.end()));
  EXPECT_EQ(now.tcp_cwnd_max_bytes, *std::max_element(cwnd.begin(), cwnd.end()));
  EXPECT_EQ(now.tcp_cwnd_mean_bytes, (cwnd[0] + cwnd[1] + cwnd[2]) / 3);
  EXPECT_GT(now.tcp_cwnd_max_bytes, now.tcp_cwnd_min_bytes) << "the window of one has grown";
  for (int i = 0; i < Conversation::kCount; ++i) {
    const std::string text = ss_of(told->port[i]);
    const auto rtt_ms = ss_word(text, "rtt"), segments = ss_word(text, "cwnd");
    const auto mss = ss_word(text, "mss");
    if (!rtt_ms || !segments || !mss) GTEST_SKIP() << "needs ss of iproute2 for the rest";
    EXPECT_NEAR(*rtt_ms * 1e6, static_cast<double>(srtt[i]), 1'000) << text;
    EXPECT_EQ(*segments * *mss, static_cast<double>(cwnd[i])) << text;
  }
}

/// The times of sending that the process of a connection can read itself.
struct OwnSending {
  uint64_t busy_ns = 0, rwnd_limited_ns = 0;
};
/// struct tcp_info of <linux/tcp.h>, which cannot be included together with <netinet/tcp.h>.
struct LinuxTcpInfo {
  tcp_info first;
  uint64_t rates[2], bytes[2];
  uint32_t segments[2], notsent_bytes, min_rtt, data_segments[2];
  uint64_t delivery_rate, busy_us, rwnd_limited_us;
};
static_assert(offsetof(LinuxTcpInfo, busy_us) == 168);

TEST_F(Sockets, TimeThatThePeersWindowTookIsWhatTheSubjectIsToldItself) {
  constexpr uint16_t kPort = 7091;
  const UniqueFd listener = bound_socket(SOCK_STREAM, kPort);
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  Shared<OwnSending> told;
  ForkedSubject subject([&] {
    const UniqueFd connection = connected_socket(SOCK_STREAM, kPort);
    const std::vector<char> bytes(16 << 20);
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n = ::send(connection.get(), bytes.data(), bytes.size() - sent, 0);
      CHECK(n > 0);
      sent += static_cast<size_t>(n);
    }
    LinuxTcpInfo info{};
    do {  // until everything is acknowledged
      sleep_ms(1);
      socklen_t length = sizeof(info);
      CHECK(::getsockopt(connection.get(), IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
    } while (info.first.tcpi_unacked > 0 || info.notsent_bytes > 0);
    told->busy_ns = info.busy_us * 1'000;
    told->rwnd_limited_ns = info.rwnd_limited_us * 1'000;
    ::raise(SIGSTOP);
  });
  watch(subject.pid());
  EXPECT_FALSE(probes_->take_interval().sockets->tcp_busy_ns) << "no connection";
  subject.go();
  const UniqueFd slow(::accept(listener.get(), nullptr, nullptr));
  sleep_ms(200);
  std::vector<char> bytes(1 << 20);
  for (size_t got = 0; got < 16 << 20;) {
    const ssize_t n = ::recv(slow.get(), bytes.data(), bytes.size(), 0);
    ASSERT_GT(n, 0);
    got += static_cast<size_t>(n);
    sleep_ms(5);
  }
  await_stop(subject);
  const SocketInterval now = *probes_->take_interval().sockets;
  EXPECT_EQ(now.tcp_busy_ns, told->busy_ns);
  EXPECT_EQ(now.tcp_rwnd_limited_ns, told->rwnd_limited_ns);
  EXPECT_GT(told->rwnd_limited_ns, uint64_t{50} * kNanosPerMilli);
  EXPECT_EQ(probes_->take_interval().sockets->tcp_busy_ns, 0u) << "nothing was sent since";
}

/// There are more connections than are read in a tick. Those to the subject's listening port are
/// found nevertheless, and it is counted that others were left out.
TEST_F(Sockets, AmongVeryManyConnectionsThoseOfItsOwnPortsAreFound) {
  constexpr int kOthers = 2'500;  // both ends are in this namespace
  constexpr uint16_t kPort = 7091, kOtherPort = 7092;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < 3 * kOthers) GTEST_SKIP() << "needs more open files";
  ForkedSubject subject([] {
    const UniqueFd listener = bound_socket(SOCK_STREAM, kPort);
    CHECK(::listen(listener.get(), 8) == 0);
    ::raise(SIGSTOP);
    const UniqueFd one(::accept(listener.get(), nullptr, nullptr));
    const UniqueFd two(::accept(listener.get(), nullptr, nullptr));
    ::raise(SIGSTOP);
  });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  (void)probes_->take_interval();  // finds its listening socket
  std::vector<UniqueFd> others;
  const UniqueFd listener = bound_socket(SOCK_STREAM, kOtherPort);
  CHECK(::listen(listener.get(), 8) == 0);
  for (int i = 0; i < kOthers; ++i) {
    others.push_back(connected_socket(SOCK_STREAM, kOtherPort));
    others.emplace_back(::accept(listener.get(), nullptr, nullptr));
  }
  const UniqueFd first = connected_socket(SOCK_STREAM, kPort);
  const UniqueFd second = connected_socket(SOCK_STREAM, kPort);
  ::kill(subject.pid(), SIGCONT);
  await_stop(subject);
  SocketInterval now;
  for (int tick = 0; tick < 100 && now.tcp_connections != 2u; ++tick) {
    now = *probes_->take_interval().sockets;
    EXPECT_EQ(now.tcp_reads_cut, 1u);
    sleep_ms(50);
  }
  EXPECT_EQ(now.tcp_connections, 2u);
  EXPECT_TRUE(now.tcp_srtt_max_ns);
}

/// With TCP_DEFER_ACCEPT, a listening socket drops the last ACK of each handshake until data comes.
TEST_F(Sockets, AnAckThatIsDroppedRefusesNobody) {
  constexpr int kBacklog = 2, kClients = 8;
  ForkedSubject subject([] {
    const UniqueFd listener = bound_socket(SOCK_STREAM, 7076);
    const int seconds = 10;
    CHECK(::setsockopt(listener.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)) ==
          0);
    CHECK(::listen(listener.get(), kClients) == 0);
    ::raise(SIGSTOP);
    CHECK(::listen(listener.get(), kBacklog) == 0);
    ::raise(SIGSTOP);
  });
  watch(subject.pid());
  const uint64_t overflows = tcp_ext("ListenOverflows");
  const uint64_t drops = tcp_ext("ListenDrops");
  subject.go();
  await_stop(subject);
  std::vector<UniqueFd> clients;
  for (int client = 0; client < kClients; ++client)
    clients.push_back(connected_socket(SOCK_STREAM, 7076));
  take();
  EXPECT_GE(rows_[7076].drops, static_cast<uint64_t>(kClients));  // the kernel counts packets
  EXPECT_EQ(tcp_ext("ListenDrops"), drops);
  EXPECT_EQ(all_.listen_overflows, 0u);
  EXPECT_EQ(all_.syn_drops, 0u);
  // Now the queue is too short for them when their handshakes end. One refusal drops two packets.
  ::kill(subject.pid(), SIGCONT);
  await_stop(subject);
  for (const UniqueFd& client : clients) CHECK(::send(client.get(), "x", 1, 0) == 1);
  clients.clear();  // so that hardly anything is sent again
  take();
  ::kill(subject.pid(), SIGCONT);
  subject.wait_done();
  EXPECT_GE(tcp_ext("ListenOverflows"), overflows + kClients - kBacklog - 1);
  EXPECT_GE(*all_.listen_overflows, static_cast<uint64_t>(kClients - kBacklog - 1));
  EXPECT_EQ(all_.syn_drops, 0u);
  EXPECT_EQ(tcp_ext("ListenDrops") - drops, tcp_ext("ListenOverflows") - overflows);
}

TEST_F(Sockets, AFullAcceptQueueIsMeasuredAndItsOverflowsCounted) {
  constexpr int kBacklog = 4;
  constexpr int kClients = 16;
  constexpr uint16_t kPort = 7001;
  ForkedSubject subject([] {
    const UniqueFd listener = bound_socket(SOCK_STREAM, kPort);
    CHECK(::listen(listener.get(), kBacklog) == 0);
    ::raise(SIGSTOP);
    for (int count = 0; count <= kBacklog; ++count)
      ::close(::accept(listener.get(), nullptr, nullptr));
    ::raise(SIGSTOP);
  });
  watch(subject.pid());
  const uint64_t overflows = tcp_ext("ListenOverflows");
  const uint64_t drops = tcp_ext("ListenDrops");
  subject.go();
  await_stop(subject);
  std::vector<UniqueFd> clients;
  const sockaddr_in address = loopback(kPort);
  Moment connects;
  connects.after_ns = monotonic_now_ns();
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    ::connect(clients.back().get(), raw(address), sizeof(address));
  }
  connects.before_ns = monotonic_now_ns();
  sleep_ms(150);
  take();
  clients.clear();  // no more SYNs
  take();
  const uint64_t overflowed = tcp_ext("ListenOverflows") - overflows;
  EXPECT_GE(overflowed, static_cast<uint64_t>(kClients - kBacklog - 1));
  EXPECT_EQ(all_.listen_overflows, overflowed);
  EXPECT_EQ(all_.host_listen_overflows, overflowed);
  EXPECT_EQ(*all_.listen_overflows + *all_.syn_drops, tcp_ext("ListenDrops") - drops);
  // The kernel queues one connection more than was requested.
  EXPECT_EQ(all_.accept_queue_max, kBacklog + 1u);
  EXPECT_EQ(all_.accept_queue_limit, static_cast<uint64_t>(kBacklog));
  ASSERT_TRUE(rows_.contains(kPort));
  EXPECT_EQ(rows_[kPort].accept_queue_max, kBacklog + 1u);
  EXPECT_EQ(rows_[kPort].accept_queue_limit, static_cast<uint64_t>(kBacklog));
  EXPECT_EQ(rows_[kPort].pid, subject.pid());
  EXPECT_EQ(rows_[kPort].drops, tcp_ext("ListenDrops") - drops);
  EXPECT_FALSE(rows_[kPort].receive_queue_bytes);

  const Moment accepts = time_call([&] {
    ::kill(subject.pid(), SIGCONT);
    await_stop(subject);
  });
  take();
  EXPECT_EQ(rows_[kPort].accept_queue, 0u);
  ASSERT_EQ(all_.accept_delay->count(), kBacklog + 1u);
  EXPECT_GE(*all_.accept_delay->max(), static_cast<uint64_t>(at_least(connects, accepts)));
  EXPECT_LE(*all_.accept_delay->max(), static_cast<uint64_t>(at_most(connects, accepts)));
  EXPECT_GE(all_.accept_delay->sum(),
            static_cast<uint64_t>(at_least(connects, accepts)) * (kBacklog + 1));
  ::kill(subject.pid(), SIGCONT);
  subject.wait_done();
  take();
  EXPECT_TRUE(rows_[kPort].closed);
  EXPECT_EQ(losses_.socket_map_full, 0u);
}

TEST_F(Sockets, AQueueThatEmptiesBetweenTwoTicksIsSeenAtItsFullest) {
  constexpr int kClients = 7;
  ForkedSubject subject([] {
    const UniqueFd listener = bound_socket(SOCK_STREAM, 7002);
    CHECK(::listen(listener.get(), 64) == 0);
    ::raise(SIGSTOP);
    std::vector<UniqueFd> clients;
    for (int client = 0; client < kClients; ++client)
      clients.push_back(connected_socket(SOCK_STREAM, 7002));
    for (int client = 0; client < kClients; ++client)
      ::close(::accept(listener.get(), nullptr, nullptr));
  });
  watch(subject.pid());
  start_stopped(subject);
  subject.wait_done();
  take();
  EXPECT_EQ(all_.accept_queue_max, static_cast<uint64_t>(kClients));
  EXPECT_EQ(all_.accept_queue_limit, 64u);
  EXPECT_EQ(all_.accept_delay->count(), static_cast<uint64_t>(kClients));
  take();
  EXPECT_EQ(all_.accept_delay->count(), static_cast<uint64_t>(kClients));
}

TEST_F(Sockets, AnOverflowingUdpSocketLosesWhatProcSays) {
  constexpr uint16_t kPort = 7003;
  ForkedSubject subject([] {
    const UniqueFd socket = bound_socket(SOCK_DGRAM, kPort);
    const int room = 4096;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    ::raise(SIGSTOP);
  });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  const UniqueFd client = connected_socket(SOCK_DGRAM, kPort);
  const UniqueFd bystander = bound_socket(SOCK_DGRAM, 7004);  // not the subject's
  const std::array<char, 512> payload{};
  for (int count = 0; count < 400; ++count) {
    ::send(client.get(), payload.data(), payload.size(), 0);
    const sockaddr_in address = loopback(7004);
    ::sendto(bystander.get(), payload.data(), payload.size(), 0, raw(address), sizeof(address));
  }
  take();
  take();
  const uint64_t expected = udp_drops_by_proc(kPort);
  EXPECT_GT(expected, 300u);
  EXPECT_EQ(all_.udp_drops, expected);
  ASSERT_TRUE(rows_.contains(kPort));
  EXPECT_FALSE(rows_.contains(7004));
  EXPECT_EQ(rows_[kPort].drops, expected);
  EXPECT_EQ(rows_[kPort].pid, subject.pid());
  EXPECT_GT(rows_[kPort].receive_queue_bytes, 0u);
  EXPECT_EQ(rows_[kPort].receive_queue_bytes_limit, 8192u);  // the kernel doubles the request
  ::kill(subject.pid(), SIGCONT);
}

TEST_F(Sockets, WhatASocketDropsBetweenTheLastTickAndItsEndIsCounted) {
  constexpr uint16_t kPort = 7032;
  Shared<uint64_t> expected;
  ForkedSubject subject([&] {
    {
      const UniqueFd socket = bound_socket(SOCK_DGRAM, kPort);
      char byte = 0;
      ::recv(socket.get(), &byte, 1, MSG_DONTWAIT);
      const int room = 4096;
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
      const UniqueFd client = connected_socket(SOCK_DGRAM, kPort);
      const std::array<char, 512> payload{};
      for (int count = 0; count < 400; ++count)
        ::send(client.get(), payload.data(), payload.size(), 0);
      *expected.operator->() = udp_drops_by_proc(kPort);
    }
    ::raise(SIGSTOP);
  });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  take();
  EXPECT_GT(*expected.operator->(), 300u);
  EXPECT_EQ(all_.udp_drops, *expected.operator->());
  take();
  EXPECT_EQ(all_.udp_drops, *expected.operator->());
  ::kill(subject.pid(), SIGCONT);
}

TEST_F(Sockets, DropsOfBeforeTheRunDoNotCount) {
  constexpr uint16_t kPort = 7005;
  const UniqueFd client(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  UniqueFd server = bound_socket(SOCK_DGRAM, kPort);
  const int room = 4096;
  ::setsockopt(server.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
  const auto flood = [&] {
    const std::array<char, 512> payload{};
    const sockaddr_in address = loopback(kPort);
    for (int count = 0; count < 100; ++count)
      ::sendto(client.get(), payload.data(), payload.size(), 0, raw(address), sizeof(address));
  };
  ForkedSubject subject([] {});  // inherits the sockets
  flood();
  const uint64_t before = udp_drops_by_proc(kPort);
  watch(subject.pid());
  flood();
  take();
  EXPECT_GT(before, 50u);
  EXPECT_EQ(all_.udp_drops, udp_drops_by_proc(kPort) - before);
  EXPECT_EQ(rows_[kPort].drops, udp_drops_by_proc(kPort));
}

/// The moments that the two sides of a conversation recorded.
struct Log {
  std::array<Moment, 64> sends{};  // by the client
  std::array<Moment, 64> reads{};  // by the subject
  std::array<Moment, 64> replies{};
};

TEST_F(Sockets, AReaderThatSleepsLeavesEachDatagramInItsSocketForAsLong) {
  constexpr int kDatagrams = 6;
  Shared<Log> log;
  ForkedSubject subject([&] {
    const UniqueFd socket = bound_socket(SOCK_DGRAM, 7006);
    char byte = 0;
    CHECK(::recv(socket.get(), &byte, 1, MSG_DONTWAIT) == -1);
    ::raise(SIGSTOP);  // the datagrams come meanwhile
    for (int count = 0; count < kDatagrams; ++count)
      log->reads[count] = time_call([&] { CHECK(::recv(socket.get(), &byte, 1, 0) == 1); });
  });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  take();        // sees that the subject uses UDP, and asks the kernel to stamp packets
  sleep_ms(20);  // the kernel begins with that a little later
  const UniqueFd client = connected_socket(SOCK_DGRAM, 7006);
  for (int count = 0; count < kDatagrams; ++count) {
    log->sends[count] = time_call([&] { ::send(client.get(), "x", 1, 0); });
    sleep_ms(15);
  }
  ::kill(subject.pid(), SIGCONT);
  subject.wait_done();
  take();
  int64_t least = 0, most = 0;
  for (int count = 0; count < kDatagrams; ++count) {
    least += at_least(log->sends[count], log->reads[count]);
    most += at_most(log->sends[count], log->reads[count]);
  }
  ASSERT_EQ(all_.socket_wait->count(), static_cast<uint64_t>(kDatagrams));
  // The offset between the wall clock and the monotonic clock is known to a few microseconds.
  const int64_t slack = kDatagrams * kNanosPerMilli / 10;
  EXPECT_GE(static_cast<int64_t>(all_.socket_wait->sum()), least - slack);
  EXPECT_LE(static_cast<int64_t>(all_.socket_wait->sum()), most + slack);
  EXPECT_EQ(losses_.socket_left_censored, 0u);
  EXPECT_EQ(all_.reply_runtime->count(), 0u);  // it answered nobody
}

/// A subject that answers `requests` datagrams on `port`. It calls before(i) before it reads
/// request i, and work(i) between reading and replying.
template <typename Before, typename Work>
auto udp_server(Shared<Log>& log, uint16_t port, int requests, Before before, Work work) {
  return [&log, port, requests, before, work] {
    const UniqueFd socket = bound_socket(SOCK_DGRAM, port);
    char byte = 0;
    ::recv(socket.get(), &byte, 1, MSG_DONTWAIT);
    ::raise(SIGSTOP);
    for (int count = 0; count < requests; ++count) {
      before(count);
      sockaddr_in peer{};
      socklen_t length = sizeof(peer);
      auto* from = reinterpret_cast<sockaddr*>(&peer);
      log->reads[count] =
          time_call([&] { CHECK(::recvfrom(socket.get(), &byte, 1, 0, from, &length) == 1); });
      work(count);
      log->replies[count] =
          time_call([&] { CHECK(::sendto(socket.get(), "y", 1, 0, from, length) == 1); });
    }
  };
}

/// Makes one request after the other, and waits for each reply.
void ask(Shared<Log>& log, const UniqueFd& client, int requests) {
  for (int count = 0; count < requests; ++count) {
    log->sends[count] = time_call([&] { CHECK(::send(client.get(), "x", 1, 0) == 1); });
    char byte = 0;
    CHECK(::recv(client.get(), &byte, 1, 0) == 1);
  }
}

TEST_F(Sockets, TimeSpentAsleepOrSpinningBetweenReadAndReplyIsTheRuntimes) {
  constexpr int kRequests = 8;
  Shared<Log> log;
  ForkedSubject subject(udp_server(
      log, 7007, kRequests, [](int) {},
      [](int count) { count % 2 == 0 ? sleep_ms(20) : burn_cpu_ns(10 * kNanosPerMilli); }));
  watch(subject.pid());
  start_stopped(subject);
  const UniqueFd client = connected_socket(SOCK_DGRAM, 7007);
  ask(log, client, kRequests);
  subject.wait_done();
  take();
  ASSERT_EQ(all_.reply_runtime->count(), static_cast<uint64_t>(kRequests));
  int64_t least = 0, most = 0;
  for (int count = 0; count < kRequests; ++count) {
    least += at_least(log->reads[count], log->replies[count]);
    most += at_most(log->reads[count], log->replies[count]);
  }
  // A part of the time may have been a wait for a CPU, which is measured separately.
  const auto runtime = static_cast<int64_t>(all_.reply_runtime->sum());
  const auto cpu_queue = static_cast<int64_t>(all_.reply_cpu_queue->sum());
  EXPECT_GE(runtime + cpu_queue, least);
  EXPECT_LE(runtime, most);
  EXPECT_GE(runtime, 4 * 20 * kNanosPerMilli + 4 * 10 * kNanosPerMilli - cpu_queue);
  // The three parts add up to the whole time from data ready to reply sent.
  int64_t whole_least = 0, whole_most = 0;
  for (int count = 0; count < kRequests; ++count) {
    whole_least += at_least(log->sends[count], log->replies[count]);
    whole_most += at_most(log->sends[count], log->replies[count]);
  }
  const int64_t whole = runtime + cpu_queue + static_cast<int64_t>(all_.reply_socket->sum());
  EXPECT_GE(whole, std::min(whole_least, least));
  EXPECT_LE(whole, whole_most);
}

TEST_F(Sockets, TimeInTheSocketIsTheSockets) {
  constexpr int kRequests = 5;
  Shared<Log> log;
  ForkedSubject subject(udp_server(
      log, 7008, kRequests, [](int) { sleep_ms(25); }, [](int) {}));
  watch(subject.pid());
  start_stopped(subject);
  const UniqueFd client = connected_socket(SOCK_DGRAM, 7008);
  ask(log, client, kRequests);
  subject.wait_done();
  take();
  ASSERT_EQ(all_.reply_socket->count(), static_cast<uint64_t>(kRequests));
  int64_t least = 0, most = 0;
  for (int count = 0; count < kRequests; ++count) {
    least += at_least(log->sends[count], log->reads[count]);
    most += at_most(log->sends[count], log->reads[count]);
  }
  const auto in_socket = static_cast<int64_t>(all_.reply_socket->sum());
  EXPECT_GE(in_socket + static_cast<int64_t>(all_.reply_cpu_queue->sum()), least);
  EXPECT_LE(in_socket, most);
  // Each request waits until the subject wakes up. Only the first may come before it sleeps.
  EXPECT_GT(in_socket, 4 * 20 * kNanosPerMilli - static_cast<int64_t>(all_.reply_cpu_queue->sum()));
  EXPECT_LT(all_.reply_runtime->sum(), all_.reply_socket->sum());
}

void Sockets::serve_while_starved() {
  constexpr int kRequests = 5;
  constexpr int64_t kBusyNs = 40 * kNanosPerMilli;
  Shared<Log> log;
  ForkedSubject subject([&] {
    pin_to_cpu(0);
    udp_server(
        log, 7009, kRequests, [](int) {}, [](int) {})();
  });
  watch(subject.pid());
  start_stopped(subject);
  sleep_ms(20);  // by then it waits for the first request
  ProcReader proc("/proc");
  const uint64_t delay_before = proc.thread_schedstat(subject.pid(), subject.pid())->run_delay_ns;
  const UniqueFd client = connected_socket(SOCK_DGRAM, 7009);
  // A real-time thread on the subject's CPU makes each request and then keeps the CPU.
  bool starved = true, woken = true;
  std::thread busy([&] {
    pin_to_cpu(0);
    sched_param priority{};
    priority.sched_priority = 1;
    if (::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &priority) != 0) {
      starved = false;
      return;
    }
    for (int count = 0; count < kRequests; ++count) {
      log->sends[count] = time_call([&] { CHECK(::send(client.get(), "x", 1, 0) == 1); });
      // A busy host leaves the request to ksoftirqd, which this thread keeps from the CPU too.
      const auto stat = proc.stat(subject.pid());
      woken = woken && stat && stat->state == 'R';
      burn_cpu_ns(kBusyNs);
      char byte = 0;
      CHECK(::recv(client.get(), &byte, 1, 0) == 1);
    }
  });
  busy.join();
  if (!starved) GTEST_SKIP() << "needs cap_sys_nice for a real-time thread";
  if (!woken) GTEST_SKIP() << "the kernel delivered a request only after the wait for the CPU";
  const uint64_t delay =
      proc.thread_schedstat(subject.pid(), subject.pid())->run_delay_ns - delay_before;
  take();
  ASSERT_EQ(all_.reply_cpu_queue->count(), static_cast<uint64_t>(kRequests));
  constexpr auto kLeast = static_cast<uint64_t>(kRequests * kBusyNs * 95 / 100);
  if (delay < kLeast) GTEST_SKIP() << "the kernel's own account of the thread missed a wait";
  EXPECT_GE(all_.reply_cpu_queue->sum(), kLeast);
  // Not more than the kernel's account of the thread. The slack is for the two clocks.
  EXPECT_LE(all_.reply_cpu_queue->sum(), delay + kRequests * kNanosPerMilli / 10);
  EXPECT_LT(all_.reply_socket->sum(), all_.reply_cpu_queue->sum() / 4);
  EXPECT_LT(all_.reply_runtime->sum(), all_.reply_cpu_queue->sum() / 4);
  EXPECT_EQ(losses_.reply_splits_cut, 0u);
}

/// Here, waits for a CPU come from the kernel's run_delay.
TEST_F(Sockets, TimeSpentWaitingForACpuIsTheCpuQueues) { serve_while_starved(); }

/// Here, waits for a CPU come from the scheduler probe.
class SocketsBesideTheScheduler : public Sockets {
 protected:
  void SetUp() override {
    Sockets::SetUp();
    options_.forced = {{"scheduler", Rung::kTpBtf}};
  }
};

TEST_F(SocketsBesideTheScheduler, TimeSpentWaitingForACpuIsTheCpuQueues) { serve_while_starved(); }

/// The first switch of a thread that the probe sees ends a wait too. Every thread has such a
/// switch, and many servers start a thread for each connection.
void Sockets::serve_in_the_first_switch() {
  constexpr int64_t kBusyNs = 40 * kNanosPerMilli;
  ForkedSubject subject([] {
    pin_to_cpu(0);
    const UniqueFd socket = bound_socket(SOCK_DGRAM, 7077);
    char byte = 0;
    ::recv(socket.get(), &byte, 1, MSG_DONTWAIT);
    ::raise(SIGSTOP);
    sockaddr_in peer{};
    socklen_t length = sizeof(peer);
    auto* from = reinterpret_cast<sockaddr*>(&peer);
    CHECK(::recvfrom(socket.get(), &byte, 1, 0, from, &length) == 1);
    CHECK(::sendto(socket.get(), "y", 1, 0, from, length) == 1);
  });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  const UniqueFd client = connected_socket(SOCK_DGRAM, 7077);
  bool starved = true;
  // A real-time thread on the subject's CPU lets it go on, makes a request, and then keeps the CPU.
  std::thread busy([&] {
    pin_to_cpu(0);
    sched_param priority{};
    priority.sched_priority = 1;
    starved = ::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &priority) == 0;
    ::kill(subject.pid(), SIGCONT);
    CHECK(::send(client.get(), "x", 1, 0) == 1);
    burn_cpu_ns(kBusyNs);
  });
  busy.join();
  subject.wait_done();
  if (!starved) GTEST_SKIP() << "needs cap_sys_nice for a real-time thread";
  take();
  ASSERT_EQ(all_.reply_cpu_queue->count(), 1u);
  EXPECT_GE(all_.reply_cpu_queue->sum(), static_cast<uint64_t>(kBusyNs * 95 / 100));
  EXPECT_LT(all_.reply_socket->sum(), all_.reply_cpu_queue->sum() / 4);
}

TEST_F(Sockets, TheWaitBeforeTheFirstSwitchThatIsSeenIsTheCpuQueues) {
  serve_in_the_first_switch();
}
TEST_F(SocketsBesideTheScheduler, TheWaitBeforeTheFirstSwitchThatIsSeenIsTheCpuQueues) {
  serve_in_the_first_switch();
}

TEST_F(SocketsBesideTheScheduler, ShortWaitsAreInTheSplitAsTheyAreInTheQueueWait) {
  constexpr int kRequests = 300;
  ForkedSubject subject([] {
    const UniqueFd socket = bound_socket(SOCK_DGRAM, 7031);
    char byte = 0;
    ::recv(socket.get(), &byte, 1, MSG_DONTWAIT);
    ::raise(SIGSTOP);
    for (int count = 0; count < kRequests; ++count) {
      sockaddr_in peer{};
      socklen_t length = sizeof(peer);
      auto* from = reinterpret_cast<sockaddr*>(&peer);
      CHECK(::recvfrom(socket.get(), &byte, 1, 0, from, &length) == 1);
      CHECK(::sendto(socket.get(), "y", 1, 0, from, length) == 1);
    }
    ::raise(SIGSTOP);
  });
  watch(subject.pid());
  start_stopped(subject);
  const UniqueFd client = connected_socket(SOCK_DGRAM, 7031);
  sleep_ms(20);  // by then it waits for the first request
  take();
  const auto ask_once = [&] {
    char byte = 0;
    CHECK(::send(client.get(), "x", 1, 0) == 1 && ::recv(client.get(), &byte, 1, 0) == 1);
    ::usleep(200);  // so that it sleeps again before the next request
  };
  for (int count = 0; count < kRequests; ++count) ask_once();
  await_stop(subject);
  const ProbeInterval interval = probes_->take_interval();
  ::kill(subject.pid(), SIGCONT);
  subject.wait_done();
  ASSERT_TRUE(interval.scheduler && interval.scheduler->queue_wait && interval.sockets &&
              interval.sockets->reply_cpu_queue);
  const Histogram& waits = *interval.scheduler->queue_wait;
  const Histogram& queued = *interval.sockets->reply_cpu_queue;
  EXPECT_EQ(queued.count(), static_cast<uint64_t>(kRequests));
  // Each request wakes the server, except a few that find it awake. Other waits of the server are
  // rare, but in the sums. The kernel's own sum would have less than half of all waits.
  EXPECT_GE(static_cast<double>(queued.sum()), 0.6 * static_cast<double>(waits.sum()));
  EXPECT_LE(static_cast<double>(queued.sum()),
            1.1 * static_cast<double>(interval.scheduler->run_queue_latency->sum()));
}

TEST_F(Sockets, AKeptTcpConnectionGivesOneReplyForEachRequest) {
  constexpr int kRequests = 12;
  Shared<Log> log;
  ForkedSubject subject([&] {
    const UniqueFd listener = bound_socket(SOCK_STREAM, 7010);
    CHECK(::listen(listener.get(), 8) == 0);
    ::raise(SIGSTOP);
    const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
    const int on = 1;
    ::setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    char bytes[64];
    for (int count = 0; count < kRequests; ++count) {
      // The request is read in two pieces, and the reply is sent in two. Each still counts once.
      log->reads[count] =
          time_call([&] { CHECK(::recv(connection.get(), bytes, 1, MSG_WAITALL) == 1); });
      CHECK(::recv(connection.get(), bytes, 3, MSG_WAITALL) == 3);
      sleep_ms(5);
      log->replies[count] = time_call([&] { CHECK(::send(connection.get(), "re", 2, 0) == 2); });
      CHECK(::write(connection.get(), "ply", 3) == 3);
    }
  });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7010);
  ::kill(subject.pid(), SIGCONT);
  for (int count = 0; count < kRequests; ++count) {
    char bytes[64];
    log->sends[count] = time_call([&] { CHECK(::send(client.get(), "ask!", 4, 0) == 4); });
    CHECK(::recv(client.get(), bytes, 5, MSG_WAITALL) == 5);
  }
  subject.wait_done();
  take();
  EXPECT_EQ(all_.accept_delay->count(), 1u);
  ASSERT_EQ(all_.reply_runtime->count(), static_cast<uint64_t>(kRequests));
  int64_t least = 0, most = 0;
  for (int count = 0; count < kRequests; ++count) {
    least += at_least(log->reads[count], log->replies[count]);
    most += at_most(log->sends[count], log->replies[count]);
  }
  const auto sum = static_cast<int64_t>(all_.reply_socket->sum() + all_.reply_cpu_queue->sum() +
                                        all_.reply_runtime->sum());
  EXPECT_GE(sum, least);
  EXPECT_LE(sum, most);
  EXPECT_GE(static_cast<int64_t>(all_.reply_runtime->sum() + all_.reply_cpu_queue->sum()),
            kRequests * 5 * kNanosPerMilli);
  EXPECT_EQ(losses_.replies_unmatched, 0u);
}

TEST_F(Sockets, AReplyFromAnotherThreadAndToManyPeersIsMatchedInOrder) {
  constexpr int kPeers = 6;
  Shared<Log> log;
  ForkedSubject subject([&] {
    const UniqueFd socket = bound_socket(SOCK_DGRAM, 7011);
    char byte = 0;
    ::recv(socket.get(), &byte, 1, MSG_DONTWAIT);
    int pipes[2];
    CHECK(::pipe(pipes) == 0);
    ::raise(SIGSTOP);
    std::thread worker([&] {
      for (int count = 0; count < kPeers; ++count) {
        sockaddr_in peer{};
        CHECK(::read(pipes[0], &peer, sizeof(peer)) == sizeof(peer));
        sleep_ms(4);
        log->replies[count] = time_call(
            [&] { CHECK(::sendto(socket.get(), "y", 1, 0, raw(peer), sizeof(peer)) == 1); });
      }
    });
    for (int count = 0; count < kPeers; ++count) {
      sockaddr_in peer{};
      socklen_t length = sizeof(peer);
      log->reads[count] = time_call([&] {
        CHECK(::recvfrom(socket.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&peer), &length) ==
              1);
      });
      CHECK(::write(pipes[1], &peer, sizeof(peer)) == sizeof(peer));
    }
    worker.join();
  });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  sleep_ms(20);  // the kernel begins to stamp packets a little after the request
  std::vector<UniqueFd> clients;
  for (int peer = 0; peer < kPeers; ++peer) {
    clients.push_back(connected_socket(SOCK_DGRAM, 7011));
    CHECK(::send(clients.back().get(), "x", 1, 0) == 1);
  }
  ::kill(subject.pid(), SIGCONT);
  subject.wait_done();
  take();
  ASSERT_EQ(all_.reply_runtime->count(), static_cast<uint64_t>(kPeers));
  int64_t least = 0, most = 0;
  for (int count = 0; count < kPeers; ++count) {
    least += at_least(log->reads[count], log->replies[count]);
    most += at_most(log->reads[count], log->replies[count]);
  }
  const auto runtime = static_cast<int64_t>(all_.reply_runtime->sum());
  EXPECT_GE(runtime + static_cast<int64_t>(all_.reply_cpu_queue->sum()), least);
  EXPECT_LE(runtime, most);
}

/// Which requests of its two peers a server of datagrams does not answer.
struct Dropping {
  const char* name;
  bool echoes;       // a reply is a copy of its request; otherwise all replies are the same
  bool other_drops;  // all of the second peer's; otherwise every second one of both peers
  int family;
};

class SocketsOfADroppingServer : public Sockets, public testing::WithParamInterface<Dropping> {};

TEST_P(SocketsOfADroppingServer, NoReplyIsTakenForThatOfARequestThatWasDropped) {
  const Dropping how = GetParam();
  constexpr int kRounds = 20, kPeers = 2;
  constexpr uint16_t kPort = 7017;
  const auto address = [&](uint16_t port) {
    sockaddr_in6 to{};
    if (how.family == AF_INET6) {
      to.sin6_family = AF_INET6;
      to.sin6_port = htons(port);
      to.sin6_addr = in6addr_loopback;
    } else {
      auto* v4 = reinterpret_cast<sockaddr_in*>(&to);
      v4->sin_family = AF_INET;
      v4->sin_port = htons(port);
      v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    return to;
  };
  const auto bytes_of = [&](const sockaddr_in6&) {
    return static_cast<socklen_t>(how.family == AF_INET6 ? sizeof(sockaddr_in6)
                                                         : sizeof(sockaddr_in));
  };
  ForkedSubject subject([&] {
    const UniqueFd socket(::socket(how.family, SOCK_DGRAM, 0));
    const sockaddr_in6 here = address(kPort);
    CHECK(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&here), bytes_of(here)) == 0);
    uint64_t request = 0;
    ::recv(socket.get(), &request, sizeof(request), MSG_DONTWAIT);
    ::raise(SIGSTOP);
    for (int count = 0; count < kRounds * kPeers; ++count) {
      sockaddr_in6 peer{};
      socklen_t length = sizeof(peer);
      CHECK(::recvfrom(socket.get(), &request, sizeof(request), 0,
                       reinterpret_cast<sockaddr*>(&peer), &length) == sizeof(request));
      const uint64_t round = request & 0xff, client = request >> 8 & 0xff;
      const bool drops = how.other_drops ? client == 1 : round % 2 == 1;
      if (!how.echoes) request = 7;
      if (!drops)
        CHECK(::sendto(socket.get(), &request, sizeof(request), 0,
                       reinterpret_cast<sockaddr*>(&peer), length) == sizeof(request));
    }
  });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  ::kill(subject.pid(), SIGCONT);
  std::vector<UniqueFd> clients;
  for (int peer = 0; peer < kPeers; ++peer) {
    clients.emplace_back(::socket(how.family, SOCK_DGRAM, 0));
    const sockaddr_in6 to = address(kPort);
    CHECK(::connect(clients.back().get(), reinterpret_cast<const sockaddr*>(&to), bytes_of(to)) ==
          0);
  }
  int64_t client_saw_ns = 0;
  uint64_t replies = 0;
  for (uint64_t round = 0; round < kRounds; ++round) {
    for (uint64_t client = 0; client < kPeers; ++client) {
      const uint64_t request = 0x0100'0000'0000'0000 | client << 8 | round;
      const int64_t begin_ns = monotonic_now_ns();
      CHECK(::send(clients[client].get(), &request, sizeof(request), 0) == sizeof(request));
      if (how.other_drops ? client == 1 : round % 2 == 1) continue;
      uint64_t reply = 0;
      CHECK(::recv(clients[client].get(), &reply, sizeof(reply), 0) == sizeof(reply));
      client_saw_ns += monotonic_now_ns() - begin_ns;
      ++replies;
    }
    sleep_ms(10);
  }
  subject.wait_done();
  take();
  ASSERT_TRUE(all_.reply_runtime);
  EXPECT_LE(all_.reply_runtime->count(), replies);
  EXPECT_GE(all_.reply_runtime->count() + 2, replies);  // the first ones may not be seen
  const auto parts = static_cast<int64_t>(all_.reply_socket->sum() + all_.reply_cpu_queue->sum() +
                                          all_.reply_runtime->sum());
  EXPECT_LE(parts, client_saw_ns);
}

INSTANTIATE_TEST_SUITE_P(All, SocketsOfADroppingServer,
                         testing::Values(Dropping{"everySecondOfAnEcho", true, false, AF_INET},
                                         Dropping{"allOfOnePeer", false, true, AF_INET},
                                         Dropping{"allOfOnePeerOverIpv6", false, true, AF_INET6}),
                         [](const auto& of) { return std::string(of.param.name); });

TEST_F(Sockets, AReplyThatIsSentTwiceAnswersNoOtherPeersRequest) {
  constexpr uint64_t kPeers = 8;
  ForkedSubject subject([&] {
    const UniqueFd socket = bound_socket(SOCK_DGRAM, 7018);
    uint64_t request = 0;
    ::recv(socket.get(), &request, sizeof(request), MSG_DONTWAIT);
    ::raise(SIGSTOP);
    std::array<std::pair<uint64_t, sockaddr_in>, kPeers> asked{};
    for (auto& [number, peer] : asked) {
      socklen_t length = sizeof(peer);
      CHECK(::recvfrom(socket.get(), &number, sizeof(number), 0, reinterpret_cast<sockaddr*>(&peer),
                       &length) == sizeof(number));
    }
    for (const auto& [number, peer] : asked) {
      sleep_ms(5);
      for (int copy = 0; copy < 2; ++copy)
        CHECK(::sendto(socket.get(), &number, sizeof(number), 0, raw(peer), sizeof(peer)) ==
              sizeof(number));
    }
  });
  watch(subject.pid());
  start_stopped(subject);
  std::vector<UniqueFd> clients;
  for (uint64_t peer = 0; peer < kPeers; ++peer) {
    clients.push_back(connected_socket(SOCK_DGRAM, 7018));
    const uint64_t number = 0x1122'3344'5566'7700 + peer;
    CHECK(::send(clients.back().get(), &number, sizeof(number), 0) == sizeof(number));
  }
  subject.wait_done();
  take();
  EXPECT_EQ(all_.reply_runtime->count(), kPeers);
  // Each request waited for all replies before its own. If the copies were taken for replies, half
  // of that time would be missing.
  const auto whole = static_cast<int64_t>(all_.reply_runtime->sum() + all_.reply_cpu_queue->sum());
  EXPECT_GE(whole, int64_t{kPeers * (kPeers + 1) / 2} * 5 * kNanosPerMilli * 9 / 10);
}

TEST_F(Sockets, ADatagramOfUnknownAgeTakesItsOwnReplyAndNoOther) {
  constexpr int kRequests = 5;
  Shared<Log> log;
  ForkedSubject subject([&] {
    const UniqueFd socket = bound_socket(SOCK_DGRAM, 7016);
    ::raise(SIGSTOP);  // the first request comes before the probe has seen the socket
    std::array<sockaddr_in, kRequests> peers{};
    char byte = 0;
    for (int count = 0; count < kRequests; ++count) {
      socklen_t length = sizeof(sockaddr_in);
      auto* from = reinterpret_cast<sockaddr*>(&peers[count]);
      CHECK(::recvfrom(socket.get(), &byte, 1, 0, from, &length) == 1);
      log->reads[count] = time_call([] {});
    }
    for (int count = 0; count < kRequests; ++count) {
      sleep_ms(10);
      log->replies[count] = time_call([&] {
        CHECK(::sendto(socket.get(), "y", 1, 0, raw(peers[count]), sizeof(peers[count])) == 1);
      });
    }
  });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  const UniqueFd client = connected_socket(SOCK_DGRAM, 7016);
  CHECK(::send(client.get(), "x", 1, 0) == 1);
  ::kill(subject.pid(), SIGCONT);
  for (int count = 1; count < kRequests; ++count) {
    sleep_ms(10);  // so that the queue is empty before each request
    CHECK(::send(client.get(), "x", 1, 0) == 1);
  }
  subject.wait_done();
  take();
  EXPECT_EQ(losses_.socket_left_censored, 1u);
  ASSERT_EQ(all_.reply_runtime->count(), kRequests - 1u);
  int64_t least = 0, most = 0;
  for (int count = 1; count < kRequests; ++count) {
    // The subject records each read just after the kernel does it, at most one system call later.
    least += at_least(log->reads[count], log->replies[count]);
    most += at_most(log->reads[count], log->replies[count]) + 10 * kNanosPerMilli;
  }
  const auto whole = static_cast<int64_t>(all_.reply_runtime->sum() + all_.reply_cpu_queue->sum());
  EXPECT_GE(whole, least);
  EXPECT_LE(static_cast<int64_t>(all_.reply_runtime->sum()), most);
}

TEST_F(Sockets, ASubjectThatAsksGivesNoReplies) {
  const UniqueFd server = bound_socket(SOCK_STREAM, 7012);
  ASSERT_EQ(::listen(server.get(), 4), 0);
  ForkedSubject subject([] {
    const UniqueFd connection = connected_socket(SOCK_STREAM, 7012);
    const UniqueFd datagrams = connected_socket(SOCK_DGRAM, 7013);
    char byte = 0;
    for (int count = 0; count < 5; ++count) {
      CHECK(::send(connection.get(), "x", 1, 0) == 1 && ::recv(connection.get(), &byte, 1, 0) == 1);
      CHECK(::send(datagrams.get(), "x", 1, 0) == 1 && ::recv(datagrams.get(), &byte, 1, 0) == 1);
    }
  });
  const UniqueFd datagrams = bound_socket(SOCK_DGRAM, 7013);
  watch(subject.pid());
  subject.go();
  const UniqueFd connection(::accept(server.get(), nullptr, nullptr));
  for (int count = 0; count < 5; ++count) {
    char byte = 0;
    sockaddr_in peer{};
    socklen_t length = sizeof(peer);
    auto* from = reinterpret_cast<sockaddr*>(&peer);
    CHECK(::recv(connection.get(), &byte, 1, 0) == 1 && ::send(connection.get(), "y", 1, 0) == 1);
    CHECK(::recvfrom(datagrams.get(), &byte, 1, 0, from, &length) == 1);
    CHECK(::sendto(datagrams.get(), "y", 1, 0, from, length) == 1);
  }
  subject.wait_done();
  take();
  EXPECT_EQ(all_.socket_wait->count(), 10u);  // what it receives still waits to be read
  EXPECT_EQ(all_.reply_runtime->count(), 0u);
}

TEST_F(Sockets, ConnectionsThatWereThereBeforeAreAServers) {
  constexpr int kRequests = 4;
  Shared<Log> log;
  ForkedSubject subject([&] {
    const UniqueFd listener = bound_socket(SOCK_STREAM, 7014);
    CHECK(::listen(listener.get(), 4) == 0);
    ::raise(SIGSTOP);
    const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
    ::raise(SIGSTOP);
    char byte = 0;
    for (int count = 0; count < kRequests; ++count) {
      CHECK(::recv(connection.get(), &byte, 1, 0) == 1);
      CHECK(::send(connection.get(), "y", 1, 0) == 1);
    }
  });
  subject.go();
  await_stop(subject);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7014);
  ::kill(subject.pid(), SIGCONT);
  await_stop(subject);
  watch(subject.pid());
  ::kill(subject.pid(), SIGCONT);
  ask(log, client, kRequests);
  subject.wait_done();
  take();
  EXPECT_EQ(all_.reply_runtime->count(), static_cast<uint64_t>(kRequests));
  EXPECT_EQ(all_.socket_wait->count(), static_cast<uint64_t>(kRequests));
}

/// Conversations over TCP, compared with the times that the client saw. A client's time from
/// request to reply includes all parts of the subject's time.
class TcpSockets : public Sockets {
 protected:
  /// Sends `request` and receives `reply_bytes`.
  void ask_on(const UniqueFd& connection, std::string_view request, size_t reply_bytes) {
    std::vector<char> reply(reply_bytes);
    const int64_t begin_ns = monotonic_now_ns();
    CHECK(::send(connection.get(), request.data(), request.size(), 0) ==
          static_cast<ssize_t>(request.size()));
    CHECK(::recv(connection.get(), reply.data(), reply.size(), MSG_WAITALL) ==
          static_cast<ssize_t>(reply.size()));
    const int64_t end_ns = monotonic_now_ns();
    client_saw_ns_ += end_ns - begin_ns;
    client_saw_most_ns_ = std::max(client_saw_most_ns_, end_ns - begin_ns);
  }
  void start_server(ForkedSubject& subject) {
    watch(subject.pid());
    subject.go();
    await_stop(subject);
    ::kill(subject.pid(), SIGCONT);
  }
  int64_t parts_ns() const {
    return static_cast<int64_t>(all_.reply_socket->sum() + all_.reply_cpu_queue->sum() +
                                all_.reply_runtime->sum());
  }
  /// REQUIRES: each reply took the subject at least `least_ns`.
  void expect_split(uint64_t replies, int64_t least_ns = 0) {
    take();
    ASSERT_TRUE(all_.reply_runtime);
    ASSERT_EQ(all_.reply_runtime->count(), replies);
    EXPECT_LE(parts_ns(), client_saw_ns_);
    EXPECT_GE(parts_ns(), static_cast<int64_t>(replies) * least_ns);
    EXPECT_LE(static_cast<int64_t>(*all_.reply_socket->max()), client_saw_most_ns_);
    EXPECT_EQ(losses_.replies_unmatched, 0u);
  }

  int64_t client_saw_ns_ = 0;
  int64_t client_saw_most_ns_ = 0;
};

/// Reads a request of one byte, and sends its reply of one byte `wait_ms` later.
void answer_once(int connection, int wait_ms) {
  char byte = 0;
  CHECK(::recv(connection, &byte, 1, 0) == 1);
  sleep_ms(wait_ms);
  CHECK(::send(connection, &byte, 1, 0) == 1);
}

UniqueFd listener_on(uint16_t port) {
  UniqueFd listener = bound_socket(SOCK_STREAM, port);
  CHECK(::listen(listener.get(), 64) == 0);
  return listener;
}
UniqueFd accepted(const UniqueFd& listener) {
  return UniqueFd(::accept(listener.get(), nullptr, nullptr));
}

/// Waits until the peer's FIN has arrived, even if data before it has not been read yet.
void await_fin(int connection) {
  pollfd poll_fd{connection, POLLRDHUP, 0};
  while (::poll(&poll_fd, 1, -1) != 1) {
  }
}

TEST_F(TcpSockets, ARequestThatIsReadTogetherWithTheClientsFinIsSplit) {
  constexpr int kConnections = 12;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7070);
    ::raise(SIGSTOP);
    for (int count = 0; count < kConnections; ++count) {
      const UniqueFd connection = accepted(listener);
      await_fin(connection.get());
      answer_once(connection.get(), 1);
    }
  });
  start_server(subject);
  for (int count = 0; count < kConnections; ++count) {
    const UniqueFd client = connected_socket(SOCK_STREAM, 7070);
    // Half of them send the data and the FIN in one segment.
    const int corked = count % 2;
    ::setsockopt(client.get(), IPPROTO_TCP, TCP_CORK, &corked, sizeof(corked));
    char byte = 'x';
    const int64_t begin_ns = monotonic_now_ns();
    CHECK(::send(client.get(), &byte, 1, 0) == 1);
    CHECK(::shutdown(client.get(), SHUT_WR) == 0);
    CHECK(::recv(client.get(), &byte, 1, 0) == 1);
    const int64_t took_ns = monotonic_now_ns() - begin_ns;
    client_saw_ns_ += took_ns;
    client_saw_most_ns_ = std::max(client_saw_most_ns_, took_ns);
  }
  subject.wait_done();
  expect_split(kConnections, 1 * kNanosPerMilli);
  EXPECT_EQ(all_.socket_wait->count(), static_cast<uint64_t>(kConnections));
  EXPECT_EQ(losses_.socket_left_censored, 0u);
}

TEST_F(TcpSockets, TheLastAnswerOfAServerThatClosesWaitsAsAllOthersDo) {
  constexpr int kConnections = 12;
  const UniqueFd listener = listener_on(7071);
  ForkedSubject subject([] {
    for (int count = 0; count < kConnections; ++count) {
      const UniqueFd connection = connected_socket(SOCK_STREAM, 7071);
      char bytes[4];
      CHECK(::send(connection.get(), "x", 1, 0) == 1);
      await_fin(connection.get());
      CHECK(::recv(connection.get(), bytes, 1, 0) == 1);  // the first of two reads
      CHECK(::recv(connection.get(), bytes, sizeof(bytes), 0) == 2);
      CHECK(::recv(connection.get(), bytes, sizeof(bytes), 0) == 0);
    }
  });
  watch(subject.pid());
  subject.go();
  for (int count = 0; count < kConnections; ++count) {
    const UniqueFd connection = accepted(listener);
    const int corked = count % 2;
    ::setsockopt(connection.get(), IPPROTO_TCP, TCP_CORK, &corked, sizeof(corked));
    char byte = 0;
    CHECK(::recv(connection.get(), &byte, 1, 0) == 1);
    CHECK(::send(connection.get(), "end", 3, 0) == 3);
  }
  subject.wait_done();
  take();
  EXPECT_EQ(all_.socket_wait->count(), 2u * kConnections);
  EXPECT_EQ(losses_.socket_left_censored, 0u);
}

TEST_F(TcpSockets, AServerThatGreetsIsWaitedForFromWhenTheGreetingCame) {
  constexpr int kConnections = 12;
  const UniqueFd listener = listener_on(7072);
  ForkedSubject subject([] {
    for (int count = 0; count < kConnections; ++count) {
      const UniqueFd connection = connected_socket(SOCK_STREAM, 7072);
      char bytes[8];
      CHECK(::recv(connection.get(), bytes, sizeof(bytes), 0) == 5);  // before it sends anything
      CHECK(::send(connection.get(), "x", 1, 0) == 1);
      CHECK(::recv(connection.get(), bytes, sizeof(bytes), 0) == 3);
    }
  });
  watch(subject.pid());
  subject.go();
  for (int count = 0; count < kConnections; ++count) {
    const UniqueFd connection = accepted(listener);
    char byte = 0;
    CHECK(::send(connection.get(), "hello", 5, 0) == 5);
    CHECK(::recv(connection.get(), &byte, 1, 0) == 1);
    CHECK(::send(connection.get(), "end", 3, 0) == 3);
  }
  subject.wait_done();
  take();
  EXPECT_EQ(all_.socket_wait->count(), 2u * kConnections);
  EXPECT_EQ(losses_.socket_left_censored, 0u);
}

/// Servers whose first send of a reply puts nothing on the wire, and which let the reply go 4 ms
/// later. The reply leaves only then.
class HeldReplies : public TcpSockets {
 protected:
  static constexpr int kRequests = 12;
  using Answer = std::function<void(int connection)>;

  void serve(uint16_t port, const Answer& answer) {
    ForkedSubject subject([&] {
      const UniqueFd listener = listener_on(port);
      ::raise(SIGSTOP);
      const UniqueFd connection = accepted(listener);
      char byte = 0;
      while (::recv(connection.get(), &byte, 1, 0) == 1) answer(connection.get());
    });
    start_server(subject);
    UniqueFd client = connected_socket(SOCK_STREAM, port);
    for (int count = 0; count < kRequests; ++count) ask_on(client, "x", 2);
    client.reset();
    subject.wait_done();
    expect_split(kRequests, 4 * kNanosPerMilli);
  }
};

void cork(int connection, int on) {
  CHECK(::setsockopt(connection, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)) == 0);
}

TEST_F(HeldReplies, ByMsgMore) {
  serve(7072, [](int connection) {
    CHECK(::send(connection, "a", 1, MSG_MORE) == 1);
    sleep_ms(4);
    CHECK(::send(connection, "b", 1, 0) == 1);
  });
}

TEST_F(HeldReplies, ByACorkThatIsTakenOff) {
  serve(7073, [](int connection) {
    cork(connection, 1);
    CHECK(::send(connection, "a", 1, 0) == 1);
    sleep_ms(4);
    CHECK(::send(connection, "b", 1, 0) == 1);
    cork(connection, 0);
  });
}

TEST_F(HeldReplies, UntilTheConnectionIsShutDown) {
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7074);
    ::raise(SIGSTOP);
    for (int count = 0; count < kRequests; ++count) {
      const UniqueFd connection = accepted(listener);
      cork(connection.get(), 1);
      answer_once(connection.get(), 0);
      sleep_ms(4);
    }
  });
  start_server(subject);
  for (int count = 0; count < kRequests; ++count)
    ask_on(connected_socket(SOCK_STREAM, 7074), "x", 1);
  subject.wait_done();
  expect_split(kRequests, 4 * kNanosPerMilli);
}

TEST_F(TcpSockets, AReplyWhoseHeadHasLeftEndsWithItsHead) {
  constexpr int kRequests = 12;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7075);
    ::raise(SIGSTOP);
    const UniqueFd connection = accepted(listener);
    char byte = 0;
    while (::recv(connection.get(), &byte, 1, 0) == 1) {
      CHECK(::send(connection.get(), "a", 1, 0) == 1);
      sleep_ms(4);
      CHECK(::send(connection.get(), "b", 1, MSG_MORE) == 1);
      cork(connection.get(), 0);
    }
  });
  start_server(subject);
  UniqueFd client = connected_socket(SOCK_STREAM, 7075);
  for (int count = 0; count < kRequests; ++count) {
    ask_on(client, "x", 1);
    char byte = 0;
    CHECK(::recv(client.get(), &byte, 1, 0) == 1);
  }
  client.reset();
  subject.wait_done();
  expect_split(kRequests);
}

/// The server answers in two small pieces, and the client delays its acknowledgements.
class TwoPieces : public TcpSockets {
 protected:
  static constexpr int kRequests = 12;

  /// Returns how often the second piece came late.
  uint64_t serve(uint16_t port, int no_delay) {
    ForkedSubject subject([&] {
      const UniqueFd listener = listener_on(port);
      ::raise(SIGSTOP);
      const UniqueFd connection = accepted(listener);
      ::setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof(no_delay));
      char byte = 0;
      while (::recv(connection.get(), &byte, 1, 0) == 1) {
        CHECK(::send(connection.get(), "a", 1, 0) == 1);
        if (byte != 'q') CHECK(::send(connection.get(), "b", 1, 0) == 1);
      }
    });
    start_server(subject);
    UniqueFd client = connected_socket(SOCK_STREAM, port);
    uint64_t late = 0;
    for (int count = 0; count < kRequests; ++count) {
      const int off = 0;
      ::setsockopt(client.get(), IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
      const int64_t begin_ns = client_saw_ns_;
      ask_on(client, "x", 2);
      late += client_saw_ns_ - begin_ns > 30 * kNanosPerMilli ? 1 : 0;
    }
    ask_on(client, "q", 1);
    client.reset();
    subject.wait_done();
    take();
    return late;
  }
};

TEST_F(TwoPieces, TheSecondIsHeldByNagleForAsLongAsTheClientWaitsForIt) {
  const uint64_t late = serve(7076, 0);
  EXPECT_GT(late, 0u) << "nothing was acknowledged late";
  ASSERT_TRUE(all_.nagle_held);
  EXPECT_EQ(all_.nagle_held->count(), late);
  EXPECT_GE(all_.nagle_held->sum(), late * 30 * kNanosPerMilli);
  EXPECT_LE(static_cast<int64_t>(all_.nagle_held->sum()), client_saw_ns_);
}

TEST_F(TwoPieces, NothingIsHeldWithoutNagle) {
  serve(7077, 1);
  ASSERT_TRUE(all_.nagle_held);
  EXPECT_EQ(all_.nagle_held->count(), 0u);
}

TEST_F(TcpSockets, ConnectionsInARowTakeNothingOverFromTheirListener) {
  constexpr int kConnections = 40;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7040);
    ::raise(SIGSTOP);
    for (int count = 0; count < kConnections; ++count) answer_once(accepted(listener).get(), 1);
  });
  start_server(subject);
  for (int count = 0; count < kConnections; ++count) {
    const UniqueFd client = connected_socket(SOCK_STREAM, 7040);
    sleep_ms(20);
    ask_on(client, "x", 1);
  }
  subject.wait_done();
  expect_split(kConnections, kNanosPerMilli);
  EXPECT_LE(static_cast<int64_t>(*all_.socket_wait->max()), client_saw_most_ns_);
  EXPECT_EQ(all_.accept_delay->count(), static_cast<uint64_t>(kConnections));
  EXPECT_EQ(losses_.socket_left_censored, 0u);
}

/// The last ACK of the handshake carries the request.
TEST_F(TcpSockets, DataThatComesWithTheHandshakeWaitsFromThenOn) {
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7041);
    const int seconds = 1;
    ::setsockopt(listener.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
    ::raise(SIGSTOP);
    for (int count = 0; count < 5; ++count) {
      const UniqueFd connection = accepted(listener);
      sleep_ms(4);
      answer_once(connection.get(), 0);
    }
  });
  start_server(subject);
  for (int count = 0; count < 5; ++count) ask_on(connected_socket(SOCK_STREAM, 7041), "x", 1);
  subject.wait_done();
  expect_split(5, 4 * kNanosPerMilli);
}

/// TCP Fast Open: the SYN carries the request. The connection may be accepted, and the request read
/// and answered, before the handshake ends.
TEST_F(TcpSockets, DataOfTheSynWaitsFromThenOn) {
  constexpr int kConnections = 20;
  std::ofstream("/proc/sys/net/ipv4/tcp_fastopen") << 0x207;  // both sides, without cookies
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7098);
    const int pending = 16;
    CHECK(::setsockopt(listener.get(), IPPROTO_TCP, TCP_FASTOPEN, &pending, sizeof(pending)) == 0);
    ::raise(SIGSTOP);
    for (int count = 0; count < kConnections; ++count) {
      const UniqueFd connection = accepted(listener);
      if (count % 2 == 0) sleep_ms(4);  // by then the handshake has ended
      answer_once(connection.get(), 4);
    }
  });
  start_server(subject);
  for (int count = 0; count < kConnections; ++count) {
    const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ASSERT_EQ(::setsockopt(client.get(), IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)), 0);
    const sockaddr_in address = loopback(7098);
    ASSERT_EQ(::connect(client.get(), raw(address), sizeof(address)), 0);
    ask_on(client, "x", 1);
    tcp_info info{};
    socklen_t length = sizeof(info);
    ASSERT_EQ(::getsockopt(client.get(), IPPROTO_TCP, TCP_INFO, &info, &length), 0);
    ASSERT_TRUE(info.tcpi_options & 32) << "the SYN carried no data";  // TCPI_OPT_SYN_DATA
  }
  subject.wait_done();
  expect_split(kConnections, 4 * kNanosPerMilli);
  EXPECT_EQ(all_.accept_delay->count(), static_cast<uint64_t>(kConnections));
  EXPECT_EQ(all_.socket_wait->count(), static_cast<uint64_t>(kConnections));
  EXPECT_EQ(losses_.socket_left_censored, 0u);
}

TEST_F(TcpSockets, DataThatIsPeekedAtWaitsUntilItIsRead) {
  constexpr int kRequests = 8;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7042);
    ::raise(SIGSTOP);
    const UniqueFd connection = accepted(listener);
    for (int count = 0; count < kRequests; ++count) {
      char byte = 0;
      CHECK(::recv(connection.get(), &byte, 1, MSG_PEEK) == 1);
      sleep_ms(3);
      answer_once(connection.get(), 0);
    }
  });
  start_server(subject);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7042);
  for (int count = 0; count < kRequests; ++count) ask_on(client, "x", 1);
  subject.wait_done();
  expect_split(kRequests, 3 * kNanosPerMilli);
  EXPECT_EQ(all_.socket_wait->count(), static_cast<uint64_t>(kRequests));
  EXPECT_GE(all_.reply_socket->sum() + all_.reply_cpu_queue->sum(),
            static_cast<uint64_t>(kRequests * 3 * kNanosPerMilli));
}

TEST_F(TcpSockets, AReadOfNoBytesTakesNothingFromTheOneThatFollows) {
  constexpr int kRequests = 12;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7085);
    ::raise(SIGSTOP);
    const UniqueFd connection = accepted(listener);
    for (int count = 0; count < kRequests; ++count) {
      pollfd poll_fd{connection.get(), POLLIN, 0};
      while (::poll(&poll_fd, 1, -1) != 1) {
      }
      char nothing = 0;
      CHECK(::recv(connection.get(), &nothing, 0, 0) == 0);
      answer_once(connection.get(), 1);
    }
  });
  start_server(subject);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7085);
  for (int count = 0; count < kRequests; ++count) ask_on(client, "x", 1);
  subject.wait_done();
  expect_split(kRequests, 1 * kNanosPerMilli);
}

TEST_F(TcpSockets, ARequestReadInPiecesBeginsWithItsFirst) {
  constexpr int kRequests = 8;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7043);
    ::raise(SIGSTOP);
    const UniqueFd connection = accepted(listener);
    for (int count = 0; count < kRequests; ++count) {
      char bytes[4];
      for (char& byte : bytes) {
        CHECK(::recv(connection.get(), &byte, 1, 0) == 1);
        sleep_ms(1);
      }
      CHECK(::send(connection.get(), bytes, 4, 0) == 4);
      sleep_ms(5);  // nothing is unread, so nothing waits
    }
  });
  start_server(subject);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7043);
  for (int count = 0; count < kRequests; ++count) ask_on(client, "ask!", 4);
  subject.wait_done();
  expect_split(kRequests, 4 * kNanosPerMilli);
  EXPECT_EQ(all_.socket_wait->count(), 4u * kRequests);
}

TEST_F(TcpSockets, AClientThatClosesItsSideAfterTheRequestGetsItsReplySplit) {
  constexpr int kConnections = 8;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7044);
    ::raise(SIGSTOP);
    for (int count = 0; count < kConnections; ++count) {
      const UniqueFd connection = accepted(listener);
      char bytes[16];
      ssize_t got = 0;
      do got = ::recv(connection.get(), bytes, 2, 0);
      while (got > 0);
      sleep_ms(3);
      CHECK(::send(connection.get(), bytes, 2, 0) == 2);
      ::send(connection.get(), "bye", 3, MSG_NOSIGNAL);  // belongs to no request
    }
  });
  start_server(subject);
  for (int count = 0; count < kConnections; ++count) {
    const UniqueFd client = connected_socket(SOCK_STREAM, 7044);
    sleep_ms(10);
    const int64_t begin_ns = monotonic_now_ns();
    CHECK(::send(client.get(), "ask!", 4, 0) == 4 && ::shutdown(client.get(), SHUT_WR) == 0);
    char bytes[2];
    CHECK(::recv(client.get(), bytes, 2, MSG_WAITALL) == 2);
    const int64_t saw_ns = monotonic_now_ns() - begin_ns;
    client_saw_ns_ += saw_ns;
    client_saw_most_ns_ = std::max(client_saw_most_ns_, saw_ns);
  }
  subject.wait_done();
  expect_split(kConnections, 3 * kNanosPerMilli);
}

TEST_F(TcpSockets, APipelinedRequestWaitsWhileTheOneBeforeItIsAnswered) {
  constexpr int kPairs = 6;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7045);
    ::raise(SIGSTOP);
    const UniqueFd connection = accepted(listener);
    for (int count = 0; count < 2 * kPairs; ++count) answer_once(connection.get(), 3);
  });
  start_server(subject);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7045);
  for (int count = 0; count < kPairs; ++count) ask_on(client, "xy", 2);
  subject.wait_done();
  client_saw_ns_ *= 2;  // the client saw both requests of a pair as one
  expect_split(2 * kPairs, 3 * kNanosPerMilli);
  // The second request of a pair was unread while the first one was answered.
  EXPECT_GE(all_.reply_socket->sum() + all_.reply_cpu_queue->sum(),
            static_cast<uint64_t>(kPairs * 3 * kNanosPerMilli));
}

TEST_F(TcpSockets, AForkedChildThatAcceptsIsMeasuredLikeItsParent) {
  constexpr int kChildren = 3;
  constexpr int kConnections = 9;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7046);
    ::raise(SIGSTOP);
    std::array<pid_t, kChildren> children{};
    for (pid_t& child : children) {
      child = ::fork();
      CHECK(child >= 0);
      if (child == 0) {
        for (int count = 0; count < kConnections / kChildren; ++count)
          answer_once(accepted(listener).get(), 2);
        ::_exit(0);
      }
    }
    for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  });
  start_server(subject);
  for (int count = 0; count < kConnections; ++count)
    ask_on(connected_socket(SOCK_STREAM, 7046), "x", 1);
  subject.wait_done();
  expect_split(kConnections, 2 * kNanosPerMilli);
  EXPECT_EQ(all_.accept_delay->count(), static_cast<uint64_t>(kConnections));
}

TEST_F(TcpSockets, ProcessesThatShareAPortAreMeasuredEach) {
  constexpr uint16_t kPort = 7047;
  constexpr int kConnections = 16;
  ForkedSubject subject([] {
    std::array<UniqueFd, 2> listeners;
    for (UniqueFd& listener : listeners) {
      listener = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const int on = 1;
      ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
      const sockaddr_in address = loopback(kPort);
      CHECK(::bind(listener.get(), raw(address), sizeof(address)) == 0);
      CHECK(::listen(listener.get(), 64) == 0);
    }
    ::raise(SIGSTOP);
    std::array<pid_t, 2> children{};
    for (size_t index = 0; index < 2; ++index) {
      children[index] = ::fork();
      CHECK(children[index] >= 0);
      if (children[index] != 0) continue;
      while (true) answer_once(accepted(listeners[index]).get(), 2);
    }
    ::raise(SIGSTOP);
    for (const pid_t child : children) ::kill(child, SIGKILL), ::waitpid(child, nullptr, 0);
  });
  start_server(subject);
  await_stop(subject);
  for (int count = 0; count < kConnections; ++count) {
    const UniqueFd client = connected_socket(SOCK_STREAM, kPort);
    sleep_ms(5);
    ask_on(client, "x", 1);
  }
  expect_split(kConnections, 2 * kNanosPerMilli);
  ::kill(subject.pid(), SIGCONT);
  subject.wait_done();
}

TEST_F(TcpSockets, AnAnswerBySendfileIsAnAnswer) {
  constexpr int kRequests = 8;
  constexpr size_t kBytes = 3000;
  ForkedSubject subject([] {
    char path[] = "/tmp/topspin-sendfile-XXXXXX";
    const UniqueFd file(::mkstemp(path));
    const std::vector<char> content(kBytes, 'z');
    CHECK(file && ::unlink(path) == 0 && ::write(file.get(), content.data(), kBytes) == kBytes);
    const UniqueFd listener = listener_on(7048);
    ::raise(SIGSTOP);
    const UniqueFd connection = accepted(listener);
    for (int count = 0; count < kRequests; ++count) {
      char byte = 0;
      CHECK(::recv(connection.get(), &byte, 1, 0) == 1);
      sleep_ms(2);
      off_t offset = 0;
      CHECK(::sendfile(connection.get(), file.get(), &offset, kBytes) == kBytes);
    }
  });
  start_server(subject);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7048);
  for (int count = 0; count < kRequests; ++count) ask_on(client, "x", kBytes);
  subject.wait_done();
  utsname kernel{};
  ::uname(&kernel);
  int major = 0, minor = 0;
  std::sscanf(kernel.release, "%d.%d", &major, &minor);
  if (major < 6 || (major == 6 && minor < 5))
    GTEST_SKIP() << "kernels before 6.5 do not tell of what sendfile sends";
  expect_split(kRequests, 2 * kNanosPerMilli);
}

TEST_F(TcpSockets, ARequestReadBySpliceIsSeenToBeMissingAndSpoilsNoOther) {
  constexpr int kRequests = 8;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7049);
    int pipes[2];
    CHECK(::pipe(pipes) == 0);
    ::raise(SIGSTOP);
    const UniqueFd connection = accepted(listener);
    for (int count = 0; count < kRequests; ++count) {
      char byte = 'y';
      if (count % 2 == 0) {
        CHECK(::splice(connection.get(), nullptr, pipes[1], nullptr, 1, 0) == 1);
        CHECK(::read(pipes[0], &byte, 1) == 1);
      } else {
        CHECK(::recv(connection.get(), &byte, 1, 0) == 1);
      }
      sleep_ms(2);
      CHECK(::send(connection.get(), &byte, 1, 0) == 1);
    }
  });
  start_server(subject);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7049);
  for (int count = 0; count < kRequests; ++count) {
    ask_on(client, "x", 1);
    sleep_ms(20);
  }
  subject.wait_done();
  take();
  EXPECT_EQ(all_.reply_runtime->count() + losses_.replies_unmatched,
            static_cast<uint64_t>(kRequests));
  EXPECT_GE(all_.reply_runtime->count(), kRequests / 2u);
  EXPECT_LE(parts_ns(), client_saw_ns_);
  EXPECT_LE(static_cast<int64_t>(*all_.reply_socket->max()), client_saw_most_ns_);
}

/// An io_uring for one operation at a time, by plain system calls.
class IoUring {
 public:
  IoUring() {
    fd_ = UniqueFd(static_cast<int>(::syscall(SYS_io_uring_setup, 4, &parameters_)));
    if (!fd_) return;
    submission_ = map(parameters_.sq_off.array + parameters_.sq_entries * sizeof(uint32_t),
                      IORING_OFF_SQ_RING);
    completion_ = map(parameters_.cq_off.cqes + parameters_.cq_entries * sizeof(io_uring_cqe),
                      IORING_OFF_CQ_RING);
    entries_ = reinterpret_cast<io_uring_sqe*>(
        map(parameters_.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
  }
  bool works() const { return static_cast<bool>(fd_); }
  /// Returns the result of an operation. With `by_worker`, a kernel thread of the ring runs it.
  int run(uint8_t operation, int fd, void* buffer, uint32_t bytes, bool by_worker) {
    uint32_t& tail = word(submission_, parameters_.sq_off.tail);
    const uint32_t place = tail & word(submission_, parameters_.sq_off.ring_mask);
    entries_[place] = {};
    entries_[place].opcode = operation;
    entries_[place].flags = by_worker ? IOSQE_ASYNC : 0;
    entries_[place].fd = fd;
    entries_[place].addr = reinterpret_cast<uint64_t>(buffer);
    entries_[place].len = bytes;
    word(submission_, parameters_.sq_off.array + place * sizeof(uint32_t)) = place;
    __atomic_store_n(&tail, tail + 1, __ATOMIC_RELEASE);
    uint32_t& head = word(completion_, parameters_.cq_off.head);
    const uint32_t& end = word(completion_, parameters_.cq_off.tail);
    uint32_t to_submit = 1;
    while (__atomic_load_n(&end, __ATOMIC_ACQUIRE) == head) {
      const long done = ::syscall(SYS_io_uring_enter, fd_.get(), to_submit, 1,
                                  IORING_ENTER_GETEVENTS, nullptr, 0);
      CHECK(done >= 0 || errno == EINTR);
      if (done > 0) to_submit = 0;
    }
    const auto* results =
        reinterpret_cast<const io_uring_cqe*>(&completion_[parameters_.cq_off.cqes]);
    const int result = results[head & word(completion_, parameters_.cq_off.ring_mask)].res;
    __atomic_store_n(&head, head + 1, __ATOMIC_RELEASE);
    return result;
  }

 private:
  char* map(size_t bytes, off_t offset) {
    void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                            fd_.get(), offset);
    CHECK(at != MAP_FAILED);
    return static_cast<char*>(at);
  }
  static uint32_t& word(char* ring, size_t offset) {
    return *reinterpret_cast<uint32_t*>(&ring[offset]);
  }

  io_uring_params parameters_{};
  UniqueFd fd_;
  char* submission_ = nullptr;
  char* completion_ = nullptr;
  io_uring_sqe* entries_ = nullptr;
};

TEST_F(TcpSockets, WhatIoUringsThreadsReadAndSendIsTheSubjects) {
  if (IoUring ring; !ring.works()) GTEST_SKIP() << "this kernel gives no io_uring";
  constexpr int kRequests = 24;
  ForkedSubject subject([] {
    const UniqueFd listener = listener_on(7050);
    IoUring ring;
    ::raise(SIGSTOP);
    const UniqueFd connection(ring.run(IORING_OP_ACCEPT, listener.get(), nullptr, 0, false));
    CHECK(connection);
    for (int count = 0; count < kRequests; ++count) {
      char byte = 0;
      // Uses all four combinations of ways for the two operations.
      CHECK(ring.run(IORING_OP_RECV, connection.get(), &byte, 1, count % 2 == 0) == 1);
      sleep_ms(2);
      CHECK(ring.run(IORING_OP_SEND, connection.get(), &byte, 1, count / 2 % 2 == 0) == 1);
    }
  });
  start_server(subject);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7050);
  for (int count = 0; count < kRequests; ++count) ask_on(client, "x", 1);
  subject.wait_done();
  expect_split(kRequests, 2 * kNanosPerMilli);
  // There is no system call that accepts, so the delay is not measured, and that is counted.
  EXPECT_EQ(all_.accept_delay->count(), 0u);
  EXPECT_EQ(losses_.socket_left_censored, 1u);
}

UniqueFd mptcp_socket() {
  constexpr int kMptcp = 262;
  return UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, kMptcp));
}

/// Go opens its listeners like this. The client speaks MPTCP too.
TEST_F(TcpSockets, AConnectionOfMptcpIsMeasuredLikeOneOfTcp) {
  if (!mptcp_socket()) GTEST_SKIP() << "this kernel has no MPTCP: " << std::strerror(errno);
  constexpr uint16_t kPort = 7051;
  constexpr int kConnections = 3;
  constexpr int kRequests = 8;
  for (const bool watched_first : {true, false}) {
    SCOPED_TRACE(watched_first ? "the subject listens later" : "the subject listens already");
    all_ = {};
    client_saw_ns_ = client_saw_most_ns_ = 0;
    ForkedSubject subject([] {
      const UniqueFd listener = mptcp_socket();
      const int on = 1;
      ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
      const sockaddr_in address = loopback(kPort);
      CHECK(::bind(listener.get(), raw(address), sizeof(address)) == 0);
      CHECK(::listen(listener.get(), 64) == 0);
      ::raise(SIGSTOP);
      for (int connections = 0; connections < kConnections; ++connections) {
        const UniqueFd connection = accepted(listener);
        for (int count = 0; count < kRequests; ++count) answer_once(connection.get(), 2);
      }
    });
    if (watched_first) watch(subject.pid());
    subject.go();
    await_stop(subject);
    if (!watched_first) watch(subject.pid());
    ::kill(subject.pid(), SIGCONT);
    for (int connections = 0; connections < kConnections; ++connections) {
      const UniqueFd client = mptcp_socket();
      const sockaddr_in address = loopback(kPort);
      CHECK(::connect(client.get(), raw(address), sizeof(address)) == 0);
      sleep_ms(10);
      for (int count = 0; count < kRequests; ++count) ask_on(client, "x", 1);
    }
    subject.wait_done();
    expect_split(kConnections * kRequests, 2 * kNanosPerMilli);
    EXPECT_EQ(all_.accept_delay->count(), static_cast<uint64_t>(kConnections));
    EXPECT_EQ(losses_.socket_left_censored, 0u);
  }
}

TEST_F(TcpSockets, TurnsOfHandshakesAndMultiplexedExchangesAreCountedApart) {
  using namespace std::string_view_literals;
  // What a client sends, and how the turn counts. The server answers each turn with one byte.
  struct Turn {
    std::string_view bytes;
    std::optional<bool> is_reply;  // nullopt: is not counted
  };
  const std::vector<std::vector<Turn>> connections = {
      {{"\x16\3\1\0\5hello"sv, false},  // TLS 1.2: hello, key exchange, data
       {"\x16\3\3\0\5keyex"sv, false},
       {"\x17\3\3\0\5GET /"sv, true},
       {"\x17\3\3\0\5GET /"sv, true}},
      {{"\x16\3\1\0\5hello"sv, false},  // TLS 1.3: hello, finished, data with tickets before it
       {"\x14\3\3\0\1\1\x17\3\3\0\1f"sv, false},
       {"\x17\3\3\0\5GET /"sv, false},
       {"\x17\3\3\0\5GET /"sv, true}},
      {{"\x16\3\1\0\5hello"sv, false},  // TLS 1.3: data in one flight with finished
       {"\x14\3\3\0\1\1\x17\3\3\0\1f\x17\3\3\0\5GET /"sv, false},
       {"\x17\3\3\0\5GET /"sv, true},
       {"\x15\3\3\0\2by"sv, {}}},  // a TLS alert
      {{"PRI * HTTP/2.0\r\n"sv, false}, {"any frame"sv, false}, {"any frame"sv, false}},
      {{"SSH-2.0-client\r\n"sv, false}, {"any packet"sv, false}},
      {{"GET / HTTP/1.1\r\n"sv, true}, {"\x16\3\1\0\5plain"sv, true}},
      {{"CONNECT example:443\r\n"sv, true},  // TLS after a plain turn
       {"\x16\3\1\0\5\1ello"sv, false},
       {"\x16\3\3\0\5keyex"sv, false},
       {"\x17\3\3\0\5GET /"sv, true}}};
  uint64_t replies = 0, turns = 0;
  for (const auto& connection : connections) {
    for (const Turn& turn : connection) {
      if (turn.is_reply) ++(*turn.is_reply ? replies : turns);
    }
  }
  ForkedSubject subject([&] {
    const UniqueFd listener = listener_on(7052);
    ::raise(SIGSTOP);
    int way = 0;
    for (const auto& turns_of_one : connections) {
      const UniqueFd connection = accepted(listener);
      for (const Turn& turn : turns_of_one) {
        std::array<char, 64> bytes{};
        iovec vector{bytes.data(), bytes.size()};
        msghdr message{};
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        ssize_t got = 0;
        switch (way++ % 4) {  // uses each of the usual calls
          case 0: got = ::read(connection.get(), bytes.data(), bytes.size()); break;
          case 1: got = ::recv(connection.get(), bytes.data(), bytes.size(), 0); break;
          case 2: got = ::readv(connection.get(), &vector, 1); break;
          case 3: got = ::recvmsg(connection.get(), &message, 0); break;
        }
        CHECK(got == static_cast<ssize_t>(turn.bytes.size()));
        CHECK(::send(connection.get(), "r", 1, 0) == 1);
      }
    }
  });
  start_server(subject);
  for (const auto& turns_of_one : connections) {
    const UniqueFd client = connected_socket(SOCK_STREAM, 7052);
    for (const Turn& turn : turns_of_one) ask_on(client, turn.bytes, 1);
  }
  subject.wait_done();
  expect_split(replies);
  EXPECT_EQ(all_.replies_multiplexed, turns);
  take();
  EXPECT_EQ(all_.replies_multiplexed, turns);
}

/// A server that speaks like a mail server until STARTTLS, and its client. Both use Python's TLS
/// library, which reads the header of each record by itself. Arguments: port, certificate, and
/// whether TLS is 1.3. The client makes five requests within TLS.
constexpr const char* kStartTlsServer = R"(
import os, signal, socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
os.kill(os.getpid(), signal.SIGSTOP)
plain, _ = listener.accept()
for turn in range(2):
    plain.recv(100)
    plain.send(b'220 go ahead\r\n')
secure = context.wrap_socket(plain, server_side=True)
for turn in range(5):
    secure.recv(100)
    secure.send(b'250 ok\r\n')
)";
constexpr const char* kStartTlsClient = R"(
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
version = ssl.TLSVersion.TLSv1_3 if sys.argv[3] == '1' else ssl.TLSVersion.TLSv1_2
context.minimum_version = context.maximum_version = version
plain = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
for line in b'EHLO client\r\n', b'STARTTLS\r\n':
    plain.send(line)
    plain.recv(100)
secure = context.wrap_socket(plain)
for turn in range(5):
    secure.send(b'NOOP\r\n')
    secure.recv(100)
)";

TEST_F(TcpSockets, TlsThatBeginsAfterPlainTurnsIsToldFromReplies) {
  const test::TempDir dir;
  const std::string certificate = dir.file("cert.pem");
  const std::string make =
      "python3 -c 'import ssl' && openssl req -x509 -newkey rsa:2048 -nodes "
      "-subj /CN=localhost -keyout " +
      certificate + ".key -out " + certificate + " 2>/dev/null && cat " + certificate + ".key >>" +
      certificate;
  if (std::system(make.c_str()) != 0) GTEST_SKIP() << "needs python3 with ssl, and openssl";
  // TLS 1.2 has two turns of the handshake. TLS 1.3 has three turns that are no replies: the hello,
  // the finished message, which session tickets answer, and the first data, which they may answer.
  const struct {
    const char* is_13;
    uint64_t turns, replies;
  } versions[] = {{"0", 2, 2 + 5}, {"1", 3, 2 + 4}};
  uint64_t turns = 0, replies = 0;
  uint16_t port = 7061;
  for (const auto& version : versions) {
    const std::string port_text = std::to_string(port++);
    ForkedSubject subject([&] {
      ::execlp("python3", "python3", "-c", kStartTlsServer, port_text.c_str(), certificate.c_str(),
               version.is_13, nullptr);
      ::_exit(127);
    });
    start_server(subject);
    const pid_t client = ::fork();
    if (client == 0) {
      ::execlp("python3", "python3", "-c", kStartTlsClient, port_text.c_str(), certificate.c_str(),
               version.is_13, nullptr);
      ::_exit(127);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(client, &status, 0), client);
    EXPECT_EQ(status, 0);
    subject.wait_done();
    take();
    EXPECT_EQ(all_.replies_multiplexed, turns += version.turns) << version.is_13;
    EXPECT_EQ(all_.reply_runtime->count(), replies += version.replies) << version.is_13;
  }
}

TEST_F(TcpSockets, AWebSocketIsMultiplexedFromTheReplyThatOpensIt) {
  constexpr int kConnections = 4, kMessages = 3;
  constexpr std::string_view kUpgrade = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
  constexpr std::string_view kSwitch = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
  constexpr std::string_view kMessage = "\x82\x88\1\2\3\4question";
  ForkedSubject subject([&] {
    const UniqueFd listener = listener_on(7053);
    ::raise(SIGSTOP);
    std::array<char, 256> bytes{};
    for (int way = 0; way < kConnections; ++way) {
      const UniqueFd connection = accepted(listener);
      CHECK(::recv(connection.get(), bytes.data(), bytes.size(), 0) == ssize_t{kUpgrade.size()});
      iovec vector{const_cast<char*>(kSwitch.data()), kSwitch.size()};
      msghdr message{};
      message.msg_iov = &vector;
      message.msg_iovlen = 1;
      ssize_t sent = 0;
      switch (way) {  // uses each of the usual calls
        case 0: sent = ::write(connection.get(), kSwitch.data(), kSwitch.size()); break;
        case 1: sent = ::send(connection.get(), kSwitch.data(), kSwitch.size(), 0); break;
        case 2: sent = ::writev(connection.get(), &vector, 1); break;
        case 3: sent = ::sendmsg(connection.get(), &message, 0); break;
      }
      CHECK(sent == ssize_t{kSwitch.size()});
      for (int count = 0; count < kMessages; ++count) {
        CHECK(::recv(connection.get(), bytes.data(), bytes.size(), 0) == ssize_t{kMessage.size()});
        CHECK(::send(connection.get(), "p", 1, 0) == 1);
      }
    }
  });
  start_server(subject);
  for (int way = 0; way < kConnections; ++way) {
    const UniqueFd client = connected_socket(SOCK_STREAM, 7053);
    ask_on(client, kUpgrade, kSwitch.size());
    for (int count = 0; count < kMessages; ++count) ask_on(client, kMessage, 1);
  }
  subject.wait_done();
  expect_split(kConnections);
  EXPECT_EQ(all_.replies_multiplexed, uint64_t{kConnections * kMessages});
}

TEST_F(TcpSockets, AHeadThatIsReadByteByByteTellsAsOneThatIsReadAtOnceDoes) {
  using namespace std::string_view_literals;
  const struct {
    std::string_view bytes;
    bool is_turn;
    int turns = 2;
  } heads[] = {
      {"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0"sv, true},
      {"\x10\x8c\1\0\4MQTT\5\2\0\x3c"sv, true},  // its length takes two bytes
      {"\x10\x0e\0\6MQIsdp\3\2\0\x3c"sv, true},  // MQTT 3.1
      {"\x10\x8c\1\0\6MQIsdp\3\2"sv, true},
      {"PRI * HTTP/2.0\r\n"sv, true},
      {"\x16\3\1\0\5hello"sv, true, 1},  // libraries do not read later records byte by byte

      {"GET / HTTP/1.1\r\n"sv, false},
      {"abc"sv, false},
  };
  ForkedSubject subject([&] {
    const UniqueFd listener = listener_on(7054);
    ::raise(SIGSTOP);
    for (const auto& head : heads) {
      const UniqueFd connection = accepted(listener);
      for (int turn = 0; turn < head.turns; ++turn) {
        for (size_t count = 0; count < head.bytes.size(); ++count) {
          char byte = 0;
          CHECK(::read(connection.get(), &byte, 1) == 1);
        }
        CHECK(::send(connection.get(), "r", 1, 0) == 1);
      }
    }
  });
  start_server(subject);
  uint64_t replies = 0, turns = 0;
  for (const auto& head : heads) {
    const UniqueFd client = connected_socket(SOCK_STREAM, 7054);
    for (int turn = 0; turn < head.turns; ++turn) {
      ask_on(client, head.bytes, 1);
      ++(head.is_turn ? turns : replies);
    }
  }
  subject.wait_done();
  take();
  EXPECT_EQ(all_.replies_multiplexed, turns);
  EXPECT_EQ(all_.reply_runtime->count(), replies);
}

TEST_F(TcpSockets, MultiplexedConnectionsThatWereThereBeforeAreKnownByAnyWholeMessage) {
  using namespace std::string_view_literals;
  const struct {
    std::string_view bytes;
    bool is_turn;
  } messages[] = {
      {"\xc0\0"sv, true},                  // MQTT: PINGREQ,
      {"\x32\x0a\0\4room\0\1on"sv, true},  // PUBLISH,
      {"\x40\2\0\1"sv, true},              // and PUBACK, to what the broker sent unasked
      {"\0\0\x08\6\0\0\0\0\0pingping"sv, true},
      {"\x82\x88\1\2\3\4question"sv, true},
      {"\xc0\1z"sv, false},
      {"GET / HTTP/1.1\r\n\r\n"sv, false},
      {"abc"sv, false},
  };
  for (const bool byte_by_byte : {false, true}) {
    constexpr uint16_t kPort = 7055;
    constexpr int kTurns = 2;
    ForkedSubject subject([&] {
      const UniqueFd listener = listener_on(kPort);
      ::raise(SIGSTOP);
      std::vector<UniqueFd> connections;
      for (size_t i = 0; i < std::size(messages); ++i) connections.push_back(accepted(listener));
      ::raise(SIGSTOP);
      for (size_t i = 0; i < std::size(messages); ++i) {
        for (int turn = 0; turn < kTurns; ++turn) {
          std::array<char, 64> bytes{};
          const size_t step = byte_by_byte ? 1 : messages[i].bytes.size();
          // Like libraries, reads in pieces what has arrived together.
          ssize_t there = 0;
          while (there < static_cast<ssize_t>(messages[i].bytes.size()))
            there = ::recv(connections[i].get(), bytes.data(), bytes.size(), MSG_PEEK);
          for (size_t at = 0; at < messages[i].bytes.size(); at += step)
            CHECK(::read(connections[i].get(), bytes.data(), step) == static_cast<ssize_t>(step));
          CHECK(::send(connections[i].get(), "r", 1, 0) == 1);
        }
      }
    });
    subject.go();
    await_stop(subject);
    std::vector<UniqueFd> clients;
    for (size_t i = 0; i < std::size(messages); ++i)
      clients.push_back(connected_socket(SOCK_STREAM, kPort));
    ::kill(subject.pid(), SIGCONT);
    await_stop(subject);
    watch(subject.pid());
    ::kill(subject.pid(), SIGCONT);
    all_ = {};
    uint64_t replies = 0, turns = 0;
    for (size_t i = 0; i < std::size(messages); ++i) {
      for (int turn = 0; turn < kTurns; ++turn) ask_on(clients[i], messages[i].bytes, 1);
      (messages[i].is_turn ? turns : replies) += kTurns;
    }
    subject.wait_done();
    take();
    EXPECT_EQ(all_.replies_multiplexed, turns) << byte_by_byte;
    EXPECT_EQ(all_.reply_runtime->count(), replies) << byte_by_byte;
  }
}

TEST_F(Sockets, WithoutBpfTheQueuesAndDropsAreThereAndTheTimesAreAbsent) {
  options_.forced["accepts"] = Rung::kNone;
  options_.forced["replies"] = Rung::kNone;
  ForkedSubject subject([] {
    const UniqueFd listener = bound_socket(SOCK_STREAM, 7015);
    CHECK(::listen(listener.get(), 3) == 0);
    ::raise(SIGSTOP);
  });
  watch(subject.pid());
  subject.go();
  await_stop(subject);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7015);
  take();
  EXPECT_EQ(all_.accept_queue_max, 1u);
  EXPECT_EQ(all_.accept_queue_limit, 3u);
  EXPECT_FALSE(all_.accept_delay);
  EXPECT_FALSE(all_.socket_wait);
  EXPECT_FALSE(all_.reply_runtime);
  EXPECT_EQ(all_.udp_drops, 0u);
  ::kill(subject.pid(), SIGCONT);
}

TEST_F(Sockets, ASubjectInAnotherNetworkIsSaidSo) {
  ForkedSubject subject([] {
    CHECK(::unshare(CLONE_NEWNET) == 0);
    ::raise(SIGSTOP);
  });
  subject.go();
  await_stop(subject);
  auto opened = Probes::open(process_tree(subject.pid()), options_);
  ASSERT_TRUE(opened.ok());
  for (const ProbeStatus& probe : (*opened)->status()) {
    if (probe.name != "sockets") continue;
    EXPECT_EQ(probe.rung, Rung::kNone);
    EXPECT_NE(probe.reason.find("network namespace"), std::string::npos) << probe.reason;
  }
  ::kill(subject.pid(), SIGCONT);
}

/// Listens, connects to itself, accepts, and answers one request of its own.
void talk_to_oneself() {
  const UniqueFd listener = bound_socket(SOCK_STREAM, 7020);
  CHECK(::listen(listener.get(), 4) == 0);
  ::raise(SIGSTOP);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7020);
  const UniqueFd server(::accept(listener.get(), nullptr, nullptr));
  char byte = 0;
  CHECK(::send(client.get(), "x", 1, 0) == 1 && ::recv(server.get(), &byte, 1, 0) == 1);
  CHECK(::send(server.get(), "y", 1, 0) == 1 && ::recv(client.get(), &byte, 1, 0) == 1);
}

/// What a process with only these capabilities measures of such a subject, such as
/// "accepts 1 replies 1 accept-calls 1 drops yes | reasons". It is a child, which can drop its
/// other capabilities. With `drops_all` it also drops these when the probes are open.
std::string measured_with(const std::vector<cap_value_t>& kept, const ProbeOptions& options,
                          bool drops_all = false) {
  return in_child([&] {
    cap_t state = ::cap_init();
    for (const cap_flag_t flag : {CAP_EFFECTIVE, CAP_PERMITTED}) {
      if (!kept.empty())
        CHECK(::cap_set_flag(state, flag, static_cast<int>(kept.size()), kept.data(), CAP_SET) ==
              0);
    }
    CHECK(::cap_set_proc(state) == 0);
    const cap_t nothing = ::cap_init();
    std::ostringstream text;
    {
      ForkedSubject subject(talk_to_oneself);
      auto probes = Probes::open(process_tree(subject.pid()), options);
      CHECK(probes.ok());
      if (drops_all) CHECK(::cap_set_proc(nothing) == 0);
      subject.go();
      int stopped = 0;
      CHECK(::waitpid(subject.pid(), &stopped, WUNTRACED) == subject.pid());
      // Like a recording, handles events only when the descriptor is readable.
      pollfd event{(*probes)->event_fd(), POLLIN, 0};
      if (::poll(&event, 1, 1'000) == 1) (*probes)->handle_events();
      ::kill(subject.pid(), SIGCONT);
      subject.wait_done();
      const ProbeInterval interval = (*probes)->take_interval();
      const auto count = [](const std::optional<Histogram>& histogram) {
        return histogram ? std::to_string(histogram->count()) : "absent";
      };
      const SocketInterval sockets = interval.sockets.value_or(SocketInterval{});
      std::string accept_calls = "absent";
      for (const SyscallRow& row : interval.changed_syscalls) {
        if (row.name == "accept") accept_calls = std::to_string(row.count);
      }
      text << "accepts " << count(sockets.accept_delay) << " replies "
           << count(sockets.reply_runtime) << " accept-calls " << accept_calls << " drops "
           << (sockets.udp_drops && sockets.listen_overflows ? "yes" : "no") << " |";
      for (const ProbeStatus& status : (*probes)->status()) {
        const bool ours = status.name == "sockets" || status.name == "accepts" ||
                          status.name == "replies" || status.name == "syscalls";
        if (ours && !status.reason.empty())
          text << " " << status.name << ": " << status.reason << ";";
      }
    }
    return text.str();
  });
}

TEST_F(Sockets, CapBpfAndCapPerfmonAreEnough) {
  options_.syscalls = true;
  EXPECT_EQ(measured_with({CAP_BPF, CAP_PERFMON}, options_),
            "accepts 1 replies 1 accept-calls 1 drops yes |");
}

TEST_F(Sockets, OnceOpenNoPrivilegeIsNeeded) {
  options_.syscalls = true;
  EXPECT_EQ(measured_with({CAP_BPF, CAP_PERFMON}, options_, true),
            "accepts 1 replies 1 accept-calls 1 drops yes |");
}

TEST_F(Sockets, WithNoPrivilegeTheQueuesAndDropsAreLeftAndTheRestSaysWhy) {
  options_.syscalls = true;
  const std::string text = measured_with({}, options_);
  EXPECT_EQ(text.find("accepts absent replies absent accept-calls absent drops yes |"), 0u) << text;
  for (const char* probe : {"accepts", "replies", "syscalls"}) {
    const size_t at = text.find(std::string(" ") + probe + ": tp_btf: cannot load");
    ASSERT_NE(at, std::string::npos) << text;
    EXPECT_NE(text.find("needs cap_bpf and cap_perfmon", at), std::string::npos) << text;
  }
}

TEST_F(Sockets, OneFeatureCanBeHadWithoutTheOther) {
  options_.syscalls = true;
  options_.forced["replies"] = Rung::kNone;
  EXPECT_EQ(measured_with({CAP_BPF, CAP_PERFMON}, options_).find("accepts 1 replies absent"), 0u);
  options_.forced.erase("replies");
  options_.forced["accepts"] = Rung::kNone;
  EXPECT_EQ(measured_with({CAP_BPF, CAP_PERFMON}, options_).find("accepts absent replies 1"), 0u);
}

/// Listens as another user, and then accepts one connection of its own.
void listen_as_nobody() {
  constexpr uid_t kNobody = 65534;
  const UniqueFd listener = bound_socket(SOCK_STREAM, 7021);
  CHECK(::listen(listener.get(), 4) == 0);
  CHECK(::setresuid(kNobody, kNobody, kNobody) == 0);
  ::raise(SIGSTOP);
  const UniqueFd client = connected_socket(SOCK_STREAM, 7021);
  const UniqueFd server(::accept(listener.get(), nullptr, nullptr));
}

// A kernel that leaves it to user space to reach them lets only those do it who may trace it.
TEST_F(Sockets, OpenSocketsOfAProcessThatMayNotBeTracedAreSeenOrSaidNotToBe) {
  const std::string text = in_child([&] {
    ForkedSubject subject(listen_as_nobody);
    subject.go();
    int stopped = 0;
    CHECK(::waitpid(subject.pid(), &stopped, WUNTRACED) == subject.pid());
    const cap_value_t kept[] = {CAP_BPF, CAP_PERFMON, CAP_KILL};
    cap_t state = ::cap_init();
    for (const cap_flag_t flag : {CAP_EFFECTIVE, CAP_PERMITTED})
      CHECK(::cap_set_flag(state, flag, std::size(kept), kept, CAP_SET) == 0);
    CHECK(::cap_set_proc(state) == 0);
    auto probes = Probes::open(process_tree(subject.pid()), options_);
    CHECK(probes.ok());
    ::kill(subject.pid(), SIGCONT);
    subject.wait_done();
    const SocketInterval sockets = (*probes)->take_interval().sockets.value_or(SocketInterval{});
    std::string reason;
    for (const ProbeStatus& status : (*probes)->status())
      if (status.name == "accepts") reason = status.reason;
    const uint64_t accepts = sockets.accept_delay ? sockets.accept_delay->count() : 0;
    return accepts == 1 ? "seen" + reason : reason;
  });
  if (text == "seen") return;
  EXPECT_EQ(text.find("1 of the sockets that were open already"), 0u) << text;
  EXPECT_NE(text.find("cap_sys_ptrace"), std::string::npos) << text;
}

TEST_F(Sockets, DoctorTriesEachOnItself) {
  std::map<std::string, RungReport> reports;
  for (const RungReport& report : examine_probes()) {
    if (!reports[report.probe].works) reports[report.probe] = report;  // one rung is enough
  }
  for (const char* probe : {"sockets", "accepts", "replies", "syscalls"})
    EXPECT_TRUE(reports[probe].works) << probe << ": " << reports[probe].reason;
}

}  // namespace
}  // namespace topspin
