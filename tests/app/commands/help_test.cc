// The help of every command fits a terminal, is grouped, and has examples of its own command.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/pcap_writer.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

const std::vector<std::vector<std::string>> kCommands = {{},
                                                         {"live"},
                                                         {"record"},
                                                         {"watch"},
                                                         {"read"},
                                                         {"ends"},
                                                         {"replay"},
                                                         {"run"},
                                                         {"ci"},
                                                         {"list"},
                                                         {"report"},
                                                         {"explain"},
                                                         {"export"},
                                                         {"sql"},
                                                         {"compare"},
                                                         {"gate"},
                                                         {"accept"},
                                                         {"label"},
                                                         {"rm"},
                                                         {"compact"},
                                                         {"merge"},
                                                         {"push"},
                                                         {"worker"},
                                                         {"pull"},
                                                         {"store"},
                                                         {"doctor"},
                                                         {"config"},
                                                         {"load"},
                                                         {"load", "http"},
                                                         {"load", "show"},
                                                         {"load", "udp-flood"},
                                                         {"load", "udp-pingpong"},
                                                         {"load", "tcp-connect"},
                                                         {"load", "accept-queue"},
                                                         {"load", "script"}};

std::string help_of(std::vector<std::string> words) {
  words.emplace_back("--help");
  const Outcome run = topspin(words);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return run.out;
}

TEST(Help, FitsEightyColumns) {
  for (const auto& words : kCommands) {
    std::istringstream lines(help_of(words));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  }
}

TEST(Help, EveryExampleIsOfItsCommand) {
  for (const auto& words : kCommands) {
    if (words.empty()) continue;
    const std::string help = help_of(words);
    const size_t examples = help.find("\nExamples:\n");
    ASSERT_NE(examples, std::string::npos) << words.front();
    std::istringstream lines(help.substr(examples + 1));
    std::string line;
    std::getline(lines, line);
    size_t count = 0;
    while (std::getline(lines, line) && line.starts_with("  ")) {
      ++count;
      if (line.starts_with("    ")) continue;  // continues the line before
      if (words.back() == "live" && line.starts_with("  topspin -")) continue;  // the default
      EXPECT_NE(line.find(words.back()), std::string::npos) << words.back() << ":" << line;
    }
    EXPECT_GT(count, 0u) << words.front();
  }
}

TEST(Help, GroupsOptionsAndSaysWhatTheyTake) {
  const std::string help = help_of({"record"});
  size_t at = 0;
  for (const char* group : {"\nCapture:\n", "\nSubject:\n", "\nTime:\n", "\nProbes:\n",
                            "\nStorage:\n", "\nDisplay:\n", "\nHelp:\n  -h, --help"}) {
    const size_t found = help.find(group, at);
    ASSERT_NE(found, std::string::npos) << group << help;
    at = found;
  }
  for (const char* option : {"-i, --interface INTERFACE", "--period DURATION", "--pid PID",
                             "--label KEY=VALUE", "--db FILE", "-s, --snaplen BYTES"})
    EXPECT_THAT(help, HasSubstr(option));
  const std::string load = help_of({"load", "http"});
  EXPECT_THAT(load, ContainsRegex("\nSchedule:\n  --stages STAGES .*\nMessages:\n  --path PATH "));
  EXPECT_THAT(load, HasSubstr("--connection keep-alive|close"));
  for (const auto& words : kCommands) {
    const std::string text = help_of(words);
    for (const char* type : {" TEXT:", " UINT", " TEXT ...", " WORD ", "REQUIRED"})
      EXPECT_THAT(text, Not(HasSubstr(type)));
  }
}

TEST(Help, SaysHowToStartAndWhereACommandStands) {
  EXPECT_THAT(help_of({}), HasSubstr("Usage: topspin [OPTIONS] [FILTER...]\n"
                                     "       topspin COMMAND [OPTIONS]\n"));
  EXPECT_THAT(help_of({"record"}),
              HasSubstr("Usage: topspin record [OPTIONS] [FILTER...] [-- COMMAND...]\n"));
  EXPECT_THAT(help_of({"rm"}), HasSubstr("Usage: topspin rm [OPTIONS] [RUN...]\n"));
}

