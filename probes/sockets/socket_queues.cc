#include "probes/sockets/socket_queues.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "probes/inet/sock_diag.h"

namespace topspin {
namespace {

constexpr int64_t kWalkNsPerRead = 20'000'000;
constexpr int64_t kWalkShare = 50;         // walks take at most 1/50 of the time
constexpr size_t kMaxConnections = 2'048;  // per address family and tick
constexpr int64_t kDoubtNs = 10 * kNanosPerSecond;
constexpr int kLinksBetweenLooksAtTheClock = 64;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

/// The subject's TCP connections: smoothed RTT, congestion window, and how long the peer's window
/// kept them from sending, from one dump of the network namespace's connections. If there are too
/// many for one dump, a second one asks the kernel for those on local ports that the subject is
/// known to use; of the others, only a part is seen.
class Connections {
 public:
  /// Reads the connections. `queues` has the listening sockets.
  void update(SockDiag& diag, const std::vector<DiagQueue>& queues) {
    const int64_t begin_ns = monotonic_now_ns();
    cut_ = true;
    seen_.clear();
    if (begin_ns < next_look_ns_) return;
    auto all = diag.connections(kMaxConnections);
    if (!all.ok()) return;
    listening_ports_.clear();
    for (const DiagQueue& queue : queues)
      if (queue.protocol == kProtocolTcp && held_.contains(queue.inode))
        listening_ports_.insert(queue.local.port);
    cut_ = all->cut;
    seen_ = std::move(all->found);
    if (cut_) {
      const std::vector<uint16_t> ports = ports_in_use();
      if (!ports.empty()) {
        if (auto ours = diag.connections(kMaxConnections, ports); ours.ok())
          seen_.insert(seen_.end(), ours->found.begin(), ours->found.end());
      }
    }
    keep_each_once();
    follow_sending();
    looked_ns_ = begin_ns;
    const int64_t cost_ns = monotonic_now_ns() - begin_ns;
    if (cost_ns > kWalkNsPerRead) next_look_ns_ = begin_ns + cost_ns * kWalkShare;
  }

  bool wants_walk() const { return unknown_; }
  void walk_begins() {
    ++walk_;
    met_.clear();
  }
  void holds(uint64_t inode) { met_.insert(inode); }
  void walk_ends() {
    held_ = std::move(met_);
    judge();
  }
  /// A descriptor may have been passed on.
  void doubt() {
    for (auto& [inode, walk] : known_by_)
      if (!held_.contains(inode)) walk = walk_ + 1;
    judge();
  }

  void tell(SocketInterval& interval) {
    Spread srtt, cwnd;
    uint64_t count = 0;
    const int64_t half_ns = (looked_ns_ - told_ns_) / 2;
    for (const DiagConnection& connection : seen_) {
      if (held_.contains(connection.inode)) {
        ++count;
        if (connection.srtt_ns) srtt.add(*connection.srtt_ns);
        cwnd.add(connection.cwnd_bytes);
      } else if (connection.inode != 0 || !listening_ports_.contains(connection.local_port)) {
        continue;  // another program's; a closed one on a port of the subject may still be sending
      }
      if (!connection.busy_ns || !connection.rwnd_limited_ns) continue;
      Sending& before = sending_[connection.cookie];
      const auto grown = [](uint64_t now, uint64_t then) { return now - std::min(now, then); };
      const uint64_t limited_ns = grown(*connection.rwnd_limited_ns, before.rwnd_limited_ns);
      add(interval.tcp_busy_ns, grown(*connection.busy_ns, before.busy_ns));
      add(interval.tcp_rwnd_limited_ns, limited_ns);
      add(interval.tcp_rwnd_limited_max, limited_ns >= static_cast<uint64_t>(half_ns) ? 1 : 0);
      before = {*connection.busy_ns, *connection.rwnd_limited_ns};
    }
    if (!seen_.empty()) told_ns_ = looked_ns_;
    interval.tcp_reads_cut = cut_ || unknown_ ? 1 : 0;
    if (count > 0 || !cut_) interval.tcp_connections = count;
    srtt.tell(interval.tcp_srtt_min_ns, interval.tcp_srtt_mean_ns, interval.tcp_srtt_max_ns);
    cwnd.tell(interval.tcp_cwnd_min_bytes, interval.tcp_cwnd_mean_bytes,
              interval.tcp_cwnd_max_bytes);
  }

