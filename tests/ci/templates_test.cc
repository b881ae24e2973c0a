// The templates that users' CI includes, read as YAML by Python: their structure, what they call
// and what they ask for. Steps of the action run as on GitHub, with stand-ins for the programs that
// they call (acted_job_test.cc runs the real ones).
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/yaml.h"

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
    python_ = python_with_yaml();
    if (python_.empty()) GTEST_SKIP() << "Python's yaml is not installed (package python3-yaml)";
  }
  Json yaml(const std::string& path) const { return read_yaml(python_, path); }
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
  for (const std::string program : {"run-gate", "post-comment"}) {
    EXPECT_THAT(text, HasSubstr("$GITHUB_ACTION_PATH/../" + program));
    expect_program("ci/" + program);
  }
  // The job's token is for the comment alone, and nothing is built.
  EXPECT_EQ(action["inputs"]["token"]["default"], "${{ github.token }}");
  for (const Json& step : action["runs"]["steps"]) {
    const bool comments = step.value("run", "").find("post-comment") != std::string::npos;
    EXPECT_EQ(step.dump().find("inputs.token") != std::string::npos, comments) << step;
    EXPECT_THAT(step.value("run", ""), Not(HasSubstr("cmake")));
  }
  const size_t token = text.find("default: ${{ github.token }}");
  ASSERT_NE(token, std::string::npos);
  expect_no_secret(std::string(text).erase(token, 28));
  // The artifact is kept whatever the verdict is.
  const Json& last = action["runs"]["steps"].back();
  EXPECT_EQ(last["if"], "always()");
  EXPECT_THAT(last["uses"].get<std::string>(), HasSubstr("upload-artifact"));
}

