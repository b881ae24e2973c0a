#include "tests/probes/forked_subject.h"

#include <cerrno>
#include <csignal>
#include <ctime>

#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/check.h"
#include "probes/proc/proc_reader.h"

namespace topspin {
namespace {

bool read_byte(int fd) {
  char byte = 0;
  ssize_t got = 0;
  do {
    got = ::read(fd, &byte, 1);
  } while (got < 0 && errno == EINTR);
  return got == 1;
}

void write_byte(int fd) { (void)!::write(fd, "x", 1); }

int64_t thread_cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

ForkedSubject::ForkedSubject(const std::function<void()>& work) {
  int down[2];
  int up[2];
  CHECK(::pipe(down) == 0 && ::pipe(up) == 0);
  pid_ = ::fork();
  CHECK(pid_ >= 0);
  if (pid_ == 0) {
    // A test that aborts would leave a stopped child, for whose end ctest waits.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(down[1]);
    ::close(up[0]);
    if (read_byte(down[0])) {
      work();
      write_byte(up[1]);
      read_byte(down[0]);
    }
    ::_exit(0);
  }
  ::close(down[0]);
  ::close(up[1]);
  to_child_ = down[1];
  from_child_ = up[0];
}

ForkedSubject::~ForkedSubject() {
  ::close(to_child_);
  ::close(from_child_);
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void ForkedSubject::go() { write_byte(to_child_); }
void ForkedSubject::wait_done() {
  if (!read_byte(from_child_)) return;
  // The subject goes to sleep only after it has reported. Waits for that, so that its CPU time and
  // its switches no longer change.
  ProcReader proc("/proc");
  for (int tries = 0; tries < 5'000; ++tries) {
    const auto stat = proc.stat(pid_);
    if (!stat || stat->state == 'S' || stat->ended()) break;
    ::usleep(1'000);
  }
  ::usleep(2'000);
}

int ForkedSubject::leave() {
  write_byte(to_child_);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status;
}

void pin_to_cpu(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  CHECK(::sched_setaffinity(0, sizeof(set), &set) == 0);
}

void burn_cpu_ns(int64_t cpu_ns) {
  const int64_t end_ns = thread_cpu_ns() + cpu_ns;
  while (thread_cpu_ns() < end_ns) {
  }
}

void ping_pong(int rounds) {
  int there[2];
  int back[2];
  CHECK(::pipe(there) == 0 && ::pipe(back) == 0);
  const pid_t partner = ::fork();
  CHECK(partner >= 0);
  if (partner == 0) {
    for (int round = 0; round < rounds; ++round) {
      if (!read_byte(there[0])) break;
      write_byte(back[1]);
    }
    ::_exit(0);
  }
  for (int round = 0; round < rounds; ++round) {
    write_byte(there[1]);
    read_byte(back[0]);
  }
  ::waitpid(partner, nullptr, 0);
  for (const int fd : {there[0], there[1], back[0], back[1]}) ::close(fd);
}

}  // namespace topspin
