// The real binary, live on lo with real packets, in a real terminal.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "tests/support/own_network.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/tui/tmux.h"

namespace topspin {
namespace {

using test::Outcome;
using test::TempDir;
using test::Tmux;
using test::topspin;

const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new test::OwnNetwork);

/// UDP clients on 127.0.0.1 that ping a socket of the test.
class Swarm {
 public:
  Swarm() : server_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(server_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    socklen_t length = sizeof address_;
    EXPECT_EQ(getsockname(server_.get(), reinterpret_cast<sockaddr*>(&address_), &length), 0);
  }
  void grow(size_t clients) {
    while (clients_.size() < clients) {
      clients_.emplace_back(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      ASSERT_TRUE(clients_.back().valid());
      ASSERT_EQ(
          connect(clients_.back().get(), reinterpret_cast<sockaddr*>(&address_), sizeof address_),
          0);
    }
  }
  void ping() {
    for (const UniqueFd& client : clients_) (void)!send(client.get(), "ping", 4, MSG_DONTWAIT);
    char buffer[16];
    while (recv(server_.get(), buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
    }
  }
  /// Pings every 200 ms until `condition` holds or `seconds` have passed.
  template <typename Condition>
  bool ping_until(Condition condition, int seconds = 30) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (std::chrono::steady_clock::now() < end) {
      ping();
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    return false;
  }
  int port() const { return ntohs(address_.sin_port); }

 private:
  UniqueFd server_;
  sockaddr_in address_{};
  std::vector<UniqueFd> clients_;
};

class LiveScreen : public testing::Test {
 protected:
  void SetUp() override {
    TOPSPIN_NEEDS_ROOT();
    if (!Tmux::available()) TOPSPIN_SKIP("needs tmux, as a terminal to be read back");
  }
  /// In ASCII, the second line of the head begins with the number of active flows.
  static bool shows_active(const Tmux& terminal, const std::string& number) {
    const std::string screen = terminal.screen();
    const size_t line = screen.find('\n') + 1;
    return screen.compare(line, number.size() + 3, " " + number + "  ") == 0;
  }
};

TEST_F(LiveScreen, CountsActiveFlowsExactlyWhateverIsShown) {
  Swarm swarm;
  swarm.grow(300);
  Tmux terminal(100, 30);
  const std::string before = terminal.settings();
  // Without a command, as users of trafshow would type it.
  terminal.command(test::topspin_binary() + " -i lo --ascii 'udp port " +
                   std::to_string(swarm.port()) + "'");
  ASSERT_TRUE(terminal.wait_for("waiting for the first tick")) << terminal.screen();
  EXPECT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "300"); })) << terminal.screen();
  EXPECT_TRUE(swarm.ping_until([&] {
    return terminal.screen().find("300 flows   300 shown") != std::string::npos;
  })) << terminal.screen();
  // No filter, order, grouping or purge changes the number.
  terminal.type("f");
  terminal.type("port 1");
  terminal.key("Enter");
  terminal.type("ssSa");
  swarm.grow(310);
  EXPECT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "310"); })) << terminal.screen();
  terminal.type("p");
  EXPECT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "310"); })) << terminal.screen();
  // When the clients stop, nothing is active.
  EXPECT_TRUE(terminal.wait_until([&] { return shows_active(terminal, "0"); }, 10))
      << terminal.screen();
  terminal.type("q");
  EXPECT_TRUE(terminal.wait_for("READY>"));
  EXPECT_EQ(terminal.settings(), before);
}

TEST_F(LiveScreen, AFrozenPictureStaysWhileCountingGoesOn) {
  Swarm swarm;
  swarm.grow(20);
  Tmux terminal(100, 30);
  terminal.command(test::topspin_binary() + " -i lo --ascii udp port " +
                   std::to_string(swarm.port()));
  ASSERT_TRUE(terminal.wait_for("waiting for the first tick")) << terminal.screen();
  ASSERT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "20"); })) << terminal.screen();
  terminal.key("Space");
  ASSERT_TRUE(terminal.wait_for("FROZEN"));
  swarm.grow(50);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(4);
  swarm.ping_until([&] { return std::chrono::steady_clock::now() > end; });
  EXPECT_TRUE(shows_active(terminal, "20")) << terminal.screen();
  terminal.key("Space");
  EXPECT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "50"); })) << terminal.screen();
}

