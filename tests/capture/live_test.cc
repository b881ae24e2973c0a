// Live capture on lo with real sockets: the count of active flows is exact, the two copies of a
// loopback packet count once, loss is what the kernel reports, and a faulty interface gives an
// event and a gap.
//
// No test asserts a timing. If the machine stalls so long that a client is silent for the whole
// window, that interval is not checked.
#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/flow_tracker.h"
#include "core/base/clock.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr int64_t kWindowNs = kNanosPerSecond;

sockaddr_storage loopback(int family, uint16_t port, socklen_t& size) {
  sockaddr_storage storage{};
  if (family == AF_INET) {
    auto* in = reinterpret_cast<sockaddr_in*>(&storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    size = sizeof *in;
  } else {
    auto* in = reinterpret_cast<sockaddr_in6*>(&storage);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    in->sin6_addr = in6addr_loopback;
    size = sizeof *in;
  }
  return storage;
}

/// N connected UDP clients and an echo server on a thread of this process, which ends with the
/// object.
class PingSwarm {
 public:
  PingSwarm(int family, size_t clients) {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max = std::max<rlim_t>(files.rlim_max, clients + 256);
    setrlimit(RLIMIT_NOFILE, &files);

    socklen_t size = 0;
    sockaddr_storage any_port = loopback(family, 0, size);
    server_.reset(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!server_ || bind(server_.get(), reinterpret_cast<sockaddr*>(&any_port), size) != 0) return;
    getsockname(server_.get(), reinterpret_cast<sockaddr*>(&any_port), &size);
    port_ = ntohs(family == AF_INET ? reinterpret_cast<sockaddr_in*>(&any_port)->sin_port
                                    : reinterpret_cast<sockaddr_in6*>(&any_port)->sin6_port);
    const sockaddr_storage to = loopback(family, port_, size);
    for (size_t i = 0; i < clients; ++i) {
      clients_.emplace_back(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      if (!clients_.back() ||
          connect(clients_.back().get(), reinterpret_cast<const sockaddr*>(&to), size) != 0) {
        return;
      }
    }
    ready_ = true;
    echo_ = std::thread([this] { echo(); });
  }
  ~PingSwarm() {
    stop_ = true;
    if (echo_.joinable()) echo_.join();
  }

  bool ready() const { return ready_; }
  uint16_t port() const { return port_; }
  uint64_t sent() const { return sent_; }
  uint64_t echoed() const { return echoed_; }

  /// Every client pings once. Returns when the round began. It ends when this returns.
  int64_t ping_all() {
    const int64_t begin_ns = monotonic_now_ns();
    for (const UniqueFd& client : clients_) {
      if (send(client.get(), "ping", 4, 0) == 4) ++sent_;
      char sink[16];
      while (recv(client.get(), sink, sizeof sink, MSG_DONTWAIT) > 0) {
      }
    }
    return begin_ns;
  }

  /// Waits until the server has nothing left to echo.
  void settle() {
    uint64_t before = 0;
    do {
      before = echoed_;
      poll(nullptr, 0, 50);
    } while (before != echoed_);
  }

 private:
  void echo() {
    pollfd ready{server_.get(), POLLIN, 0};
    while (!stop_) {
      if (poll(&ready, 1, 20) <= 0) continue;
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      char bytes[16];
      ssize_t n = 0;
      while ((n = recvfrom(server_.get(), bytes, sizeof bytes, MSG_DONTWAIT,
                           reinterpret_cast<sockaddr*>(&from), &size)) > 0) {
        if (sendto(server_.get(), bytes, static_cast<size_t>(n), 0,
                   reinterpret_cast<sockaddr*>(&from), size) == n) {
          ++echoed_;
        }
      }
    }
  }

  UniqueFd server_;
  std::vector<UniqueFd> clients_;
  uint16_t port_ = 0;
  bool ready_ = false;
  std::thread echo_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> echoed_{0};
};

/// A tracker on its own thread, and what it has handed over.
class Capture {
 public:
  static Result<std::unique_ptr<Capture>> start(const std::string& interface,
                                                const std::string& filter) {
    LiveOptions live;
    live.interface = interface;
    live.filter = filter;
    live.interval_ns = 200 * kNanosPerMilli;
    live.max_rows_per_interval = 100;
    FlowTableOptions table;
    table.window_ns = kWindowNs;
    table.idle_timeout_ns = 60 * kNanosPerSecond;
    TOPSPIN_ASSIGN(auto tracker, FlowTracker::open_live(live, table));
    auto capture = std::make_unique<Capture>();
    capture->tracker_ = std::move(tracker);
    capture->tracker_->start_at(monotonic_now_ns());
    capture->thread_ = std::thread([c = capture.get()] { c->run(); });
    return capture;
  }
  ~Capture() { stop(); }

  void stop() {
    if (!thread_.joinable()) return;
    request_stop(monotonic_now_ns());
    join();
  }
  void request_stop(int64_t end_ns) { tracker_->request_stop(end_ns); }
  void join() { thread_.join(); }
  const std::vector<ClosedInterval>& intervals() const { return intervals_; }  // after stop()
  const FlowInterval& totals() const { return tracker_->totals(); }
  uint64_t kernel_drops() const {
    uint64_t drops = 0;
    for (const auto& i : intervals_) drops += i.losses.kernel_drops;
    return drops;
  }

 private:
  void run() {
    const IntervalSink sink = [this](ClosedInterval&& i) { intervals_.push_back(std::move(i)); };
    while (true) {
      auto outcome = tracker_->step(sink);
      if (!outcome.ok() || *outcome == StepOutcome::kEnd) return;
    }
  }

  std::unique_ptr<FlowTracker> tracker_;
  std::thread thread_;
  std::vector<ClosedInterval> intervals_;
};

#define START_CAPTURE(name, interface, filter)                 \
  auto name##_started = Capture::start(interface, filter);     \
  if (!name##_started.ok()) {                                  \
    if (name##_started.error().code == ErrorCode::kPermission) \
      GTEST_SKIP() << name##_started.error().message;          \
    FAIL() << name##_started.error().message;                  \
  }                                                            \
  Capture& name = **name##_started

class ActiveFlows : public testing::TestWithParam<std::tuple<int, size_t>> {};

TEST_P(ActiveFlows, AreExactOnLoopback) {
  const auto [family, clients] = GetParam();
  PingSwarm swarm(family, clients);
  if (!swarm.ready()) {
    GTEST_SKIP() << "cannot open " << clients << " sockets on the loopback address of family "
                 << family << ": " << std::strerror(errno);
  }
  START_CAPTURE(capture, "lo", fmt::format("udp port {}", swarm.port()));

  struct Round {
    int64_t begin_ns, end_ns;
  };
  std::vector<Round> rounds;
  const int64_t until_ns = monotonic_now_ns() + 4 * kNanosPerSecond;
  while (monotonic_now_ns() < until_ns) {
    const int64_t begin_ns = swarm.ping_all();
    rounds.push_back({begin_ns, monotonic_now_ns()});
    const int64_t left_ms = 300 - (rounds.back().end_ns - begin_ns) / kNanosPerMilli;
    if (left_ms > 0) poll(nullptr, 0, static_cast<int>(left_ms));
  }
  swarm.settle();
  const int64_t silent_ns = monotonic_now_ns();
  poll(nullptr, 0, 1700);
  capture.stop();

  int exact = 0, empty = 0;
  for (const auto& interval : capture.intervals()) {
    const int64_t end_ns = interval.flows.end_ns;
    bool all_spoke = false;
    for (const Round& round : rounds) {
      all_spoke |= round.begin_ns > end_ns - kWindowNs + 5 * kNanosPerMilli &&
                   round.end_ns < end_ns - 5 * kNanosPerMilli;
    }
    EXPECT_LE(interval.flows.active_flows_max, clients);
    if (all_spoke) {
      ++exact;
      EXPECT_EQ(interval.flows.active_flows, clients);
    } else if (end_ns > silent_ns + kWindowNs + kNanosPerMilli) {
      ++empty;
      EXPECT_EQ(interval.flows.active_flows, 0u);
    }
  }
  EXPECT_GE(exact, 1) << "no interval in which every client was known to have spoken";
  EXPECT_GE(empty, 1);
  ASSERT_EQ(capture.kernel_drops(), 0u);
  EXPECT_EQ(capture.totals().udp.flows, clients);
  EXPECT_EQ(capture.totals().udp.packets, swarm.sent() + swarm.echoed());
  EXPECT_EQ(capture.totals().initiator_packets, swarm.sent());
  EXPECT_EQ(capture.totals().responder_packets, swarm.echoed());
  EXPECT_FALSE(capture.totals().active_is_lower_bound);
}

INSTANTIATE_TEST_SUITE_P(Live, ActiveFlows,
                         testing::Combine(testing::Values(AF_INET, AF_INET6),
                                          testing::Values(1, 200, 2000, 15'000)),
                         [](const testing::TestParamInfo<std::tuple<int, size_t>>& one) {
                           return fmt::format("{}Clients{}",
                                              std::get<0>(one.param) == AF_INET ? "Ipv4" : "Ipv6",
                                              std::get<1>(one.param));
                         });

/// The server sends each reply a second time when the next request arrives, like a datagram that
/// was duplicated on its way.
TEST(Live, AReplyThatComesTwiceAnswersNoOtherRequest) {
  constexpr uint64_t kRequests = 40;
  socklen_t size = 0;
  sockaddr_storage here = loopback(AF_INET, 0, size);
  const UniqueFd server(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(server.get(), reinterpret_cast<sockaddr*>(&here), size), 0);
  ASSERT_EQ(getsockname(server.get(), reinterpret_cast<sockaddr*>(&here), &size), 0);
  const uint16_t port = ntohs(reinterpret_cast<sockaddr_in*>(&here)->sin_port);
  START_CAPTURE(capture, "lo", fmt::format("udp port {}", port));

  std::thread serving([&] {
    struct {
      uint64_t number;
      char text[24];
    } message{}, before{};
    for (uint64_t count = 0; count < kRequests; ++count) {
      sockaddr_storage from{};
      socklen_t length = sizeof from;
      auto* peer = reinterpret_cast<sockaddr*>(&from);
      if (recvfrom(server.get(), &message, sizeof message, 0, peer, &length) < 0) return;
      if (count > 0) sendto(server.get(), &before, sizeof before, 0, peer, length);
      poll(nullptr, 0, 5);
      sendto(server.get(), &message, sizeof message, 0, peer, length);
      before = message;
    }
  });
  const UniqueFd client(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&here), size), 0);
  for (uint64_t number = 1; number <= kRequests; ++number) {
    EXPECT_EQ(send(client.get(), &number, sizeof number, 0), static_cast<ssize_t>(sizeof number));
    uint64_t reply = 0;
    while (reply != number) ASSERT_GT(recv(client.get(), &reply, sizeof reply, 0), 0);
  }
  serving.join();
  capture.stop();
  ASSERT_EQ(capture.kernel_drops(), 0u);
  const FlowInterval& flows = capture.totals();
  EXPECT_EQ(flows.requests, kRequests);
  EXPECT_EQ(flows.reply_latency.count(), kRequests);
  EXPECT_EQ(flows.repeated_replies, kRequests - 1);
  EXPECT_GE(flows.reply_latency.min(), uint64_t{4 * kNanosPerMilli});
}

/// A TCP socket that listens on a free port of 127.0.0.1.
class Listener {
 public:
  explicit Listener(int backlog) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    here_ = loopback(AF_INET, 0, size_);
    auto* here = reinterpret_cast<sockaddr*>(&here_);
    ready_ = bind(fd_.get(), here, size_) == 0 && listen(fd_.get(), backlog) == 0 &&
             getsockname(fd_.get(), here, &size_) == 0;
  }
  bool ready() const { return ready_; }
  int fd() const { return fd_.get(); }
  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&here_); }
  socklen_t size() const { return size_; }
  uint16_t port() const { return ntohs(reinterpret_cast<const sockaddr_in*>(&here_)->sin_port); }

 private:
  UniqueFd fd_;
  sockaddr_storage here_{};
  socklen_t size_ = 0;
  bool ready_ = false;
};

