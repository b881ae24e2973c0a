// udp-pingpong: N clients, each with its own flow and one ping per period.
//
// With own sockets, each client has a connected socket. With shared sockets, there are
// kSharedSockets unbound ones, and a client is one of them together with a source address in
// 127.0.0.0/8, set for each datagram (IP_PKTINFO). Then sends and receives are batched. A client
// that leaves stops sending at once, and closes when its last ping is answered or has timed out.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <vector>

#include <fmt/format.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "load/engine/engine.h"
#include "load/wire/wire.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

constexpr uint32_t kSharedSockets = 16;
constexpr size_t kBatch = 64;
constexpr uint32_t kNoStay = std::numeric_limits<uint32_t>::max();
constexpr int kSharedReceiveBytes = 16 << 20;  // requested; the kernel may give less
constexpr int64_t kBytesPerOwnSocket = 3'000;  // socket, dentry, inode, epoll item (measured)
constexpr int64_t kBytesPerStay = 212;

/// Datagrams that the kernel dropped at this socket's full receive buffer.
uint64_t receive_drops(int fd) {
  std::array<uint32_t, SK_MEMINFO_VARS> info{};
  socklen_t length = sizeof info;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info.data(), &length) != 0) return 0;
  return info[SK_MEMINFO_DROPS];
}

class UdpPingpong : public Workload {
 public:
  Status prepare(Engine& engine) override {
    engine_ = &engine;
    const LoadOptions& options = engine.options();
    const Schedule& schedule = engine.schedule();
    const Target& target = engine.target();
    ping_.resize(ping_bytes(options.wire, options.message_bytes));
    // One byte more than a valid answer, so that a longer one is recognised as invalid.
    answer_.resize(ping_.size() + 1);

    LoadNeeds needs;
    const uint32_t clients_most = engine.clients_most();
    needs.descriptors = clients_most + kSpareDescriptors;
    needs.ports = clients_most;
    needs.memory_bytes =
        kBytesPerStay * static_cast<int64_t>(std::max<size_t>(schedule.stays.size(), clients_most));
    ports_per_address_ = std::max(1u, usable_ports(engine.limits()));
    if (target.can_spread) {
      needs.source_addresses = schedule.clients_max / ports_per_address_ + 1;
      spread_ = needs.source_addresses > 1;
    }
    shared_ = options.sockets == SocketMode::kShared;
    if (options.sockets == SocketMode::kAuto && target.can_spread) {
      shared_ =
          needs.descriptors + engine.limits().descriptors_in_use > engine.limits().descriptors;
    }
    if (shared_ && !target.can_spread) {
      return make_error(ErrorCode::kUsage,
                        "--sockets shared needs a target in 127.0.0.0/8, where every source "
                        "address can be used; use --sockets own for others");
    }
    if (shared_) {
      needs.descriptors = kSharedSockets + kSpareDescriptors;
      needs.ports = kSharedSockets;
    } else {
      needs.memory_bytes += kBytesPerOwnSocket * static_cast<int64_t>(clients_most);
    }
    TOPSPIN_TRY(check_needs(needs, engine.limits(), target.can_spread));
    clients_.resize(schedule.stays.size());
    if (shared_) return open_shared();
    return {};
  }

  void join(uint32_t stay) override {
    Client& client = clients_[stay];
    client.state = State::kJoined;
    if (shared_) {
      Slot& slot = slots_[engine_->stay(stay).slot];
      slot.previous = slot.current;
      slot.current = stay;
      return;
    }
    if (const int number = open_own(stay); number != 0) client.open_errno = number;
  }

  void due(uint32_t stay, int64_t intended_ns) override {
    Client& client = clients_[stay];
    ++client.attempts;
    if (shared_) {
      pending_.push_back({stay, intended_ns});
      if (pending_.size() == kBatch) flush();
      return;
    }
    if (!client.fd) {
      engine_->count_error(client.open_errno);
      engine_->ledger().send_failed(intended_ns);
      send_again(stay, intended_ns);
      return;
    }
    int64_t actual_ns = engine_->now_ns();
    ssize_t sent = send_ping(client.fd.get(), actual_ns);
    // Linux reports the ICMP error for an earlier ping here and does not send, so try again.
    while (sent < 0 && errno == ECONNREFUSED) {
      ++port_unreachable_;
      actual_ns = engine_->now_ns();
      sent = send_ping(client.fd.get(), actual_ns);
    }
    if (sent < 0) {
      engine_->count_error(errno);
      engine_->ledger().send_failed(intended_ns);
      send_again(stay, intended_ns);
      return;
    }
    engine_->ledger().sent(stay, intended_ns, actual_ns);
  }

