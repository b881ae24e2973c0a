// A CI job on a toy repository with a slow commit, for tests of the script that CI jobs use.
#pragma once

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {

inline std::string contents(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

inline bool has_program(const std::string& program) {
  return test::run({"sh", "-c", "command -v " + program}).exit_code == 0;
}

/// A CI job run by ci/act-locally, as on GitHub.
class ActedJob : public testing::Test {
 protected:
  struct Change {
    std::string toy = "python";
    std::string commit = "slow";
    std::string most_pairs = "30";
    bool even_if_busy = false;
  };

  void SetUp() override {
    TOPSPIN_NEEDS_ROOT();
    for (const char* program : {"git", "python3"}) {
      if (!has_program(program)) GTEST_SKIP() << program << " is not installed";
    }
  }
  /// Runs act-locally with `before` in front of it, and reads the verdict into json_. Skips the
  /// test if the machine is busy.
  void act(std::vector<std::string> before, const Change& change) {
    before.insert(before.end(), {std::string(TOPSPIN_SOURCE_DIR) + "/ci/act-locally", "--out",
                                 artifact(""), "--toy", change.toy, "--commit", change.commit, "--",
                                 "--most-pairs", change.most_pairs});
    if (change.even_if_busy) before.emplace_back("--even-if-busy");
    Process process(before, [&] {
      setenv("TOPSPIN", topspin_binary().c_str(), 1);
      setenv("GITHUB_ACTIONS", "true", 1);
      setenv("GITHUB_STEP_SUMMARY", summary().c_str(), 1);
      setenv("GITHUB_OUTPUT", dir_.file("output").c_str(), 1);
    });
    outcome_ = process.finish(std::chrono::seconds(550));
    if (outcome_.exit_code == 3 && contents(artifact("gate.json")).empty())
      GTEST_SKIP() << "the machine is busy: " << outcome_.err;
    // The artifacts exist whatever the verdict is.
    for (const char* name :
         {"topspin.db", "gate.json", "gate.txt", "gate.md", "gate.xml", "report.html"})
      EXPECT_FALSE(contents(artifact(name)).empty()) << name << outcome_.out << outcome_.err;
    const std::string document = contents(artifact("gate.json"));
    json_ = nlohmann::json::parse(document, nullptr, false);
    ASSERT_TRUE(json_.is_object()) << document << outcome_.err;
    RecordProperty("verdict", json_["verdict"].get<std::string>());
    EXPECT_EQ(outcome_.exit_code, json_["exit_code"]) << outcome_.err;
    EXPECT_EQ(contents(dir_.file("output")),
              "verdict=" + json_["verdict"].get<std::string>() + "\n");
    EXPECT_TRUE(contents(artifact("gate.md")).starts_with("<!-- topspin ci topspin -->\n"));
    EXPECT_EQ(contents(summary()), contents(artifact("gate.md")));
    EXPECT_TRUE(outcome_.out.starts_with("::")) << "an annotation: " << outcome_.out;
  }
  /// How many runs were made.
  size_t runs() const {
    const Outcome list = topspin({"list", "--db", artifact("topspin.db"), "--format", "json"});
    return nlohmann::json::parse(list.out)["runs"].size();
  }
  std::string artifact(const std::string& name) const { return dir_.file("artifacts/" + name); }
  std::string summary() const { return dir_.file("summary.md"); }

  TempDir dir_;
  Outcome outcome_;
  nlohmann::json json_;
};

}  // namespace topspin::test
