// `topspin load` as users see it: exit codes, JSON names, signals.
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "tests/load/misbehaving_tcp_server.h"
#include "tests/load/misbehaving_udp_server.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

using ::testing::HasSubstr;

struct Outcome {
  int exit_status = -1;
  std::string out;
  std::string err;
};

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  ssize_t got = 0;
  while ((got = read(fd, buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  return text;
}

constexpr int kNoNamespace = 99;
/// Runs the program. If they are above 0, it gets SIGINT after `signal_after_ms`, and `descriptors`
/// is its limit. `hosts` is a file that replaces /etc/hosts; if that is not possible here, the exit
/// status is kNoNamespace.
Outcome run_load_program(std::vector<std::string> arguments, int signal_after_ms = 0,
                         rlim_t descriptors = 0, const std::string& hosts = {}) {
  arguments.insert(arguments.begin(), {TOPSPIN_LOAD_PROGRAM, "load"});
  int out[2];
  EXPECT_EQ(pipe(out), 0);
  UniqueFd err(::memfd_create("stderr", MFD_CLOEXEC));
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(out[1], STDOUT_FILENO);
    dup2(err.get(), STDERR_FILENO);
    close(out[0]);
    close(out[1]);
    const rlimit limit{descriptors, descriptors};
    if (descriptors > 0) setrlimit(RLIMIT_NOFILE, &limit);
    if (!hosts.empty() &&
        ((unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
         mount(hosts.c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr) != 0))
      _exit(kNoNamespace);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(out[1]);
  if (signal_after_ms > 0) {
    usleep(static_cast<useconds_t>(signal_after_ms) * 1000);
    kill(pid, SIGINT);
  }
  Outcome outcome;
  outcome.out = read_all(out[0]);
  close(out[0]);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  outcome.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  lseek(err.get(), 0, SEEK_SET);
  outcome.err = read_all(err.get());
  return outcome;
}

const std::vector<std::string> kLatencyFields = {"count", "sum", "min",  "p50",
                                                 "p90",   "p99", "p999", "max"};

void expect_fields(const nlohmann::json& json, const std::vector<std::string>& names) {
  for (const std::string& name : names) EXPECT_TRUE(json.contains(name)) << name;
}

TEST(LoadCommand, JsonHasTheNamesThatOthersRelyOn) {
  MisbehavingUdpServer server({});
  const Outcome outcome =
      run_load_program({"udp-pingpong", "--target", server.target(), "--stages",
                        "0:20 over 300ms, hold 400ms, 20:0 over 300ms", "--period", "100ms",
                        "--late-after", "100ms", "--format", "json"});
  const auto json = nlohmann::ordered_json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << outcome.out << outcome.err;
  expect_fields(json, {"schema_version",
                       "workload",
                       "valid",
                       "invalid_reasons",
                       "clients_max",
                       "scheduled",
                       "sent",
                       "sent_late",
                       "send_errors",
                       "replied",
                       "late_replies",
                       "duplicates",
                       "lost",
                       "never_scheduled",
                       "dead_clients",
                       "latency_intended_ns",
                       "latency_actual_ns",
                       "tcp",
                       "own",
                       "stages"});
  expect_fields(json["latency_intended_ns"], kLatencyFields);
  expect_fields(json["latency_actual_ns"], kLatencyFields);
  expect_fields(json["own"], {"cpu_ns", "lateness_ns"});
  expect_fields(json["own"]["lateness_ns"], kLatencyFields);
  EXPECT_EQ(json["workload"], "udp-pingpong");
  EXPECT_EQ(json["clients_max"], 20);
  EXPECT_TRUE(json["tcp"].is_null());
  ASSERT_EQ(json["stages"].size(), 3u);
  EXPECT_EQ(json["stages"][1]["name"], "hold");
  EXPECT_EQ(json["stages"][1]["start_ns"], 300'000'000);
  EXPECT_EQ(json["stages"][1]["end_ns"], 700'000'000);
  EXPECT_EQ(outcome.exit_status, json["valid"] == true ? 0 : 3);
  EXPECT_EQ(server.stop().received, json["sent"].get<uint64_t>());
}

TEST(LoadCommand, TcpJsonAndFloodWithoutReplies) {
  TcpMisbehaviour behaviour;
  behaviour.http = true;
  behaviour.fates = {TcpFate::kWhole};
  MisbehavingTcpServer server(behaviour);
  const Outcome http =
      run_load_program({"http", "--target", server.target(), "--clients", "5", "--hold", "500ms",
                        "--period", "50ms", "--format", "json"});
  const auto json = nlohmann::json::parse(http.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << http.out << http.err;
  expect_fields(json["tcp"], {"connected", "refused", "syn_retries", "reset_before_bytes",
                              "reset_after_bytes", "truncated", "timeouts"});
  EXPECT_EQ(json["http"]["statuses"]["200"], json["replied"]);

  MisbehavingUdpServer udp({});
  const Outcome flood = run_load_program({"udp-flood", "--target", udp.target(), "--rate", "500/s",
                                          "--duration", "300ms", "--format", "json"});
  const auto flooded = nlohmann::json::parse(flood.out, nullptr, false);
  ASSERT_FALSE(flooded.is_discarded()) << flood.out << flood.err;
  EXPECT_EQ(flooded["scheduled"], 150);
  EXPECT_TRUE(flooded["replied"].is_null());
  EXPECT_TRUE(flooded["lost"].is_null());
  EXPECT_TRUE(flooded["latency_actual_ns"].is_null());
}

TEST(LoadCommand, ErrorsAreCountedByClassInJsonAndText) {
  TcpMisbehaviour behaviour;
  behaviour.http = true;
  behaviour.fates = {TcpFate::kError};
  MisbehavingTcpServer server(behaviour);
  std::vector<std::string> arguments = {"http",
                                        "--target",
                                        "http://" + server.target() + "/x",
                                        "--stages",
                                        "a=3:3 over 300ms, b=3:3 over 300ms",
                                        "--period",
                                        "100ms",
                                        "--timeout",
                                        "5s"};
  const Outcome text = run_load_program(arguments);
  EXPECT_THAT(text.out, HasSubstr("answers were errors (100%)")) << text.err;
  arguments.insert(arguments.end(), {"--format", "json"});
  const Outcome outcome = run_load_program(arguments);
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << outcome.out << outcome.err;
  EXPECT_EQ(json["http"]["http_5xx"], json["replied"]);
  EXPECT_EQ(json["http"]["http_2xx"], 0);
  EXPECT_EQ(json["http_errors"], json["replied"]);
  EXPECT_EQ(json["stages"][0]["http_errors"], json["stages"][0]["replied"]);
}

TEST(LoadCommand, ALoadThatNothingAnsweredIsInvalid) {
  std::string target;
  { target = MisbehavingTcpServer({false, {}, 1, false}).target(); }
  const Outcome outcome = run_load_program({"http", "--target", target, "--clients", "2", "--hold",
                                            "300ms", "--period", "100ms", "--format", "json"});
  EXPECT_EQ(outcome.exit_status, 3);
  EXPECT_THAT(outcome.err, HasSubstr("nothing was answered"));
  EXPECT_THAT(outcome.err, HasSubstr("nobody listens on " + target));
  EXPECT_FALSE(nlohmann::json::parse(outcome.out)["valid"]);
}

TEST(LoadCommand, ANameIsTriedAtAllItsAddresses) {
  const std::string hosts = testing::TempDir() + "hosts-of-load-command-test";
  std::FILE* file = std::fopen(hosts.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fputs("127.0.0.1 two.test\n::1 two.test\n", file);
  std::fclose(file);
  for (const bool v6 : {true, false}) {
    TcpMisbehaviour behaviour;
    behaviour.http = true;
    behaviour.fates = {TcpFate::kWhole};
    behaviour.v6 = v6;
    MisbehavingTcpServer server(behaviour);
    const std::string port = server.target().substr(server.target().rfind(':'));
    const std::vector<std::string> arguments = {
        "http",  "--target", "two.test" + port, "--clients", "2",   "--hold",
        "300ms", "--period", "100ms",           "--format",  "json"};
    const Outcome outcome = run_load_program(arguments, 0, 0, hosts);
    if (outcome.exit_status == kNoNamespace)
      GTEST_SKIP() << "no mount namespace of its own here, so /etc/hosts cannot be replaced";
    const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
    ASSERT_FALSE(json.is_discarded()) << outcome.out << outcome.err;
    EXPECT_GT(json["replied"], 0);
    EXPECT_EQ(json["tcp"]["refused"], 0);
    EXPECT_THAT(json["target"].get<std::string>(), HasSubstr(server.target()));
    server.stop();
    const Outcome nobody = run_load_program(arguments, 0, 0, hosts);
    EXPECT_EQ(nobody.exit_status, 3);
    EXPECT_THAT(nobody.err, HasSubstr("127.0.0.1" + port + " (nobody listens)"));
    EXPECT_THAT(nobody.err, HasSubstr("[::1]" + port + " (nobody listens)"));
  }
}

TEST(LoadCommand, AScriptThatIsEmptyOrCompiledIsSaidToBe) {
  const test::TempDir dir;
  std::ofstream(dir.file("empty.lua")) << " \n";
  std::ofstream(dir.file("compiled.lua")) << "\x1bLJ\x02";
  for (const auto& [name, words] : {std::pair{"empty.lua", "empty.lua is empty"},
                                    {"compiled.lua", "compiled.lua is compiled Lua"}}) {
    const Outcome outcome = run_load_program({"script", dir.file(name), "--target", "127.0.0.1:9"});
    EXPECT_EQ(outcome.exit_status, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(words));
  }
}

TEST(LoadCommand, WrongUsageIsExitCodeTwoAndNothingOnStandardOutput) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"udp-pingpong"},
      {"tcp-flood", "--target", "127.0.0.1:9"},
      {"udp-pingpong", "--target", "nowhere"},
      {"udp-pingpong", "--target", "127.0.0.1:9", "--stages", "0:5 over soon"},
      {"udp-pingpong", "--target", "127.0.0.1:9", "--stages", "0:5 over 1s", "--clients", "5"},
      {"udp-pingpong", "--target", "127.0.0.1:9", "--period", "never"},
      {"udp-pingpong", "--target", "127.0.0.1:9", "--arrive", "fast"},
      {"udp-pingpong", "--target", "127.0.0.1:9", "--wire", "morse"},
      {"udp-pingpong", "--target", "127.0.0.1:9", "--path", "/"},
      {"udp-pingpong", "--target", "127.0.0.1:9", "--wire", "ping4", "--size", "99"},
      {"udp-flood", "--target", "127.0.0.1:9", "--rate", "1e18/s"},
      {"udp-flood", "--target", "127.0.0.1:9", "--flows", "0"},
      {"udp-flood", "--target", "127.0.0.1:9", "--flows", "2", "--gso"},
  };
  for (const auto& arguments : wrong) {
    const Outcome outcome = run_load_program(arguments);
    EXPECT_EQ(outcome.exit_status, 2) << testing::PrintToString(arguments) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr("topspin: "));
  }
}

/// A result that cannot be kept is worth no hours of load.
TEST(LoadCommand, ADatabaseThatCannotBeWrittenIsSaidBeforeAnythingIsSent) {
  const std::pair<const char*, int> cases[] = {
      {"/nonexistent/x.db", 5}, {"/proc/version", 5}, {"postgresql://me@db.example/x", 2}};
  for (const auto& [database, code] : cases) {
    MisbehavingTcpServer server({true, {TcpFate::kWhole}});
    const Outcome outcome = run_load_program(
        {"http", "--target", server.target(), "--hold", "200ms", "--db", database});
    EXPECT_EQ(outcome.exit_status, code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr(database));
    EXPECT_EQ(server.stop().fates.size(), 0u);
  }
}

TEST(LoadCommand, TooManyDescriptorsIsExitCodeFourBeforeAnythingIsSent) {
  const Outcome outcome = run_load_program(
      {"udp-pingpong", "--target", "[::1]:9", "--stages", "0:3000000 over 1s, hold 1s"});
  EXPECT_EQ(outcome.exit_status, 4) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("raise it"));
}

