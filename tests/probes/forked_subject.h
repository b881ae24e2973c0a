// ForkedSubject: a child process of known behaviour to watch. It waits until told to go, works,
// says that it is done and stays until told to leave, so that /proc can be read beside the probe.
// The destructor kills and reaps it. Test support; one thread.
#pragma once

#include <functional>

#include <sys/types.h>

namespace topspin {

class ForkedSubject {
 public:
  explicit ForkedSubject(const std::function<void()>& work);
  ForkedSubject(const ForkedSubject&) = delete;
  ForkedSubject& operator=(const ForkedSubject&) = delete;
  ~ForkedSubject();

  pid_t pid() const { return pid_; }
  void go();         // lets it work
  void wait_done();  // until its work is done and it sleeps, or it died
  int leave();       // lets it exit; its wait status
  void run() { go(), wait_done(); }

 private:
  pid_t pid_ = -1;
  int to_child_ = -1;
  int from_child_ = -1;
};

/// Pins the calling thread, and what it starts, to one CPU.
void pin_to_cpu(int cpu);

/// Keeps the CPU busy; returns the CPU time that it took, from getrusage's clock.
void burn_cpu_ns(int64_t cpu_ns);

/// `rounds` round trips through two pipes with a forked partner, which is reaped.
void ping_pong(int rounds);

}  // namespace topspin