  void flush() override {
    // Send the round socket by socket. The order within a round has no meaning.
    size_t begin = 0;
    std::stable_sort(pending_.begin(), pending_.end(), [&](const Pending& a, const Pending& b) {
      return socket_of(a.stay) < socket_of(b.stay);
    });
    while (begin < pending_.size()) {
      const uint32_t socket = socket_of(pending_[begin].stay);
      size_t end = begin;
      while (end < pending_.size() && socket_of(pending_[end].stay) == socket) ++end;
      send_batch(socket, begin, end);
      begin = end;
    }
    pending_.clear();
  }

  void leave(uint32_t stay) override {
    flush();  // a ping of this client may still be pending
    clients_[stay].state = State::kLeaving;
    close_if_quiet(stay);
  }

  void ready(uint64_t token, uint32_t) override {
    if (shared_) {
      receive_shared(static_cast<uint32_t>(token));
      return;
    }
    const auto stay = static_cast<uint32_t>(token);
    if (clients_[stay].fd) receive_own(stay);  // else it was closed in this round
    close_if_quiet(stay);
  }

  void overdue(uint32_t stay, uint64_t) override { close_if_quiet(stay); }

  void report(LoadResult& result) override {
    result.own.receive_drops = receive_drops_;
    for (const UniqueFd& fd : sockets_) result.own.receive_drops += receive_drops(fd.get());
    result.own.shared_sockets = shared_;
    result.port_unreachable = port_unreachable_;
    result.bytes_received = bytes_received_;
  }

  void stays_added() override { clients_.resize(engine_->schedule().stays.size()); }

 private:
  enum class State : uint8_t { kNotYet, kJoined, kLeaving, kClosed };
  struct Client {
    UniqueFd fd;  // own sockets only
    int open_errno = 0;
    State state = State::kNotYet;
    uint32_t attempts = 0;  // moments that were due so far
  };
  struct Slot {  // shared sockets only: the clients of a source address and port
    uint32_t current = kNoStay;
    uint32_t previous = kNoStay;  // may still wait for its last reply
  };
  struct Pending {
    uint32_t stay;
    int64_t intended_ns;
  };

  ssize_t send_ping(int fd, int64_t actual_ns) {
    write_ping(engine_->options().wire,
               {engine_->ledger().next_number(), engine_->to_monotonic(actual_ns)}, ping_);
    return send(fd, ping_.data(), ping_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  /// A closed loop's client that could not send tries again a period later.
  void send_again(uint32_t stay, int64_t intended_ns) {
    if (engine_->options().closed_loop) {
      engine_->add_due(stay, intended_ns + engine_->options().period_ns);
    }
  }

  int open_own(uint32_t stay) {
    const Target& target = engine_->target();
    UniqueFd fd(socket(target.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return errno;
    if (spread_) {
      sockaddr_in source{};
      source.sin_family = AF_INET;
      source.sin_addr.s_addr = htonl(spread_address(engine_->stay(stay).slot / ports_per_address_));
      if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0) {
        return errno;
      }
    }
    if (connect(fd.get(), target.address.get(), target.address.length) != 0) return errno;
    if (const int number = engine_->watch(fd.get(), EPOLLIN, stay); number != 0) return number;
    engine_->count_descriptors(1);
    clients_[stay].fd = std::move(fd);
    return 0;
  }

  Status open_shared() {
    slots_.resize(engine_->schedule().clients_max);
    for (uint32_t i = 0; i < kSharedSockets; ++i) {
      UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      const int one = 1;
      sockaddr_in any{};
      any.sin_family = AF_INET;
      if (!fd || bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 ||
          setsockopt(fd.get(), IPPROTO_IP, IP_PKTINFO, &one, sizeof one) != 0 ||
          (errno = engine_->watch(fd.get(), EPOLLIN, i)) != 0) {
        const int number = errno;
        return make_error(ErrorCode::kInternal,
                          fmt::format("cannot open a shared socket: {}", std::strerror(number)),
                          number);
      }
      if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kSharedReceiveBytes,
                     sizeof kSharedReceiveBytes) != 0) {
        (void)setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kSharedReceiveBytes,
                         sizeof kSharedReceiveBytes);
      }
      engine_->count_descriptors(1);
      sockets_.push_back(std::move(fd));
    }
    const size_t bytes = std::max(ping_.size(), answer_.size());
    batch_.bytes.resize(kBatch * bytes);
    batch_.stride = bytes;
    return {};
  }