TEST_F(LiveScreen, TheLastMinuteIsKeptByAKey) {
  const TempDir dir;
  Swarm swarm;
  swarm.grow(20);
  Tmux terminal(160, 30);
  terminal.command("TOPSPIN_DB=" + dir.file("kept.db") + " " + test::topspin_binary() +
                   " -i lo --ascii udp port " + std::to_string(swarm.port()));
  ASSERT_TRUE(terminal.wait_for("waiting for the first tick")) << terminal.screen();
  terminal.type("F");
  EXPECT_TRUE(terminal.wait_for("no tick yet to keep")) << terminal.screen();
  EXPECT_FALSE(std::filesystem::exists(dir.file("kept.db")));
  ASSERT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "20"); })) << terminal.screen();
  terminal.type("F");
  EXPECT_TRUE(swarm.ping_until([&] {
    return terminal.screen().find("incident kept in") != std::string::npos;
  })) << terminal.screen();
  terminal.type("q");
  EXPECT_TRUE(terminal.wait_for("READY>"));
  const Outcome list = topspin({"list", "--db", dir.file("kept.db"), "--wide"});
  EXPECT_NE(list.out.find("incident=by hand"), std::string::npos) << list.out;
  const Outcome report = topspin({"report", "last", "--db", dir.file("kept.db")});
  EXPECT_NE(report.out.find("INCIDENT"), std::string::npos) << report.out;
}

TEST_F(LiveScreen, ACommandsOutputWaitsForTheEndOfTheScreen) {
  Tmux terminal(100, 30);
  terminal.command(test::topspin_binary() +
                   " live -i lo --ascii udp port 9 -- sh -c 'echo printed-$((40+2)); exit 3'");
  EXPECT_TRUE(terminal.wait_for("exited 3")) << terminal.screen();
  EXPECT_EQ(terminal.screen().find("printed-42"), std::string::npos);
  terminal.type("q");
  EXPECT_TRUE(terminal.wait_for("printed-42")) << terminal.screen();
}

TEST_F(LiveScreen, TheSubjectsLastTickStaysAndItsSummaryFollows) {
  Swarm swarm;
  swarm.grow(25);
  Tmux terminal(100, 30);
  terminal.command(test::topspin_binary() + " live -i lo --ascii udp port " +
                   std::to_string(swarm.port()) + " -- sleep 4");
  ASSERT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "25"); })) << terminal.screen();
  ASSERT_TRUE(swarm.ping_until([&] {
    return terminal.screen().find("FROZEN") != std::string::npos;
  })) << terminal.screen();
  EXPECT_NE(terminal.screen().find("exited 0: its last tick is frozen"), std::string::npos)
      << terminal.screen();
  // More clients come, but the picture stays that of the subject's last tick until it is continued.
  swarm.grow(40);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  swarm.ping_until([&] { return std::chrono::steady_clock::now() > end; });
  EXPECT_TRUE(shows_active(terminal, "25")) << terminal.screen();
  terminal.key("Space");
  EXPECT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "40"); })) << terminal.screen();
  terminal.type("q");
  EXPECT_TRUE(terminal.wait_for(" ticks, 40 flows")) << terminal.screen();
}

TEST_F(LiveScreen, RecordsWhileShowing) {
  Swarm swarm;
  swarm.grow(25);
  Tmux terminal(100, 30);
  const std::string database = terminal.file("live.db");
  terminal.command(test::topspin_binary() + " live -i lo --ascii --db " + database + " udp port " +
                   std::to_string(swarm.port()));
  ASSERT_TRUE(terminal.wait_for("waiting for the first tick")) << terminal.screen();
  ASSERT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "25"); })) << terminal.screen();
  terminal.type("q");
  ASSERT_TRUE(terminal.wait_for("kept in")) << terminal.screen();
  const auto replay = test::topspin({"replay", "last", "--db", database, "--once"});
  EXPECT_EQ(replay.exit_code, 0) << replay.err;
  EXPECT_NE(replay.out.find("25 shown"), std::string::npos) << replay.out;
  // The same screens, in a terminal.
  terminal.command(test::topspin_binary() + " replay last --ascii --db " + database);
  EXPECT_TRUE(terminal.wait_for("REPLAY")) << terminal.screen();
  terminal.type("++++++++");
  EXPECT_TRUE(terminal.wait_for("25 shown")) << terminal.screen();
  terminal.type("w");
  terminal.type("q");
}

