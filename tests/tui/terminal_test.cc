// The real binary in a real terminal (tmux), with a capture file. Needs no privilege.
#include <algorithm>
#include <csignal>
#include <fstream>
#include <random>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/support/pcap_writer.h"
#include "tests/support/privileges.h"
#include "tests/tui/tmux.h"

namespace topspin {
namespace {

using test::Tmux;

constexpr int64_t kSecond = 1'000'000'000;

class Terminal : public testing::Test {
 protected:
  void SetUp() override {
    if (!Tmux::available()) TOPSPIN_SKIP("needs tmux, as a terminal to be read back");
    test::PcapWriter pcap;
    // Sixty clients ping once per second for 20 s. The server answers after 200 us.
    for (int64_t second = 0; second < 20; ++second) {
      for (uint16_t client = 0; client < 60; ++client) {
        const int64_t at = 1'700'000'000 * kSecond + second * kSecond + client * 10'000'000;
        pcap.udp(at, static_cast<uint16_t>(40'000 + client), 8888, "ping");
        pcap.udp(at + 200'000, 8888, static_cast<uint16_t>(40'000 + client), "pong");
      }
    }
    file_ = files_.file("pings.pcap");
    pcap.save(file_);
  }

  std::string live(const std::string& more = "") const {
    return test::topspin_binary() + " live -r " + file_ + " --period 1s " + more;
  }
  /// Opens the screen at the end of the file.
  void open(Tmux& terminal, const std::string& more = "") const {
    terminal.command(live(more));
    ASSERT_TRUE(terminal.wait_for("REPLAY")) << terminal.screen();
    terminal.type("++++++++");  // 256 times as fast
    ASSERT_TRUE(terminal.wait_for("end")) << terminal.screen();
    terminal.key("1");
    ASSERT_TRUE(terminal.wait_for("Source")) << terminal.screen();
  }
  static pid_t pid_of(const Tmux& terminal) {
    const std::string shell = terminal.tmux({"display-message", "-p", "#{pane_pid}"}).out;
    const std::string children =
        test::run({"ps", "-o", "pid=,comm=", "--ppid", std::to_string(std::atoi(shell.c_str()))})
            .out;
    std::istringstream lines(children);
    for (std::string line; std::getline(lines, line);) {
      if (line.find("topspin") != std::string::npos) return std::atoi(line.c_str());
    }
    return -1;
  }
  /// Whether a colour (SGR parameters 30 to 49) is in a capture with escape sequences.
  static bool has_colours(const std::string& screen) {
    for (size_t at = 0; (at = screen.find("\x1b[", at)) != std::string::npos; ++at) {
      const std::string sequence = screen.substr(at + 2, screen.find('m', at) - at - 2);
      std::istringstream parameters(sequence);
      for (std::string parameter; std::getline(parameters, parameter, ';');) {
        const int number = std::atoi(parameter.c_str());
        if (number >= 30 && number <= 49 && number != 39 && number != 49) return true;
      }
    }
    return false;
  }

  static std::string fmt_hex(int byte) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    return {kDigits[static_cast<size_t>(byte) / 16 % 16], kDigits[static_cast<size_t>(byte) % 16]};
  }

