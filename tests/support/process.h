// Runs a program and keeps what it printed. For tests of the real binary.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers)
#include <sys/wait.h>
#include <unistd.h>

namespace topspin::test {

struct Outcome {
  int exit_code = -1;  // 128 + signal if killed
  std::string out;
  std::string err;
};

/// Starts `arguments` with pipes for its output; `before_exec` runs in the child.
class Process {
 public:
  explicit Process(std::vector<std::string> arguments,
                   const std::function<void()>& before_exec = {}) {
    std::array<int, 2> out{}, err{};
    if (pipe2(out.data(), O_CLOEXEC) != 0 || pipe2(err.data(), O_CLOEXEC) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], 1);
      dup2(err[1], 2);
      if (before_exec) before_exec();
      std::vector<char*> raw;
      for (auto& a : arguments) raw.push_back(a.data());
      raw.push_back(nullptr);
      execvp(raw[0], raw.data());
      _exit(127);
    }
    close(out[1]);
    close(err[1]);
    out_fd_ = out[0];
    err_fd_ = err[0];
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    if (out_fd_ >= 0) close(out_fd_);
    if (err_fd_ >= 0) close(err_fd_);
  }

  pid_t pid() const { return pid_; }
  void send(int number) const { kill(pid_, number); }

  /// Reads until `text` has appeared on either stream, or `timeout` passes.
  bool wait_for(const std::string& text, std::chrono::seconds timeout = std::chrono::seconds(20)) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (outcome_.out.find(text) == std::string::npos &&
           outcome_.err.find(text) == std::string::npos) {
      if (std::chrono::steady_clock::now() > end || !pump(50)) return false;
    }
    return true;
  }

  /// What is on standard output so far.
  const std::string& output_so_far() const { return outcome_.out; }
  /// Lines on standard error so far.
  size_t lines_so_far() const {
    return static_cast<size_t>(std::count(outcome_.err.begin(), outcome_.err.end(), '\n'));
  }
  /// Waits until more was printed on either stream, or `timeout` passes.
  bool wait_for_more(std::chrono::seconds timeout = std::chrono::seconds(20)) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    const size_t size = outcome_.out.size() + outcome_.err.size();
    while (outcome_.out.size() + outcome_.err.size() == size) {
      if (std::chrono::steady_clock::now() > end || !pump(50)) return false;
    }
    return true;
  }

  /// Waits for the end of the program, and kills it after `timeout`.
  Outcome finish(std::chrono::seconds timeout = std::chrono::seconds(60)) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (pump(100)) {
      if (std::chrono::steady_clock::now() > end) {
        kill(pid_, SIGKILL);
        outcome_.err += "[test: killed after its time]";
        break;
      }
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    outcome_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome_;
  }

 private:
  /// Takes what can be read now; false once both streams have ended.
  bool pump(int timeout_ms) {
    std::array<pollfd, 2> fds{{{out_fd_, POLLIN, 0}, {err_fd_, POLLIN, 0}}};
    if (out_fd_ < 0 && err_fd_ < 0) return false;
    poll(fds.data(), fds.size(), timeout_ms);
    drain(out_fd_, fds[0].revents, outcome_.out);
    drain(err_fd_, fds[1].revents, outcome_.err);
    return out_fd_ >= 0 || err_fd_ >= 0;
  }
  static void drain(int& fd, short events, std::string& into) {
    if (fd < 0 || events == 0) return;
    std::array<char, 65536> buffer{};
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n > 0) {
      into.append(buffer.data(), static_cast<size_t>(n));
    } else {
      close(fd);
      fd = -1;
    }
  }

  pid_t pid_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  Outcome outcome_;
};

inline Outcome run(std::vector<std::string> arguments,
                   const std::function<void()>& before_exec = {}) {
  return Process(std::move(arguments), before_exec).finish();
}

#ifdef TOPSPIN_BINARY_DIR  // of tests that RUN it
/// The binary under test, from the build tree of the tests.
inline std::string topspin_binary() { return std::string(TOPSPIN_BINARY_DIR) + "/topspin"; }

inline Outcome topspin(std::vector<std::string> arguments,
                       const std::function<void()>& before_exec = {}) {
  arguments.insert(arguments.begin(), topspin_binary());
  return run(std::move(arguments), before_exec);
}
#endif

}  // namespace topspin::test
