#include "app/recording/sources/signals.h"

#include <fmt/format.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/base/text.h"

namespace topspin {
namespace {

/// Written before the handler is installed.
std::string lost_memory_text;

/// A screen's own handler (CursesTerminal) restores the terminal, and then raises the signal again
/// (SI_TKILL).
void on_lost_memory(int /*number*/, siginfo_t* info, void* /*context*/) {
  if (info->si_code != BUS_ADRERR && info->si_code != SI_TKILL) {
    signal(SIGBUS, SIG_DFL);  // not about a file: the fault is raised again and ends us
    return;
  }
  (void)!::write(STDERR_FILENO, lost_memory_text.data(), lost_memory_text.size());
  _exit(exit_code(ErrorCode::kOutput));
}

}  // namespace

Result<UniqueFd> open_signal_fd(std::span<const int> wanted) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD}) sigaddset(&set, number);
  for (const int number : wanted) sigaddset(&set, number);
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) {
    return make_error(ErrorCode::kInternal, "cannot block signals", errno);
  }
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return make_error(ErrorCode::kInternal, "signalfd failed", errno);
  return fd;
}

void end_plainly_on_lost_memory(const std::string& database) {
  lost_memory_text = fmt::format(
      "topspin: the recording ends: {0}-shm was truncated, or its disk failed; the ticks stored so "
      "far are in {0}\n",
      sanitize_for_terminal(database));
  struct sigaction action {};
  action.sa_sigaction = on_lost_memory;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace topspin
