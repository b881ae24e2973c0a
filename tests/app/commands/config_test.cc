// Configuration files and variables, by the real binary.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

class Config : public testing::Test {
 protected:
  void write(const std::string& text) const { std::ofstream(file()) << text; }
  std::string file() const { return directory_.file("config.toml"); }

  /// Runs topspin with the file, and with further variables.
  Outcome run(std::vector<std::string> words,
              const std::vector<std::string>& variables = {}) const {
    std::vector<std::string> all = {"env", "TOPSPIN_CONFIG=" + file()};
    all.insert(all.end(), variables.begin(), variables.end());
    all.push_back(topspin_binary());
    all.insert(all.end(), words.begin(), words.end());
    return test::run(all);
  }
  /// The value of "COMMAND --OPTION", and its source.
  std::pair<std::string, std::string> value(const std::string& command, const std::string& option,
                                            const std::vector<std::string>& variables = {}) const {
    const Json json = Json::parse(run({"config", "--format", "json"}, variables).out);
    for (const Json& one : json["values"]) {
      if (one["command"] == command && one["option"] == option)
        return {one["values"].empty() ? "" : one["values"][0], one["source"]};
    }
    return {};
  }
  /// What is said of a file that is refused.
  std::string refusal(const std::string& text) const {
    write(text);
    const Outcome refused = run({"list"});
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    return refused.err;
  }

  TempDir directory_;
};