  uint32_t socket_of(uint32_t stay) const { return engine_->stay(stay).slot % kSharedSockets; }

  struct alignas(cmsghdr) PacketInfo {  // room for one control message that holds an in_pktinfo
    std::array<uint8_t, CMSG_SPACE(sizeof(in_pktinfo))> bytes;
  };
  struct Batch {
    std::vector<uint8_t> bytes;
    size_t stride = 0;
    std::array<mmsghdr, kBatch> headers;
    std::array<iovec, kBatch> vectors;
    std::array<PacketInfo, kBatch> infos;
    std::array<sockaddr_storage, kBatch> names;
  };

  void send_batch(uint32_t socket, size_t begin, size_t end) {
    const Target& target = engine_->target();
    const uint64_t first_number = engine_->ledger().next_number();
    const int64_t actual_ns = engine_->now_ns();
    const size_t count = end - begin;
    for (size_t i = 0; i < count; ++i) {
      uint8_t* bytes = batch_.bytes.data() + i * batch_.stride;
      write_ping(engine_->options().wire, {first_number + i, engine_->to_monotonic(actual_ns)},
                 {bytes, ping_.size()});
      batch_.vectors[i] = {bytes, ping_.size()};
      msghdr& header = batch_.headers[i].msg_hdr;
      header = {};
      header.msg_name = const_cast<sockaddr*>(target.address.get());
      header.msg_namelen = target.address.length;
      header.msg_iov = &batch_.vectors[i];
      header.msg_iovlen = 1;
      header.msg_control = batch_.infos[i].bytes.data();
      header.msg_controllen = batch_.infos[i].bytes.size();
      cmsghdr* control = CMSG_FIRSTHDR(&header);
      control->cmsg_level = IPPROTO_IP;
      control->cmsg_type = IP_PKTINFO;
      control->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
      in_pktinfo info{};
      const uint32_t slot = engine_->stay(pending_[begin + i].stay).slot;
      info.ipi_spec_dst.s_addr = htonl(spread_address(slot / kSharedSockets));
      std::memcpy(CMSG_DATA(control), &info, sizeof info);
    }
    const int sent = sendmmsg(sockets_[socket].get(), batch_.headers.data(),
                              static_cast<unsigned>(count), MSG_DONTWAIT | MSG_NOSIGNAL);
    const size_t good = sent > 0 ? static_cast<size_t>(sent) : 0;
    for (size_t i = 0; i < good; ++i) {
      const Pending& ping = pending_[begin + i];
      engine_->ledger().sent(ping.stay, ping.intended_ns, actual_ns);
    }
    if (good == count) return;
    // The call stops before the first datagram that fails. Its error is returned only if the next
    // call starts with it.
    if (good == 0) {
      engine_->count_error(errno);
      engine_->ledger().send_failed(pending_[begin].intended_ns);
      send_again(pending_[begin].stay, pending_[begin].intended_ns);
    }
    const size_t next = begin + std::max<size_t>(good, 1);
    if (next < end) send_batch(socket, next, end);
  }

  void answered(uint32_t stay, std::span<const uint8_t> bytes, int64_t now_ns) {
    Ledger& ledger = engine_->ledger();
    const LoadOptions& options = engine_->options();
    bytes_received_ += bytes.size();
    if (!is_answer(options.wire, bytes, options.message_bytes)) {
      ledger.unexpected(now_ns);
      return;
    }
    Match match = Match::kUnexpected;
    if (options.wire == WireProfile::kNumbered) {
      const PingNumber number = read_number(bytes);
      match = ledger.reply(stay, number.number, number.sent_monotonic_ns - engine_->to_monotonic(0),
                           now_ns);
    } else {
      match = ledger.reply_unnumbered(stay, now_ns);
    }
    if (options.closed_loop && (match == Match::kReply || match == Match::kLateReply) &&
        clients_[stay].state == State::kJoined) {
      engine_->add_due(stay, now_ns + options.period_ns);
    }
  }

