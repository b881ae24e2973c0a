// `list`, `rm` and `label`: which runs are shown, removed and labelled, and how runs are named.
#include <chrono>
#include <filesystem>
#include <regex>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <pty.h>

#include "tests/support/pcap_writer.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

/// The width of the widest line in terminal cells. Of what the tests write, only 漢 takes two
/// cells.
size_t widest_line(const std::string& text) {
  size_t widest = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    size_t cells = 0;
    for (size_t at = 0; at < line.size(); ++at) {
      if (line.compare(at, 3, "漢") == 0)
        cells += 2;
      else if ((static_cast<unsigned char>(line[at]) & 0xC0) != 0x80)
        ++cells;
    }
    widest = std::max(widest, cells);
  }
  return widest;
}

class Tidy : public testing::Test {
 protected:
  /// Makes four runs: n=0 to n=3.
  void SetUp() override {
    five_pings().save(dir_.file("a.pcap"));
    for (int i = 0; i < 4; ++i) {
      ASSERT_EQ(topspin({"read", dir_.file("a.pcap"), "--db", db(), "--label",
                         "n=" + std::to_string(i), "--label", i % 2 == 0 ? "even=yes" : "even=no"})
                    .exit_code,
                0);
    }
  }
  std::string db() const { return dir_.file("t.db"); }
  Outcome with_db(std::vector<std::string> words) const {
    words.insert(words.end(), {"--db", db()});
    return topspin(words);
  }
  std::vector<int> numbers(std::vector<std::string> words = {}) const {
    words.insert(words.begin(), {"list", "--format", "json"});
    std::vector<int> found;
    const Json list = Json::parse(with_db(words).out);
    for (const Json& run : list["runs"]) found.push_back(run["number"]);
    return found;
  }
  Json labels_of(int number) const {
    const Outcome run = with_db({"report", std::to_string(number), "--format", "json"});
    return Json::parse(run.out)["run"]["labels"];
  }
  TempDir dir_;
};

TEST_F(Tidy, EveryCommandNamesARunTheSameWay) {
  const Json list = Json::parse(with_db({"list", "--format", "json"}).out);
  const std::string second = list["runs"][1]["id"];
  for (const std::string& name :
       {std::string("2"), std::string("#2"), std::string("last~2"), second, std::string("n=1")}) {
    EXPECT_EQ(Json::parse(with_db({"report", name, "--format", "json"}).out)["run"]["id"], second)
        << name;
    const Outcome exported = with_db({"export", name, "--format", "csv", "--table", "runs"});
    EXPECT_THAT(exported.out, HasSubstr(second)) << name;
    EXPECT_EQ(with_db({"replay", name, "--once"}).exit_code, 0) << name;
    EXPECT_THAT(with_db({"report", name, "-o", dir_.file("r.md")}).err, IsEmpty()) << name;
  }
  const Outcome several = with_db({"replay", "even=yes", "--once"});
  EXPECT_EQ(several.exit_code, 2);
  EXPECT_THAT(several.err, HasSubstr("\"even=yes\" names 2 runs, but one is needed, such as #3"));
  EXPECT_THAT(with_db({"export", "even=yes", "--format", "hdr"}).err,
              HasSubstr("--format hdr exports one run, but 2 were named; give one, such as #3"));
  EXPECT_THAT(with_db({"export", "--format", "hdr", "--histogram", "reply_latnecy_ns"}).err,
              HasSubstr("did you mean reply_latency_ns?"));
  EXPECT_THAT(with_db({"report", "evne=yes"}).err, HasSubstr("did you mean \"even=yes\"?"));
  const Outcome misspelt = with_db({"report", "lsat"});
  EXPECT_THAT(misspelt.err, HasSubstr("did you mean \"last\"?"));
}

