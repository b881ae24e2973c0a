// The systemd unit: its command line, environment, user, mask and capabilities with the real
// binary, as far as setpriv can set them. release/check starts the unit with systemd.
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "tests/release/source_file.h"
#include "tests/support/own_network.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/udp_swarm.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using Words = std::vector<std::string>;

const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new OwnNetwork);

constexpr uid_t kUser = 64'321;  // nobody has it
constexpr mode_t kDirectoryMode = 0755;

Words words_of(const std::string& text) {
  std::istringstream stream(text);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

/// The words of each setting of a unit file. A setting that is repeated adds to its list.
std::map<std::string, Words> settings_of(const std::string& unit) {
  std::map<std::string, Words> settings;
  std::istringstream lines(unit);
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = line.find('=');
    if (equals == std::string::npos || line[0] == '#') continue;
    for (const std::string& word : words_of(line.substr(equals + 1)))
      settings[line.substr(0, equals)].push_back(word);
  }
  return settings;
}

/// For setpriv: "-all,+net_raw,+bpf".
std::string only(const Words& capabilities) {
  std::string list = "-all";
  for (const std::string& name : capabilities) {
    std::string lower = replaced(name, "CAP_", "");
    for (char& letter : lower) letter = static_cast<char>(std::tolower(letter));
    list += ",+" + lower;
  }
  return list;
}

class Service : public testing::Test {
 protected:
  const std::string text_ = contents("release/systemd/topspin-record@.service");
  std::map<std::string, Words> unit_ = settings_of(text_);
};

TEST_F(Service, SaysWhatItsPageSays) {
  const std::string page = contents("docs/service.md");
  for (const std::string& variable : unit_["Environment"]) {
    const size_t equals = variable.find('=');
    const std::string value = variable.substr(equals + 1);
    EXPECT_THAT(page, HasSubstr("| `" + variable.substr(0, equals) + "` | " +
                                (value == "%i" ? "the name after `@`" : "`" + value + "`")));
  }
  const Words& capabilities = unit_["AmbientCapabilities"];
  EXPECT_EQ(unit_["CapabilityBoundingSet"], capabilities);
  ASSERT_EQ(capabilities.size(), 3u);
  for (const std::string& name : capabilities) EXPECT_THAT(page, HasSubstr("`" + name + "`"));
  for (const std::string& code : unit_["RestartPreventExitStatus"])
    EXPECT_THAT(page, HasSubstr("(exit code " + code + ")"));
}

TEST_F(Service, IsWhatSystemdUnderstands) {
  if (test::run({"systemd-analyze", "--version"}).exit_code != 0)
    TOPSPIN_SKIP("systemd-analyze is not installed (package systemd)");
  const TempDir dir;
  const std::string file = dir.file("topspin-record@lo.service");
  std::ofstream(file) << replaced(text_, "ExecStart=topspin", "ExecStart=" + topspin_binary());
  const Outcome verified = test::run({"systemd-analyze", "verify", "--man=no", file});
  EXPECT_EQ(verified.exit_code, 0);
  EXPECT_EQ(verified.err, "");
}

