// ForkedSubject: a child process with known behaviour that tests watch. It waits for go(), works,
// reports that it is done, and stays until leave(), so that /proc can be compared with the probe.
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
  void wait_done();  // waits until its work is done and it sleeps, or until it has died
  int leave();       // lets it exit, and returns its wait status
  void run() { go(), wait_done(); }

 private:
  pid_t pid_ = -1;
  int to_child_ = -1;
  int from_child_ = -1;
};

/// Pins the calling thread, and the threads and processes that it starts, to one CPU.
void pin_to_cpu(int cpu);

/// Computes until the calling thread has used this much more CPU time.
void burn_cpu_ns(int64_t cpu_ns);

/// Makes `rounds` round trips through two pipes with a forked partner, and reaps it.
void ping_pong(int rounds);

}  // namespace topspin
