// The container image's recipe, its page, and Kubernetes' files: they give the same capabilities
// and mounts, and name what there is.
#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <nlohmann/json.hpp>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/release/source_file.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/yaml.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using Words = std::vector<std::string>;

/// The words of a `docker run` line of the page.
struct DockerRun {
  std::multimap<std::string, std::string> options;  // those that take a value
  std::set<std::string> flags;
  Words command;  // of topspin

  std::set<std::string> all(const std::string& option) const {
    std::set<std::string> values;
    const auto [first, last] = options.equal_range(option);
    for (auto it = first; it != last; ++it) values.insert(it->second);
    return values;
  }
};

DockerRun parse(const std::string& line) {
  static const std::set<std::string> kTakeAValue = {
      "--user", "--network", "--cap-drop", "--cap-add", "--security-opt", "-v", "--pid"};
  DockerRun run;
  std::istringstream words(line);
  std::string word;
  while (words >> word && word != "topspin") {
    if (kTakeAValue.contains(word)) {
      std::string value;
      words >> value;
      run.options.emplace(word, value);
    } else if (word.starts_with("-")) {
      run.flags.insert(word);
    }
  }
  while (words >> word) run.command.push_back(word);
  return run;
}

/// Each `docker run` in the page's blocks of shell.
std::vector<DockerRun> documented_runs() {
  const std::string page = contents("docs/containers.md");
  std::vector<DockerRun> runs;
  const std::string open = "```sh\n", call = "docker run";
  for (size_t at = 0; (at = page.find(open, at)) != std::string::npos;) {
    at += open.size();
    std::string block = page.substr(at, page.find("```", at) - at);
    for (size_t end = 0; (end = block.find("\\\n", end)) != std::string::npos;)
      block.replace(end, 2, " ");
    std::istringstream lines(block);
    for (std::string line; std::getline(lines, line);) {
      const size_t begin = line.find(call);
      if (begin != std::string::npos) runs.push_back(parse(line.substr(begin + call.size())));
    }
  }
  return runs;
}

DockerRun documented(const std::string& command, const std::string& argument = "") {
  for (const DockerRun& run : documented_runs()) {
    const Words& words = run.command;
    if (!words.empty() && words.front() == command &&
        (argument.empty() || std::find(words.begin(), words.end(), argument) != words.end()))
      return run;
  }
  ADD_FAILURE() << "docs/containers.md runs no " << command << " " << argument;
  return {};
}

TEST(Containers, GiveNothingToWhatReadsFiles) {
  for (const std::string& command : {"read", "report"}) {
    const DockerRun run = documented(command);
    EXPECT_EQ(run.all("--cap-drop"), std::set<std::string>{"ALL"});
    EXPECT_THAT(run.all("--cap-add"), IsEmpty());
    EXPECT_EQ(run.all("--network"), std::set<std::string>{"none"});
    EXPECT_THAT(run.all("--pid"), IsEmpty());
    EXPECT_TRUE(run.flags.contains("--read-only"));
  }
}

TEST(Containers, GiveWhatRecordsAsMuchAsThePageSays) {
  const std::set<std::string> three = {"NET_RAW", "BPF", "PERFMON"};
  const DockerRun live = documented("live"), record = documented("record", "--pid");
  EXPECT_EQ(live.all("--cap-add"), three);
  std::set<std::string> four = three;
  four.insert("SYS_PTRACE");
  EXPECT_EQ(record.all("--cap-add"), four);
  for (const DockerRun& run : {live, record}) {
    EXPECT_EQ(run.all("--cap-drop"), std::set<std::string>{"ALL"});
    EXPECT_EQ(run.all("--network"), std::set<std::string>{"host"});
    EXPECT_EQ(run.all("--pid"), std::set<std::string>{"host"});
    EXPECT_TRUE(run.flags.contains("--read-only"));
  }
}

/// What the recipe copies is in the tarball: what is installed, and what release/make adds.
TEST(Containers, AreMadeOfWhatTheTarballHas) {
  std::istringstream lines(contents("release/container/Dockerfile"));
  std::set<std::string> copied;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word == "FROM") {
      words >> word;
      EXPECT_EQ(word, "scratch");
    }
    if (word != "COPY") continue;
    Words paths;
    while (words >> word) paths.push_back(word);
    copied.insert(paths.begin(), paths.end() - 1);
  }
  EXPECT_EQ(copied,
            (std::set<std::string>{"bin/topspin", "share/terminfo", "share/doc/topspin/LICENSE",
                                   "share/doc/topspin/third-party"}));
  const std::string make = contents("release/make");
  EXPECT_THAT(make, HasSubstr("\"$tarball/share/terminfo\""));
  EXPECT_THAT(make, HasSubstr("\"$tarball/share/doc/topspin/third-party\""));
}

/// Refuses bpf() and perf_event_open() with EPERM, as the profiles of containers do.
void refuse_probes() {
  const uint32_t number = offsetof(seccomp_data, nr);
  const uint32_t refused = SECCOMP_RET_ERRNO | EPERM;
  sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 1, 0),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, refused),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) _exit(125);
}

