#include "app/screen/turns.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/host/outlet.h"

namespace topspin {
namespace {

/// Reads the child's wish, if it had one. REQUIRES: the child has ended.
std::optional<int32_t> read_wish(const UniqueFd& fd) {
  int32_t pid = 0;
  const ssize_t n = read(fd.get(), &pid, sizeof pid);
  return n == sizeof pid ? std::optional(pid) : std::nullopt;
}

/// The exit code of a child that has ended; nullopt if it continues.
std::optional<int> follow_child(pid_t child) {
  int status = 0;
  const pid_t changed = waitpid(child, &status, WNOHANG | WUNTRACED);
  if (changed <= 0) return std::nullopt;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  if (WIFSIGNALED(status)) return 128 + WTERMSIG(status);
  // Ctrl-Z: the shell waits for us to stop too. When it continues us, we continue the child. This
  // is not kill(), which the kernel may deliver to another thread, so that this one would run on
  // first.
  raise(SIGSTOP);
  kill(child, SIGCONT);
  return std::nullopt;
}

int wait_for_child(pid_t child, const sigset_t& signals) {
  while (true) {
    siginfo_t info{};
    const int number = sigwaitinfo(&signals, &info);
    if (number < 0) continue;
    if (number == SIGCHLD) {
      if (const auto code = follow_child(child)) return *code;
    } else if (info.si_code != SI_KERNEL) {
      kill(child, number);  // signals from the terminal have already reached the child
    }
  }
}

}  // namespace

void SubjectWish::tell(int32_t pid) const { (void)!write(fd_.get(), &pid, sizeof pid); }

int observe_in_turn(const std::function<int(std::optional<int32_t> pid, SubjectWish&)>& observe) {
  sigset_t signals, before;
  sigemptyset(&signals);
  for (const int number : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH})
    sigaddset(&signals, number);
  sigprocmask(SIG_BLOCK, &signals, &before);
  std::optional<int32_t> subject;
  const pid_t self = getpid();
  while (true) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0)
      return fail(make_error(ErrorCode::kInternal, "pipe failed", errno));
    const UniqueFd wish_read(ends[0]);
    UniqueFd wish_write(ends[1]);
    const pid_t child = fork();
    if (child < 0) return fail(make_error(ErrorCode::kInternal, "fork failed", errno));
    if (child == 0) {
      // Without its parent, the terminal would not be restored.
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (getppid() != self) _exit(1);
      sigprocmask(SIG_SETMASK, &before, nullptr);
      SubjectWish wish(std::move(wish_write));
      std::exit(observe(subject, wish));
    }
    wish_write.reset();
    const int code = wait_for_child(child, signals);
    const auto wish = read_wish(wish_read);
    if (!wish) {
      sigprocmask(SIG_SETMASK, &before, nullptr);
      return code;
    }
    subject = wish;
  }
}

}  // namespace topspin