TEST(Live, ConnectionsThatAFullAcceptQueueNeverAnswersAreCounted) {
  const Listener listener(0);
  ASSERT_TRUE(listener.ready());
  START_CAPTURE(capture, "lo", fmt::format("tcp port {}", listener.port()));
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    connect(clients.back().get(), listener.address(), listener.size());
  }
  poll(nullptr, 0, 1500);  // longer than the reply timeout: until then a SYN may be answered
  uint64_t waiting = 0;
  for (const UniqueFd& client : clients) {
    pollfd ready{client.get(), POLLOUT, 0};
    waiting += poll(&ready, 1, 0) == 0;
  }
  capture.stop();
  ASSERT_EQ(capture.kernel_drops(), 0u);
  if (waiting == 0) GTEST_SKIP() << "this kernel answers SYNs though the accept queue is full";
  EXPECT_EQ(capture.totals().tcp_never_completed, waiting);
  EXPECT_EQ(capture.totals().tcp_refused, 0u);
}

TEST(Live, AnUploadThatIsPacedHasNoPeriod) {
  const Listener listener(1);
  ASSERT_TRUE(listener.ready());
  START_CAPTURE(capture, "lo", fmt::format("tcp port {}", listener.port()));
  std::thread taking([&] {
    const UniqueFd connection(accept(listener.fd(), nullptr, nullptr));
    std::vector<char> bytes(1 << 16);
    while (recv(connection.get(), bytes.data(), bytes.size(), 0) > 0) {
    }
  });
  {
    const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client.get(), listener.address(), listener.size()), 0);
    const std::vector<char> bytes(16'384);
    for (int burst = 0; burst < 150; ++burst) {
      EXPECT_EQ(send(client.get(), bytes.data(), bytes.size(), 0),
                static_cast<ssize_t>(bytes.size()));
      poll(nullptr, 0, 10);
    }
  }
  taking.join();
  capture.stop();
  ASSERT_EQ(capture.kernel_drops(), 0u);
  EXPECT_EQ(capture.totals().lateness.count(), 0u);
  EXPECT_EQ(capture.totals().missed_ticks, 0u);
  EXPECT_EQ(capture.totals().requests, 1u);
}