TEST(LoadCommand, WithFewDescriptorsClientsShareSocketsAndStayFlowsOfTheirOwn) {
  MisbehavingUdpServer server({});
  const std::vector<std::string> arguments = {"udp-pingpong",
                                              "--target",
                                              server.target(),
                                              "--stages",
                                              "0:500 over 500ms, hold 1s",
                                              "--format",
                                              "json",
                                              "-q"};
  const Outcome outcome = run_load_program(arguments, 0, 100);
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << outcome.err;
  EXPECT_EQ(json["own"]["shared_sockets"], true);
  EXPECT_LT(json["own"]["descriptors_max"], 100);
  EXPECT_EQ(json["clients_max"], 500);
  EXPECT_EQ(server.stop().flows, 500u);

  std::vector<std::string> own = arguments;
  own.insert(own.end(), {"--sockets", "own"});
  const Outcome refused = run_load_program(own, 0, 100);
  EXPECT_EQ(refused.exit_status, 4);
  EXPECT_THAT(refused.err, HasSubstr("--sockets shared"));
}

TEST(LoadCommand, ALoadOfNothingIsInvalid) {
  const Outcome outcome = run_load_program({"udp-pingpong", "--target", "127.0.0.1:9", "--stages",
                                            "0:1 over 1ms, hold 1ms", "--period", "1h", "--format",
                                            "json", "-q", "--timeout", "10ms"});
  // The phase of slot 0 is 0, so one ping is sent, to nobody. It is lost, so nothing was measured.
  EXPECT_EQ(outcome.exit_status, 3) << outcome.err;
  const Outcome nothing =
      run_load_program({"http", "--target", "127.0.0.1:9", "--stages", "0:0 over 10ms", "-q"});
  EXPECT_EQ(nothing.exit_status, 3) << nothing.err;
  EXPECT_THAT(nothing.out, HasSubstr("INVALID"));
}