  test::TempDir files_;
  std::string file_;
};

TEST_F(Terminal, ShowsTheFlowsAndGivesTheTerminalBack) {
  Tmux terminal;
  const std::string before = terminal.settings(), modes_before = terminal.modes();
  open(terminal);
  const std::string screen = terminal.screen();
  EXPECT_NE(screen.find("127.0.0.1:40000 127.0.0.1:8888"), std::string::npos) << screen;
  EXPECT_NE(screen.find("60 flows"), std::string::npos) << screen;
  EXPECT_NE(screen.find("60 shown"), std::string::npos) << screen;
  terminal.key("q");
  ASSERT_TRUE(terminal.wait_until([&] { return pid_of(terminal) < 0; }));
  EXPECT_EQ(terminal.modes(), modes_before);
  EXPECT_EQ(terminal.settings(), before);
  // The alternate screen is gone, and what was there before is back.
  EXPECT_NE(terminal.screen().find("READY>"), std::string::npos);
  EXPECT_EQ(terminal.screen().find("60 flows"), std::string::npos);
}

TEST_F(Terminal, KeysGoToTheScreens) {
  Tmux terminal(120, 40);
  open(terminal);
  terminal.type("/40033");
  EXPECT_TRUE(terminal.wait_for("search:"));
  terminal.key("Enter");
  EXPECT_TRUE(terminal.wait_for("follows: 40033")) << terminal.screen();
  terminal.key("Enter");
  EXPECT_TRUE(terminal.wait_for("127.0.0.1:40033 → 127.0.0.1:8888")) << terminal.screen();
  terminal.key("q");
  terminal.type("f");
  terminal.type("port 40007");
  terminal.key("Enter");
  EXPECT_TRUE(terminal.wait_for("shown: port 40007")) << terminal.screen();
  terminal.key("Down");
  EXPECT_TRUE(terminal.wait_for("1 shown")) << terminal.screen();
  EXPECT_NE(terminal.screen().find("60 flows"), std::string::npos);
  // A filter about packets cannot be applied to flows, so the old filter stays.
  terminal.type("f");
  for (int i = 0; i < 20; ++i) terminal.key("BSpace");
  terminal.type("tcp[13]=2");
  terminal.key("Enter");
  EXPECT_TRUE(terminal.wait_for("is about packets")) << terminal.screen();
  terminal.key("Down");
  EXPECT_TRUE(terminal.wait_for("1 shown")) << terminal.screen();
  terminal.key("5");
  EXPECT_TRUE(terminal.wait_for("a row is")) << terminal.screen();
  terminal.key("F1");
  EXPECT_TRUE(terminal.wait_for("Keys")) << terminal.screen();
  terminal.key("Escape");
  EXPECT_TRUE(terminal.wait_for("a row is")) << terminal.screen();
  terminal.key("4");
  EXPECT_TRUE(terminal.wait_for("active flows")) << terminal.screen();
  terminal.key("Space");
  EXPECT_TRUE(terminal.wait_for("FROZEN")) << terminal.screen();
  // A click on the first tab, as this kind of terminal sends it: button 0, column 3 and row 5, each
  // plus 32.
  terminal.tmux({"send-keys", "-H", "1b", "5b", "4d", "20", "23", "25"});
  EXPECT_TRUE(terminal.wait_for("Source")) << terminal.screen();
}

TEST_F(Terminal, PacketsOfAFlowAreThoseUpToTheMomentShown) {
  Tmux terminal(100, 40);
  open(terminal);
  terminal.type("f");
  terminal.type("port 40007");
  terminal.key("Enter");
  ASSERT_TRUE(terminal.wait_for("shown: port 40007")) << terminal.screen();
  terminal.key("Enter");
  ASSERT_TRUE(terminal.wait_for("Enter shows its packets")) << terminal.screen();
  terminal.key("Enter");
  EXPECT_TRUE(terminal.wait_for("70 6f 6e 67")) << terminal.screen();  // the last one is a pong
  EXPECT_TRUE(terminal.wait_for("19.000200")) << terminal.screen();
  terminal.key("Up");
  EXPECT_TRUE(terminal.wait_for("70 69 6e 67")) << terminal.screen();  // its ping
  // At an earlier moment there are fewer packets. The replay is paused first, because at this speed
  // it would reach the end again at once.
  terminal.key("Space");
  EXPECT_TRUE(terminal.wait_for("FROZEN")) << terminal.screen();
  terminal.type("g");
  terminal.type("0:03");
  terminal.key("Enter");
  EXPECT_TRUE(terminal.wait_for("3/20")) << terminal.screen();
  EXPECT_TRUE(terminal.wait_for("2.000200")) << terminal.screen();
  EXPECT_EQ(terminal.screen().find("4.000200"), std::string::npos) << terminal.screen();
}

TEST_F(Terminal, NamesTakeTheNumbersPlacesOnRequest) {
  if (test::run({"getent", "hosts", "127.0.0.1"}).out.find("localhost") == std::string::npos)
    TOPSPIN_SKIP("needs 127.0.0.1 to be localhost in the hosts file");
  Tmux terminal;
  open(terminal);
  EXPECT_EQ(terminal.screen().find("localhost"), std::string::npos);
  terminal.type("n");
  EXPECT_TRUE(terminal.wait_for("localhost:40000 localhost:8888")) << terminal.screen();
  terminal.type("n");
  EXPECT_TRUE(terminal.wait_for("127.0.0.1:40000 127.0.0.1:8888")) << terminal.screen();
}

TEST_F(Terminal, ClicksSortAndOpen) {
  Tmux terminal;
  open(terminal);
  const std::string screen = terminal.screen();
  const size_t rate = screen.find("Rate");
  const int column = static_cast<int>(rate - screen.rfind('\n', rate));
  const auto row = static_cast<int>(std::count(
                       screen.begin(), screen.begin() + static_cast<std::ptrdiff_t>(rate), '\n')) +
                   1;
  const auto click = [&](int x, int y) {
    const auto hex = [](int v) { return fmt_hex(v + 32); };
    // Press and release. Without a release, a terminal does not recognise the next click.
    terminal.tmux({"send-keys", "-H", "1b", "5b", "4d", "20", hex(x), hex(y)});
    terminal.tmux({"send-keys", "-H", "1b", "5b", "4d", "23", hex(x), hex(y)});
  };
  click(column, row);
  EXPECT_TRUE(terminal.wait_for("▼Rate")) << terminal.screen();
  click(column, row);
  EXPECT_TRUE(terminal.wait_for("▲Rate")) << terminal.screen();
  click(5, row + 3);
  EXPECT_TRUE(terminal.wait_for("reply, slowest")) << terminal.screen();
}

TEST_F(Terminal, ColoursComeFromAFileAndNoColorWins) {
  const std::string rules = files_.file("colors");
  std::ofstream(rules) << "# ours\n40000 Magenta\ndefault white\n";
  // 95 and 38;5;13 are the same bright magenta.
  const auto is_magenta = [](const std::string& screen) {
    return screen.find("[95m") != std::string::npos || screen.find("38;5;13m") != std::string::npos;
  };
  {
    Tmux terminal;
    open(terminal, "--colors " + rules);
    terminal.key("Down");
    EXPECT_TRUE(terminal.wait_until([&] { return is_magenta(terminal.screen_with_colours()); }, 10))
        << terminal.screen_with_colours();
  }
  {
    Tmux terminal(80, 24, "NO_COLOR=1");
    open(terminal, "--colors " + rules);
    EXPECT_FALSE(has_colours(terminal.screen_with_colours()));
  }
  std::ofstream(rules) << "http red\n";
  const auto refused = test::topspin({"live", "-r", file_, "--once", "--colors", rules});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("line 1"), std::string::npos) << refused.err;
  EXPECT_EQ(test::topspin({"live", "-r", file_, "--once", "--colors", "/nonexistent"}).exit_code,
            2);
}

TEST_F(Terminal, SurvivesTwoHundredResizes) {
  Tmux terminal;
  open(terminal);
  std::mt19937 random(5);
  for (int i = 0; i < 200; ++i) {
    const bool tiny = i % 10 == 0;
    terminal.resize(
        tiny ? 1 + static_cast<int>(random() % 4) : 1 + static_cast<int>(random() % 300),
        tiny ? 1 + static_cast<int>(random() % 4) : 1 + static_cast<int>(random() % 100));
    if (i % 7 == 0) terminal.key(std::to_string(1 + random() % 9));
  }
  ASSERT_GT(pid_of(terminal), 0) << terminal.screen();
  terminal.key("1");
  terminal.resize(80, 24);
  EXPECT_TRUE(terminal.wait_for("127.0.0.1:40000 127.0.0.1:8888")) << terminal.screen();
  EXPECT_TRUE(terminal.wait_for("60 flows   60 shown")) << terminal.screen();
  terminal.resize(3, 2);
  EXPECT_TRUE(terminal.wait_until([&] { return terminal.screen().starts_with("60\n"); }))
      << terminal.screen();
}

TEST_F(Terminal, SignalsLeaveTheTerminalAsItWas) {
  Tmux terminal;
  const std::string before = terminal.settings(), modes_before = terminal.modes();
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    open(terminal);
    const pid_t pid = pid_of(terminal);
    ASSERT_GT(pid, 0);
    kill(pid, number);
    ASSERT_TRUE(terminal.wait_until([&] { return pid_of(terminal) < 0; })) << number;
    EXPECT_EQ(terminal.modes(), modes_before) << number;
    EXPECT_EQ(terminal.settings(), before) << number;
    EXPECT_EQ(terminal.screen().find("60 flows"), std::string::npos) << number;
  }
}