TEST(Live, AnyCountsWhatLoCounts) {
  PingSwarm swarm(AF_INET, 50);
  ASSERT_TRUE(swarm.ready());
  const std::string filter = fmt::format("udp port {}", swarm.port());
  START_CAPTURE(lo, "lo", filter);
  START_CAPTURE(any, "any", filter);
  for (int i = 0; i < 20; ++i) {
    swarm.ping_all();
    poll(nullptr, 0, 20);
  }
  swarm.settle();
  lo.stop();
  any.stop();
  for (const Capture* capture : {&lo, &any}) {
    EXPECT_EQ(capture->kernel_drops(), 0u);
    EXPECT_EQ(capture->totals().udp.flows, 50u);
    EXPECT_EQ(capture->totals().udp.packets, swarm.sent() + swarm.echoed());
  }
}

TEST(Live, IntervalsCloseWithoutTraffic) {
  START_CAPTURE(capture, "lo", "udp port 1");  // nobody talks there
  poll(nullptr, 0, 1100);
  capture.stop();
  ASSERT_GE(capture.intervals().size(), 2u);
  for (size_t i = 0; i + 1 < capture.intervals().size(); ++i) {
    const auto& flows = capture.intervals()[i].flows;
    EXPECT_EQ(flows.end_ns - flows.begin_ns, 200 * kNanosPerMilli);
    EXPECT_EQ(flows.end_ns, capture.intervals()[i + 1].flows.begin_ns);
    EXPECT_EQ(flows.packets, 0u);
  }
}