TEST_F(Config, ShowsEachValueAndItsSource) {
  write("db = \"/srv/runs.db\"\n\n[record]\ninterval = \"500ms\"\n[load.http]\nclients = 7\n");
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(value("", "db"), Pair("/srv/runs.db", file() + ":1"));
  EXPECT_EQ(value("record", "interval"), Pair("500ms", file() + ":4"));
  EXPECT_EQ(value("load http", "clients"), Pair("7", file() + ":6"));
  const Outcome text = run({"config"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("record --interval    500ms         " + file() + ":4"));
}

TEST_F(Config, VariablesCountMoreThanFilesAndTheCommandLineMost) {
  write("db = \"/srv/runs.db\"\n[report]\nformat = \"json\"\n");
  EXPECT_EQ(value("report", "format", {"TOPSPIN_REPORT_FORMAT=html"}).second,
            "TOPSPIN_REPORT_FORMAT");
  EXPECT_EQ(value("", "db", {"TOPSPIN_DB=other.db"}).first, "other.db");
  // A database that is not there: its name is in the message.
  EXPECT_THAT(run({"report"}).err, HasSubstr("/srv/runs.db"));
  EXPECT_THAT(run({"report"}, {"TOPSPIN_DB=/a/other.db"}).err, HasSubstr("/a/other.db"));
  EXPECT_THAT(run({"report", "--db", "/a/third.db"}, {"TOPSPIN_DB=/a/other.db"}).err,
              HasSubstr("/a/third.db"));
}

TEST_F(Config, ReachesTheCommandThatItIsFor) {
  write("[report]\nformat = \"xml\"\n");
  const Outcome report = run({"report", "--db", "/nowhere.db"});
  EXPECT_EQ(report.exit_code, 2);
  EXPECT_THAT(report.err, HasSubstr("xml"));
  EXPECT_THAT(report.err, HasSubstr(file() + ":2"));
  EXPECT_THAT(run({"report", "--format", "json", "--db", "/nowhere.db"}).err,
              Not(HasSubstr("xml")));
  EXPECT_THAT(run({"list", "--db", "/nowhere.db"}).err, Not(HasSubstr("xml")));
  EXPECT_EQ(run({"report", "--help"}).exit_code, 0);
}

TEST_F(Config, AValueThatTheCommandRefusesIsNamed) {
  write("[record]\ninterval = \"soon\"\n");
  const Outcome record = run({"record", "-i", "lo", "--duration", "1s"});
  EXPECT_EQ(record.exit_code, 2);
  EXPECT_THAT(record.err, HasSubstr("--interval=soon; see topspin config"));
}

TEST_F(Config, FlagsAreTrueOrFalse) {
  write("[record]\nquiet = true\n[live]\nascii = false\n");
  EXPECT_EQ(value("record", "quiet").first, "true");
  EXPECT_EQ(value("live", "ascii").first, "false");
  EXPECT_EQ(value("record", "quiet", {"TOPSPIN_RECORD_QUIET=false"}).first, "false");
  EXPECT_EQ(value("live", "ascii", {"TOPSPIN_LIVE_ASCII=1"}).first, "true");
  EXPECT_THAT(refusal("[record]\nquiet = \"yes\"\n"), HasSubstr("write true or false"));
}

TEST_F(Config, UnknownNamesAreRefusedWithTheLineAndASuggestion) {
  EXPECT_THAT(refusal("\n[recrod]\ninterval = \"1s\"\n"),
              HasSubstr(file() + ":2: there is no command \"recrod\"; did you mean record?"));
  EXPECT_THAT(refusal("[record]\nintervall = \"1s\"\n"),
              HasSubstr(file() + ":2: record has no option \"intervall\"; did you mean interval?"));
  EXPECT_THAT(refusal("[load.htpp]\nclients = 1\n"), HasSubstr("did you mean http?"));
  EXPECT_THAT(refusal("list = 3\n"), HasSubstr("list is a command: write [list]"));
  EXPECT_THAT(refusal("db = [\"a\", \"b\"]\n"), HasSubstr("one db only"));
  EXPECT_THAT(refusal("interval = \"1s\"\n"), HasSubstr("there is no command \"interval\""));
  EXPECT_THAT(refusal("[record]\nhelp = true\n"), HasSubstr("record has no option \"help\""));
  EXPECT_THAT(refusal("[record]\ninterval = {}\n"), HasSubstr("has no option"));
  EXPECT_THAT(refusal("[record]\ninterval = []\n"), HasSubstr("needs a text, a number"));
  EXPECT_THAT(refusal("[[["), HasSubstr(file() + ":1:"));
  EXPECT_THAT(refusal("\"\\u001b]0;x\" = 1\n"), Not(HasSubstr("\x1b")));
}

TEST_F(Config, AnEmptyTextIsTheDefaultAndTakesNoWordOfTheCommandLine) {
  write("[report]\noutput = \"\"\n[record]\nlabel = \"\"\n");
  EXPECT_THAT(run({"report", "last", "--db", "/nowhere.db"}).err, HasSubstr("/nowhere.db"));
  EXPECT_THAT(run({"record", "-i", "no-such"}).err, Not(HasSubstr("--label")));
}

TEST_F(Config, AMessageAboutTheCommandLineBlamesNoFile) {
  write("[report]\nformat = \"html\"\n");
  EXPECT_THAT(run({"report", "--format", "mrkdown"}).err, Not(HasSubstr(file())));
}

TEST_F(Config, WithoutAFileNothingIsConfigured) {
  const Outcome none = run({"config"}, {"TOPSPIN_CONFIG="});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_THAT(none.out, HasSubstr("Nothing is configured"));
  const Outcome missing = run({"list"});
  EXPECT_EQ(missing.exit_code, 5);
  EXPECT_THAT(missing.err, HasSubstr("there is no such file"));
  const Outcome directory = run({"config"}, {"TOPSPIN_CONFIG=/"});
  EXPECT_EQ(directory.exit_code, 5);
  EXPECT_THAT(directory.err, HasSubstr("directory"));
}

TEST_F(Config, OfTheUserIsInItsHome) {
  const auto of_home = [](const std::string& variable) {
    return test::run({"env", "-u", "TOPSPIN_CONFIG", "-u", "XDG_CONFIG_HOME", variable,
                      topspin_binary(), "config"})
        .out;
  };
  EXPECT_THAT(of_home("HOME=/a/home"), HasSubstr("/a/home/.config/topspin/config.toml"));
  EXPECT_THAT(of_home("XDG_CONFIG_HOME=/else"), HasSubstr("/else/topspin/config.toml"));
  EXPECT_THAT(of_home("HOME=/a/home"), HasSubstr("/etc/topspin/config.toml"));
}

}  // namespace
}  // namespace topspin::test