 private:
  /// The sums of a connection that were reported so far, or that it had before the first look.
  struct Sending {
    uint64_t busy_ns = 0, rwnd_limited_ns = 0;
  };
  static void add(std::optional<uint64_t>& sum, uint64_t more) { sum = sum.value_or(0) + more; }

  struct Spread {
    uint64_t count = 0, sum = 0, min = UINT64_MAX, max = 0;
    void add(uint64_t value) {
      ++count;
      sum += value;
      min = std::min(min, value);
      max = std::max(max, value);
    }
    void tell(std::optional<uint64_t>& least, std::optional<uint64_t>& mean,
              std::optional<uint64_t>& greatest) const {
      if (count == 0) return;
      least = min;
      mean = sum / count;
      greatest = max;
    }
  };

  /// The ports of the subject's listening sockets, and of its connections in the last look.
  std::vector<uint16_t> ports_in_use() const {
    std::set<uint16_t> ports = listening_ports_;
    for (const auto& [inode, port] : port_of_)
      if (ports.size() < SockDiag::kMaxPorts && held_.contains(inode)) ports.insert(port);
    std::vector<uint16_t> list(ports.begin(), ports.end());
    list.resize(std::min(list.size(), SockDiag::kMaxPorts));
    return list;
  }

  void keep_each_once() {
    std::unordered_map<uint64_t, uint32_t> known_by;
    std::unordered_map<uint64_t, uint16_t> port_of;
    std::unordered_set<uint64_t> cookies;
    std::erase_if(seen_, [&](const DiagConnection& connection) {
      if (!cookies.insert(connection.cookie).second) return true;
      if (connection.inode == 0) return false;
      const auto before = known_by_.find(connection.inode);
      const uint32_t walk = before == known_by_.end() ? walk_ + 1 : before->second;
      port_of.emplace(connection.inode, connection.local_port);
      known_by.emplace(connection.inode, walk);
      return false;
    });
    known_by_ = std::move(known_by);
    port_of_ = std::move(port_of);
    judge();
  }

  /// If the last look saw all connections, one that it did not see is new, and everything that it
  /// did counts. Any other unknown connection counts from now on.
  void follow_sending() {
    std::unordered_map<uint64_t, Sending> sending;
    for (const DiagConnection& connection : seen_) {
      Sending now{connection.busy_ns.value_or(0), connection.rwnd_limited_ns.value_or(0)};
      if (const auto before = sending_.find(connection.cookie); before != sending_.end())
        now = before->second;
      else if (knows_all_)
        now = {};
      sending.emplace(connection.cookie, now);
    }
    sending_ = std::move(sending);
    knows_all_ = !cut_;
  }

  void judge() {
    unknown_ = std::any_of(known_by_.begin(), known_by_.end(), [&](const auto& entry) {
      return entry.second > walk_ && !held_.contains(entry.first);
    });
  }

  std::vector<DiagConnection> seen_;  // in this tick
  bool cut_ = false;                  // and there were more
  bool unknown_ = false;              // the owners of some are not known yet
  int64_t next_look_ns_ = 0;
  int64_t looked_ns_ = 0, told_ns_ = 0;
  bool knows_all_ = false;                         // the last look saw all connections
  std::unordered_map<uint64_t, Sending> sending_;  // by cookie
  std::set<uint16_t> listening_ports_;             // of the subject
  // By inode: the first walk that began after the connection was seen, and can therefore find its
  // owner.
  std::unordered_map<uint64_t, uint32_t> known_by_;
  std::unordered_map<uint64_t, uint16_t> port_of_;
  uint32_t walk_ = 0;
  std::unordered_set<uint64_t> held_, met_;  // the subject's inodes: of the last walk, of this one
};

class DiagSocketQueues final : public SocketQueues {
 public:
  DiagSocketQueues(SockDiag diag, std::string proc_root, uint64_t max_rows)
      : diag_(std::move(diag)), proc_root_(std::move(proc_root)), ledger_(max_rows) {}

  Status begin() {
    TOPSPIN_ASSIGN(const std::vector<DiagQueue> queues, diag_.queues());
    ledger_.begin(queues, read_listen_counts());
    doubt_ns_ = monotonic_now_ns() + kDoubtNs;
    return {};
  }

