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
  void SetUp() override {
    TOPSPIN_NEEDS_ROOT();
    for (const char* program : {"git", "python3"}) {
      if (!has_program(program)) GTEST_SKIP() << program << " is not installed";
    }
  }
  /// Runs act-locally with `before` in front of it, and reads the verdict into json_.
  void act(std::vector<std::string> before, const std::string& pairs) {
    before.insert(before.end(),
                  {std::string(TOPSPIN_SOURCE_DIR) + "/ci/act-locally", "--out", artifact("")});
    Process process(before, [&] {
      setenv("TOPSPIN", topspin_binary().c_str(), 1);
      setenv("PAIRS", pairs.c_str(), 1);
      setenv("MOST_PAIRS", pairs.c_str(), 1);
      setenv("GITHUB_ACTIONS", "true", 1);
      setenv("GITHUB_STEP_SUMMARY", summary().c_str(), 1);
    });
    outcome_ = process.finish(std::chrono::seconds(300));
    // The artifacts exist whatever the verdict is.
    for (const char* name :
         {"topspin.db", "gate.json", "gate.txt", "gate.md", "gate.xml", "report.html"})
      EXPECT_FALSE(contents(artifact(name)).empty()) << name << outcome_.out << outcome_.err;
    const std::string document = contents(artifact("gate.json"));
    json_ = nlohmann::json::parse(document, nullptr, false);
    ASSERT_TRUE(json_.is_object()) << document << outcome_.err;
    RecordProperty("verdict", json_["verdict"].get<std::string>());
    EXPECT_EQ(outcome_.exit_code, json_["exit_code"]) << outcome_.err;
    EXPECT_NE(json_["verdict"], "pass") << document;
    EXPECT_FALSE(contents(summary()).empty());
    EXPECT_TRUE(outcome_.out.starts_with("::")) << "an annotation: " << outcome_.out;
    // The baseline is the merge base: main's newest commit, which does nothing, is not in it.
    const Outcome list = topspin({"list", "--db", artifact("topspin.db"), "--format", "json"});
    EXPECT_EQ(nlohmann::json::parse(list.out)["runs"].size(), 2 * std::stoul(pairs));
  }
  std::string artifact(const std::string& name) { return dir_.file("artifacts/" + name); }
  std::string summary() { return dir_.file("summary.md"); }

  TempDir dir_;
  Outcome outcome_;
  nlohmann::json json_;
};

}  // namespace topspin::test
