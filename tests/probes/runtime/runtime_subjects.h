// Programs on real runtimes that do a known amount of work on request, and print the runtime's own
// account of it. Test support.
//
// Each one prints "ready", waits for a line, works, prints "account", numbers and ".end", and waits
// for another line. So topspin can measure before and after the work.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/base/check.h"
#include "tests/support/process.h"

namespace topspin::test {

inline bool is_installed(const std::string& program) {
  return run({"sh", "-c", "command -v " + program}).exit_code == 0;
}

inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

class RuntimeSubject {
 public:
  explicit RuntimeSubject(std::vector<std::string> command)
      : RuntimeSubject(pipe_ends(), command) {}
  ~RuntimeSubject() { ::close(to_child_); }
  RuntimeSubject(const RuntimeSubject&) = delete;
  RuntimeSubject& operator=(const RuntimeSubject&) = delete;

  pid_t pid() const { return process_.pid(); }
  bool is_ready() { return process_.wait_for("ready\n", std::chrono::seconds(120)); }
  /// Lets it work, and waits until it has printed its account.
  bool work() {
    go_on();
    return process_.wait_for(".end\n", std::chrono::seconds(120));
  }
  /// Lets it end, and returns the numbers of its account. Empty if it failed.
  std::vector<double> account() {
    go_on();
    const Outcome outcome = process_.finish();
    std::vector<double> numbers;
    const size_t at = outcome.out.find("account ");
    if (at == std::string::npos) return numbers;
    std::istringstream words(outcome.out.substr(at + 8));
    for (double value = 0; words >> value;) numbers.push_back(value);
    return numbers;
  }

 private:
  static std::array<int, 2> pipe_ends() {
    std::array<int, 2> ends{};
    CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0);
    return ends;
  }
  RuntimeSubject(std::array<int, 2> ends, const std::vector<std::string>& command)
      : to_child_(ends[1]), process_(command, [ends] { ::dup2(ends[0], 0); }) {
    ::close(ends[0]);
  }
  void go_on() const { CHECK(::write(to_child_, "\n", 1) == 1); }

  int to_child_;
  Process process_;
};

}  // namespace topspin::test