/// The kernel is given ten datagrams of 1,000 bytes at a time (UDP_SEGMENT), in a namespace whose
/// `lo` has an MTU of 1,500. The capture gets frames of ten datagrams.
TEST(Live, FramesOfSegmentationOffloadAreShownAsSuch) {
  std::thread([] {
    if (unshare(CLONE_NEWNET) != 0) {
      GTEST_SKIP() << "cannot make a network namespace: " << std::strerror(errno);
    }
    if (std::system("ip link set lo up mtu 1500") != 0) GTEST_SKIP() << "cannot set up lo";
    constexpr uint64_t kSends = 20, kDatagramsASend = 10;
    constexpr int kDatagramBytes = 1000;
    socklen_t size = 0;
    sockaddr_storage address = loopback(AF_INET, 9, size);
    const UniqueFd receiver(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(receiver.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    const UniqueFd sender(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    constexpr int kUdpSegment = 103;
    if (setsockopt(sender.get(), SOL_UDP, kUdpSegment, &kDatagramBytes, sizeof kDatagramBytes) !=
        0) {
      GTEST_SKIP() << "this kernel has no UDP_SEGMENT: " << std::strerror(errno);
    }
    ASSERT_EQ(connect(sender.get(), reinterpret_cast<sockaddr*>(&address), size), 0);

    for (const bool declared : {false, true}) {
      SCOPED_TRACE(declared);
      LiveOptions live;
      live.interface = "lo";
      live.filter = "udp port 9";
      FlowTableOptions table;
      if (declared) table.segment_bytes = kDatagramBytes;
      auto tracker = FlowTracker::open_live(live, table);
      if (!tracker.ok()) GTEST_SKIP() << tracker.error().message;
      (*tracker)->start_at(monotonic_now_ns());
      const std::string payload(kDatagramBytes * kDatagramsASend, 'x');
      for (uint64_t i = 0; i < kSends; ++i) {
        ASSERT_EQ(send(sender.get(), payload.data(), payload.size(), 0),
                  static_cast<ssize_t>(payload.size()));
      }
      (*tracker)->request_stop(monotonic_now_ns());
      const IntervalSink sink = [](ClosedInterval&&) {};
      while (*(*tracker)->step(sink) != StepOutcome::kEnd) {
      }
      const FlowInterval& seen = (*tracker)->totals();
      EXPECT_EQ(seen.udp.packets, kSends);
      EXPECT_EQ(seen.super_packets, kSends);
      // 10,000 bytes are at least 7 datagrams of an MTU of 1,500, and 10 of 1,000.
      EXPECT_EQ(seen.super_packet_segments, kSends * (declared ? kDatagramsASend : 7));
    }
  }).join();
}

TEST(Live, LossIsWhatTheKernelSays) {
  PingSwarm swarm(AF_INET, 100);
  ASSERT_TRUE(swarm.ready());
  LiveOptions live;
  live.interface = "lo";
  live.filter = fmt::format("udp port {}", swarm.port());
  live.ring_bytes = 1 << 20;
  auto tracker = FlowTracker::open_live(live, {});
  if (!tracker.ok()) GTEST_SKIP() << tracker.error().message;
  (*tracker)->start_at(monotonic_now_ns());
  // Nobody reads the ring, and most of this does not fit.
  for (int i = 0; i < 300; ++i) swarm.ping_all();
  swarm.settle();
  (*tracker)->request_stop(monotonic_now_ns());
  uint64_t drops = 0;
  const IntervalSink sink = [&](ClosedInterval&& i) { drops += i.losses.kernel_drops; };
  while (true) {
    auto outcome = (*tracker)->step(sink);
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    if (*outcome == StepOutcome::kEnd) break;
  }
  EXPECT_GT(drops, 0u);
  EXPECT_EQ((*tracker)->totals().packets + drops, swarm.sent() + swarm.echoed());
}

TEST(Live, AStopCountsAllThatWasSentBeforeItAndNothingAfter) {
  PingSwarm swarm(AF_INET, 20);
  ASSERT_TRUE(swarm.ready());
  START_CAPTURE(capture, "lo", fmt::format("udp port {}", swarm.port()));
  // The end lies ahead, so that packets after it cannot be counted before it is known.
  const int64_t end_ns = monotonic_now_ns() + 300 * kNanosPerMilli;
  capture.request_stop(end_ns);
  uint64_t before = 0;
  while (true) {
    const uint64_t sent = swarm.sent() + swarm.echoed();
    if (monotonic_now_ns() >= end_ns) break;
    before = sent;  // sent while the end was ahead
    swarm.ping_all();
  }
  const uint64_t by_end = swarm.sent() + swarm.echoed() + 20;  // an echo may be under way
  for (int i = 0; i < 50; ++i) swarm.ping_all();
  capture.join();
  ASSERT_EQ(capture.kernel_drops(), 0u);
  EXPECT_GE(capture.totals().udp.packets, before);
  EXPECT_LE(capture.totals().udp.packets, by_end);
  ASSERT_FALSE(capture.intervals().empty());
  EXPECT_EQ(capture.intervals().back().flows.end_ns, end_ns);
}

/// Steps until an event contains `text`, or for ten seconds. Returns whether it came.
bool step_until_event(FlowTracker& tracker, const std::string& text,
                      std::vector<std::string>& events, uint64_t& gap_ns) {
  bool found = false;
  const IntervalSink sink = [&](ClosedInterval&& i) {
    gap_ns += i.losses.gap_ns;
    for (auto& event : i.events) {
      found |= event.find(text) != std::string::npos;
      events.push_back(std::move(event));
    }
  };
  const int64_t until_ns = monotonic_now_ns() + 10 * kNanosPerSecond;
  while (!found && monotonic_now_ns() < until_ns) {
    auto outcome = tracker.step(sink);
    EXPECT_TRUE(outcome.ok()) << outcome.error().message;
  }
  return found;
}

TEST(Live, AGoneNamespaceIsNoErrorAndNoSpin) {
  std::thread([] {
    if (unshare(CLONE_NEWNET) != 0) {
      GTEST_SKIP() << "cannot make a network namespace: " << std::strerror(errno);
    }
    if (std::system("ip link add tspin0 type veth peer name tspin1 2>/dev/null && "
                    "ip link set tspin1 up && ip link set tspin0 up") != 0) {
      GTEST_SKIP() << "cannot make a veth pair with ip(8)";
    }
    // The captured interface is moved into a second namespace, which is then deleted. The kernel
    // deletes the interface with it.
    LiveOptions live;
    live.interface = "tspin0";
    live.interval_ns = 100 * kNanosPerMilli;
    auto tracker = FlowTracker::open_live(live, {});
    ASSERT_TRUE(tracker.ok()) << tracker.error().message;
    (*tracker)->start_at(monotonic_now_ns());
    std::vector<std::string> events;
    uint64_t gap_ns = 0;
    // A process in its own namespace is given the interface, and ends. The namespace goes with it.
    ASSERT_EQ(std::system("unshare -n sleep 5 & child=$!; sleep 0.2; "
                          "ip link set tspin0 netns $child; kill $child; wait $child 2>/dev/null; "
                          "true"),
              0);
    EXPECT_TRUE(step_until_event(**tracker, "tspin0 is gone", events, gap_ns))
        << testing::PrintToString(events);
    int steps = 0;
    const int64_t until_ns = monotonic_now_ns() + 500 * kNanosPerMilli;
    for (; monotonic_now_ns() < until_ns; ++steps) {
      ASSERT_TRUE((*tracker)->step([&](ClosedInterval&& i) { gap_ns += i.losses.gap_ns; }).ok());
    }
    EXPECT_LT(steps, 500);
    EXPECT_GT(gap_ns, 0u);
    EXPECT_LT(events.size(), 8u) << testing::PrintToString(events);
  }).join();
}

TEST(Live, RefusesWhatItCannotOpen) {
  LiveOptions live;
  live.interface = "no-such-if0";
  auto missing = FlowTracker::open_live(live, {});
  ASSERT_FALSE(missing.ok());
  if (missing.error().code == ErrorCode::kPermission) GTEST_SKIP() << missing.error().message;
  EXPECT_EQ(missing.error().code, ErrorCode::kUsage) << missing.error().message;
  live.interface = "lo";
  live.filter = "port port";
  auto bad = FlowTracker::open_live(live, {});
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code, ErrorCode::kUsage) << bad.error().message;
}

TEST(Live, AFaultyInterfaceIsAnEventAndAGap) {
  std::thread([] {
    // This thread gets its own network namespace. The commands that it starts are in it too.
    if (unshare(CLONE_NEWNET) != 0) {
      GTEST_SKIP() << "cannot make a network namespace: " << std::strerror(errno);
    }
    const auto run = [](const char* command) { return std::system(command); };
    if (run("ip link add tspin0 type veth peer name tspin1 2>/dev/null && ip link set tspin1 up && "
            "ip link set tspin0 up") != 0) {
      GTEST_SKIP() << "cannot make a veth pair with ip(8)";
    }
    LiveOptions live;
    live.interface = "tspin0";
    live.interval_ns = 100 * kNanosPerMilli;
    auto tracker = FlowTracker::open_live(live, {});
    ASSERT_TRUE(tracker.ok()) << tracker.error().message;
    (*tracker)->start_at(monotonic_now_ns());
    std::vector<std::string> events;
    uint64_t gap_ns = 0;

    ASSERT_EQ(run("ip link set tspin0 down"), 0);
    EXPECT_TRUE(step_until_event(**tracker, "tspin0 went down", events, gap_ns));
    ASSERT_EQ(run("ip link set tspin0 up"), 0);
    EXPECT_TRUE(step_until_event(**tracker, "tspin0 is back", events, gap_ns));
    EXPECT_GT(gap_ns, 0u);

    const uint64_t gap_before_ns = gap_ns;
    ASSERT_EQ(run("ip link del tspin0"), 0);
    EXPECT_TRUE(step_until_event(**tracker, "tspin0 is gone", events, gap_ns))
        << testing::PrintToString(events);
    // While the interface is away, the tracker waits and does not spin.
    int steps = 0;
    const int64_t until_ns = monotonic_now_ns() + kNanosPerSecond;
    for (; monotonic_now_ns() < until_ns; ++steps) {
      ASSERT_TRUE((*tracker)->step([&](ClosedInterval&& i) { gap_ns += i.losses.gap_ns; }).ok());
    }
    EXPECT_LT(steps, 1000);
    ASSERT_EQ(run("ip link add tspin0 type veth peer name tspin1 && ip link set tspin1 up && "
                  "ip link set tspin0 up"),
              0);
    EXPECT_TRUE(step_until_event(**tracker, "tspin0 is back", events, gap_ns));
    EXPECT_GT(gap_ns, gap_before_ns);

    ASSERT_EQ(run("ip link set tspin0 down && ip link set tspin0 name tspin7 && "
                  "ip link set tspin7 up"),
              0);
    EXPECT_TRUE(step_until_event(**tracker, "tspin7", events, gap_ns));
    // Only a few events: each is reported once.
    EXPECT_LT(events.size(), 16u) << testing::PrintToString(events);

    (*tracker)->request_stop(monotonic_now_ns());
    while (true) {
      auto outcome = (*tracker)->step([](ClosedInterval&&) {});
      ASSERT_TRUE(outcome.ok());
      if (*outcome == StepOutcome::kEnd) break;
    }
  }).join();
}

/// A thread in its own network namespace. Both live as long as the object.
class NetworkNamespace {
 public:
  NetworkNamespace() : thread_([this] { run(); }) { made_.acquire(); }
  ~NetworkNamespace() {
    call([this] { stop_ = true; });
    thread_.join();
  }
  bool ok() const { return ok_; }
  std::string path() const { return "/proc/" + std::to_string(tid_) + "/ns/net"; }
  void call(const std::function<void()>& work) {
    work_ = work;
    asked_.release();
    done_.acquire();
  }

 private:
  void run() {
    ok_ = unshare(CLONE_NEWNET) == 0;
    tid_ = gettid();
    made_.release();
    while (!stop_) {
      asked_.acquire();
      work_();
      done_.release();
    }
  }

  std::binary_semaphore made_{0}, asked_{0}, done_{0};
  std::function<void()> work_;
  bool ok_ = false, stop_ = false;
  pid_t tid_ = 0;
  std::thread thread_;
};

bool shell(const std::string& command) {
  return std::system((command + " 2>/dev/null").c_str()) == 0;
}

/// A socket in the namespace that the calling thread is in.
UniqueFd udp_socket_at(const char* address, uint16_t port) {
  UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  inet_pton(AF_INET, address, &at.sin_addr);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) fd.reset(-1);
  return fd;
}

TEST(Live, APacketOverABridgeCountsOnceOnAny) {
  NetworkNamespace host, client, server;
  if (!host.ok() || !client.ok() || !server.ok()) {
    GTEST_SKIP() << "cannot make a network namespace";
  }
  bool made = true;
  const auto in = [&](NetworkNamespace& space, const std::string& command) {
    space.call([&] { made = made && shell(command); });
  };
  in(host, "ip link add br0 type bridge && ip link set br0 up && ip link set lo up");
  in(host, "ip link add c0 type veth peer name eth0 netns " + client.path());
  in(host, "ip link add s0 type veth peer name eth0 netns " + server.path());
  in(host, "ip link set c0 master br0 up && ip link set s0 master br0 up");
  in(client, "ip link set eth0 up && ip addr add 10.88.0.1/24 dev eth0");
  in(server, "ip link set eth0 up && ip addr add 10.88.0.2/24 dev eth0");
  if (!made) GTEST_SKIP() << "cannot make a bridge and veth pairs with ip(8)";

  std::unique_ptr<Capture> any, veth;
  host.call([&] {
    for (auto [name, capture] : {std::pair{"any", &any}, std::pair{"c0", &veth}}) {
      auto started = Capture::start(name, "udp port 21888");
      ASSERT_TRUE(started.ok()) << started.error().message;
      *capture = std::move(started).value();
    }
  });
  ASSERT_TRUE(any && veth);
  UniqueFd from, to;
  client.call([&] { from = udp_socket_at("10.88.0.1", 21'001); });
  server.call([&] { to = udp_socket_at("10.88.0.2", 21'888); });
  ASSERT_TRUE(from && to);
  sockaddr_in target{};
  target.sin_family = AF_INET;
  target.sin_port = htons(21'888);
  inet_pton(AF_INET, "10.88.0.2", &target.sin_addr);
  constexpr int kPings = 50;
  int pongs = 0;
  for (int i = 0; i < kPings; ++i) {
    // The bytes are the same each time, so only the interface tells a repeat from a second
    // sighting.
    char bytes[8] = "ping";
    ASSERT_EQ(sendto(from.get(), bytes, 4, 0, reinterpret_cast<sockaddr*>(&target), sizeof target),
              4);
    pollfd ready{to.get(), POLLIN, 0};
    if (poll(&ready, 1, 5000) != 1) break;
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    ASSERT_EQ(recvfrom(to.get(), bytes, sizeof bytes, 0, reinterpret_cast<sockaddr*>(&peer), &size),
              4);
    ASSERT_EQ(sendto(to.get(), "pong", 4, 0, reinterpret_cast<sockaddr*>(&peer), size), 4);
    ready.fd = from.get();
    pongs += poll(&ready, 1, 5000) == 1 && recv(from.get(), bytes, sizeof bytes, 0) == 4;
  }
  if (pongs != kPings) GTEST_SKIP() << "the bridge forwards nothing here (a packet filter?)";
  any->stop();
  veth->stop();
  EXPECT_EQ(veth->totals().packets, 2u * kPings);
  EXPECT_EQ(any->totals().packets, veth->totals().packets);
  EXPECT_EQ(any->totals().udp.flows, 1u);
  EXPECT_GE(any->totals().duplicate_packets, 2u * kPings);
  EXPECT_EQ(veth->totals().duplicate_packets, 0u);
  EXPECT_EQ(any->totals().time_steps, 0u);
}

TEST(Live, AWholeNumberOfIntervalsEndsWithAnIntervalThatHasALength) {
  LiveOptions live;
  live.interface = "lo";
  live.interval_ns = 50 * kNanosPerMilli;
  auto tracker = FlowTracker::open_live(live, {});
  ASSERT_TRUE(tracker.ok()) << tracker.error().message;
  const int64_t start_ns = monotonic_now_ns();
  (*tracker)->start_at(start_ns);
  (*tracker)->request_stop(start_ns + 4 * live.interval_ns);
  std::vector<ClosedInterval> intervals;
  while (true) {
    auto outcome = (*tracker)->step([&](ClosedInterval&& i) { intervals.push_back(std::move(i)); });
    ASSERT_TRUE(outcome.ok());
    if (*outcome == StepOutcome::kEnd) break;
  }
  ASSERT_EQ(intervals.size(), 4u);
  for (size_t i = 0; i < intervals.size(); ++i) {
    EXPECT_EQ(intervals[i].number, i);
    EXPECT_EQ(intervals[i].flows.end_ns - intervals[i].flows.begin_ns, live.interval_ns);
  }
}

}  // namespace
}  // namespace topspin