/// Starts what the unit starts, as another user.
class RunningService : public Service {
 protected:
  void SetUp() override {
    TOPSPIN_NEEDS_ROOT();
    if (!OwnNetwork::why_not().empty()) TOPSPIN_SKIP(OwnNetwork::why_not());
    if (test::run({"setpriv", "--version"}).exit_code != 0)
      TOPSPIN_SKIP("setpriv is not installed (package util-linux)");
    // The build may be in a directory that this user cannot enter.
    std::filesystem::copy_file(topspin_binary(), dir_.file("topspin"));
    ASSERT_EQ(chmod(dir_.path().c_str(), kDirectoryMode), 0);
    std::filesystem::create_directories(dir_.file("state/topspin"));
    ASSERT_EQ(chown(dir_.file("state/topspin").c_str(), kUser, kUser), 0);
  }
  std::string specified(std::string text) const {
    return replaced(replaced(std::move(text), "%S", dir_.file("state")), "%i", "lo");
  }
  /// `more` is what the file of the settings adds.
  std::unique_ptr<Process> start(const Words& capabilities, const Words& filter,
                                 const std::map<std::string, std::string>& more) {
    Words line = {"setpriv",
                  "--reuid",
                  std::to_string(kUser),
                  "--regid",
                  std::to_string(kUser),
                  "--clear-groups",
                  "--inh-caps",
                  only(capabilities),
                  "--ambient-caps",
                  only(capabilities),
                  "--bounding-set",
                  only(capabilities),
                  "--no-new-privs"};
    for (const std::string& word : unit_["ExecStart"]) {
      if (word == "topspin")
        line.push_back(dir_.file("topspin"));
      else if (word == "$FILTER")
        line.insert(line.end(), filter.begin(), filter.end());
      else
        line.push_back(specified(word));
    }
    return std::make_unique<Process>(line, [&, this] {
      clearenv();
      setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
      setenv("TOPSPIN_CONFIG", "", 1);
      for (const std::string& variable : unit_["Environment"]) {
        const size_t equals = variable.find('=');
        setenv(variable.substr(0, equals).c_str(), specified(variable.substr(equals + 1)).c_str(),
               1);
      }
      for (const auto& [name, value] : more) setenv(name.c_str(), value.c_str(), 1);
      umask(static_cast<mode_t>(std::stoul(unit_["UMask"].front(), nullptr, 8)));
      if (chdir(specified(unit_["WorkingDirectory"].front()).c_str()) != 0) _exit(126);
    });
  }
  Json report() const {
    return Json::parse(
        test::topspin({"report", "last", "--db", database(), "--format", "json"}).out);
  }
  std::string database() const { return dir_.file("state/topspin/lo.db"); }

  TempDir dir_;
};

TEST_F(RunningService, RecordsWhatIsSentUntilItIsStopped) {
  UdpSwarm swarm(20);
  ASSERT_TRUE(swarm.ok());
  const auto recording =
      start(unit_["AmbientCapabilities"], {"udp", "port", std::to_string(swarm.port())},
            {{"TOPSPIN_RECORD_QUIET", "false"}, {"TOPSPIN_RECORD_PID", std::to_string(getpid())}});
  ASSERT_TRUE(recording->wait_for("active")) << recording->finish().err;
  swarm.ping_for(std::chrono::seconds(2));
  ASSERT_TRUE(recording->wait_for_more());
  recording->send(SIGTERM);
  const Outcome stopped = recording->finish();
  EXPECT_THAT(unit_["SuccessExitStatus"], Contains(std::to_string(stopped.exit_code)))
      << stopped.err;

  const Json json = report();
  EXPECT_EQ(json["run"]["status"], "complete");
  EXPECT_GT(swarm.sent(), 100u);
  EXPECT_EQ(json["summary"]["packets"], 2 * swarm.sent());
  EXPECT_EQ(json["summary"]["flows"], 20);
  // The best rung that this host has, found with more privilege.
  const Outcome best = test::topspin({"record", "-q", "-i", "lo", "--duration", "100ms", "--pid",
                                      std::to_string(getpid()), "--db", dir_.file("best.db")});
  ASSERT_EQ(best.exit_code, 0) << best.err;
  const Json with_more = Json::parse(
      test::topspin({"report", "last", "--db", dir_.file("best.db"), "--format", "json"}).out);
  for (size_t i = 0; i < with_more["probes"].size(); ++i)
    EXPECT_EQ(json["probes"][i]["rung"], with_more["probes"][i]["rung"]) << json["probes"][i];

  struct stat info {};
  ASSERT_EQ(stat(database().c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, kUser);
  EXPECT_EQ(info.st_mode & 0777, 0640u) << "its group may read it, others not";
}

TEST_F(RunningService, IsStartedAgainOnlyWhereThatCanHelp) {
  const Words& capabilities = unit_["AmbientCapabilities"];
  const Words& prevented = unit_["RestartPreventExitStatus"];
  const auto exit_code = [&](const Words& given, const Words& filter,
                             const std::map<std::string, std::string>& more) {
    return std::to_string(start(given, filter, more)->finish().exit_code);
  };
  EXPECT_THAT(prevented, Contains(exit_code(capabilities, {"udp", "prot", "53"}, {})));
  EXPECT_THAT(prevented,
              Contains(exit_code(capabilities, {}, {{"TOPSPIN_RECORD_INTERFACE", "nosuch"}})));
  EXPECT_THAT(prevented, Contains(exit_code({}, {}, {})));
  EXPECT_EQ(exit_code(capabilities, {}, {{"TOPSPIN_RECORD_DURATION", "200ms"}}), "0");
  EXPECT_THAT(prevented, Not(Contains("0")));
}

}  // namespace
}  // namespace topspin::test