TEST(LoadCommand, WhereNobodyListensItSaysSo) {
  std::string target;
  { target = MisbehavingTcpServer({false, {}, 1, false}).target(); }
  const std::vector<std::string> load = {"http",   "--target", target, "--clients", "2",
                                         "--hold", "1s",       "-q",   "--format"};
  const std::string sentence = "nothing was answered, of 2 messages: nobody listens on " + target;
  for (const char* format : {"text", "json"}) {
    std::vector<std::string> arguments = load;
    arguments.emplace_back(format);
    const Outcome outcome = run_load_program(arguments);
    EXPECT_EQ(outcome.exit_status, 3) << outcome.err;
    EXPECT_THAT(std::string(format) == "text" ? outcome.out : outcome.err, HasSubstr(sentence));
  }
}

TEST(LoadCommand, OnASignalTheResultSoFarIsPrinted) {
  MisbehavingUdpServer server({});
  const Outcome outcome =
      run_load_program({"udp-pingpong", "--target", server.target(), "--clients", "10", "--hold",
                        "100s", "--format", "json"},
                       1500);
  EXPECT_EQ(outcome.exit_status, 128 + SIGINT);
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << outcome.out;
  EXPECT_EQ(json["stopped_early"], true);
  EXPECT_EQ(server.stop().received, json["sent"].get<uint64_t>());
  EXPECT_THAT(outcome.err, HasSubstr("clients"));
}

