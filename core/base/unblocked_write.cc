#include "core/base/unblocked_write.h"

#include <cerrno>
#include <csignal>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/base/clock.h"

// glibc before 2.38 has the field only under its internal name.
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace topspin {
namespace {

constexpr int64_t kBriefNs = 5 * kNanosPerMilli;

bool same_terminal(int a, int b) {
  unsigned int device_a = 0, device_b = 0;
  return ioctl(a, TIOCGDEV, &device_a) == 0 && ioctl(b, TIOCGDEV, &device_b) == 0 &&
         device_a == device_b;
}

}  // namespace

UniqueFd reopen_unblocked(int fd) {
  constexpr int kFlags = O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
  UniqueFd own(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), kFlags));
  if (own || isatty(fd) == 0) return own;
  // Its file may belong to another user. Our controlling terminal can be opened nevertheless.
  own.reset(::open("/dev/tty", kFlags));
  if (own && !same_terminal(own.get(), fd)) own.reset();
  return own;
}

ssize_t write_briefly(int fd, const void* data, size_t size) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGALRM;
  event.sigev_notify_thread_id = gettid();
  timer_t timer{};
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
    errno = EAGAIN;  // better to write nothing than to block forever
    return -1;
  }
  // Without SA_RESTART, so that the signal ends the write.
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {};
  sigemptyset(&action.sa_mask);
  sigaction(SIGALRM, &action, &before);
  sigset_t alarm, mask;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  pthread_sigmask(SIG_UNBLOCK, &alarm, &mask);
  // Repeats, because the first signal may come before the write.
  itimerspec spec{};
  spec.it_value.tv_nsec = spec.it_interval.tv_nsec = kBriefNs;
  timer_settime(timer, 0, &spec, nullptr);
  ssize_t n = ::write(fd, data, size);
  const int number = n < 0 && errno == EINTR ? EAGAIN : errno;
  timer_delete(timer);
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  errno = number;
  return n;
}

}  // namespace topspin
