// Compares live capture on lo with `tcpdump -w FILE`: loss, and user+system CPU per packet. The two
// run in turn, on the same traffic. Needs CAP_NET_RAW. Without tcpdump, only the tracker runs.
//
//   capture_live [--packets N] [--rounds N] [--flows N]
//
// A connected UDP socket sends 64 bytes as fast as it can to a socket that nobody reads. With
// --flows, a raw socket sends the same datagrams with the addresses and ports of N senders in turn.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/flow_tracker.h"
#include "core/base/clock.h"

namespace {

double cpu_ns(const rusage& used) {
  const auto ns = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_usec) * 1e3;
  };
  return ns(used.ru_utime) + ns(used.ru_stime);
}

int sink_socket(uint16_t& port) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) std::exit(5);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  port = ntohs(address.sin_port);
  return fd;
}

/// Sends datagrams of `flows` senders in turn, each with its own (127.1.x.y, port). False: a send
/// failed.
bool send_raw(uint16_t port, uint64_t packets, uint32_t flows) {
  const int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  constexpr size_t kPayload = 64;
  struct [[gnu::packed]] {
    iphdr ip;
    udphdr udp;
    char payload[kPayload];
  } datagram{};
  datagram.ip.version = 4;
  datagram.ip.ihl = 5;
  datagram.ip.ttl = 64;
  datagram.ip.protocol = IPPROTO_UDP;
  datagram.ip.tot_len = htons(sizeof datagram);
  datagram.ip.daddr = to.sin_addr.s_addr;
  datagram.udp.dest = htons(port);
  datagram.udp.len = htons(sizeof datagram.udp + kPayload);
  constexpr uint32_t kPortsAnAddress = 10'000;
  for (uint64_t i = 0; i < packets; ++i) {
    const auto flow = static_cast<uint32_t>(i % flows);
    datagram.ip.saddr = htonl(0x7f010001 + flow / kPortsAnAddress);
    datagram.udp.source = htons(static_cast<uint16_t>(20'000 + flow % kPortsAnAddress));
    if (sendto(fd, &datagram, sizeof datagram, 0, reinterpret_cast<const sockaddr*>(&to),
               sizeof to) != static_cast<ssize_t>(sizeof datagram)) {
      return false;
    }
  }
  return true;
}

/// Sends in a child, so that its CPU is not counted as the capturer's. Returns packets per second.
double blast(uint16_t port, uint64_t packets, uint32_t flows) {
  const int64_t begin_ns = topspin::monotonic_now_ns();
  const pid_t pid = fork();
  if (pid == 0) {
    if (flows > 1) _exit(send_raw(port, packets, flows) ? 0 : 1);
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) _exit(1);
    char bytes[64] = {};
    for (uint64_t i = 0; i < packets; ++i) {
      if (send(fd, bytes, sizeof bytes, 0) != sizeof bytes) _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || status != 0) std::exit(5);
  return static_cast<double>(packets) * 1e9 /
         static_cast<double>(topspin::monotonic_now_ns() - begin_ns);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t packets = 1'000'000;
  int rounds = 3;
  uint32_t flows = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--packets") == 0) packets = std::stoull(argv[i + 1]);
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--flows") == 0) {
      flows = static_cast<uint32_t>(std::clamp(std::atoi(argv[i + 1]), 1, 250 * 10'000));
    }
  }
  uint16_t port = 0;
  const int sink = sink_socket(port);
  const std::string filter = fmt::format("udp port {}", port);
  for (int round = 0; round < rounds; ++round) {
    {
      topspin::LiveOptions live;
      live.interface = "lo";
      live.filter = filter;
      auto tracker = topspin::FlowTracker::open_live(live, {});
      if (!tracker.ok()) {
        fmt::print(stderr, "{}\n", tracker.error().message);
        return topspin::exit_code(tracker.error().code);
      }
      (*tracker)->start_at(topspin::monotonic_now_ns());
      uint64_t drops = 0;
      rusage used{};
      std::thread capturer([&] {
        const topspin::IntervalSink count = [&](topspin::ClosedInterval&& i) {
          drops += i.losses.kernel_drops;
        };
        while (true) {
          auto step = (*tracker)->step(count);
          if (!step.ok() || *step == topspin::StepOutcome::kEnd) break;
        }
        getrusage(RUSAGE_THREAD, &used);
      });
      const double rate = blast(port, packets, flows);
      (*tracker)->request_stop(topspin::monotonic_now_ns());
      capturer.join();
      fmt::print(
          "{{\"what\": \"tracker\", \"sent\": {}, \"per_second\": {:.0f}, \"captured\": {}, "
          "\"flows\": {}, \"drops\": {}, \"cpu_ns_per_packet\": {:.0f}}}\n",
          packets, rate, (*tracker)->totals().packets, (*tracker)->totals().udp.flows, drops,
          cpu_ns(used) / static_cast<double>(packets));
    }
    char name[] = "/tmp/topspin-bench-XXXXXX";
    const int file = mkstemp(name);
    int talk[2];
    if (file < 0 || pipe(talk) != 0) return 5;
    const pid_t pid = fork();
    if (pid == 0) {
      dup2(talk[1], STDERR_FILENO);
      execlp("tcpdump", "tcpdump", "-i", "lo", "-s", "192", "-w", name, filter.c_str(), nullptr);
      _exit(127);
    }
    close(talk[1]);
    std::string said(4096, '\0');
    const ssize_t listening = read(talk[0], said.data(), said.size());  // 0: it has ended
    poll(nullptr, 0, 200);
    const double rate = listening > 0 ? blast(port, packets, flows) : 0;
    poll(nullptr, 0, 500);
    kill(pid, SIGINT);
    said.clear();
    char bytes[1024];
    for (ssize_t n = 0; (n = read(talk[0], bytes, sizeof bytes)) > 0;) {
      said.append(bytes, static_cast<size_t>(n));
    }
    close(talk[0]);
    rusage used{};
    int status = 0;
    wait4(pid, &status, 0, &used);
    close(file);
    unlink(name);
    if (listening > 0) {
      std::replace(said.begin(), said.end(), '\n', ' ');
      fmt::print(
          "{{\"what\": \"tcpdump -w\", \"sent\": {}, \"per_second\": {:.0f}, \"said\": "
          "\"{}\", \"cpu_ns_per_packet\": {:.0f}}}\n",
          packets, rate, said, cpu_ns(used) / static_cast<double>(packets));
    }
  }
  close(sink);
  return 0;
}