/// Runs a command, and kills it when destroyed.
class Subject {
 public:
  explicit Subject(const std::vector<std::string>& command) {
    pid_ = fork();
    if (pid_ != 0) return;
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  ~Subject() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_ = -1;
};

std::string subjects_directory() {
  const char* given = std::getenv("TOPSPIN_SUBJECTS");
  return given != nullptr ? given : TOPSPIN_SHARED_DIR "/subjects";
}

TEST(LoadCommand, ARealRuntimeAnswersEveryPingOverItsWholeLife) {
  const std::string script = subjects_directory() + "/node/server.js";
  if (!std::filesystem::exists(script)) {
    GTEST_SKIP() << "no subjects: " << script << " is absent (set TOPSPIN_SUBJECTS)";
  }
  if (std::system("node --version >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "no subject: node is not installed";
  }
  const Subject subject({"node", script, "18931"});
  usleep(1'000'000);
  const Outcome outcome = run_load_program({"udp-pingpong", "--target", "127.0.0.1:18931",
                                            "--stages", "0:500 over 1s, hold 2s, 500:0 over 1s",
                                            "--format", "json", "--timeout", "5s"});
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << outcome.out << outcome.err;
  EXPECT_EQ(json["clients_max"], 500);
  EXPECT_EQ(json["scheduled"], json["planned"]);
  EXPECT_EQ(json["replied"], json["sent"]);
  EXPECT_EQ(json["lost"], 0);
}

}  // namespace
}  // namespace topspin
