// The lower rung of "owners": sockets from NETLINK_SOCK_DIAG, and their owners from the links in
// /proc/PID/fd. Owned by FlowOwners, on its thread.
//
// Another user's /proc/PID/fd needs cap_dac_read_search to list and cap_sys_ptrace to read. Without
// them such processes are skipped.
#include <cerrno>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "probes/bpf/capabilities.h"
#include "probes/inet/sock_diag.h"
#include "probes/owners/socket_walk.h"
#include "probes/proc/proc_reader.h"
#include "probes/proc/process_tree.h"

namespace topspin {
namespace {

constexpr size_t kLinksBetweenLooksAtTheClock = 64;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

class ProcSocketWalk final : public SocketWalk {
 public:
  ProcSocketWalk(SockDiag diag, const Subject& subject, const std::string& proc_root)
      : diag_(std::move(diag)), proc_(proc_root), tree_(subject, proc_) {}

  Result<bool> advance(SocketTable& into, int64_t deadline_ns) override {
    if (!walking_) {
      TOPSPIN_TRY(start());
      walking_ = true;
    }
    while (true) {
      while (directory_) {
        if (!take_links(into)) directory_.reset();
        if (monotonic_now_ns() >= deadline_ns) return false;
      }
      if (waiting_.empty()) {
        walking_ = false;
        return true;
      }
      open_process(waiting_.back());
      waiting_.pop_back();
    }
  }

  std::vector<int> capabilities_needed() const override {
    std::vector<int> needed;
    for (const int capability : {CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH}) {
      if (has_effective_capability(capability)) needed.push_back(capability);
    }
    return needed;
  }

 private:
  Status start() {
    TOPSPIN_ASSIGN(const std::vector<DiagSocket> sockets, diag_.sockets());
    sockets_.clear();
    for (const DiagSocket& found : sockets) sockets_.emplace(found.inode, found.socket);
    waiting_ = proc_.processes();
    // Processes are taken from the back, so the subject's come first.
    tree_.update();
    waiting_.insert(waiting_.end(), tree_.processes().begin(), tree_.processes().end());
    looked_at_.clear();
    return {};
  }

  void open_process(int32_t pid) {
    if (!looked_at_.insert(pid).second) return;
    const std::string path = fmt::format("{}/{}/fd", proc_.root(), pid);
    directory_.reset(::opendir(path.c_str()));
    process_ = {pid, 0, ""};
    described_ = false;
  }

  /// Reads some of the links of the current process; false at the end.
  bool take_links(SocketTable& into) {
    for (size_t count = 0; count < kLinksBetweenLooksAtTheClock; ++count) {
      const dirent* entry = ::readdir(directory_.get());
      if (entry == nullptr) return false;
      char link[64];
      const ssize_t length =
          ::readlinkat(::dirfd(directory_.get()), entry->d_name, link, sizeof(link));
      if (length <= 0) continue;
      const auto inode = parse_socket_link({link, static_cast<size_t>(length)});
      if (!inode) continue;
      const auto found = sockets_.find(*inode);
      if (found == sockets_.end()) continue;
      if (!described_ && !describe()) return false;
      into.add(found->second, process_);
    }
    return true;
  }

  /// Reads name and start time of the current process; false if it has ended.
  bool describe() {
    auto stat = proc_.stat(process_.pid);
    if (!stat) return false;
    process_.name = std::move(stat->name);
    process_.start_time_ns =
        static_cast<int64_t>(stat->start_ticks) * (kNanosPerSecond / ::sysconf(_SC_CLK_TCK));
    described_ = true;
    return true;
  }

  SockDiag diag_;
  ProcReader proc_;
  ProcessTree tree_;
  bool walking_ = false;
  std::unordered_map<uint64_t, SocketSighting> sockets_;
  std::vector<int32_t> waiting_;
  std::unordered_set<int32_t> looked_at_;
  std::unique_ptr<DIR, CloseDirectory> directory_;
  SocketProcess process_;
  bool described_ = false;
};

}  // namespace

Result<std::unique_ptr<SocketWalk>> open_proc_socket_walk(const Subject& subject,
                                                          const std::string& proc_root) {
  TOPSPIN_ASSIGN(SockDiag diag, SockDiag::open());
  // Try it now, so that a failure is reported at once and not at the first tick.
  if (auto sockets = diag.sockets(); !sockets.ok()) return std::move(sockets).error();
  return std::unique_ptr<SocketWalk>(
      std::make_unique<ProcSocketWalk>(std::move(diag), subject, proc_root));
}

}  // namespace topspin
