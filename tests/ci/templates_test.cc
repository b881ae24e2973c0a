// The templates that users' CI includes, read as YAML by Python: their structure, what they call
// and what they ask for. The gate step of the action runs as on GitHub, with a stand-in for
// run-gate (real_gate_test.cc runs the real one).
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::Not;

std::string source(const std::string& path) { return TOPSPIN_SOURCE_DIR "/" + path; }

std::string contents(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

/// Every text between an `open` and the next `close`.
std::set<std::string> all_between(const std::string& text, const std::string& open,
                                  const std::string& close) {
  std::set<std::string> found;
  for (size_t at = 0; (at = text.find(open, at)) != std::string::npos;) {
    at += open.size();
    found.insert(text.substr(at, text.find(close, at) - at));
  }
  return found;
}

class Templates : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* python : {"python3", "/usr/bin/python3"}) {
      if (test::run({python, "-c", "import yaml"}).exit_code == 0) python_ = python;
    }
    if (python_.empty()) GTEST_SKIP() << "Python's yaml is not installed (package python3-yaml)";
  }
  Json yaml(const std::string& path) const {
    const Outcome read = test::run(
        {python_, "-c",
         "import json,sys,yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))", path});
    EXPECT_EQ(read.exit_code, 0) << read.err;
    return Json::parse(read.out, nullptr, false);
  }
  void expect_shell(const std::string& shell, const std::string& script) const {
    const std::string file = dir_.file("script");
    std::ofstream(file) << script;
    const Outcome checked = test::run({shell, "-n", file});
    EXPECT_EQ(checked.exit_code, 0) << checked.err << script;
  }
  static void expect_no_secret(const std::string& text) {
    for (const char* word : {"secrets.", "github.token", "GITHUB_TOKEN", "CI_JOB_TOKEN"})
      EXPECT_THAT(text, Not(HasSubstr(word)));
  }
  static void expect_program(const std::string& path) {
    const auto mode = std::filesystem::status(source(path)).permissions();
    EXPECT_NE(mode & std::filesystem::perms::owner_exec, std::filesystem::perms::none) << path;
  }
  std::string python_;
  TempDir dir_;
};

TEST_F(Templates, TheGitHubActionIsWhole) {
  const std::string text = contents(source("ci/github/action.yml"));
  const Json action = yaml(source("ci/github/action.yml"));
  EXPECT_FALSE(action["name"].get<std::string>().empty());
  EXPECT_FALSE(action["description"].get<std::string>().empty());
  EXPECT_EQ(action["runs"]["using"], "composite");
  std::set<std::string> ids;
  for (const Json& step : action["runs"]["steps"]) {
    EXPECT_NE(step.contains("run"), step.contains("uses")) << step;
    if (step.contains("id")) ids.insert(step["id"]);
    if (!step.contains("run")) continue;
    EXPECT_EQ(step.value("shell", ""), "bash") << "a composite's step must name its shell";
    const std::string script = step["run"];
    EXPECT_THAT(script, Not(HasSubstr("${{"))) << "inputs are hostile text in a script";
    expect_shell("bash", script);
  }
  // Every input is used, and every used input exists.
  std::set<std::string> declared;
  for (const auto& [name, input] : action["inputs"].items()) {
    declared.insert(name);
    EXPECT_TRUE(input.contains("default")) << name << " has no default";
    EXPECT_TRUE(input.contains("description")) << name;
  }
  EXPECT_EQ(all_between(text, "${{ inputs.", " }}"), declared);
  for (const std::string& output : all_between(text, "${{ steps.", ".outputs"))
    EXPECT_TRUE(ids.contains(output)) << output;
  // The programs beside the action are called, and exist.
  for (const char* program : {"cmake/setup", "cmake/build"}) {
    EXPECT_THAT(text, HasSubstr(program));
    expect_program(program);
  }
  EXPECT_THAT(text, HasSubstr("$GITHUB_ACTION_PATH/../run-gate"));
  expect_program("ci/run-gate");
  expect_no_secret(text);
  // The artifact is kept whatever the verdict is.
  const Json& last = action["runs"]["steps"].back();
  EXPECT_EQ(last["if"], "always()");
  EXPECT_THAT(last["uses"].get<std::string>(), HasSubstr("upload-artifact"));
}

