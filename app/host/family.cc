#include "app/host/family.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/proc_stat.h"

namespace topspin {
namespace {

constexpr int64_t kKillPatienceNs = 5 * kNanosPerSecond;  // for SIGKILL; then it is stuck

}  // namespace

Status adopt_orphans() {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0) return {};
  return make_error(ErrorCode::kUnsupported,
                    fmt::format("cannot become the parent of the subject's orphaned processes: {}",
                                std::strerror(errno)),
                    errno);
}

std::vector<pid_t> list_children() {
  std::vector<pid_t> children;
  std::error_code error;
  const pid_t self = getpid();
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    pid_t pid = 0;
    const char* const last = name.data() + name.size();
    if (std::from_chars(name.data(), last, pid).ptr != last || pid <= 0) continue;
    std::ifstream file(entry->path() / "stat");
    std::string text;
    if (!std::getline(file, text, '\0')) continue;
    const auto stat = parse_proc_stat(text);
    if (stat && stat->parent_pid == self) children.push_back(pid);
  }
  return children;
}

bool reap_adopted(pid_t keep) {
  // If a child ends between listing and waiting, we adopt its children. So list again after each
  // child that was waited for.
  bool reaped = true;
  while (reaped) {
    reaped = false;
    for (const pid_t child : list_children()) {
      if (child == keep) continue;
      if (waitpid(child, nullptr, WNOHANG) == 0) return true;
      reaped = true;
    }
  }
  return false;
}

bool end_family(int64_t grace_ns, pid_t keep) {
  const int64_t begin_ns = monotonic_now_ns();
  std::set<pid_t> asked;
  while (true) {
    if (!reap_adopted(keep)) return true;
    const int64_t waited_ns = monotonic_now_ns() - begin_ns;
    if (waited_ns > grace_ns + kKillPatienceNs) return false;
    for (const pid_t child : list_children()) {
      if (child == keep) continue;
      if (waited_ns >= grace_ns)
        kill(child, SIGKILL);
      else if (asked.insert(child).second)
        kill(child, SIGTERM);
    }
    usleep(5'000);
  }
}

}  // namespace topspin
