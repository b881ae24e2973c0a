// The probes "sockets" (queues, from the kernel's lists), "accepts" and "replies" (times, by BPF).
#include <algorithm>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <utility>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "probes/growth.h"
#include "probes/probe.h"
#include "probes/sockets/socket_queues.h"
#include "probes/sockets/socket_times.h"

namespace topspin {
namespace {

constexpr Rung kQueuesLadder[] = {Rung::kProc};
constexpr const char* kOnlyTpBtf = "only the rung tp_btf measures it";
constexpr const char* kOnlyTracing = "only the rungs tp_btf and fentry measure it";

using LoadedTimes = Result<std::unique_ptr<SocketTimes>>;

/// The programs while they load on a thread of their own, if they do.
struct LoadingTimes {
  SocketFeatures features;
  int threads_fd = -1;
  std::future<LoadedTimes> times;
};

class SocketsProbe final : public Probe {
 public:
  SocketsProbe(ProbeContext& context, LoadingTimes loading)
      : context_(context), loading_(std::move(loading)) {
    queues_status_ = climb("sockets", kQueuesLadder, context.options, [&](Rung) -> Status {
      TOPSPIN_ASSIGN(queues_, SocketQueues::open(context.subject, context.options.proc_root,
                                                 context.options.max_sockets));
      return {};
    });
    open_times();
  }

  std::vector<ProbeStatus> status() const override {
    return {queues_status_, accepts_status_, replies_status_};
  }

  void read(ProbeInterval& interval) override {
    SocketInterval sockets;
    if (queues_) {
      SocketLedger::Reading reading = queues_->read(context_.processes);
      sockets = std::move(reading.interval);
      interval.changed_sockets = std::move(reading.changed);
      interval.losses.socket_rows_unstored += reading.rows_unstored;
    }
    if (times_) read_times(sockets, interval);
    if (queues_ || times_) interval.sockets = std::move(sockets);
  }

  std::vector<int> capabilities_needed() const override {
    return times_ ? bpf_capabilities_needed() : std::vector<int>{};
  }

  std::string follow_cgroup(uint64_t new_id) override {
    if (times_) times_->follow_cgroup(new_id);
    return {};
  }

  int notice_fd() const override { return times_ ? times_->notice_fd() : -1; }
  void handle_notices() override {
    if (times_) times_->handle_notices();
  }

 private:
  /// Opens accepts and replies together; if the kernel refuses that, each by itself.
  void open_times() {
    const bool accepts = may_use(context_.options, "accepts", Rung::kTpBtf);
    if (open_replies(accepts)) return;
    if (accepts && open_times({true, Rung::kNone})) return;
    if (accepts) open_replies(false);
  }

  bool open_replies(bool with_accepts) {
    std::string refusals;
    for (const Rung rung : kRepliesLadder) {
      if (!may_use(context_.options, "replies", rung)) continue;
      const bool opened = open_times({with_accepts, rung});
      if (!refusals.empty() && !replies_status_.reason.empty()) refusals += "; ";
      refusals += replies_status_.reason;
      replies_status_.reason = refusals;
      if (opened && rung != kRepliesLadder[0] && refusals.empty())
        replies_status_.reason = "forced";
      if (opened) return true;
    }
    return false;
  }

  bool open_times(const SocketFeatures& features) {
    auto opened = open_loaded(features);
    const auto tell = [&](ProbeStatus& status, Rung rung) {
      status.rung = opened.ok() ? rung : Rung::kNone;
      status.reason = opened.ok() ? (*opened)->unseen()
                                  : fmt::format("{}: {}", rung_name(rung), opened.error().message);
    };
    if (features.accepts) tell(accepts_status_, Rung::kTpBtf);
    if (features.replies()) tell(replies_status_, features.replies_by);
    if (opened.ok()) times_ = std::move(opened).value();
    return times_ != nullptr;
  }

  LoadedTimes open_loaded(const SocketFeatures& features) {
    const int threads_fd = context_.task_storage_fd;
    // If the scheduler's top rung did not open, nothing fills the map that they were to share.
    if (!loading_.times.valid() || loading_.threads_fd != threads_fd ||
        loading_.features != features)
      return SocketTimes::open(context_.subject, features, threads_fd);
    TOPSPIN_ASSIGN(auto times, loading_.times.get());
    TOPSPIN_TRY(times->attach(context_.subject));
    return LoadedTimes(std::move(times));
  }