TEST(Containers, AreToldIfTheirSeccompProfileRefusesTheProbes) {
  TOPSPIN_NEEDS_ROOT();
  const Outcome doctor = test::topspin({"doctor", "--format", "json"}, refuse_probes);
  ASSERT_EQ(doctor.exit_code, 0) << doctor.err;
  int bpf = 0, perf = 0;
  const Json report = Json::parse(doctor.out);
  for (const Json& finding : report["findings"]) {
    const std::string feature = finding["feature"], rung = finding["rung"];
    if (feature != "scheduler" || (rung != "tp_btf" && rung != "raw_tp" && rung != "perf"))
      continue;
    EXPECT_EQ(finding["works"], false);
    EXPECT_THAT(finding["reason"].get<std::string>(), HasSubstr("seccomp profile")) << rung;
    EXPECT_THAT(finding["remedy"].get<std::string>(), HasSubstr("seccomp=unconfined")) << rung;
    ++(rung == "perf" ? perf : bpf);
  }
  EXPECT_EQ(bpf, 2);
  EXPECT_EQ(perf, 1);
}

class Kubernetes : public testing::Test {
 protected:
  void SetUp() override {
    python_ = python_with_yaml();
    if (python_.empty()) TOPSPIN_SKIP("Python's yaml is not installed (package python3-yaml)");
    daemon_ = read_yaml(python_, source("release/kubernetes/daemonset.yaml"));
    debug_ = read_yaml(python_, source("release/kubernetes/debug.yaml"));
    pod_ = daemon_["spec"]["template"]["spec"];
    ASSERT_EQ(pod_["containers"].size(), 1u);
    container_ = pod_["containers"][0];
  }
  std::string python_;
  Json daemon_, debug_, pod_, container_;
};

TEST_F(Kubernetes, GivesWhatTheDocumentedContainersAreGiven) {
  const DockerRun record = documented("record", "--pid");
  const auto as_set = [](const Json& list) { return list.get<std::set<std::string>>(); };
  for (const Json& context : {container_["securityContext"], debug_["securityContext"]}) {
    EXPECT_EQ(as_set(context["capabilities"]["add"]), record.all("--cap-add"));
    EXPECT_EQ(as_set(context["capabilities"]["drop"]), record.all("--cap-drop"));
    EXPECT_EQ(context["runAsUser"], 0);
    EXPECT_EQ(context["allowPrivilegeEscalation"], false);
    EXPECT_FALSE(context.contains("privileged"));
  }
  EXPECT_EQ(container_["securityContext"]["readOnlyRootFilesystem"], true);
  EXPECT_EQ(pod_["hostNetwork"], true);
  EXPECT_EQ(pod_["hostPID"], true);
  EXPECT_EQ(pod_["automountServiceAccountToken"], false);

  // One mount, of the same place as the volume of the page and the recipe's directory.
  ASSERT_EQ(container_["volumeMounts"].size(), 1u);
  const std::string at = container_["volumeMounts"][0]["mountPath"];
  EXPECT_EQ(record.all("-v"), std::set<std::string>{"topspin:" + at});
  EXPECT_THAT(contents("release/container/Dockerfile"), HasSubstr("WORKDIR " + at + "\n"));
  ASSERT_EQ(pod_["volumes"].size(), 1u);
  EXPECT_EQ(pod_["volumes"][0]["name"], container_["volumeMounts"][0]["name"]);
  EXPECT_EQ(pod_["volumes"][0]["hostPath"]["path"], "/var/lib/topspin");
}

TEST_F(Kubernetes, FindsItsPods) {
  EXPECT_EQ(daemon_["spec"]["selector"]["matchLabels"],
            daemon_["spec"]["template"]["metadata"]["labels"]);
}

TEST_F(Kubernetes, StartsARecordingThatTopspinUnderstands) {
  TOPSPIN_NEEDS_ROOT();
  Words words = container_["args"].get<Words>();
  const auto interface = std::find(words.begin(), words.end(), "any");
  ASSERT_NE(interface, words.end());
  *interface = "nosuch";
  const Outcome refused = test::topspin(words);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("no such interface: nosuch")) << "all of the rest is fine";
}

/// By the models of Kubernetes' own client library, which names each field and its type.
TEST_F(Kubernetes, HasOnlyFieldsThatItsClientKnows) {
  const std::string check = R"(
import sys, yaml
from kubernetes import client

def check(value, kind, place):
    if kind.startswith("list["):
        for item in value: check(item, kind[5:-1], place)
    elif kind.startswith("dict("):
        pass
    elif hasattr(client, kind):
        model = getattr(client, kind)
        known = {json: model.openapi_types[name] for name, json in model.attribute_map.items()}
        for key, item in value.items():
            if key not in known: sys.exit(f"{place}: {kind} has no {key}")
            check(item, known[key], f"{place}.{key}")
    else:
        python = {"str": str, "int": int, "bool": bool}.get(kind)
        if python and type(value) is not python: sys.exit(f"{place}: {value!r} is not a {kind}")

check(yaml.safe_load(open(sys.argv[1])), sys.argv[2], "")
)";
  std::string python;
  for (const char* one : {"python3", "/usr/bin/python3"}) {
    if (test::run({one, "-c", "import kubernetes, yaml"}).exit_code == 0) python = one;
  }
  if (python.empty())
    TOPSPIN_SKIP("Kubernetes' client library is not installed (package python3-kubernetes)");
  const std::pair<const char*, const char*> files[] = {{"daemonset.yaml", "V1DaemonSet"},
                                                       {"debug.yaml", "V1EphemeralContainer"},
                                                       {"worker.yaml", "V1Deployment"}};
  for (const auto& [file, kind] : files) {
    const Outcome checked =
        test::run({python, "-c", check, source(std::string("release/kubernetes/") + file), kind});
    EXPECT_EQ(checked.exit_code, 0) << file << checked.err;
  }
}

}  // namespace
}  // namespace topspin::test