/// A step of the action, with stand-ins for programs in PATH, which note their arguments.
class ActionStep : public Templates {
 protected:
  void SetUp() override {
    Templates::SetUp();
    if (IsSkipped()) return;
    action_ = yaml(source("ci/github/action.yml"));
    for (const char* folder : {"topspin/ci/github", "bin", "runner"})
      std::filesystem::create_directories(dir_.file(folder));
    stand_in("bin/sudo", "exec \"$@\"");
  }
  void stand_in(const std::string& path, const std::string& script) const {
    std::ofstream(dir_.file(path)) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(dir_.file(path), std::filesystem::perms::owner_all);
  }
  /// Runs the step whose script contains `text`. `given` are inputs, or values of other
  /// expressions.
  Outcome step(const std::string& text, const std::map<std::string, std::string>& given) const {
    Json step;
    for (const Json& one : action_["runs"]["steps"]) {
      if (one.value("run", "").find(text) != std::string::npos) step = one;
    }
    Process process(
        {"bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].get<std::string>()},
        [&] {
          if (chdir(dir_.path().c_str()) != 0) _exit(126);
          setenv("PATH", (dir_.file("bin") + ":" + std::getenv("PATH")).c_str(), 1);
          setenv("GITHUB_ACTION_PATH", dir_.file("topspin/ci/github").c_str(), 1);
          setenv("RUNNER_TEMP", dir_.file("runner").c_str(), 1);
          setenv("ARGUMENTS", dir_.file("arguments").c_str(), 1);
          for (const auto& [name, expression] : step["env"].items()) {
            std::string value = expression;
            for (size_t at = 0; (at = value.find("${{ ")) != std::string::npos;) {
              const std::string key = value.substr(at + 4, value.find(" }}", at) - at - 4);
              const auto found = given.find(key);
              value.replace(at, key.size() + 7, found == given.end() ? "" : found->second);
            }
            setenv(name.c_str(), value.c_str(), 1);
          }
        });
    return process.finish();
  }
  std::string arguments() const { return contents(dir_.file("arguments")); }

  Json action_;
};

TEST_F(ActionStep, OfTheGateHandsTheInputsOn) {
  stand_in("topspin/ci/run-gate", "printf '%s\\n' \"$TOPSPIN\" \"$@\" >\"$ARGUMENTS\"; exit 1");
  const std::string plan = "a b$(touch pwned)'\".toml";
  const Outcome run = step("run-gate", {{"inputs.plan", plan},
                                        {"inputs.base", "b"},
                                        {"inputs.head", "h"},
                                        {"inputs.pairs", "11"},
                                        {"inputs.most-pairs", "22"},
                                        {"inputs.strict", "true"},
                                        {"inputs.program", "/opt/topspin"}});
  EXPECT_EQ(run.exit_code, 1) << "the gate's exit code is the step's: " << run.err;
  EXPECT_EQ(arguments(), "/opt/topspin\n--plan\n" + plan +
                             "\n--base\nb\n--head\nh\n--pairs\n11\n--most-pairs\n22\n--out\n" +
                             dir_.file("runner/topspin-gate") + "\n--strict\n");
  EXPECT_FALSE(std::filesystem::exists(dir_.file("pwned")));
}

TEST_F(ActionStep, OfInstallingTakesAFileAReleaseOrWhatIsThere) {
  stand_in("bin/apt-get", "printf '%s\\n' \"$@\" >\"$ARGUMENTS\"");
  // Each file has its own name as its contents. The checksum is of the package.
  stand_in("bin/curl",
           "while [ $# -gt 2 ]; do [ \"$1\" = -o ] && file=$2; shift; done; echo \"$2\" >>urls\n"
           "case $file in SHA256SUMS) echo \"$(echo \"${WRONG:-good}\" | sha256sum | cut -c -64)  "
           "topspin_1.2.3-1_amd64.deb\" >$file ;; *) echo good >$file ;; esac");
  std::ofstream(dir_.file("mine.deb")) << "x";
  EXPECT_EQ(step("apt-get", {{"inputs.package", "mine.deb"}}).exit_code, 0);
  EXPECT_EQ(arguments(), "install\n-y\n--no-install-recommends\n" + dir_.file("mine.deb") + "\n");

  const std::map<std::string, std::string> tagged = {{"github.action_ref", "v1.2.3"},
                                                     {"github.server_url", "https://host"},
                                                     {"github.action_repository", "o/topspin"}};
  const Outcome release = step("apt-get", tagged);
  EXPECT_EQ(release.exit_code, 0) << release.err;
  const std::string package = "topspin_1.2.3-1_amd64.deb";
  EXPECT_THAT(arguments(), HasSubstr(dir_.file("runner/" + package) + "\n"));
  const std::string folder = "https://host/o/topspin/releases/download/v1.2.3/";
  EXPECT_EQ(contents(dir_.file("runner/urls")), folder + package + "\n" + folder + "SHA256SUMS\n");

  setenv("WRONG", "bad", 1);
  std::filesystem::remove(dir_.file("arguments"));
  EXPECT_NE(step("apt-get", tagged).exit_code, 0);
  unsetenv("WRONG");
  EXPECT_EQ(arguments(), "") << "a file with another checksum is not installed";
  const Outcome branch = step("apt-get", {{"github.action_ref", "main"}});
  EXPECT_EQ(branch.exit_code, 2);
  EXPECT_THAT(branch.out, HasSubstr("main is no release"));
  EXPECT_EQ(step("apt-get", {{"inputs.program", "/opt/topspin"}}).exit_code, 0);
  EXPECT_EQ(arguments(), "");
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
    EXPECT_TRUE(job["variables"].contains(whole) || whole == "TOPSPIN_PACKAGE") << whole;
  }
  for (const std::string program : {"run-gate", "post-comment"}) {
    EXPECT_THAT(text, HasSubstr("/usr/libexec/topspin/" + program));
    expect_program("ci/" + program);
  }
  EXPECT_THAT(text, Not(HasSubstr("cmake")));
  expect_no_secret(text);
}

/// The templates and act-locally pass only options that `topspin ci` has.
TEST_F(Templates, TopspinCiHasTheOptionsThatTheyPass) {
  const std::string command = contents(source("app/commands/ci/ci_command.cc"));
  for (const char* file : {"ci/github/action.yml", "ci/gitlab/topspin.yml"}) {
    const std::string text = contents(source(file));
    const std::string call = text.substr(text.find("run-gate"));
    for (const char* option : {"plan", "base", "head", "pairs", "most-pairs", "out"}) {
      EXPECT_THAT(call, HasSubstr(std::string("--") + option + " ")) << file;
      EXPECT_THAT(command, HasSubstr(std::string("\"--") + option + "\"")) << option;
    }
  }
  const Outcome without =
      test::run({source("ci/run-gate")}, [] { setenv("TOPSPIN", "nosuch", 1); });
  EXPECT_EQ(without.exit_code, 2);
  EXPECT_THAT(without.err, HasSubstr("there is no program nosuch"));
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
    EXPECT_EQ(example["permissions"], Json({{"contents", "read"}, {"pull-requests", "write"}}));
    const Json& step = example["jobs"]["performance"]["steps"].back();
    EXPECT_THAT(step["uses"].get<std::string>(), HasSubstr("/ci/github@v"));
    for (const auto& [name, value] : step.value("with", Json::object()).items())
      EXPECT_TRUE(action["inputs"].contains(name)) << name;
  }
  EXPECT_EQ(examples, 2);
}

}  // namespace
}  // namespace topspin::test