  void read_times(SocketInterval& sockets, ProbeInterval& interval) {
    SocketTimesReading reading = times_->read();
    SocketInterval times = reading.totals;
    subtract_histograms(times, previous_.totals);
    complete_parts(reading.totals, times);
    if (times.replies_multiplexed)
      *times.replies_multiplexed -= previous_.totals.replies_multiplexed.value_or(0);
    sockets.merge(times);
    // A queue may have been fuller between two ticks than at either of them.
    if (reading.accept_queue_max > sockets.accept_queue_max) {
      sockets.accept_queue_max = reading.accept_queue_max;
      sockets.accept_queue_limit = reading.accept_queue_limit;
    }
    if (reading.udp_drops) add_unlisted_drops(*reading.udp_drops, sockets);
    interval.slowest_replies = std::move(reading.slowest_replies);
    interval.losses.merge(growth(reading.losses, previous_.losses));
    interval.add_bpf_ns(reading.bpf_ns - previous_.bpf_ns);
    previous_ = std::move(reading);
  }

  /// Every reply has every part: a reply that a part did not count had 0 of it. If a reading
  /// catches a reply half-written, the next reading corrects it, because the zeros are counted
  /// since opening.
  void complete_parts(const SocketInterval& since_opening, SocketInterval& times) {
    const uint64_t replies = since_opening.reply ? since_opening.reply->count() : 0;
    for (size_t i = 0; i < kReplyPartCount; ++i) {
      ReplyPartTimes& part = times.reply_parts[i];
      if (!part.time) continue;
      const uint64_t counted = since_opening.reply_parts[i].time->count() + zeros_told_[i];
      if (replies > counted) {
        part.time->record_n(0, replies - counted);
        zeros_told_[i] += replies - counted;
      }
      for (auto histogram : {&part.with, &part.without, &part.mostly})
        if (*histogram && (*histogram)->empty()) histogram->reset();
    }
  }

  /// The sockets' own counters include every kind of drop, but miss what a socket dropped between
  /// the last tick and its end. `seen` (since opening) includes that, but only drops for want of
  /// room. Neither counts a drop twice, so the greater one is right.
  void add_unlisted_drops(uint64_t seen, SocketInterval& sockets) {
    drops_listed_ += sockets.udp_drops.value_or(0);
    const uint64_t all = std::max(drops_listed_, seen);
    sockets.udp_drops = all - drops_told_;
    drops_told_ = all;
  }

  ProbeContext& context_;
  LoadingTimes loading_;
  std::unique_ptr<SocketQueues> queues_;  // nullptr: not opened
  std::unique_ptr<SocketTimes> times_;    // likewise
  ProbeStatus queues_status_;
  ProbeStatus accepts_status_{"accepts", Rung::kNone, kOnlyTpBtf};
  ProbeStatus replies_status_{"replies", Rung::kNone, kOnlyTracing};
  SocketTimesReading previous_;
  std::array<uint64_t, kReplyPartCount> zeros_told_{};  // replies with none of a part
  uint64_t drops_listed_ = 0;                           // by the sockets themselves, since opening
  uint64_t drops_told_ = 0;
};

constexpr const char* kNoSocket = "cannot try it: no socket on 127.0.0.1";

/// A socket bound to a free port of 127.0.0.1, and that port's address.
struct Bound {
  UniqueFd fd;
  sockaddr_in address{};
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&address); }
};
std::optional<Bound> bind_socket(int type) {
  Bound bound{UniqueFd(::socket(AF_INET, type | SOCK_CLOEXEC, 0)), {}};
  bound.address.sin_family = AF_INET;
  bound.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(bound.address);
  if (!bound.fd || ::bind(bound.fd.get(), bound.raw(), length) != 0 ||
      ::getsockname(bound.fd.get(), bound.raw(), &length) != 0)
    return std::nullopt;
  return bound;
}

