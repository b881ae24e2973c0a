#include "probes/sockets/socket_queues.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "probes/inet/sock_diag.h"

namespace topspin {
namespace {

constexpr int64_t kWalkNsPerRead = 20'000'000;
constexpr int64_t kWalkShare = 50;  // at most one part in so many of all time goes into walks
constexpr int64_t kDoubtNs = 10 * kNanosPerSecond;
constexpr int kLinksBetweenLooksAtTheClock = 64;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
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
    // A dump that fails leaves the sockets as they stood. It has no cause to fail once it worked.
    if (const auto queues = diag_.queues(); queues.ok()) ledger_.update(*queues);
    const int64_t now_ns = monotonic_now_ns();
    if (now_ns >= doubt_ns_) {
      ledger_.doubt();
      doubt_ns_ = now_ns + kDoubtNs;
    }
    if (walking_ || (ledger_.wants_walk() && now_ns >= next_walk_ns_)) walk(processes, now_ns);
    return ledger_.take(read_listen_counts());
  }

 private:
  void walk(const std::vector<int32_t>& processes, int64_t begin_ns) {
    if (!walking_) {
      walking_ = true;
      waiting_ = processes;
      walk_cost_ns_ = 0;
      ledger_.walk_begins();
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
    const int64_t end_ns = monotonic_now_ns();
    next_walk_ns_ = end_ns + (walk_cost_ns_ + end_ns - begin_ns) * kWalkShare;
  }

  /// Some of the links of the process at hand; false at the end.
  bool take_links() {
    for (int count = 0; count < kLinksBetweenLooksAtTheClock; ++count) {
      const dirent* entry = ::readdir(directory_.get());
      if (entry == nullptr) return false;
      char link[64];
      const ssize_t length =
          ::readlinkat(::dirfd(directory_.get()), entry->d_name, link, sizeof(link));
      if (length <= 0) continue;
      if (const auto inode = parse_socket_link({link, static_cast<size_t>(length)}))
        ledger_.holds(pid_, *inode);
    }
    return true;
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
  bool walking_ = false;
  std::vector<int32_t> waiting_;
  std::unique_ptr<DIR, CloseDirectory> directory_;
  int32_t pid_ = 0;
  int64_t walk_cost_ns_ = 0;
  int64_t next_walk_ns_ = 0;
  int64_t doubt_ns_ = 0;
};

/// Whether the subject's sockets are those that we see.
Status check_network(const Subject& subject, const std::string& proc_root) {
  if (subject.kind != SubjectSpec::Kind::kProcessTree) return {};
  struct ::stat ours {};
  struct ::stat theirs {};
  if (::stat((proc_root + "/thread-self/ns/net").c_str(), &ours) != 0 ||
      ::stat(fmt::format("{}/{}/ns/net", proc_root, subject.pid).c_str(), &theirs) != 0)
    return {};  // not known: a process of another user, say
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