TEST_F(Terminal, ACrashLeavesTheTerminalAsItWas) {
  Tmux terminal;
  const std::string before = terminal.settings(), modes_before = terminal.modes();
  for (const int number : {SIGSEGV, SIGABRT, SIGBUS, SIGUSR1, SIGALRM, SIGXCPU}) {
    open(terminal);
    const pid_t pid = pid_of(terminal);
    ASSERT_GT(pid, 0);
    kill(pid, number);
    ASSERT_TRUE(terminal.wait_until([&] { return pid_of(terminal) < 0; })) << number;
    // The shell sets its own modes when it notices that the program has ended.
    EXPECT_TRUE(terminal.wait_until([&] { return terminal.modes() == modes_before; })) << number;
    EXPECT_TRUE(terminal.wait_until([&] { return terminal.settings() == before; })) << number;
    terminal.shell("clear");
    terminal.shell("echo after");
    EXPECT_TRUE(terminal.wait_for("after"));
  }
}

TEST_F(Terminal, StopsAndContinues) {
  Tmux terminal;
  const std::string before = terminal.settings(), modes_before = terminal.modes();
  open(terminal);
  terminal.key("C-z");
  ASSERT_TRUE(terminal.wait_for("READY>")) << terminal.screen();
  EXPECT_EQ(terminal.modes(), modes_before);
  EXPECT_EQ(terminal.settings(), before);
  terminal.command("fg");
  ASSERT_TRUE(terminal.wait_for("60 flows")) << terminal.screen();
  EXPECT_TRUE(terminal.wait_for("127.0.0.1:40000 127.0.0.1:8888")) << terminal.screen();
  terminal.key("4");
  EXPECT_TRUE(terminal.wait_for("00:00:")) << terminal.screen();
  terminal.key("q");
  ASSERT_TRUE(terminal.wait_until([&] { return pid_of(terminal) < 0; }));
  EXPECT_EQ(terminal.modes(), modes_before);
  EXPECT_EQ(terminal.settings(), before);
}

