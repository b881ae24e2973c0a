// The screen Processes shows what /proc says about processes with a known load.
#include "app/screen/process_reader.h"

#include <csignal>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/check.h"
#include "core/base/clock.h"

namespace topspin {
namespace {

/// A child that uses `cpu_ns` of CPU time at each SIGCONT, and then stops itself.
class Burner {
 public:
  explicit Burner(int64_t cpu_ns) : pid_(::fork()) {
    CHECK(pid_ >= 0);
    if (pid_ > 0) return;
    while (true) {
      ::raise(SIGSTOP);
      timespec begin{}, now{};
      ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
      do {
        ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
      } while ((now.tv_sec - begin.tv_sec) * kNanosPerSecond + now.tv_nsec - begin.tv_nsec <
               cpu_ns);
    }
  }
  ~Burner() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Burner(const Burner&) = delete;
  Burner& operator=(const Burner&) = delete;
  void await_stop() const { CHECK(::waitpid(pid_, nullptr, WUNTRACED) == pid_); }
  void burn() const {
    ::kill(pid_, SIGCONT);
    await_stop();
  }
  pid_t pid() const { return pid_; }

  /// utime and stime of /proc/PID/stat, read independently of the code under test.
  uint64_t cpu_ns() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
    std::string text;
    std::getline(file, text);
    std::istringstream words(text.substr(text.rfind(')') + 2));
    std::string word;
    for (int field = 3; field < 14; ++field) words >> word;
    uint64_t user = 0, system = 0;
    words >> user >> system;
    return (user + system) * static_cast<uint64_t>(kNanosPerSecond / ::sysconf(_SC_CLK_TCK));
  }

 private:
  pid_t pid_;
};

TEST(ProcessReader, CpuIsWhatProcSaysOfProcessesWithAKnownLoad) {
  const Burner busy(300 * kNanosPerMilli), half(150 * kNanosPerMilli), idle(0);
  const Burner* const all[] = {&busy, &half, &idle};
  for (const Burner* one : all) one->await_stop();
  const Model model;  // without a subject: the whole host
  ProcessTable table;
  uint64_t before[3], after[3];
  for (int i = 0; i < 3; ++i) before[i] = all[i]->cpu_ns();
  const int64_t begin_ns = monotonic_now_ns();
  table.update(read_processes(model));
  const int64_t first_read_ns = monotonic_now_ns();
  EXPECT_EQ(table.cpu(busy.pid()), std::nullopt) << "one look says no share";
  for (const Burner* one : all) one->burn();
  const int64_t last_read_ns = monotonic_now_ns();
  table.update(read_processes(model));
  const int64_t end_ns = monotonic_now_ns();
  for (int i = 0; i < 3; ++i) after[i] = all[i]->cpu_ns();
  for (int i = 0; i < 3; ++i) {
    // All were stopped at both readings, so the sums are exact, and the time between has bounds.
    const auto took_ns = static_cast<double>(after[i] - before[i]);
    ASSERT_TRUE(table.cpu(all[i]->pid())) << i;
    EXPECT_GE(*table.cpu(all[i]->pid()), took_ns / static_cast<double>(end_ns - begin_ns)) << i;
    EXPECT_LE(*table.cpu(all[i]->pid()),
              took_ns / static_cast<double>(last_read_ns - first_read_ns))
        << i;
  }
  EXPECT_GE(after[0] - before[0], uint64_t{250} * kNanosPerMilli) << "the load was there";
  EXPECT_GT(table.cpu(busy.pid()), table.cpu(half.pid()));
  EXPECT_GT(table.cpu(half.pid()), table.cpu(idle.pid()));
}

TEST(ProcessReader, SaysHowManyProcessesItLeftOut) {
  const Burner one(0), two(0);
  const Model model;
  const ProcessReadings all = read_processes(model);
  ASSERT_EQ(all.left_out, 0u);
  ASSERT_GE(all.processes.size(), 3u);
  const ProcessReadings some = read_processes(model, {.processes = 2});
  EXPECT_EQ(some.processes.size(), 2u);
  EXPECT_GT(some.left_out, 0u);
  const ProcessReadings no_threads = read_processes(model, {.threads = 0});
  EXPECT_EQ(no_threads.processes.at(one.pid()).wait_ns, std::nullopt) << "absent, not 0";
}

}  // namespace
}  // namespace topspin
