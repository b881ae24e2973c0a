#include "app/prove/fault_subject.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <functional>
#include <mutex>
#include <sstream>
#include <thread>
#include <unordered_map>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/check.h"
#include "core/base/clock.h"
#include "core/base/read_file.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "load/engine/kernel_counters.h"

namespace topspin {
namespace {

constexpr int64_t kMilliNs = kNanosPerMilli;
constexpr std::string_view kReply = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nproof\n";

timespec to_timespec(int64_t ns) { return {ns / kNanosPerSecond, ns % kNanosPerSecond}; }

void sleep_for(int64_t ns) {
  const timespec pause = to_timespec(ns);
  nanosleep(&pause, nullptr);
}

/// Uses the CPU for `cpu_ns`, and returns how long that took by the clock. The rest of that time
/// the thread did not have the CPU.
int64_t work_for(int64_t cpu_ns) {
  const auto used_ns = [] {
    timespec used{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return used.tv_sec * kNanosPerSecond + used.tv_nsec;
  };
  const int64_t begin_ns = monotonic_now_ns(), until_ns = used_ns() + cpu_ns;
  while (used_ns() < until_ns) {
  }
  return monotonic_now_ns() - begin_ns;
}

// ---- the server ----

Result<UniqueFd> bound_socket(int type, uint16_t port) {
  UniqueFd fd(socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!fd || setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return os_error(fmt::format("cannot listen on 127.0.0.1:{}", port));
  return fd;
}

/// A descriptor that becomes readable on SIGTERM.
Result<UniqueFd> ending() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  UniqueFd fd(sigprocmask(SIG_BLOCK, &set, nullptr) == 0 ? signalfd(-1, &set, SFD_CLOEXEC) : -1);
  if (!fd) return os_error("cannot wait for SIGTERM");
  return fd;
}

/// Reads once, and answers each request that is complete then. Returns the result of read(); errno
/// is 0 at end of file.
ssize_t answer_requests(int fd, std::string& unread, const std::function<void()>& on_request) {
  std::array<char, 4096> bytes;
  errno = 0;
  const ssize_t length = read(fd, bytes.data(), bytes.size());
  if (length <= 0) return length;
  unread.append(bytes.data(), static_cast<size_t>(length));
  constexpr std::string_view kEnd = "\r\n\r\n";
  for (size_t end; (end = unread.find(kEnd)) != std::string::npos;) {
    unread.erase(0, end + kEnd.size());
    on_request();
    if (write(fd, kReply.data(), kReply.size()) < 0) break;  // the next read reports the end
  }
  return length;
}

/// What a server does besides answering.
struct HttpHooks {
  std::function<void()> on_request = [] {};
  std::function<void()> before_accept = [] {};
  std::function<void(int64_t ns)> on_stretch;  // from waking to the next sleep; may be empty
  int backlog = 512;
};

/// A minimal event loop that serves HTTP/1.1 with keep-alive in one thread.
class HttpLoop {
 public:
  explicit HttpLoop(HttpHooks hooks) : hooks_(std::move(hooks)) {}

  /// Serves until SIGTERM.
  Status serve(uint16_t port) {
    TOPSPIN_ASSIGN(const UniqueFd end, ending());
    TOPSPIN_ASSIGN(const UniqueFd listener, bound_socket(SOCK_STREAM, port));
    const UniqueFd events(epoll_create1(EPOLL_CLOEXEC));
    if (!events || listen(listener.get(), hooks_.backlog) != 0) return os_error("cannot listen");
    watch(events.get(), end.get());
    watch(events.get(), listener.get());
    for (;;) {
      std::array<epoll_event, 64> ready;
      const int count = wait_for_events(events.get(), ready);
      for (int index = 0; index < count; ++index) {
        const int fd = ready[static_cast<size_t>(index)].data.fd;
        if (fd == end.get()) return {};
        if (fd == listener.get())
          take_connection(events.get(), fd);
        else
          answer(fd);
      }
    }
  }

 private:
  int wait_for_events(int events, std::array<epoll_event, 64>& ready) {
    const auto sleeps = [] {
      rusage used{};
      getrusage(RUSAGE_THREAD, &used);
      return used.ru_nvcsw;
    };
    const auto wait = [&] {
      return epoll_wait(events, ready.data(), static_cast<int>(ready.size()), -1);
    };
    if (!hooks_.on_stretch) return wait();
    const int64_t before = sleeps(), end_ns = monotonic_now_ns();
    const int count = wait();
    if (sleeps() > before) {
      hooks_.on_stretch(end_ns - woken_ns_);
      woken_ns_ = monotonic_now_ns();
    }
    return count;
  }

  static void watch(int events, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    CHECK(epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) == 0);
  }

  void take_connection(int events, int listener) {
    hooks_.before_accept();
    UniqueFd connection(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!connection) return;
    const int fd = connection.get();
    watch(events, fd);
    connections_[fd] = {std::move(connection), {}};
  }

  void answer(int fd) {
    // Whoever reads /proc/PID/fd holds a descriptor open for a moment. Until then an event may come
    // for one that was closed here.
    const auto connection = connections_.find(fd);
    if (connection == connections_.end()) return;
    if (answer_requests(fd, connection->second.unread, hooks_.on_request) <= 0 && errno != EAGAIN)
      connections_.erase(connection);
  }

  struct Connection {
    UniqueFd fd;
    std::string unread;
  };
  HttpHooks hooks_;
  int64_t woken_ns_ = monotonic_now_ns();
  std::unordered_map<int, Connection> connections_;
};

Status serve_http(uint16_t port, HttpHooks hooks) { return HttpLoop(std::move(hooks)).serve(port); }

/// A number to which another process of ours adds.
class SharedNumber {
 public:
  SharedNumber()
      : number_(static_cast<int64_t*>(mmap(nullptr, sizeof(int64_t), PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    CHECK(number_ != MAP_FAILED);
  }
  SharedNumber(const SharedNumber&) = delete;
  SharedNumber& operator=(const SharedNumber&) = delete;
  ~SharedNumber() { munmap(number_, sizeof(int64_t)); }
  int64_t& operator*() const { return *number_; }

 private:
  int64_t* number_;
};

// ---- the faults ----

Status answer_at_once(const FaultSubject& subject, FaultAccount& account) {
  HttpHooks hooks;
  hooks.on_request = [&] { ++account["requests"]; };
  return serve_http(subject.port, hooks);
}

Status block_the_loop(const FaultSubject& subject, FaultAccount& account) {
  HttpHooks hooks;
  int64_t last_ns = monotonic_now_ns();
  hooks.on_request = [&] {
    if (monotonic_now_ns() - last_ns < kNanosPerSecond) return;
    last_ns = monotonic_now_ns();
    work_for(80 * kMilliNs);
  };
  hooks.on_stretch = [&](int64_t ns) {
    double& longest = account["longest_stretch_ns"];
    longest = std::max(longest, static_cast<double>(ns));
  };
  return serve_http(subject.port, hooks);
}

/// Works for `cpu_ns` of CPU time per request. If it takes longer, another process had the CPU.
Status work_per_request(const FaultSubject& subject, int64_t cpu_ns, FaultAccount& account) {
  HttpHooks hooks;
  hooks.on_request = [&, cpu_ns] {
    account["taken_away_ns"] += static_cast<double>(work_for(cpu_ns) - cpu_ns);
  };
  return serve_http(subject.port, hooks);
}
Status work_3_ms(const FaultSubject& subject, FaultAccount& account) {
  return work_per_request(subject, 3 * kMilliNs, account);
}
Status work_8_ms(const FaultSubject& subject, FaultAccount& account) {
  return work_per_request(subject, 8 * kMilliNs, account);
}

/// A child stops the server for 200 ms, once per second.
Status be_stopped(const FaultSubject& subject, FaultAccount& account) {
  const SharedNumber stopped_ns;
  const pid_t server = getpid();
  const pid_t child = fork();
  if (child < 0) return os_error("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == server) {
      sleep_for(800 * kMilliNs);
      const int64_t begin_ns = monotonic_now_ns();
      kill(server, SIGSTOP);
      sleep_for(200 * kMilliNs);
      kill(server, SIGCONT);
      *stopped_ns += monotonic_now_ns() - begin_ns;
    }
    _exit(0);
  }
  const Status done = serve_http(subject.port, {});
  account["stopped_ns"] = static_cast<double>(*stopped_ns);
  return done;
}

Status accept_slowly(const FaultSubject& subject, FaultAccount& account) {
  const KernelCounters before = read_kernel_counters();
  HttpHooks hooks;
  hooks.backlog = 4;
  hooks.before_accept = [] { sleep_for(30 * kMilliNs); };
  const Status done = serve_http(subject.port, hooks);
  const auto grown = counters_between(before, read_kernel_counters());
  account["refused"] = static_cast<double>(grown.tcp_listen_overflows.value_or(0));
  return done;
}

/// Oversleeps on request: the kernel may delay its timers by 20 ms.
Status sleep_with_slack(const FaultSubject& subject, FaultAccount& account) {
  if (prctl(PR_SET_TIMERSLACK, 20 * kMilliNs) != 0) return os_error("prctl(PR_SET_TIMERSLACK)");
  HttpHooks hooks;
  hooks.on_request = [&] {
    constexpr int64_t kAskedNs = 5 * kMilliNs;
    const int64_t begin_ns = monotonic_now_ns();
    sleep_for(kAskedNs);
    account["overslept_ns"] += static_cast<double>(monotonic_now_ns() - begin_ns - kAskedNs);
    ++account["sleeps"];
  };
  return serve_http(subject.port, hooks);
}

/// Keeps 256 KiB for each request, directly from the kernel, because an allocator would keep more.
Status keep_memory(const FaultSubject& subject, FaultAccount& account) {
  constexpr size_t kKept = size_t{256} << 10;
  HttpHooks hooks;
  hooks.on_request = [&] {
    const void* kept = mmap(nullptr, kKept, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (kept != MAP_FAILED) account["kept_bytes"] += static_cast<double>(kKept);
  };
  return serve_http(subject.port, hooks);
}

/// UDP with a receive buffer for a few datagrams, which is sometimes not read for 10 ms.
Status read_from_a_small_buffer(const FaultSubject& subject, FaultAccount& account) {
  TOPSPIN_ASSIGN(const UniqueFd end, ending());
  TOPSPIN_ASSIGN(const UniqueFd fd, bound_socket(SOCK_DGRAM, subject.port));
  const int size = 2048;
  if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0)
    return os_error("setsockopt(SO_RCVBUF)");
  std::array<pollfd, 2> ready{{{fd.get(), POLLIN, 0}, {end.get(), POLLIN, 0}}};
  uint64_t answered = 0;
  while (poll(ready.data(), ready.size(), -1) >= 0 && !(ready[1].revents & POLLIN)) {
    std::array<char, 2048> bytes;
    sockaddr_in peer{};
    socklen_t peer_size = sizeof peer;
    const ssize_t length = recvfrom(fd.get(), bytes.data(), bytes.size(), 0,
                                    reinterpret_cast<sockaddr*>(&peer), &peer_size);
    if (length < 0) continue;
    (void)sendto(fd.get(), bytes.data(), static_cast<size_t>(length), 0,
                 reinterpret_cast<const sockaddr*>(&peer), peer_size);
    if (++answered % 100 == 0) sleep_for(10 * kMilliNs);
  }
  std::array<uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t memory_size = sizeof memory;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_MEMINFO, memory.data(), &memory_size) != 0)
    return os_error("getsockopt(SO_MEMINFO)");
  account["dropped"] = memory[SK_MEMINFO_DROPS];
  return {};
}

/// Sends a request downstream for each request, and waits for the answer.
Status ask_downstream(const FaultSubject& subject, FaultAccount& account) {
  const UniqueFd service(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(subject.downstream);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!service ||
      connect(service.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return os_error("cannot reach the service downstream");
  HttpHooks hooks;
  hooks.on_request = [&] {
    constexpr std::string_view kQuestion = "GET / HTTP/1.1\r\nHost: downstream\r\n\r\n";
    std::array<char, 256> answer;
    const int64_t begin_ns = monotonic_now_ns();
    if (write(service.get(), kQuestion.data(), kQuestion.size()) < 0 ||
        read(service.get(), answer.data(), answer.size()) <= 0)
      return;
    account["waited_ns"] += static_cast<double>(monotonic_now_ns() - begin_ns);
  };
  return serve_http(subject.port, hooks);
}

/// The downstream service, which takes 30 ms.
Status answer_after_30_ms(const FaultSubject& subject, FaultAccount&) {
  HttpHooks hooks;
  hooks.on_request = [] { sleep_for(30 * kMilliNs); };
  return serve_http(subject.port, hooks);
}

/// Answers the requests of one connection until it ends.
void serve_connection(const UniqueFd& connection, const std::function<void()>& on_request) {
  std::string unread;
  while (answer_requests(connection.get(), unread, on_request) > 0) {
  }
}

/// One thread per connection, and one lock that each holds for 6 ms.
Status share_a_lock(const FaultSubject& subject, FaultAccount& account) {
  TOPSPIN_ASSIGN(const UniqueFd end, ending());
  TOPSPIN_ASSIGN(const UniqueFd listener, bound_socket(SOCK_STREAM, subject.port));
  if (listen(listener.get(), 512) != 0) return os_error("cannot listen");
  static std::mutex shared;  // outlives the threads, which end with the process
  static std::atomic<int64_t> waited_ns = 0;
  const auto on_request = [] {
    const int64_t begin_ns = monotonic_now_ns();
    const std::lock_guard lock(shared);
    waited_ns += monotonic_now_ns() - begin_ns;
    sleep_for(6 * kMilliNs);
  };
  std::array<pollfd, 2> ready{{{listener.get(), POLLIN, 0}, {end.get(), POLLIN, 0}}};
  while (poll(ready.data(), ready.size(), -1) >= 0 && !(ready[1].revents & POLLIN)) {
    UniqueFd connection(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) continue;
    std::thread([on_request, connection = std::move(connection)] {
      serve_connection(connection, on_request);
    }).detach();
  }
  account["waited_ns"] = static_cast<double>(waited_ns);
  return {};
}

struct Behaviour {
  std::string_view name;
  Status (*serve)(const FaultSubject& subject, FaultAccount& account);
};
constexpr std::array kBehaviours = {
    Behaviour{"none", answer_at_once},
    Behaviour{"event_loop", block_the_loop},
    Behaviour{"cpu_hog", work_3_ms},
    Behaviour{"quota", work_8_ms},
    Behaviour{"stopped", be_stopped},
    Behaviour{"backlog", accept_slowly},
    Behaviour{"timer_slack", sleep_with_slack},
    Behaviour{"leak", keep_memory},
    Behaviour{"receive_buffer", read_from_a_small_buffer},
    Behaviour{"lock", share_a_lock},
    Behaviour{"downstream", ask_downstream},
    Behaviour{"service", answer_after_30_ms},
};

Status enter_cgroup(const std::string& folder) {
  std::ofstream file(folder + "/cgroup.procs");
  file << getpid() << std::flush;
  return file ? Status() : os_error(fmt::format("cannot enter the cgroup {}", folder));
}

}  // namespace

std::vector<std::string_view> fault_subject_names() {
  std::vector<std::string_view> names;
  for (const Behaviour& behaviour : kBehaviours) names.push_back(behaviour.name);
  return names;
}

Status serve_fault(const FaultSubject& subject) {
  const auto behaviour = std::find_if(kBehaviours.begin(), kBehaviours.end(),
                                      [&](const Behaviour& b) { return b.name == subject.fault; });
  if (behaviour == kBehaviours.end())
    return make_error(ErrorCode::kUsage, fmt::format("no such fault: {}", subject.fault));
  if (!subject.cgroup.empty()) TOPSPIN_TRY(enter_cgroup(subject.cgroup));
  FaultAccount account;
  TOPSPIN_TRY(behaviour->serve(subject, account));
  if (subject.account.empty()) return {};
  std::ofstream file(subject.account);
  for (const auto& [name, value] : account) file << fmt::format("{} {:.0f}\n", name, value);
  file.close();
  return file ? Status() : os_error(fmt::format("cannot write {}", subject.account));
}

Result<FaultAccount> read_fault_account(const std::string& path) {
  TOPSPIN_ASSIGN(const std::string text, read_file(path, 4096));
  FaultAccount account;
  std::istringstream lines(text);
  std::string name;
  for (double value = 0; lines >> name >> value;) account[name] = value;
  return account;
}

}  // namespace topspin