TEST(Help, AMisspeltWordOfAChoiceIsNamedWithWhatItWasMeantToBe) {
  const auto refusal = [](std::vector<std::string> words) {
    const Outcome run = topspin(words);
    EXPECT_EQ(run.exit_code, 2) << words.front();
    return run.err;
  };
  EXPECT_THAT(refusal({"list", "--format", "jsno"}),
              HasSubstr("jsno is not one of text, markdown, json; did you mean json?"));
  EXPECT_THAT(refusal({"report", "--format", "markdwon"}), HasSubstr("did you mean markdown?"));
  EXPECT_THAT(refusal({"export", "--format", "opnmetrics"}),
              HasSubstr("did you mean openmetrics?"));
  EXPECT_THAT(refusal({"live", "--once", "--screen", "flwos"}), HasSubstr("did you mean flows?"));
  EXPECT_THAT(refusal({"live", "--once", "--theme", "drak"}), HasSubstr("did you mean dark?"));
  EXPECT_THAT(refusal({"list", "--status", "complet"}), HasSubstr("did you mean complete?"));
  EXPECT_THAT(refusal({"compare", "--better", "highr", "a", "b"}),
              HasSubstr("did you mean higher?"));
  EXPECT_THAT(refusal({"accept", "last", "--because", "x", "--metric", "cpu_ns_per_fow"}),
              HasSubstr("did you mean cpu_ns_per_flow?"));
}

bool has_program(const std::string& name) {
  return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0;
}

/// The completions are generated from the help. Each shell is asked what it would complete.
class Completion : public testing::Test {
 protected:
  /// Runs a script of a shell in which `topspin` is this build's, and a database has runs.
  Outcome shell(std::vector<std::string> command) const {
    command.insert(command.begin(),
                   {"env", "PATH=" TOPSPIN_BINARY_DIR ":" + std::string(std::getenv("PATH"))});
    return run(command);
  }
  static std::string file(const std::string& name) {
    return TOPSPIN_BINARY_DIR "/completion/" + name;
  }
};

TEST_F(Completion, OfBash) {
  if (!has_program("bash")) GTEST_SKIP() << "bash is not installed";
  const auto completed = [&](const std::string& words) {
    const Outcome done =
        shell({"bash", "-c",
               "source " + file("topspin") + "; COMP_WORDS=(topspin " + words +
                   "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _topspin; echo ${COMPREPLY[*]}"});
    EXPECT_EQ(done.exit_code, 0) << done.err;
    return done.out;
  };
  EXPECT_EQ(completed("rec"), "record\n");
  EXPECT_EQ(completed("help ga"), "gate\n");
  EXPECT_EQ(completed("record --int"), "--interface --interval\n");
  EXPECT_EQ(completed("-i lo --per"), "--period\n");
  EXPECT_EQ(completed("load ht"), "http\n");
  EXPECT_EQ(completed("load http --cl"), "--clients --closed\n");
  EXPECT_EQ(completed("report la"), "last\n");
  EXPECT_EQ(completed("read la"), "\n") << "bash then completes names of files";
  EXPECT_EQ(completed("record -i lo"), "lo\n");
  EXPECT_EQ(completed("record --probe scheduler=tp_"), "scheduler=tp_btf\n");
  EXPECT_EQ(completed("accept --metric reply_latency"), "reply_latency_ns\n");
  EXPECT_EQ(completed("sql --format ''"), "table csv json\n");
  EXPECT_EQ(completed("load http --connection k"), "keep-alive\n");
}

/// Labels come from databases, and databases from strangers.
TEST_F(Completion, OffersNoWordThatAShellWouldExecute) {
  const TempDir directory;
  five_pings().save(directory.file("a.pcap"));
  const std::string db = directory.file("t.db"), made = directory.file("made");
  const std::vector<std::string> hostile = {"a=$(touch " + made + ")",
                                            "b=`touch " + made + "`",
                                            "c=x;touch " + made,
                                            "-d=x",
                                            "e=\x1b]0;x",
                                            "f=two words"};
  std::vector<std::string> read = {"read",   directory.file("a.pcap"), "--db", db, "--label",
                                   "g=plain"};
  for (const std::string& label : hostile) read.push_back("--label=" + label);
  ASSERT_EQ(topspin(read).exit_code, 0);
  EXPECT_EQ(run({"env", "TOPSPIN_DB=" + db, topspin_binary(), "complete", "runs"}).out,
            "last\n1\ng=plain\n");
  if (!has_program("bash")) return;
  const Outcome done = shell({"env", "TOPSPIN_DB=" + db, "bash", "-c",
                              "source " + file("topspin") +
                                  "; COMP_WORDS=(topspin report ''); COMP_CWORD=2; _topspin; echo "
                                  "${COMPREPLY[*]}"});
  EXPECT_EQ(done.out, "last 1 g=plain\n");
  EXPECT_FALSE(std::filesystem::exists(made));
}