TEST_F(Terminal, AHangUpEndsIt) {
  Tmux terminal;
  open(terminal);
  const pid_t pid = pid_of(terminal);
  ASSERT_GT(pid, 0);
  terminal.tmux({"kill-pane"});
  EXPECT_TRUE(terminal.wait_until([&] { return kill(pid, 0) != 0; }));
}

TEST_F(Terminal, NoColorMeansNoColours) {
  Tmux terminal(80, 24, "NO_COLOR=1");
  open(terminal);
  EXPECT_FALSE(has_colours(terminal.screen_with_colours())) << terminal.screen_with_colours();
  Tmux colourful(80, 24);
  open(colourful);
  EXPECT_TRUE(has_colours(colourful.screen_with_colours()));
}

TEST_F(Terminal, AsciiWhereTheLocaleSaysNoMore) {
  Tmux terminal(80, 24, "LC_ALL=C");
  open(terminal);
  for (const char c : terminal.screen()) {
    EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~')) << terminal.screen();
  }
}

TEST_F(Terminal, EightColoursAndForeignTerminals) {
  for (const char* term : {"xterm", "linux", "vt100", "screen", "xterm-256color"}) {
    Tmux terminal(80, 24, std::string("TERM=") + term);
    open(terminal);
    EXPECT_TRUE(terminal.wait_for("60 flows   60 shown")) << term << '\n' << terminal.screen();
  }
}

TEST_F(Terminal, ADumbOrUnknownTerminalIsRefusedInASentence) {
  Tmux terminal(80, 24, "TERM=dumb");
  terminal.command(live());
  EXPECT_TRUE(terminal.wait_for("can show no screen")) << terminal.screen();
  Tmux unknown(80, 24, "TERM=no-such-terminal");
  unknown.command(live());
  EXPECT_TRUE(unknown.wait_for("is not known")) << unknown.screen();
}

TEST_F(Terminal, WithoutATerminalOnceAndBatchPrintPlainText) {
  const auto once = test::topspin({"live", "-r", file_, "--period", "1s", "--once", "--rows", "5"});
  EXPECT_EQ(once.exit_code, 0) << once.err;
  EXPECT_NE(once.out.find("60 flows"), std::string::npos) << once.out;
  EXPECT_NE(once.out.find("127.0.0.1:40000"), std::string::npos);
  EXPECT_EQ(once.out.find('\x1b'), std::string::npos);
  const auto batch = test::topspin({"live", "-r", file_, "--batch", "3", "--screen", "liveness"});
  size_t pictures = 0;
  for (size_t at = 0; (at = batch.out.find("topspin ", at)) != std::string::npos; ++at) ++pictures;
  EXPECT_EQ(pictures, 3u) << batch.out;
  const auto none = test::topspin({"live", "-r", file_});
  EXPECT_EQ(none.exit_code, 4);
  EXPECT_NE(none.err.find("--once"), std::string::npos) << none.err;
}

TEST_F(Terminal, WhatCannotBeMeantIsRefused) {
  EXPECT_EQ(test::topspin({"live", "-r", file_, "--screen", "x"}).exit_code, 2);
  EXPECT_EQ(test::topspin({"live", "-r", file_, "--theme", "x"}).exit_code, 2);
  EXPECT_EQ(test::topspin({"live", "-r", "/no/such/file", "--once"}).exit_code, 5);
  EXPECT_EQ(test::topspin({"live", "--ascii", "--utf8", "-r", file_}).exit_code, 2);
}

}  // namespace
}  // namespace topspin