TEST_F(LiveScreen, PacketsOfTheFlowThatIsOpenComeAsTheyAreCaptured) {
  Swarm swarm;
  swarm.grow(30);
  Tmux terminal(100, 30);
  terminal.command(test::topspin_binary() + " -i lo --ascii udp port " +
                   std::to_string(swarm.port()));
  ASSERT_TRUE(terminal.wait_for("waiting for the first tick")) << terminal.screen();
  ASSERT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "30"); })) << terminal.screen();
  terminal.key("Enter");
  ASSERT_TRUE(terminal.wait_for("Enter shows its packets")) << terminal.screen();
  // The owner of the sockets is shown too.
  EXPECT_NE(terminal.screen().find("tui_live_test"), std::string::npos) << terminal.screen();
  terminal.key("Enter");
  EXPECT_TRUE(swarm.ping_until([&] {
    const std::string screen = terminal.screen();
    return screen.find("70 69 6e 67") != std::string::npos &&
           screen.find("->") != std::string::npos;
  })) << terminal.screen();
  // The counts stay the same.
  EXPECT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "30"); })) << terminal.screen();
}

TEST_F(LiveScreen, TheCaptureMovesToAnotherInterface) {
  Swarm swarm;
  swarm.grow(15);
  Tmux terminal(100, 30);
  const std::string filter = " udp port " + std::to_string(swarm.port());
  terminal.command(test::topspin_binary() + " -i any --ascii" + filter);
  ASSERT_TRUE(terminal.wait_for("waiting for the first tick")) << terminal.screen();
  ASSERT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "15"); })) << terminal.screen();
  terminal.type("9");
  ASSERT_TRUE(terminal.wait_for(">any")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for(" lo ")) << terminal.screen();
  terminal.key("Down");  // lo is the first interface after "any"
  terminal.key("Enter");
  EXPECT_TRUE(terminal.wait_for(">lo")) << terminal.screen();
  EXPECT_TRUE(swarm.ping_until([&] { return shows_active(terminal, "15"); })) << terminal.screen();
  terminal.type("1");
  // A message covers the counts until a key is pressed.
  EXPECT_TRUE(swarm.ping_until([&] {
    const std::string screen = terminal.screen();
    if (screen.find("topspin was stopped") != std::string::npos) terminal.type("r");
    return screen.find("15 flows   15 shown") != std::string::npos;
  })) << terminal.screen();
  terminal.type("q");
  ASSERT_TRUE(terminal.wait_for("READY>"));
  // A recorded run has only one interface.
  terminal.command(test::topspin_binary() + " live -i any --ascii --db " + terminal.file("one.db") +
                   filter);
  ASSERT_TRUE(terminal.wait_for("waiting for the first tick")) << terminal.screen();
  terminal.type("9");
  ASSERT_TRUE(terminal.wait_for(">any")) << terminal.screen();
  terminal.key("Down");
  terminal.key("Enter");
  EXPECT_TRUE(terminal.wait_for("has one interface")) << terminal.screen();
  EXPECT_NE(terminal.screen().find(">any"), std::string::npos);
}

/// The number after `label` in /proc/PID/status.
int64_t status_kib(int pid, const std::string& label) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(label)) return std::atoll(line.c_str() + label.size());
  }
  return -1;
}

