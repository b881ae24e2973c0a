// udp-flood: small datagrams at a given rate, or as fast as possible, over a few connected flows.
// It does not wait for answers.
//
// Datagram k is due at k / rate. Datagrams that are due together are sent in one sendmmsg on one
// flow; the next ones go on the next flow. With GSO (one flow) the kernel gets buffers of many
// datagrams each and splits them.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "core/tick/host_usage.h"
#include "load/engine/kernel_counters.h"
#include "load/engine/preflight.h"
#include "load/engine/schedule.h"
#include "load/engine/validity.h"
#include "load/wire/wire.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

/// One per nanosecond, the unit of time.
constexpr double kMaxPacketsPerS = 1e9;
constexpr size_t kFloodBatch = 64;
constexpr size_t kGsoSegmentsMax = 64;  // UDP_MAX_SEGMENTS of kernels before 6.9
constexpr size_t kGsoBytesMax = 65'000;
constexpr int64_t kCoalesceNs = 50'000;  // wake at most this often; sends are this late at most
constexpr int64_t kGiveUpNs = kNanosPerSecond;  // datagrams due for longer than this are never sent
constexpr int64_t kLookForStopNs = 100 * kNanosPerMilli;

/// Installs a filter that drops all answers. Nothing reads them, so they would fill our receive
/// buffers, and their overflow would be in the same kernel counters as the server's.
void refuse_answers(int fd) {
  sock_filter nothing{BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog filter{1, &nothing};
  (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

class UdpFlood {
 public:
  UdpFlood(const LoadOptions& options, const Target& target) : options_(options), target_(target) {}

  Status open() {
    if (options_.message_bytes < 1 || options_.message_bytes > kMessageBytesMax) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("a datagram has 1 to {} bytes", kMessageBytesMax));
    }
    if (options_.flows < 1 || options_.flows > kMaxClients) {
      return make_error(ErrorCode::kUsage, fmt::format("give 1 to {} flows", kMaxClients));
    }
    if (options_.duration_ns <= 0 || options_.duration_ns > kMaxLoadNs) {
      return make_error(ErrorCode::kUsage, "the duration must be from 1ns to 30 days");
    }
    if (options_.gso && options_.flows != 1) {
      return make_error(ErrorCode::kUsage, "--gso floods one flow; leave --flows at 1");
    }
    const HostLimits limits = read_host_limits();
    LoadNeeds needs;
    needs.descriptors = options_.flows + kSpareDescriptors;
    needs.ports = options_.flows;
    TOPSPIN_TRY(check_needs(needs, limits, false));
    for (uint32_t i = 0; i < options_.flows; ++i) {
      UniqueFd fd(socket(target_.family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      if (!fd || connect(fd.get(), target_.address.get(), target_.address.length) != 0) {
        const int number = errno;
        return make_error(
            ErrorCode::kInternal,
            fmt::format("cannot open a socket to {}: {}", target_.text, std::strerror(number)),
            number);
      }
      refuse_answers(fd.get());
      sockets_.push_back(std::move(fd));
    }
    timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    if (!timer_) return make_error(ErrorCode::kInternal, "timerfd_create failed", errno);
    if (options_.gso) {
      const int segment = static_cast<int>(options_.message_bytes);
      if (setsockopt(sockets_[0].get(), IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment) != 0) {
        return make_error(ErrorCode::kUnsupported,
                          "this kernel has no UDP_SEGMENT (Linux 4.18); leave --gso out", errno);
      }
      segments_ = std::clamp<size_t>(kGsoBytesMax / options_.message_bytes, 1, kGsoSegmentsMax);
    }
    bytes_.assign(options_.message_bytes * segments_, 0x50);
    return {};
  }

  LoadResult run(const std::atomic<bool>& stop, const LoadProgressSink& progress) {
    const KernelCounters counters_before = read_kernel_counters();
    const auto host_before = read_host_cpu_time();
    const int64_t cpu_before = thread_cpu_now_ns();
    const ClockAnchor anchor = take_clock_anchor();
    start_ns_ = anchor.monotonic_ns;
    part_.name = "flood";
    part_.clients_from = part_.clients_to = options_.flows;
    int64_t next_progress_ns = options_.progress_ns;
    int64_t now = now_ns();
    bool stopped = false;
    while (now < options_.duration_ns) {
      if (stop.load(std::memory_order_relaxed)) {
        stopped = true;
        break;
      }
      if (options_.packets_per_s > 0) {
        send_due(now, &stop);
        wait_for_next(std::min(next_progress_ns, now + kLookForStopNs));
      } else {
        send_batch(sockets_turn_, kFloodBatch * segments_, now);
      }
      now = now_ns();
      if (now >= next_progress_ns) {
        report_progress(progress, now);
        next_progress_ns = std::max(now, next_progress_ns + options_.progress_ns);
      }
    }
    const int64_t end_ns = std::min(now, options_.duration_ns);
    // Sends what is due before the end. Datagrams that are due for too long are given up, so this
    // ends after about a second.
    if (options_.packets_per_s > 0) send_due(end_ns - 1, nullptr);
    part_.end_ns = end_ns;

    LoadResult result;
    result.workload = WorkloadKind::kUdpFlood;
    result.target = target_.described();
    result.expects_replies = false;
    result.started_wall_ns = anchor.wall_ns;
    result.started_monotonic_ns = anchor.monotonic_ns;
    result.stopped_early = stopped;
    result.clients_max = options_.flows;
    result.clients_joined = options_.flows;
    result.has_plan = options_.packets_per_s > 0;
    result.planned = due_until(end_ns - 1);
    result.total = part_;
    result.total.name = "total";
    result.stages.push_back(std::move(part_));
    result.gso = options_.gso;
    result.port_unreachable = port_unreachable_;
    result.own.wall_ns = now_ns();
    result.own.cpu_ns = thread_cpu_now_ns() - cpu_before;
    if (const auto host = read_host_cpu_time(); host && host_before) {
      result.own.host_busy_ns = host->busy_ns - host_before->busy_ns;
      result.own.host_steal_ns = host->steal_ns - host_before->steal_ns;
    }
    result.own.cpus = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
    result.own.rss_bytes = own_rss_bytes();
    result.own.descriptors_max = result.own.sockets_opened = sockets_.size();
    for (const auto& [number, count] : errors_) {
      const char* name = strerrorname_np(number);
      result.errors[name != nullptr ? name : fmt::format("errno {}", number)] += count;
    }
    if (target_.is_loopback) {
      result.kernel = counters_between(counters_before, read_kernel_counters());
    }
    result.invalid_reasons = judge_load(result);
    return result;
  }

 private:
  int64_t now_ns() const { return monotonic_now_ns() - start_ns_; }

  /// Datagram k is due at k / rate.
  int64_t due_ns(uint64_t k) const {
    return static_cast<int64_t>(std::llround(static_cast<long double>(k) * 1e9L /
                                             static_cast<long double>(options_.packets_per_s)));
  }

  /// How many are due at or before `at_ns`.
  uint64_t due_until(int64_t at_ns) const {
    if (options_.packets_per_s <= 0 || at_ns < 0) return 0;
    auto k = static_cast<uint64_t>(static_cast<long double>(at_ns) *
                                   static_cast<long double>(options_.packets_per_s) / 1e9L);
    // The rounding of due_ns() is half a nanosecond, so the division is off by at most
    // kMaxPacketsPerS / 1e9 datagrams.
    while (due_ns(k) <= at_ns) ++k;
    while (k > 0 && due_ns(k - 1) > at_ns) --k;
    return k;
  }

  /// Returns early once `stop`, if there is one, is set.
  void send_due(int64_t until_ns, const std::atomic<bool>* stop) {
    const uint64_t due = due_until(until_ns);
    while (next_ < due) {
      if (stop != nullptr && stop->load(std::memory_order_relaxed)) return;
      const int64_t now = now_ns();
      if (now - due_ns(next_) > kGiveUpNs) {
        const uint64_t given_up = std::max(due_until(now - kGiveUpNs), next_ + 1) - next_;
        const uint64_t skipped = std::min(given_up, due - next_);
        part_.accounts.scheduled += skipped;
        part_.accounts.never_scheduled += skipped;
        next_ += skipped;
        continue;
      }
      const uint64_t count = std::min<uint64_t>(due - next_, kFloodBatch * segments_);
      send_batch(sockets_turn_, count, now);
    }
  }

  /// Sends `count` datagrams over one flow (so that one call suffices), and moves on to the next
  /// flow. Each datagram is counted in the accounts.
  void send_batch(size_t& turn, uint64_t count, int64_t now) {
    std::array<mmsghdr, kFloodBatch> headers{};
    std::array<iovec, kFloodBatch> vectors{};
    const int fd = sockets_[turn].get();
    turn = (turn + 1) % sockets_.size();
    while (count > 0) {
      size_t messages = 0;
      uint64_t gathered = 0;
      while (messages < kFloodBatch && gathered < count) {
        const uint64_t segments = std::min<uint64_t>(segments_, count - gathered);
        vectors[messages] = {bytes_.data(), static_cast<size_t>(segments) * options_.message_bytes};
        headers[messages].msg_hdr.msg_iov = &vectors[messages];
        headers[messages].msg_hdr.msg_iovlen = 1;
        gathered += segments;
        ++messages;
      }
      const int sent = sendmmsg(fd, headers.data(), static_cast<unsigned>(messages), MSG_NOSIGNAL);
      if (sent < 0 && errno == ECONNREFUSED) {
        ++port_unreachable_;  // for an earlier datagram; nothing was sent
        continue;
      }
      if (sent < 0 && errno == EINTR) continue;
      uint64_t done = 0;
      for (int i = 0; i < sent; ++i) {
        done += vectors[static_cast<size_t>(i)].iov_len / options_.message_bytes;
      }
      account_sent(done, now);
      if (sent <= 0) {
        done = vectors[0].iov_len / options_.message_bytes;
        errors_[errno] += done;
        part_.accounts.scheduled += done;
        part_.accounts.send_errors += done;
        next_ += done;
      }
      count -= done;
    }
  }

  void account_sent(uint64_t count, int64_t now) {
    part_.accounts.scheduled += count;
    part_.accounts.sent += count;
    if (options_.packets_per_s > 0) {
      for (uint64_t i = 0; i < count; ++i) {
        const int64_t lateness = std::max<int64_t>(0, now - due_ns(next_ + i));
        part_.own_lateness.record(static_cast<uint64_t>(lateness));
        recent_lateness_.record(static_cast<uint64_t>(lateness));
        if (lateness > options_.late_after_ns) ++part_.accounts.sent_late;
      }
    }
    next_ += count;
  }

  void wait_for_next(int64_t at_most_ns) {
    const int64_t wake = std::min(
        {at_most_ns, std::max(due_ns(next_), now_ns() + kCoalesceNs), options_.duration_ns});
    const int64_t at = start_ns_ + wake;
    itimerspec when{};
    when.it_value.tv_sec = at / kNanosPerSecond;
    when.it_value.tv_nsec = at % kNanosPerSecond;
    CHECK(timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0);
    uint64_t times = 0;
    (void)!read(timer_.get(), &times, sizeof times);  // a signal may end it early, which is fine
  }

  void report_progress(const LoadProgressSink& progress, int64_t now) {
    LoadProgress line;
    line.elapsed_ns = now;
    line.stage = part_.name;
    line.clients = options_.flows;
    line.accounts = part_.accounts;
    line.own_lateness = std::exchange(recent_lateness_, {});
    if (progress) progress(line);
  }

  const LoadOptions& options_;
  const Target& target_;
  std::vector<UniqueFd> sockets_;
  size_t sockets_turn_ = 0;
  UniqueFd timer_;
  std::vector<uint8_t> bytes_;
  size_t segments_ = 1;  // datagrams in one buffer
  int64_t start_ns_ = 0;
  uint64_t next_ = 0;  // the datagram that is due next
  LoadPart part_;
  Histogram recent_lateness_;
  uint64_t port_unreachable_ = 0;
  std::map<int, uint64_t> errors_;
};

}  // namespace

WorkloadType udp_flood_workload() {
  WorkloadType type;
  type.kind = WorkloadKind::kUdpFlood;
  type.help = "Small datagrams at a rate, or as fast as possible";
  type.examples = "  topspin load udp-flood --target 127.0.0.1:9999 --rate 200000/s --duration 5s";
  type.datagrams = true;
  type.only_stage = "flood";
  type.options = {
      of_schedule(rate_option(
          "rate", "Datagrams over all flows, such as 100000/s (default: as fast as possible)",
          &LoadOptions::packets_per_s)),
      of_schedule(duration_option("duration", "How long", &LoadOptions::duration_ns, "10s")),
      number_option("flows", "Connected sockets to send from", 1, 65'535, &LoadOptions::flows, "1"),
      number_option("size", "Bytes of a datagram", 1, kMessageBytesMax, &LoadOptions::message_bytes,
                    "16"),
      flag_option("gso", "For one flow: the kernel cuts large buffers into datagrams",
                  &LoadOptions::gso),
  };
  type.check = [](const LoadOptions& options) -> Status {
    if (options.packets_per_s <= kMaxPacketsPerS) return {};
    return make_error(ErrorCode::kUsage,
                      fmt::format("the rate must be at most {:.0f} datagrams per second; leave "
                                  "--rate out to send as fast as possible",
                                  kMaxPacketsPerS));
  };
  type.run = [](const LoadOptions& options, const Target& target, const std::atomic<bool>& stop,
                const LoadProgressSink& progress) -> Result<LoadResult> {
    UdpFlood flood(options, target);
    TOPSPIN_TRY(flood.open());
    return flood.run(stop, progress);
  };
  return type;
}

}  // namespace topspin