  SocketLedger::Reading read(const std::vector<int32_t>& processes) override {
    // If a dump fails, the sockets stay as they were. A dump that has worked once has no reason to
    // fail.
    if (const auto queues = diag_.queues(); queues.ok()) {
      ledger_.update(*queues);
      connections_.update(diag_, *queues);
    }
    const int64_t now_ns = monotonic_now_ns();
    if (now_ns >= doubt_ns_) {
      ledger_.doubt();
      connections_.doubt();
      doubt_ns_ = now_ns + kDoubtNs;
    }
    const bool wanted = ledger_.wants_walk() || connections_.wants_walk();
    if (walking_ || (wanted && now_ns >= next_walk_ns_)) walk(processes, now_ns);
    SocketLedger::Reading reading = ledger_.take(read_listen_counts());
    connections_.tell(reading.interval);
    return reading;
  }

 private:
  void walk(const std::vector<int32_t>& processes, int64_t begin_ns) {
    if (!walking_) {
      walking_ = true;
      waiting_ = processes;
      walk_cost_ns_ = 0;
      ledger_.walk_begins();
      connections_.walk_begins();
    }
    while (true) {
      if (!directory_) {
        if (waiting_.empty()) break;
        pid_ = waiting_.back();
        waiting_.pop_back();
        directory_.reset(::opendir(fmt::format("{}/{}/fd", proc_root_, pid_).c_str()));
        continue;
      }
      if (!take_links()) directory_.reset();
      const int64_t spent_ns = monotonic_now_ns() - begin_ns;
      if (spent_ns >= kWalkNsPerRead) {
        walk_cost_ns_ += spent_ns;
        return;
      }
    }
    walking_ = false;
    ledger_.walk_ends();
    connections_.walk_ends();
    const int64_t end_ns = monotonic_now_ns();
    next_walk_ns_ = end_ns + (walk_cost_ns_ + end_ns - begin_ns) * kWalkShare;
  }

  /// Reads some of the links of the current process; false at the end.
  bool take_links() {
    for (int count = 0; count < kLinksBetweenLooksAtTheClock; ++count) {
      const dirent* entry = ::readdir(directory_.get());
      if (entry == nullptr) return false;
      char link[64];
      const ssize_t length =
          ::readlinkat(::dirfd(directory_.get()), entry->d_name, link, sizeof(link));
      if (length <= 0) continue;
      if (const auto inode = parse_socket_link({link, static_cast<size_t>(length)}))
        tell_holder(*inode);
    }
    return true;
  }

  void tell_holder(uint64_t inode) {
    ledger_.holds(pid_, inode);
    connections_.holds(inode);
  }

  std::optional<ListenCounts> read_listen_counts() const {
    std::ifstream file(proc_root_ + "/thread-self/net/netstat");
    std::ostringstream text;
    text << file.rdbuf();
    return parse_listen_counts(text.view());
  }

  SockDiag diag_;
  std::string proc_root_;
  SocketLedger ledger_;
  Connections connections_;
  bool walking_ = false;
  std::vector<int32_t> waiting_;
  std::unique_ptr<DIR, CloseDirectory> directory_;
  int32_t pid_ = 0;
  int64_t walk_cost_ns_ = 0;
  int64_t next_walk_ns_ = 0;
  int64_t doubt_ns_ = 0;
};

/// Whether the subject is in the network namespace that we see.
Status check_network(const Subject& subject, const std::string& proc_root) {
  if (subject.kind != SubjectSpec::Kind::kProcessTree) return {};
  struct ::stat ours {};
  struct ::stat theirs {};
  if (::stat((proc_root + "/thread-self/ns/net").c_str(), &ours) != 0 ||
      ::stat(fmt::format("{}/{}/ns/net", proc_root, subject.pid).c_str(), &theirs) != 0)
    return {};                                  // not known, such as a process of another user
  if (ours.st_dev != theirs.st_dev) return {};  // 5.10 then shows the link and not the namespace
  if (ours.st_ino == theirs.st_ino) return {};
  return make_error(ErrorCode::kUnsupported,
                    fmt::format("process {} is in another network namespace; run topspin in it "
                                "with nsenter -t {} -n",
                                subject.pid, subject.pid));
}

}  // namespace

Result<std::unique_ptr<SocketQueues>> SocketQueues::open(const Subject& subject,
                                                         const std::string& proc_root,
                                                         uint64_t max_rows) {
  TOPSPIN_TRY(check_network(subject, proc_root));
  TOPSPIN_ASSIGN(SockDiag diag, SockDiag::open());
  auto queues = std::make_unique<DiagSocketQueues>(std::move(diag), proc_root, max_rows);
  TOPSPIN_TRY(queues->begin());
  return Result<std::unique_ptr<SocketQueues>>(std::move(queues));
}

}  // namespace topspin