  /// Reads one datagram. False if there is none.
  bool receive_own(uint32_t stay) {
    const ssize_t got = recv(clients_[stay].fd.get(), answer_.data(), answer_.size(), MSG_DONTWAIT);
    if (got < 0) {
      if (errno == ECONNREFUSED) ++port_unreachable_;
      return errno == ECONNREFUSED;
    }
    answered(stay, {answer_.data(), static_cast<size_t>(got)}, engine_->now_ns());
    return true;
  }

  void receive_shared(uint32_t socket) {
    while (true) {
      for (size_t i = 0; i < kBatch; ++i) {
        batch_.vectors[i] = {batch_.bytes.data() + i * batch_.stride, answer_.size()};
        msghdr& header = batch_.headers[i].msg_hdr;
        header = {};
        header.msg_name = &batch_.names[i];
        header.msg_namelen = sizeof batch_.names[i];
        header.msg_iov = &batch_.vectors[i];
        header.msg_iovlen = 1;
        header.msg_control = batch_.infos[i].bytes.data();
        header.msg_controllen = batch_.infos[i].bytes.size();
      }
      const int got =
          recvmmsg(sockets_[socket].get(), batch_.headers.data(), kBatch, MSG_DONTWAIT, nullptr);
      if (got <= 0) return;
      const int64_t now_ns = engine_->now_ns();
      for (size_t i = 0; i < static_cast<size_t>(got); ++i) receive_one(socket, i, now_ns);
      if (static_cast<size_t>(got) < kBatch) return;
    }
  }

  void receive_one(uint32_t socket, size_t index, int64_t now_ns) {
    msghdr& header = batch_.headers[index].msg_hdr;
    std::span<const uint8_t> bytes(batch_.bytes.data() + index * batch_.stride,
                                   batch_.headers[index].msg_len);
    uint32_t slot_index = kNoStay;
    for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
         control = CMSG_NXTHDR(&header, control)) {
      if (control->cmsg_level != IPPROTO_IP || control->cmsg_type != IP_PKTINFO) continue;
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(control), sizeof info);
      const uint32_t address = ntohl(info.ipi_addr.s_addr);
      const uint64_t candidate = uint64_t{address - kSpreadBase} * kSharedSockets + socket;
      if (address >= kSpreadBase && candidate < slots_.size()) {
        slot_index = static_cast<uint32_t>(candidate);
      }
    }
    if (slot_index == kNoStay || !engine_->target().address.same_end(batch_.names[index])) {
      engine_->ledger().unexpected(now_ns);
      return;
    }
    const Slot& slot = slots_[slot_index];
    // A new client of a slot has the same flow as the previous one, whose last reply may still be
    // in flight.
    uint32_t stay = slot.current;
    if (slot.previous != kNoStay && engine_->ledger().waiting(slot.previous)) {
      bool is_previous = true;
      if (engine_->options().wire == WireProfile::kNumbered &&
          is_answer(WireProfile::kNumbered, bytes, engine_->options().message_bytes)) {
        is_previous = engine_->ledger().is_of(slot.previous, read_number(bytes).number);
      }
      if (is_previous) stay = slot.previous;
    }
    // The client has gone. Its own socket would be closed now, but a shared one still receives.
    if (stay == kNoStay || clients_[stay].state == State::kClosed) {
      engine_->ledger().unexpected(now_ns);
      return;
    }
    answered(stay, bytes, now_ns);
    close_if_quiet(stay);
  }

  void close_if_quiet(uint32_t stay) {
    Client& client = clients_[stay];
    if (client.state != State::kLeaving || engine_->ledger().waiting(stay)) return;
    if (client.fd) {
      while (receive_own(stay)) {  // these came in time, while we were busy
      }
      receive_drops_ += receive_drops(client.fd.get());
      client.fd.reset();
      engine_->count_descriptors(-1);
    }
    finish_plan(stay);
    client.state = State::kClosed;
    engine_->ledger().close(stay);
    engine_->stay_closed();
  }

  /// Closed loop: counts the moments that the client missed because it was waiting.
  void finish_plan(uint32_t stay) {
    const LoadOptions& options = engine_->options();
    if (!options.closed_loop) return;
    const ClientStay& plan = engine_->stay(stay);
    const int64_t leave_ns = engine_->leave_ns(stay);
    const uint64_t planned = count_due(client_phase_ns(plan.slot, engine_->rhythm()),
                                       options.period_ns, plan.join_ns, leave_ns);
    CHECK(planned >= clients_[stay].attempts);
    engine_->ledger().never_sent(leave_ns - 1, true, planned - clients_[stay].attempts);
  }

  Engine* engine_ = nullptr;
  bool shared_ = false;
  bool spread_ = false;
  uint32_t ports_per_address_ = 1;
  std::vector<Client> clients_;  // by stay
  std::vector<uint8_t> ping_;
  std::vector<uint8_t> answer_;
  uint64_t port_unreachable_ = 0;
  uint64_t receive_drops_ = 0;
  uint64_t bytes_received_ = 0;

  // Shared sockets only.
  std::vector<UniqueFd> sockets_;
  std::vector<Slot> slots_;
  std::vector<Pending> pending_;
  Batch batch_;
};

}  // namespace

