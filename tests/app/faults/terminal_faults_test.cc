// Faults of the terminal, inflicted on recordings that have one.
#include <csignal>
#include <random>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "tests/app/faults/fault_fixture.h"

namespace topspin::test {
namespace {

/// A program with a terminal of its own, whose output is read and thrown away.
class ProgramInTerminal {
 public:
  explicit ProgramInTerminal(std::vector<std::string> words)
      : master_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    if (grantpt(master_.get()) != 0 || unlockpt(master_.get()) != 0) return;
    name_ = ptsname(master_.get());
    resize(40, 150);
    slave_.reset(open(name_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    tcgetattr(slave_.get(), &settings_);
    pid_ = fork();
    if (pid_ == 0) {
      setsid();
      const int fd = open(name_.c_str(), O_RDWR);
      ioctl(fd, TIOCSCTTY, 0);
      for (const int standard : {0, 1, 2}) dup2(fd, standard);
      setenv("TERM", "xterm", 1);
      std::vector<char*> raw;
      for (auto& word : words) raw.push_back(word.data());
      raw.push_back(nullptr);
      execv(raw[0], raw.data());
      _exit(127);
    }
  }
  ProgramInTerminal(const ProgramInTerminal&) = delete;
  ProgramInTerminal& operator=(const ProgramInTerminal&) = delete;
  ~ProgramInTerminal() {
    if (pid_ > 0) kill(pid_, SIGKILL);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }
  void resize(int rows, int columns) const {
    const winsize size{static_cast<unsigned short>(rows), static_cast<unsigned short>(columns), 0,
                       0};
    ioctl(master_.get(), TIOCSWINSZ, &size);
  }
  void type(const std::string& keys) const {
    (void)!write(master_.get(), keys.data(), keys.size());
  }
  void drain() const {
    char buffer[65536];
    pollfd ready{master_.get(), POLLIN, 0};
    while (poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) != 0 &&
           read(master_.get(), buffer, sizeof buffer) > 0) {
    }
  }
  /// Whether the terminal's settings are those of before the program.
  bool settings_are_as_before() const {
    termios now{};
    tcgetattr(slave_.get(), &now);
    return now.c_iflag == settings_.c_iflag && now.c_oflag == settings_.c_oflag &&
           now.c_lflag == settings_.c_lflag;
  }
  void hang_up() {
    slave_.reset();
    master_.reset();
  }
  /// 128 and the signal, or the exit status; -1 if it did not end in time.
  int wait_for_end(int seconds = 60) {
    int status = 0;
    for (int i = 0; i < seconds * 50; ++i) {
      if (master_) drain();
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
      }
      usleep(20'000);
    }
    return -1;
  }

 private:
  UniqueFd master_, slave_;
  std::string name_;
  termios settings_{};
  pid_t pid_ = -1;
};

class TerminalFault : public FaultFixture {
 protected:
  std::vector<std::string> live(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {topspin_binary(), "live", "-i",  "lo",   "--interval", "100ms",
                                    "--db",           db(),   "udp", "port", "9"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  bool wait_for_ticks_of(const ProgramInTerminal& program, int64_t wanted) const {
    return wait_until([&] {
      program.drain();
      return ticks() >= wanted;
    });
  }
};

TEST_F(TerminalFault, AHangUpEndsARecordingAsItShould) {
  for (const std::vector<std::string>& words :
       {record({"--interval", "100ms"}), record({"--interval", "100ms", "--", "sleep", "1000"}),
        live(), live({"--", "sleep", "1000"})}) {
    SCOPED_TRACE(testing::PrintToString(words));
    std::filesystem::remove(db());
    ProgramInTerminal program(words);
    ASSERT_TRUE(wait_for_ticks_of(program, 3));
    program.hang_up();
    EXPECT_EQ(program.wait_for_end(), 128 + SIGHUP);
    EXPECT_EQ(report()["run"]["status"], "complete");
    expect_sound_database();
  }
}

TEST_F(TerminalFault, AnySizeIsShownAndTheRecordingGoesOn) {
  std::mt19937 random(7);
  ProgramInTerminal program(live());
  ASSERT_TRUE(wait_for_ticks_of(program, 2));
  ASSERT_FALSE(program.settings_are_as_before());
  std::vector<std::pair<int, int>> sizes = {{0, 0},   {1, 1000}, {500, 1}, {500, 1000},
                                            {0, 100}, {100, 0},  {1, 1},   {2, 3}};
  for (int i = 0; i < 60; ++i)
    sizes.emplace_back(static_cast<int>(random() % 120), static_cast<int>(random() % 300));
  for (const auto& [rows, columns] : sizes) {
    program.resize(rows, columns);
    program.type(std::string(1, static_cast<char>('0' + random() % 10)));
    program.drain();
    usleep(5'000);
  }
  program.resize(24, 80);
  EXPECT_TRUE(wait_for_ticks_of(program, ticks() + 5));
  kill(program.pid(), SIGTERM);
  EXPECT_EQ(program.wait_for_end(), 128 + SIGTERM);
  EXPECT_TRUE(program.settings_are_as_before());
  EXPECT_EQ(report()["run"]["status"], "complete");
}

}  // namespace
}  // namespace topspin::test