TEST_F(Tidy, ListFilters) {
  EXPECT_THAT(numbers(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(numbers({"-n", "2"}), ElementsAre(3, 4));
  EXPECT_THAT(numbers({"--label", "even=yes"}), ElementsAre(1, 3));
  EXPECT_THAT(numbers({"--label", "even=yes", "--label", "n=2"}), ElementsAre(3));
  EXPECT_THAT(numbers({"--status", "complete"}), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(numbers({"--status", "failed"}), IsEmpty());
  EXPECT_THAT(numbers({"--branch", "nowhere"}), IsEmpty());
  EXPECT_THAT(numbers({"--plan", "nowhere"}), IsEmpty());
  EXPECT_THAT(numbers({"--since", "1d"}), IsEmpty()) << "the file's packets are of 1970";
  EXPECT_THAT(numbers({"--since", "36500d"}), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(with_db({"list", "--since", "soon"}).exit_code, 2);
  const Outcome none = with_db({"list", "--label", "n=9"});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_THAT(none.err, HasSubstr("none of the 4 runs in " + db() + " matches"));
}

TEST_F(Tidy, ListFitsTheTerminalAndIsWholeInAPipe) {
  ASSERT_EQ(with_db({"label", "1", "note=" + std::string(300, 'x')}).exit_code, 0);
  ASSERT_EQ(with_db({"label", "3", "note=" + repeated("漢", 300)}).exit_code, 0);
  const Outcome piped = with_db({"list"});
  EXPECT_THAT(piped.out, HasSubstr(std::string(300, 'x')));
  EXPECT_THAT(piped.out, HasSubstr(repeated("漢", 300)));
  setenv("COLUMNS", "80", 1);
  const Outcome narrow = with_db({"list"});
  const Outcome wide = with_db({"list", "--wide"});
  setenv("COLUMNS", "40", 1);
  const Outcome narrowest = with_db({"list"});
  unsetenv("COLUMNS");
  EXPECT_EQ(wide.out, piped.out);
  EXPECT_THAT(narrow.out, HasSubstr("xx…\n"));
  EXPECT_THAT(narrow.out, HasSubstr("漢…\n"));
  EXPECT_THAT(narrow.out, HasSubstr("  #2  1970-01-01 00:00  "));
  EXPECT_THAT(narrowest.out, HasSubstr("(no room for: Started (UTC), Lasted,"));
  EXPECT_LE(widest_line(narrow.out), 80u) << narrow.out;
  EXPECT_LE(widest_line(narrowest.out), 40u) << narrowest.out;
}

TEST_F(Tidy, ListIsATableInMarkdown) {
  const Outcome list = with_db({"list", "-n", "1", "--format", "markdown"});
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_THAT(list.out, HasSubstr("| Run | Id | Started &#40;UTC&#41; |"));
  EXPECT_THAT(list.out, HasSubstr("| even=no n=3 "));
  EXPECT_THAT(list.err, IsEmpty());
}

TEST_F(Tidy, RemovesRunsAndKeepsTheNumbersOfOthers) {
  const Outcome asked = with_db({"rm", "2"});
  EXPECT_EQ(asked.exit_code, 2) << "nobody can be asked";
  EXPECT_THAT(asked.err, HasSubstr("add --yes to remove 1 run (#2)"));
  const Outcome removed = with_db({"rm", "2", "last", "--yes"});
  EXPECT_EQ(removed.exit_code, 0) << removed.err;
  EXPECT_THAT(removed.err, HasSubstr("removed #2 and #4; "));
  EXPECT_THAT(numbers(), ElementsAre(1, 3));
  EXPECT_EQ(with_db({"rm", "2", "--yes"}).exit_code, 2);
  EXPECT_EQ(with_db({"rm", "even=yes", "-y"}).exit_code, 0);
  EXPECT_THAT(numbers(), IsEmpty());
  EXPECT_THAT(with_db({"report"}).err, HasSubstr("holds no run yet"));
}

/// What a user at a terminal is asked, and what the answer does.
TEST_F(Tidy, AsksAtATerminal) {
  const auto answer = [&](const char* text) {
    int terminal = -1;
    const pid_t pid = forkpty(&terminal, nullptr, nullptr, nullptr);
    if (pid == 0) {
      const std::string program = topspin_binary(), path = db();
      execl(program.c_str(), "topspin", "rm", "1", "--db", path.c_str(), nullptr);
      _exit(127);
    }
    std::string seen;
    std::array<char, 4096> buffer{};
    ssize_t size = 0;
    bool answered = false;
    while ((size = read(terminal, buffer.data(), buffer.size())) > 0) {
      seen.append(buffer.data(), static_cast<size_t>(size));
      if (!answered && seen.find("[y/N] ") != std::string::npos) {
        answered = true;
        EXPECT_EQ(write(terminal, text, strlen(text)), static_cast<ssize_t>(strlen(text)));
      }
    }
    int status = 0;
    waitpid(pid, &status, 0);
    close(terminal);
    EXPECT_EQ(WEXITSTATUS(status), 0) << seen;
    EXPECT_THAT(seen, HasSubstr("Remove 1 run (#1) from"));
    return seen;
  };
  EXPECT_THAT(answer("\n"), HasSubstr("nothing was removed"));
  EXPECT_THAT(numbers(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(answer("y\n"), HasSubstr("removed #1"));
  EXPECT_THAT(numbers(), ElementsAre(2, 3, 4));
}

TEST_F(Tidy, ABaselineOfTheGateStays) {
  ASSERT_EQ(with_db({"accept", "2", "--because", "on purpose"}).exit_code, 0);
  const Outcome refused = with_db({"rm", "1", "2", "--yes"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("run #2 was accepted as a baseline"));
  EXPECT_THAT(numbers(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(with_db({"rm", "1", "2", "--yes", "--force"}).exit_code, 0);
  EXPECT_THAT(numbers(), ElementsAre(3, 4));
}

/// The runs of the fixture are from 1970, where their capture's clock stood.
TEST_F(Tidy, RemovesWhatIsOlderAndLeavesBaselines) {
  using std::chrono::system_clock;
  const int64_t now_ns = std::chrono::nanoseconds(system_clock::now().time_since_epoch()).count();
  PcapWriter recent;
  recent.udp(now_ns - 60'000'000'000ll, 1000, 8888, "PING");
  recent.save(dir_.file("recent.pcap"));
  ASSERT_EQ(topspin({"read", dir_.file("recent.pcap"), "--db", db()}).exit_code, 0);
  ASSERT_EQ(with_db({"accept", "2", "--because", "on purpose"}).exit_code, 0);

  EXPECT_THAT(with_db({"rm"}).err, HasSubstr("name a RUN, or give --before"));
  EXPECT_EQ(with_db({"rm", "--before", "soon", "--yes"}).exit_code, 2);
  EXPECT_THAT(with_db({"rm", "--before", "14d"}).err, HasSubstr("add --yes to remove 3 runs"));
  EXPECT_EQ(with_db({"rm", "last", "--before", "14d", "--yes"}).exit_code, 0);
  EXPECT_THAT(numbers(), ElementsAre(1, 2, 3, 4, 5)) << "the last one is younger";
  EXPECT_EQ(with_db({"rm", "3", "5", "--before", "14d", "--yes"}).exit_code, 0);
  EXPECT_THAT(numbers(), ElementsAre(1, 2, 4, 5));
  EXPECT_EQ(with_db({"rm", "--before", "14d", "--yes"}).exit_code, 0);
  EXPECT_THAT(numbers(), ElementsAre(2, 5));
  const Outcome none = with_db({"rm", "--before", "14d", "--yes"});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_THAT(none.err, HasSubstr("no run is old enough"));
  EXPECT_EQ(with_db({"rm", "--before", "30s", "--force", "--yes"}).exit_code, 0);
  EXPECT_THAT(numbers(), IsEmpty());
}

TEST_F(Tidy, LabelsAreSetChangedRemovedAndShown) {
  EXPECT_EQ(with_db({"label", "2", "note=two words", "n=9", "even="}).exit_code, 0);
  EXPECT_EQ(labels_of(2), (Json{{"n", "9"}, {"note", "two words"}}));
  EXPECT_EQ(labels_of(1), (Json{{"n", "0"}, {"even", "yes"}}));
  EXPECT_THAT(with_db({"list"}).out, HasSubstr("n=9 note=two words"));
  EXPECT_THAT(with_db({"report", "2"}).out, HasSubstr("two words"));
  EXPECT_EQ(with_db({"label", "even=yes", "kept=1"}).exit_code, 0);
  EXPECT_THAT(numbers({"--label", "kept=1"}), ElementsAre(1, 3));
  EXPECT_EQ(with_db({"label", "2"}).exit_code, 2);
  EXPECT_THAT(with_db({"label", "2", "nokey"}).err, HasSubstr("must be KEY=VALUE"));
  EXPECT_EQ(with_db({"label", "77", "a=b"}).exit_code, 2);
}

TEST_F(Tidy, TheDatabaseMayComeFirst) {
  const Outcome list = topspin({"--db", db(), "list", "-n", "1"});
  EXPECT_EQ(list.exit_code, 0) << list.err;
  EXPECT_THAT(list.out, HasSubstr("#4"));
  EXPECT_EQ(topspin({"--db=" + db(), "list"}).exit_code, 0);
}

}  // namespace
}  // namespace topspin::test