TEST_F(LiveScreen, ProcessesAgreeWithProcAndPsAndSs) {
  Swarm swarm;
  swarm.grow(40);
  Tmux terminal(120, 30);
  const std::string filter = " udp port " + std::to_string(swarm.port());
  terminal.command(test::topspin_binary() + " -i lo --ascii" + filter);
  ASSERT_TRUE(terminal.wait_for("waiting for the first tick")) << terminal.screen();
  terminal.type("0");
  // There are 40 flows, and this process holds both ends of each.
  std::string line;
  const std::string pid = std::to_string(getpid());
  ASSERT_TRUE(swarm.ping_until([&] {
    const std::string screen = terminal.screen();
    const size_t end = screen.find(" " + pid + "\n");
    if (end == std::string::npos) return false;
    const size_t begin = screen.rfind('\n', end) + 1;
    line = screen.substr(begin, end - begin);
    std::istringstream words(line);
    std::string name, flows;
    words >> name >> flows;
    return name == "tui_live_test" && flows == "80" && line.find('%') != std::string::npos;
  })) << terminal.screen();
  // ss lists as many sockets of this process that are connected to that port.
  const auto ss = test::run({"ss", "-Hunp", "dport = :" + std::to_string(swarm.port())});
  if (ss.exit_code == 0) {
    size_t sockets = 0;
    for (size_t at = 0; (at = ss.out.find("pid=" + pid + ",", at)) != std::string::npos; ++at)
      ++sockets;
    EXPECT_EQ(sockets, 40u) << ss.out;
  }
  // The RSS agrees with /proc and ps to a tenth.
  const auto ps = test::run({"ps", "-o", "rss=", "-p", pid});
  ASSERT_EQ(ps.exit_code, 0) << ps.err;
  const auto rss_mib = static_cast<double>(status_kib(getpid(), "VmRSS:")) / 1024;
  EXPECT_NEAR(std::atof(ps.out.c_str()) / 1024, rss_mib, rss_mib / 10);
  const size_t unit = line.rfind(" MiB");
  ASSERT_NE(unit, std::string::npos) << line;
  EXPECT_NEAR(std::atof(line.c_str() + line.rfind(' ', unit - 1)), rss_mib, rss_mib / 10) << line;
  // Without a subject the screen shows the whole host, so there is also a process without a flow.
  EXPECT_NE(terminal.screen().find("topspin "), std::string::npos) << terminal.screen();
  EXPECT_NE(terminal.screen().find(" 0      0 B/s"), std::string::npos) << terminal.screen();
}

TEST_F(LiveScreen, TheProcessUnderTheCursorBecomesTheSubject) {
  Swarm swarm;
  swarm.grow(20);
  Tmux terminal(100, 30);
  const std::string before = terminal.settings();
  terminal.command(test::topspin_binary() + " -i lo --ascii udp port " +
                   std::to_string(swarm.port()));
  ASSERT_TRUE(terminal.wait_for("waiting for the first tick")) << terminal.screen();
  terminal.type("0");
  // This process has the most flows, so it is in the first row below the titles. A child of it that
  // has not yet become another program has its name and its sockets, but another pid.
  const std::string pid = std::to_string(getpid());
  ASSERT_TRUE(swarm.ping_until([&] {
    const std::string screen = terminal.screen();
    const size_t titles = screen.find(" Process (");
    const size_t row = screen.find('\n', std::min(titles, screen.size()));
    if (row == std::string::npos) return false;
    const std::string line = screen.substr(row + 1, screen.find('\n', row + 1) - row - 1);
    return line.starts_with(" tui_live_test ") && line.ends_with(" " + pid);
  })) << terminal.screen();
  terminal.type("w");
  const std::string subject = "pid " + pid;
  EXPECT_TRUE(swarm.ping_until([&] {
    const std::string screen = terminal.screen();
    return screen.find(subject) != std::string::npos && shows_active(terminal, "20");
  })) << terminal.screen();
  // Its threads are measured now.
  terminal.type("2");
  EXPECT_TRUE(swarm.ping_until([&] {
    const std::string screen = terminal.screen();
    return screen.find("Name (") != std::string::npos &&
           screen.find("tui_live_test") != std::string::npos;
  })) << terminal.screen();
  terminal.type("q");
  terminal.type("q");
  EXPECT_TRUE(terminal.wait_for("READY>")) << terminal.screen();
  EXPECT_EQ(terminal.settings(), before);
}

TEST_F(LiveScreen, ASignalToTheProgramEndsItsScreen) {
  Tmux terminal(100, 30);
  const std::string before = terminal.settings();
  terminal.command(test::topspin_binary() + " -i lo --ascii udp port 9 & echo $! > " +
                   terminal.file("pid") + "; fg");
  ASSERT_TRUE(terminal.wait_for("waiting for the first tick")) << terminal.screen();
  int pid = 0;
  std::ifstream(terminal.file("pid")) >> pid;
  ASSERT_GT(pid, 0);
  ASSERT_EQ(kill(pid, SIGTERM), 0);
  EXPECT_TRUE(terminal.wait_for("READY>")) << terminal.screen();
  EXPECT_EQ(terminal.settings(), before);
}

TEST_F(LiveScreen, WithoutATerminalALineATick) {
  const auto live = test::topspin(
      {"live", "-i", "lo", "--duration", "1500ms", "--interval", "200ms", "udp", "port", "9"});
  EXPECT_EQ(live.exit_code, 0) << live.err;
  EXPECT_GE(std::count(live.out.begin(), live.out.end(), '\n'), 5) << live.out;
  EXPECT_EQ(live.out.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace topspin