WorkloadType udp_pingpong_workload() {
  WorkloadType type;
  type.kind = WorkloadKind::kUdpPingpong;
  type.help = "Each client is a flow of its own and sends one ping per period";
  type.examples =
      "  topspin load udp-pingpong --target 127.0.0.1:8888 \\\n"
      "    --stages \"0:15000 over 60s, hold 30s, 15000:0 over 60s\"\n"
      "  topspin load udp-pingpong --target 127.0.0.1:8888 --clients 100 \\\n"
      "    --arrive 10/s --hold 30s --leave 10/s --format json";
  type.datagrams = true;
  LoadOption size = number_option("size", "Bytes of a numbered ping, 16 or more", 1,
                                  kMessageBytesMax, &LoadOptions::message_bytes, "16");
  size.set = [set = size.set](LoadDraft& draft, const std::string& text) -> Status {
    if (draft.options.wire != WireProfile::kNumbered) {
      return make_error(ErrorCode::kUsage,
                        "is only for the wire numbered; the others have a fixed size");
    }
    return set(draft, text);
  };
  type.options = options_of(
      options_of(schedule_options(), find_options()),
      {period_option(), grid_option(), threads_option(),
       of_schedule(flag_option(
           "closed",
           "Closed loop: send, wait for the reply without a limit, sleep for a period, repeat",
           &LoadOptions::closed_loop)),
       choice_option<WireProfile>("wire",
                                  "ping4: \"PING\"; fixed32: 32 bytes; numbered: a number and a "
                                  "timestamp, which the server must echo",
                                  &LoadOptions::wire,
                                  {{"ping4", WireProfile::kPing4},
                                   {"fixed32", WireProfile::kFixed32},
                                   {"numbered", WireProfile::kNumbered}}),
       std::move(size),
       choice_option<SocketMode>(
           "sockets", "own: one per client; shared: a few, with source addresses in 127.0.0.0/8",
           &LoadOptions::sockets,
           {{"auto", SocketMode::kAuto},
            {"own", SocketMode::kOwn},
            {"shared", SocketMode::kShared}})});
  type.check = [](const LoadOptions& options) -> Status {
    if (options.wire == WireProfile::kNumbered &&
        (options.message_bytes < kNumberedBytesMin || options.message_bytes > kMessageBytesMax)) {
      return make_error(ErrorCode::kUsage, fmt::format("a numbered ping has {} to {} bytes",
                                                       kNumberedBytesMin, kMessageBytesMax));
    }
    return {};
  };
  type.can_be_shared = true;
  type.per_thread_s = 60'000;
  type.keeps_flows = [](const LoadOptions&) { return true; };
  type.run = [](const LoadOptions& options, const Target& target, const std::atomic<bool>& stop,
                const LoadProgressSink& progress) {
    UdpPingpong workload;
    EngineSettings settings;
    settings.waits_for_ever = options.closed_loop;
    settings.late_window_ns = kLateWindowNs;
    return run_clients(workload, options, target, settings, stop, progress);
  };
  return type;
}

}  // namespace topspin