RungReport examine_queues(const Subject& self) {
  RungReport report{"sockets", Rung::kProc, false, "", ""};
  auto opened = SocketQueues::open(self, "/proc", 1'024);
  if (!opened.ok()) return refused_rung("sockets", Rung::kProc, opened.error());
  auto listener = bind_socket(SOCK_STREAM);
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener || ::listen(listener->fd.get(), 1) != 0 ||
      ::connect(client.get(), listener->raw(), sizeof(listener->address)) != 0) {
    report.reason = kNoSocket;
    return report;
  }
  // One reading looks for owners for at most 20 ms, which may not suffice on a busy host.
  SocketLedger::Reading reading = (*opened)->read({::getpid()});
  for (int more = 10; more > 0 && reading.interval.accept_queue_max != 1u; --more) {
    ::usleep(50'000);
    reading = (*opened)->read({::getpid()});
  }
  if (reading.interval.accept_queue_max != 1u)
    report.reason = "it opens, but does not see a connection that waits for topspin itself";
  else if (!reading.interval.listen_overflows)
    report.reason = "no overflows: cannot read /proc/thread-self/net/netstat";
  report.works = report.reason.empty();
  return report;
}

RungReport examine_accepts(const Subject& self) {
  RungReport report{"accepts", Rung::kTpBtf, false, "", ""};
  auto opened = SocketTimes::open(self, {true, Rung::kNone}, -1);
  if (!opened.ok()) return refused_rung("accepts", Rung::kTpBtf, opened.error());
  auto listener = bind_socket(SOCK_STREAM);
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener || ::listen(listener->fd.get(), 1) != 0 ||
      ::connect(client.get(), listener->raw(), sizeof(listener->address)) != 0) {
    report.reason = kNoSocket;
    return report;
  }
  (*opened)->handle_notices();  // it listens: accepts are seen from here on
  const UniqueFd accepted(::accept4(listener->fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const SocketTimesReading reading = (*opened)->read();
  report.works = reading.totals.accept_delay && reading.totals.accept_delay->count() == 1;
  if (!report.works) report.reason = "it opens, but misses an accept of topspin's own";
  return report;
}

RungReport examine_replies(Rung rung, const Subject& self) {
  RungReport report{"replies", rung, false, "", ""};
  auto opened = SocketTimes::open(self, {false, rung}, -1);
  if (!opened.ok()) return refused_rung("replies", rung, opened.error());
  auto server = bind_socket(SOCK_DGRAM);
  auto client = bind_socket(SOCK_DGRAM);
  char byte = 0;
  if (server) ::recv(server->fd.get(), &byte, 1, MSG_DONTWAIT);  // it is watched from here on
  socklen_t length = sizeof(sockaddr_in);
  if (!server || !client ||
      ::sendto(client->fd.get(), "x", 1, 0, server->raw(), sizeof(server->address)) != 1 ||
      ::recvfrom(server->fd.get(), &byte, 1, 0, client->raw(), &length) != 1 ||
      ::sendto(server->fd.get(), "y", 1, 0, client->raw(), length) != 1) {
    report.reason = kNoSocket;
    return report;
  }
  const SocketTimesReading reading = (*opened)->read();
  report.works = reading.totals.reply_runtime && reading.totals.reply_runtime->count() == 1;
  if (!report.works) report.reason = "it opens, but misses a reply of topspin's own";
  return report;
}

/// The features that are tried first.
SocketFeatures first_features(const ProbeOptions& options) {
  SocketFeatures features{may_use(options, "accepts", Rung::kTpBtf), Rung::kNone};
  for (const Rung rung : kRepliesLadder) {
    if (!may_use(options, "replies", rung)) continue;
    features.replies_by = rung;
    break;
  }
  return features;
}

std::function<std::unique_ptr<Probe>()> begin_sockets(ProbeContext& context) {
  const auto loading = std::make_shared<LoadingTimes>();
  loading->features = first_features(context.options);
  loading->threads_fd = context.task_storage_fd;
  if (loading->features.accepts || loading->features.replies()) {
    loading->times = std::async(std::launch::async,
                                [&context, features = loading->features, fd = loading->threads_fd] {
                                  return SocketTimes::load(context.subject, features, fd);
                                });
  }
  return
      [&context, loading] { return std::make_unique<SocketsProbe>(context, std::move(*loading)); };
}

}  // namespace

ProbeKind sockets_probe() {
  ProbeKind kind;
  kind.names = {"sockets", "accepts", "replies"};
  kind.begin = begin_sockets;
  kind.examine = [](ProbeContext& self, std::vector<RungReport>& reports) {
    reports.push_back(examine_queues(self.subject));
    reports.push_back(examine_accepts(self.subject));
    for (const Rung rung : kRepliesLadder) reports.push_back(examine_replies(rung, self.subject));
  };
  return kind;
}

}  // namespace topspin
