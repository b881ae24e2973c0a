// load_bench: CPU and own lateness of udp-pingpong at 15,000 and 50,000 clients, against an echo
// server in a child process; packets/s of udp-flood compared with a plain loop of send() on a
// connected socket. bench/flood_beside compares it with iperf3 and sockperf.
//
// Prints one line "name value unit" per number. Usage: load_bench [SECONDS], 10 by default.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "load/load.h"

namespace topspin {
namespace {

constexpr size_t kBatch = 64;

[[noreturn]] void run_echo_server(int fd) {
  static std::array<std::array<char, 2048>, kBatch> buffers;
  std::array<mmsghdr, kBatch> headers{};
  std::array<iovec, kBatch> vectors{};
  std::array<sockaddr_in, kBatch> names{};
  while (true) {
    for (size_t i = 0; i < kBatch; ++i) {
      vectors[i] = {buffers[i].data(), buffers[i].size()};
      headers[i].msg_hdr = {};
      headers[i].msg_hdr.msg_name = &names[i];
      headers[i].msg_hdr.msg_namelen = sizeof names[i];
      headers[i].msg_hdr.msg_iov = &vectors[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
    const int got = recvmmsg(fd, headers.data(), kBatch, MSG_WAITFORONE, nullptr);
    if (got <= 0) continue;
    for (size_t i = 0; i < static_cast<size_t>(got); ++i) vectors[i].iov_len = headers[i].msg_len;
    (void)sendmmsg(fd, headers.data(), static_cast<unsigned>(got), 0);
  }
}

/// An echo server in a child process, which ends with this one. Without `answers` there is no
/// child: nobody reads the socket.
class EchoServer {
 public:
  explicit EchoServer(bool answers) : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
    CHECK(getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
    port_ = ntohs(address.sin_port);
    const int bytes = 8 << 20;
    (void)setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    if (!answers) return;  // nobody reads: dropping a datagram costs the kernel least
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      run_echo_server(fd_.get());
    }
  }
  ~EchoServer() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::string target() const { return fmt::format("127.0.0.1:{}", port_); }
  uint16_t port() const { return port_; }

 private:
  UniqueFd fd_;
  uint16_t port_ = 0;
  pid_t pid_ = -1;
};

void print_line(const std::string& name, double value, std::string_view unit) {
  fmt::print("{:<44} {:>14.2f} {}\n", name, value, unit);
  std::fflush(stdout);
}

LoadResult must_run(const LoadOptions& options) {
  const std::atomic<bool> never{false};
  auto result = run_load(options, never, {});
  if (!result.ok()) {
    fmt::print(stderr, "load_bench: {}\n", result.error().message);
    std::exit(1);
  }
  for (const std::string& reason : result->invalid_reasons) {
    fmt::print(stderr, "load_bench: invalid: {}\n", reason);
  }
  return std::move(*result);
}

void bench_pingpong(uint32_t clients, SocketMode sockets, int64_t seconds) {
  const EchoServer server(true);
  LoadOptions options;
  options.target = server.target();
  options.wire = WireProfile::kNumbered;
  options.sockets = sockets;
  options.stages = {{"ramp_up", 0, clients, 2 * kNanosPerSecond},
                    {"hold", clients, clients, seconds * kNanosPerSecond},
                    {"ramp_down", clients, 0, 2 * kNanosPerSecond}};
  const LoadResult result = must_run(options);
  const std::string name =
      fmt::format("pingpong_{}_{}", clients, result.own.shared_sockets ? "shared" : "own");
  const auto sent = static_cast<double>(result.total.accounts.sent);
  print_line(name + "_cpu",
             100 * static_cast<double>(result.own.cpu_ns) / static_cast<double>(result.own.wall_ns),
             "% of a core, ramps in");
  print_line(name + "_cpu_per_ping", static_cast<double>(result.own.cpu_ns) / sent / 1e3, "us");
  const HistogramSummary lateness = result.total.own_lateness.summary();
  print_line(name + "_own_lateness_p50", static_cast<double>(lateness.p50.value_or(0)) / 1e3, "us");
  print_line(name + "_own_lateness_p99", static_cast<double>(lateness.p99.value_or(0)) / 1e3, "us");
  print_line(name + "_lost", static_cast<double>(result.total.accounts.lost), "pings");
  print_line(name + "_rss", static_cast<double>(result.own.rss_bytes) / 1048576, "MiB");
}

/// A plain loop of send(). Its rate is what udp-flood is compared with.
double plain_sender_rate(uint16_t port, int64_t seconds) {
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  const std::array<char, 18> bytes{};
  const int64_t start = monotonic_now_ns();
  uint64_t sent = 0;
  int64_t now = start;
  while (now - start < seconds * kNanosPerSecond) {
    for (int i = 0; i < 64; ++i) sent += send(fd.get(), bytes.data(), bytes.size(), 0) > 0 ? 1 : 0;
    now = monotonic_now_ns();
  }
  return static_cast<double>(sent) * 1e9 / static_cast<double>(now - start);
}

double flood_rate(const std::string& target, int64_t seconds, bool gso) {
  LoadOptions options;
  options.workload = WorkloadKind::kUdpFlood;
  options.target = target;
  options.message_bytes = 18;
  options.duration_ns = seconds * kNanosPerSecond;
  options.gso = gso;
  const LoadResult result = must_run(options);
  return static_cast<double>(result.total.accounts.sent) * 1e9 /
         static_cast<double>(result.own.wall_ns);
}

void bench_flood(int64_t seconds) {
  const EchoServer sink(false);
  // They alternate, so that a busy neighbour affects all alike.
  double plain = 0, flood = 0, gso = 0;
  constexpr int kRounds = 3;
  for (int i = 0; i < kRounds; ++i) {
    plain += plain_sender_rate(sink.port(), seconds) / kRounds;
    flood += flood_rate(sink.target(), seconds, false) / kRounds;
    gso += flood_rate(sink.target(), seconds, true) / kRounds;
  }
  print_line("plain_send_loop", plain, "packets/s");
  print_line("udp_flood", flood, "packets/s");
  print_line("udp_flood_over_plain_send_loop", flood / plain, "times");
  print_line("udp_flood_gso_over_plain_send_loop", gso / plain, "times");
}

}  // namespace
}  // namespace topspin

int main(int argc, char** argv) {
  using topspin::SocketMode;
  int64_t seconds = 10;
  if (argc > 1) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), seconds);
  topspin::bench_pingpong(15'000, SocketMode::kOwn, seconds);
  topspin::bench_pingpong(15'000, SocketMode::kShared, seconds);
  topspin::bench_pingpong(50'000, SocketMode::kShared, seconds);
  topspin::bench_flood(std::max<int64_t>(1, seconds / 5));
}