TEST_F(Completion, OfFish) {
  if (!has_program("fish")) GTEST_SKIP() << "fish is not installed";
  const auto completed = [&](const std::string& line) {
    const Outcome done =
        shell({"fish", "-c", "source " + file("topspin.fish") + "; complete -C '" + line + "'"});
    EXPECT_EQ(done.exit_code, 0) << done.err;
    return done.out;
  };
  EXPECT_THAT(completed("topspin rec"), HasSubstr("record\tRecord traffic"));
  EXPECT_THAT(completed("topspin record --int"), ContainsRegex("--interface\t.*\n--interval\t"));
  EXPECT_THAT(completed("topspin -i lo --per"), HasSubstr("--period"));
  EXPECT_THAT(completed("topspin load ht"), HasSubstr("http\t"));
  EXPECT_THAT(completed("topspin load http --cl"), ContainsRegex("--clients\t.*\n--closed\t"));
  EXPECT_THAT(completed("topspin report la"), HasSubstr("last"));
  EXPECT_THAT(completed("topspin record -i l"), HasSubstr("lo\t"));
  EXPECT_THAT(completed("topspin record --probe scheduler=tp"), HasSubstr("scheduler=tp_btf\t"));
  EXPECT_THAT(completed("topspin sql --format j"), HasSubstr("json"));
}

/// zsh completes only in a terminal: one is made, a tab is typed into it, and what it shows is
/// read.
TEST_F(Completion, OfZsh) {
  if (!has_program("zsh")) GTEST_SKIP() << "zsh is not installed";
  const auto completed = [&](const std::string& line) {
    const Outcome done = shell(
        {"zsh", "-f", "-c",
         "zmodload zsh/zpty\n"
         "zpty shell zsh -f -i\n"
         "zpty -w shell \"PS1= PS2=; unset zle_bracketed_paste; autoload -U compinit; compinit -u "
         "-D; source $1; echo REA''DY\"\n"
         "zpty -r -m shell out '*READY*'\n"
         "zpty -w -n shell \"$2\"$'\\t'\n"
         "for i in {1..100}; do\n"  // until what it shows ends with what is expected, for 10 s
         "  sleep 0.1; zpty -r -t shell more && out+=$more\n"
         "  [[ $out == *$3* ]] && break\n"
         "done\n"
         "print -r -- \"$out\"\n",
         "zsh", file("_topspin"), line.substr(0, line.find('|')), line.substr(line.find('|') + 1)});
    return done.out;
  };
  EXPECT_THAT(completed("topspin rec|topspin record"), HasSubstr("topspin record"));
  EXPECT_THAT(completed("topspin record --int|--inter"), HasSubstr("topspin record --inter"));
  EXPECT_THAT(completed("topspin load ht|load http"), HasSubstr("topspin load http"));
  EXPECT_THAT(completed("topspin load http --cl|--closed "), HasSubstr("--closed   --"));
  EXPECT_THAT(completed("topspin report la|report last"), HasSubstr("topspin report last"));
  EXPECT_THAT(completed("topspin sql --format j|format json"), HasSubstr("--format json"));
}

/// The build generates the manual pages from the help and from documents.
class ManualPages : public testing::Test {
 protected:
  static std::string text_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  static void check(const std::string& path) {
    if (!has_program("mandoc")) return;
    const Outcome checked = run({"mandoc", "-Tlint", "-Wwarning", path});
    EXPECT_EQ(checked.exit_code, 0) << path;
    EXPECT_EQ(checked.out + checked.err, "") << path;
  }
};

TEST_F(ManualPages, AreThereForEveryCommandAndHaveItsOptions) {
  for (const auto& words : kCommands) {
    std::string name = "topspin";
    for (const std::string& word : words) name += "-" + word;
    const std::string path = std::string(TOPSPIN_BINARY_DIR) + "/man/" + name + ".1";
    const std::string text = text_of(path);
    EXPECT_NE(text.find(".SH SYNOPSIS"), std::string::npos) << path;
    EXPECT_NE(text.find("\\-\\-help"), std::string::npos) << path;
    check(path);
  }
}

TEST_F(ManualPages, OfFilesHaveTheirDocuments) {
  if (!has_program("lowdown")) GTEST_SKIP() << "lowdown is not installed";
  const std::vector<std::pair<std::string, std::string>> pages = {
      {"topspin.toml", "TOPSPIN_CONFIG"}, {"topspin-plan", "warm_up"}, {"topspin-db", "WAL mode"}};
  for (const auto& [name, word] : pages) {
    const std::string path = std::string(TOPSPIN_BINARY_DIR) + "/man5/" + name + ".5";
    const std::string text = text_of(path);
    EXPECT_THAT(text, HasSubstr(word)) << path;
    EXPECT_THAT(text, HasSubstr(".SH NAME\n" + name + " \\- ")) << path;
    check(path);
  }
}

}  // namespace
}  // namespace topspin::test