TEST_F(Templates, TheActionsGateStepHandsItsInputsOn) {
  const Json action = yaml(source("ci/github/action.yml"));
  Json gate;
  for (const Json& step : action["runs"]["steps"]) {
    if (step.value("id", "") == "gate") gate = step;
  }
  ASSERT_TRUE(gate.is_object());
  std::filesystem::create_directories(dir_.file("topspin/ci/github"));
  const std::string stand_in = dir_.file("topspin/ci/run-gate");
  std::ofstream(stand_in) << "#!/bin/sh\n"
                             "printf '%s\\n' \"$@\" >\"$ARGUMENTS\"\n"
                             "while [ \"$1\" != --out ]; do shift; done\n"
                             "mkdir -p \"$2\"\n"
                             "echo '  \"verdict\": \"fail\",' >\"$2/gate.json\"\n"
                             "exit 1\n";
  std::filesystem::permissions(stand_in, std::filesystem::perms::owner_all);
  const std::string plan = "a b$(touch pwned)'\".toml";
  const std::map<std::string, std::string> inputs = {{"plan", plan},       {"base", "b"},
                                                     {"head", "h"},        {"pairs", "11"},
                                                     {"most-pairs", "22"}, {"strict", "true"}};
  Process process(
      {"bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", gate["run"].get<std::string>()},
      [&] {
        if (chdir(dir_.path().c_str()) != 0) _exit(126);
        setenv("GITHUB_ACTION_PATH", dir_.file("topspin/ci/github").c_str(), 1);
        setenv("GITHUB_OUTPUT", dir_.file("output").c_str(), 1);
        setenv("RUNNER_TEMP", dir_.path().c_str(), 1);
        setenv("ARGUMENTS", dir_.file("arguments").c_str(), 1);
        for (const auto& [name, expression] : gate["env"].items()) {
          const std::string text = expression;  // ${{ inputs.NAME }}
          const std::string input = text.substr(11, text.size() - 14);
          setenv(name.c_str(), inputs.at(input).c_str(), 1);
        }
      });
  const Outcome run = process.finish();
  EXPECT_EQ(run.exit_code, 1) << "the gate's exit code is the step's: " << run.err;
  EXPECT_EQ(contents(dir_.file("output")), "verdict=fail\n");
  EXPECT_EQ(contents(dir_.file("arguments")),
            "--plan\n" + plan + "\n--base\nb\n--head\nh\n--pairs\n11\n--most-pairs\n22\n--out\n" +
                dir_.file("topspin-gate") + "\n--strict\n");
  EXPECT_FALSE(std::filesystem::exists(dir_.file("pwned")));
}

TEST_F(Templates, TheGitLabTemplateIsWhole) {
  const std::string text = contents(source("ci/gitlab/topspin.yml"));
  const Json job = yaml(source("ci/gitlab/topspin.yml"))[".topspin-gate"];
  ASSERT_TRUE(job.is_object());
  for (const char* part : {"before_script", "script"}) {
    ASSERT_TRUE(job[part].is_array()) << part;
    for (const Json& line : job[part]) expect_shell("sh", line);
  }
  EXPECT_EQ(job["artifacts"]["when"], "always");
  const std::string out = "topspin-gate";
  EXPECT_EQ(job["artifacts"]["paths"][0], out + "/");
  EXPECT_EQ(job["artifacts"]["reports"]["junit"], out + "/gate.xml");
  EXPECT_THAT(job["script"].back().get<std::string>(), HasSubstr("--out " + out));
  EXPECT_EQ(job["variables"]["GIT_DEPTH"], "0") << "the merge base must be in the history";
  // It sets all of its own variables, except the one that the user must set.
  std::set<std::string> used = all_between(text, "$TOPSPIN_", "\"");
  for (const std::string& name : used) {
    const std::string whole = "TOPSPIN_" + name.substr(0, name.find_first_of(" \n"));
    EXPECT_TRUE(job["variables"].contains(whole) || whole == "TOPSPIN_SOURCE") << whole;
  }
  for (const char* program : {"cmake/setup", "cmake/build", "ci/run-gate"}) {
    EXPECT_THAT(text, HasSubstr(program));
    expect_program(program);
  }
  expect_no_secret(text);
}

/// The templates and act-locally pass run-gate only options that it has.
TEST_F(Templates, RunGateHasTheOptionsThatTheyPass) {
  const std::string usage = contents(source("ci/run-gate"));
  for (const char* file : {"ci/github/action.yml", "ci/gitlab/topspin.yml", "ci/act-locally"}) {
    const std::string text = contents(source(file));
    const std::string call =
        text.substr(text.find("run-gate\" --") != std::string::npos ? text.find("run-gate\" --")
                                                                    : text.find("run-gate --"));
    for (const char* option : {"plan", "base", "head", "pairs", "most-pairs", "out"}) {
      EXPECT_THAT(call, HasSubstr(std::string("--") + option + " ")) << file;
      EXPECT_THAT(usage, HasSubstr(std::string("--") + option + " ")) << option;
    }
  }
  EXPECT_EQ(test::run({source("ci/run-gate")}).exit_code, 2);
  EXPECT_EQ(test::run({source("ci/run-gate"), "--plan", "nosuch", "--base", "b"}).exit_code, 2);
}

TEST_F(Templates, TheDocumentedWorkflowsNameWhatThereIs) {
  const std::string page = contents(source("docs/ci.md"));
  const Json action = yaml(source("ci/github/action.yml"));
  int examples = 0;
  for (const std::string& text : all_between(page, "```yaml\n", "```")) {
    const std::string file = dir_.file("example" + std::to_string(++examples));
    std::ofstream(file) << text;
    const Json example = yaml(file);
    ASSERT_EQ(example.size(), example.contains("jobs") ? 3u : 1u) << text;
    if (!example.contains("jobs")) {
      EXPECT_EQ(example["performance"]["extends"], ".topspin-gate");
      continue;
    }
    EXPECT_EQ(example["permissions"], Json({{"contents", "read"}}));
    const Json& step = example["jobs"]["performance"]["steps"].back();
    EXPECT_THAT(step["uses"].get<std::string>(), HasSubstr("/ci/github@"));
    for (const auto& [name, value] : step["with"].items())
      EXPECT_TRUE(action["inputs"].contains(name)) << name;
  }
  EXPECT_EQ(examples, 2);
}

}  // namespace
}  // namespace topspin::test
