// Each command that reads files is in its sandbox before it reads the first byte, and does its
// work there. While a command waits for its file, /proc shows what it may still do.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/stat.h>

#include "core/base/unique_fd.h"
#include "tests/support/pcap_writer.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;

std::string status_of(pid_t pid) {
  std::ostringstream text;
  text << std::ifstream("/proc/" + std::to_string(pid) + "/status").rdbuf();
  return text.str();
}

/// Waits until the process is sandboxed. False if it is not within 20 s.
bool gets_sandboxed(pid_t pid) {
  for (int i = 0; i < 2000; ++i) {
    const std::string status = status_of(pid);
    if (status.find("Seccomp:\t2\n") != std::string::npos &&
        status.find("NoNewPrivs:\t1\n") != std::string::npos)
      return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

/// Keeps SQLite in other processes from reading a database, as a writer does while it commits.
class DatabaseLock {
 public:
  explicit DatabaseLock(const std::string& path) : file_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    constexpr off_t kPendingByte = 0x40000000;
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = kPendingByte;
    lock.l_len = 512;
    is_held_ = ::fcntl(file_.get(), F_SETLK, &lock) == 0;
  }
  bool is_held() const { return is_held_; }

 private:
  UniqueFd file_;  // the lock ends with it
  bool is_held_ = false;
};

struct SandboxedCommand {
  std::string name;
  std::vector<std::string> words;  // before --db and the database
  int exit_code = 0;
  std::string says;  // a part of what it prints
};
void PrintTo(const SandboxedCommand& command, std::ostream* out) { *out << command.name; }

const std::vector<SandboxedCommand> kOfDatabases = {
    SandboxedCommand{"list", {"list"}, 0, "side=a"},
    SandboxedCommand{"report", {"report", "last"}, 0, "side=b"},
    SandboxedCommand{"reporthtml", {"report", "1", "2", "--format", "html"}, 0, "</html>"},
    SandboxedCommand{"explain", {"explain"}, 0, "stands out"},
    SandboxedCommand{"exportcsv", {"export", "--format", "csv"}, 0, "tick"},
    SandboxedCommand{"exportperfetto", {"export", "--format", "perfetto"}, 0, "traceEvents"},
    SandboxedCommand{"sql", {"sql", "SELECT labels, state FROM runs"}, 0, "side=a"},
    SandboxedCommand{"compare", {"compare", "side=a", "side=b"}, 0, "INCONCLUSIVE"},
    SandboxedCommand{"gate", {"gate", "--history"}, 0, ""},
    SandboxedCommand{"accept", {"accept", "last", "--because", "test"}, 0, "accepted run #2"},
    SandboxedCommand{"rm", {"rm", "1", "--yes"}, 0, "removed #1"},
    SandboxedCommand{"compact", {"compact"}, 0, "ticks of 2 runs became 2"},
    SandboxedCommand{"label", {"label", "1", "a=b"}, 0, "labelled #1"},
    SandboxedCommand{"merge", {"merge", "OUT", "IN"}, 0, "2 runs copied"},
    SandboxedCommand{"loadshow", {"load", "show", "1"}, 2, "has no load"},
    SandboxedCommand{"replay", {"replay", "last", "--once"}, 0, "8888"}};

const std::vector<SandboxedCommand> kOfCaptures = {
    SandboxedCommand{"read", {"read", "FILE"}, 0, "flows"},
    SandboxedCommand{"readtwothreads", {"read", "--threads", "2", "FILE"}, 0, "flows"},
    SandboxedCommand{"readintodatabase", {"read", "FILE", "--db", "OUT"}, 0, "kept in"},
    // libpcap looks these names up before.
    SandboxedCommand{
        "readwithnames", {"read", "FILE", "host localhost or port http"}, 0, "10 packets"},
    SandboxedCommand{"ends", {"ends", "FILE", "SAME"}, 3, "told from all others"},
    SandboxedCommand{"endsother", {"ends", "SAME", "FILE"}, 3, "told from all others"},
    SandboxedCommand{"live", {"live", "-r", "FILE", "--once"}, 0, "8888"}};

/// A new command is tested here, or it is a decision that it needs no sandbox.
TEST(SandboxedCommands, AreAllThatReadFiles) {
  std::set<std::string> known = {"record", "watch", "run", "ci", "doctor", "config"};
  known.insert({"push", "pull", "store", "worker"});  // they need a server: team_store_test
  for (const auto* commands : {&kOfDatabases, &kOfCaptures})
    for (const SandboxedCommand& command : *commands) known.insert(command.words.front());
  std::istringstream help(topspin({"--help"}).out);
  std::set<std::string> found;
  bool are_commands = false;
  for (std::string line; std::getline(help, line);) {
    if (!line.starts_with(" ")) are_commands = line == "Commands:";
    if (are_commands && line.size() > 2 && line[1] == ' ' && line[2] != ' ')
      found.insert(line.substr(2, line.find(' ', 2) - 2));
  }
  EXPECT_EQ(found, known);
}

class Sandboxed : public testing::TestWithParam<SandboxedCommand> {
 protected:
  void SetUp() override {
    five_pings().save(dir_.file("a.pcap"));
    for (const char* side : {"side=a", "side=b"})
      ASSERT_EQ(topspin({"read", dir_.file("a.pcap"), "--db", db(), "--label", side}).exit_code, 0);
  }
  std::string db() const { return dir_.file("t.db"); }
  TempDir dir_;
};

TEST_P(Sandboxed, BeforeItReadsTheDatabaseAndWorks) {
  const SandboxedCommand& command = GetParam();
  std::vector<std::string> words = {topspin_binary()};
  for (const std::string& word : command.words)
    words.push_back(word == "IN" ? db() : word == "OUT" ? dir_.file("out.db") : word);
  if (command.name != "merge") words.insert(words.end(), {"--db", db()});
  std::optional<DatabaseLock> lock(std::in_place, db());
  ASSERT_TRUE(lock->is_held());
  Process process(words);
  EXPECT_TRUE(gets_sandboxed(process.pid())) << status_of(process.pid());
  lock.reset();
  const Outcome outcome = process.finish();
  EXPECT_EQ(outcome.exit_code, command.exit_code) << outcome.err;
  EXPECT_THAT(outcome.out + outcome.err, HasSubstr(command.says));
}

INSTANTIATE_TEST_SUITE_P(All, Sandboxed, testing::ValuesIn(kOfDatabases),
                         [](const auto& test) { return test.param.name; });

/// libpcap also takes names that begin with a digit, and keywords behind a backslash.
TEST(SandboxedRead, OfAnUnknownNameIsAnErrorOfTheFilter) {
  TempDir dir;
  five_pings().save(dir.file("a.pcap"));
  for (const char* filter : {"host 1x.invalid", "host 1.2.3.4.5", "port 3com-tsmux-x"}) {
    const Outcome read = topspin({"read", dir.file("a.pcap"), filter});
    EXPECT_EQ(read.exit_code, 2) << filter << read.err;
    EXPECT_THAT(read.err, HasSubstr("unknown")) << filter;
  }
  EXPECT_EQ(topspin({"read", dir.file("a.pcap"), "ip proto \\udp"}).exit_code, 0);
}

TEST(SandboxedLive, TakesItsFilterFromAFile) {
  TempDir dir;
  five_pings().save(dir.file("a.pcap"));
  std::ofstream(dir.file("filter")) << "udp port 8888 # pings\n";
  const Outcome live =
      topspin({"live", "-r", dir.file("a.pcap"), "-F", dir.file("filter"), "--once"});
  EXPECT_EQ(live.exit_code, 0) << live.err;
  EXPECT_THAT(live.out, HasSubstr("8888"));
}

TEST(SandboxedList, DoesNotWaitForAPipeBesideItsDatabase) {
  TempDir dir;
  five_pings().save(dir.file("a.pcap"));
  ASSERT_EQ(topspin({"read", dir.file("a.pcap"), "--db", dir.file("t.db")}).exit_code, 0);
  ASSERT_EQ(::mkfifo(dir.file("t.db-journal").c_str(), 0666), 0);
  Process list({topspin_binary(), "list", "--db", dir.file("t.db")});
  EXPECT_NE(list.finish(std::chrono::seconds(30)).exit_code, 128 + SIGKILL);
}

TEST(SandboxedReport, OfRootReplacesAFileOfAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  TempDir dir;
  five_pings().save(dir.file("a.pcap"));
  ASSERT_EQ(topspin({"read", dir.file("a.pcap"), "--db", dir.file("t.db")}).exit_code, 0);
  const std::string output = dir.file("report.txt");
  std::ofstream(output) << "old";
  ASSERT_EQ(::chmod(output.c_str(), 0640), 0);
  ASSERT_EQ(::chown(output.c_str(), 65534, 65534), 0);
  const Outcome report =
      topspin({"report", "last", "--db", dir.file("t.db"), "--format", "text", "-o", output});
  EXPECT_EQ(report.exit_code, 0) << report.err;
  struct stat info {};
  ASSERT_EQ(::stat(output.c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 65534u);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
  EXPECT_GT(info.st_size, 3);
}

TEST(SandboxedReport, ThatIsKilledLeavesNothingHalfWritten) {
  TempDir dir;
  five_pings().save(dir.file("a.pcap"));
  ASSERT_EQ(topspin({"read", dir.file("a.pcap"), "--db", dir.file("t.db")}).exit_code, 0);
  const auto files = [&] {
    const std::filesystem::directory_iterator all(dir.path());
    return std::distance(begin(all), end(all));
  };
  ASSERT_EQ(files(), 2);
  const DatabaseLock lock(dir.file("t.db"));
  Process report({topspin_binary(), "report", "--db", dir.file("t.db"), "-o", dir.file("r.txt")});
  ASSERT_TRUE(gets_sandboxed(report.pid()));
  EXPECT_EQ(files(), 3);
  report.send(SIGKILL);
  EXPECT_EQ(report.finish().exit_code, 128 + SIGKILL);
  for (int i = 0; i < 2000 && files() != 2; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(files(), 2);
}

TEST(SandboxedReport, ThatIsKilledWhileItWaitsForItsKeeperLeavesNothingHalfWritten) {
  TempDir dir;
  five_pings().save(dir.file("a.pcap"));
  ASSERT_EQ(topspin({"read", dir.file("a.pcap"), "--db", dir.file("t.db")}).exit_code, 0);
  const DatabaseLock lock(dir.file("t.db"));
  Process report({topspin_binary(), "report", "--db", dir.file("t.db"), "-o", dir.file("r.txt")});
  const std::string pid = std::to_string(report.pid());
  pid_t keeper = 0;
  const auto finds_keeper = [&] {
    return bool(std::ifstream("/proc/" + pid + "/task/" + pid + "/children") >> keeper);
  };
  for (int i = 0; i < 20'000 && !finds_keeper(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_GT(keeper, 0);
  ASSERT_EQ(::kill(keeper, SIGSTOP), 0);
  ASSERT_TRUE(gets_sandboxed(report.pid()));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // it asks for the database
  report.send(SIGKILL);
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(report.pid()), &ended, WEXITED | WNOWAIT), 0);
  ASSERT_EQ(::kill(keeper, SIGCONT), 0);
  EXPECT_EQ(report.finish().exit_code, 128 + SIGKILL);
  const auto files = [&] {
    const std::filesystem::directory_iterator all(dir.path());
    return std::distance(begin(all), end(all));
  };
  for (int i = 0; i < 2000 && files() != 2; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(files(), 2);
}

/// The screen of replay, in a terminal of its own. The key e saves it to a file.
TEST(SandboxedScreen, ReplayShowsARunAndSavesIt) {
  TempDir dir;
  five_pings().save(dir.file("a.pcap"));
  ASSERT_EQ(topspin({"read", dir.file("a.pcap"), "--db", dir.file("t.db")}).exit_code, 0);
  int terminal = -1;
  winsize size{40, 120, 0, 0};
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, &size);
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    setenv("TERM", "xterm-256color", 1);
    if (chdir(dir.path().c_str()) == 0)
      execl(topspin_binary().c_str(), "topspin", "replay", "--db", "t.db", nullptr);
    _exit(127);
  }
  const UniqueFd owner(terminal);
  EXPECT_TRUE(gets_sandboxed(pid)) << status_of(pid);
  const auto saved = [&] {
    for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
      if (entry.path().filename().string().starts_with("topspin-")) return true;
    return false;
  };
  std::string shown;
  bool pressed = false, quit = false;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; (got = read(terminal, buffer.data(), buffer.size())) > 0;) {
    shown.append(buffer.data(), static_cast<size_t>(got));
    if (!pressed && shown.find("REPLAY") != std::string::npos)
      pressed = write(terminal, "ne", 2) == 2;  // names are looked up, too
    if (!quit && shown.find("written to") != std::string::npos) quit = write(terminal, "q", 1) == 1;
  }
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0) << shown;
  EXPECT_TRUE(quit && saved()) << shown;
}

/// A capture file that is read through a pipe, so that the command waits.
class SandboxedFile : public testing::TestWithParam<SandboxedCommand> {};

TEST_P(SandboxedFile, BeforeItReadsTheFileAndWorks) {
  TempDir dir;
  const std::string fifo = dir.file("a.pcap");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  five_pings().save(dir.file("same.pcap"));
  std::vector<std::string> words = {topspin_binary()};
  for (const std::string& word : GetParam().words) {
    words.push_back(word == "FILE"   ? fifo
                    : word == "SAME" ? dir.file("same.pcap")
                    : word == "OUT"  ? dir.file("out.db")
                                     : word);
  }
  Process process(words);
  EXPECT_TRUE(gets_sandboxed(process.pid())) << status_of(process.pid());
  five_pings().save(fifo);
  const Outcome outcome = process.finish();
  EXPECT_EQ(outcome.exit_code, GetParam().exit_code) << outcome.err;
  EXPECT_THAT(outcome.out + outcome.err, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(All, SandboxedFile, testing::ValuesIn(kOfCaptures),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace topspin::test
