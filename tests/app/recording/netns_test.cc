// A subject in another network and pid namespace, as in a container, recorded from outside.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <unistd.h>

#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

class OtherNamespace : public testing::Test {
 protected:
  void SetUp() override {
    TOPSPIN_NEEDS_ROOT();
    if (topspin_netns_tool_missing()) GTEST_SKIP() << "needs unshare, ip and python3";
  }
  static bool topspin_netns_tool_missing() {
    return std::system(
               "for t in unshare ip python3; do command -v $t || exit 1; done >/dev/null") != 0;
  }
  std::string db() const { return dir_.file("t.db"); }
  TempDir dir_;
};

/// A UDP echo server and its client in one process, on the lo of their namespace: 20 exchanges per
/// second. The process is number 1 of its own pid namespace.
std::vector<std::string> echo_in_a_namespace(const std::string& ready) {
  return {"unshare",
          "--net",
          "--pid",
          "--fork",
          "--kill-child",
          "sh",
          "-c",
          "ip link set lo up && exec python3 -c '\n"
          "import socket, time\n"
          "server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
          "server.bind((\"127.0.0.1\", 23107))\n"
          "client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
          "client.connect((\"127.0.0.1\", 23107))\n"
          "open(\"" +
              ready +
              "\", \"w\").write(\"x\")\n"
              "end = time.time() + 120\n"
              "while time.time() < end:\n"
              "    client.send(b\"ping\")\n"
              "    data, peer = server.recvfrom(99)\n"
              "    server.sendto(data, peer)\n"
              "    client.recv(99)\n"
              "    time.sleep(0.05)\n"
              "'"};
}

/// Waits for the only child of a process. 0: there is none.
int child_of(pid_t parent) {
  for (int tries = 0; tries < 2'000; ++tries) {
    std::ifstream file("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) +
                       "/children");
    int child = 0;
    if (file >> child) return child;
    ::usleep(5'000);
  }
  return 0;
}

TEST_F(OtherNamespace, IsCapturedWithOwnersAndSocketsByItsProcessesNumber) {
  const std::string ready = dir_.file("ready");
  Process echo(echo_in_a_namespace(ready));
  for (int tries = 0; tries < 4'000 && ::access(ready.c_str(), F_OK) != 0; ++tries) ::usleep(5'000);
  ASSERT_EQ(::access(ready.c_str(), F_OK), 0) << "the echo server did not start";
  const std::string pid = std::to_string(child_of(echo.pid()));
  ASSERT_NE(pid, "0");

  const std::string outside_db = dir_.file("outside.db");
  const Outcome outside = topspin({"record", "-i", "lo", "--db", outside_db, "--pid", pid,
                                   "--duration", "2s", "udp", "port", "23107"});
  ASSERT_EQ(outside.exit_code, 0) << outside.err;
  const Json nothing =
      Json::parse(topspin({"report", "last", "--db", outside_db, "--format", "json"}).out);
  EXPECT_EQ(nothing["summary"]["packets"], 0);

  const Outcome inside = topspin({"record", "-i", "lo", "--db", db(), "--netns", pid, "--pid", pid,
                                  "--duration", "3s", "udp", "port", "23107"});
  ASSERT_EQ(inside.exit_code, 0) << inside.err;

  const Outcome shown = topspin({"report", "last", "--db", db(), "--format", "json"});
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  const Json json = Json::parse(shown.out);
  EXPECT_EQ(json["summary"]["flows"], 1);
  EXPECT_GT(json["summary"]["packets"], 20);
  const Json& flow = json["busiest_flows"][0];
  // The owner is the number out here, not the 1 inside.
  for (const char* side : {"initiator_owner", "responder_owner"}) {
    ASSERT_TRUE(flow[side].is_object()) << flow;
    EXPECT_EQ(std::to_string(flow[side]["pid"].get<int>()), pid);
  }
  const bool has_socket = std::ranges::any_of(json["sockets"], [](const Json& socket) {
    return socket.dump().find("23107") != std::string::npos;
  });
  EXPECT_TRUE(has_socket) << json["sockets"];
}

/// Where cgroup2 is mounted; empty: nowhere.
std::string cgroup2_mount() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string device, place, type, rest; mounts >> device >> place >> type;) {
    if (type == "cgroup2") return place;
    std::getline(mounts, rest);
  }
  return "";
}

/// A cgroup as Docker's cgroupfs driver makes it, with one process in it.
class DockerCgroup {
 public:
  explicit DockerCgroup(int pid) : above_(cgroup2_mount() + "/topspin-docker") {
    id_ = std::to_string(::getpid());
    id_.insert(0, 64 - id_.size(), 'd');
    std::error_code ignored;
    std::filesystem::create_directories(above_ + "/" + id_, ignored);
    std::ofstream(above_ + "/" + id_ + "/cgroup.procs") << pid << std::flush;
  }
  DockerCgroup(const DockerCgroup&) = delete;
  DockerCgroup& operator=(const DockerCgroup&) = delete;
  /// REQUIRES: the process has ended.
  ~DockerCgroup() {
    for (int tries = 0; tries < 1'000 && ::rmdir((above_ + "/" + id_).c_str()) != 0; ++tries)
      ::usleep(5'000);
    ::rmdir(above_.c_str());
  }
  const std::string& id() const { return id_; }

 private:
  std::string above_;
  std::string id_;
};

TEST_F(OtherNamespace, AContainerIsFoundByNameAndCapturedInItsNetwork) {
  if (cgroup2_mount().empty()) GTEST_SKIP() << "needs cgroup2: it is not mounted";
  const std::string ready = dir_.file("ready");
  auto echo = std::make_unique<Process>(echo_in_a_namespace(ready));
  for (int tries = 0; tries < 4'000 && ::access(ready.c_str(), F_OK) != 0; ++tries) ::usleep(5'000);
  const int pid = child_of(echo->pid());
  ASSERT_NE(pid, 0);
  const DockerCgroup cgroup(pid);
  // Docker's file, seen by topspin alone.
  const std::string folder = "/var/lib/docker/containers/" + cgroup.id();
  const auto with_docker = [&](std::vector<std::string> words) {
    std::vector<std::string> all = {"unshare",
                                    "--mount",
                                    "sh",
                                    "-c",
                                    "mount -t tmpfs none /var/lib && mkdir -p " + folder +
                                        " && echo '{\"Name\": \"/echo\"}' >" + folder +
                                        "/config.v2.json && exec \"$@\"",
                                    "sh",
                                    topspin_binary()};
    all.insert(all.end(), words.begin(), words.end());
    return run(all);
  };
  const Outcome recorded = with_docker({"record", "-i", "lo", "--db", db(), "--container", "echo",
                                        "--duration", "3s", "udp", "port", "23107"});
  ASSERT_EQ(recorded.exit_code, 0) << recorded.err;
  const Json json = Json::parse(topspin({"report", "last", "--db", db(), "--format", "json"}).out);
  EXPECT_EQ(json["settings"]["subject"],
            "container echo (docker " + cgroup.id().substr(0, 12) + ")");
  EXPECT_GT(json["summary"]["packets"], 20);
  EXPECT_EQ(json["busiest_flows"][0]["responder_owner"]["pid"], pid);
  EXPECT_GE(json["threads"].size(), 1u);

  const Outcome by_id = topspin({"record", "-i", "lo", "--db", db(), "--container", cgroup.id(),
                                 "--duration", "500ms", "-q"});
  EXPECT_EQ(by_id.exit_code, 0) << by_id.err;
  const Outcome unknown = with_docker({"record", "--db", db(), "--container", "ecoh"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean echo?"));
  const Outcome two = topspin({"record", "--db", db(), "--container", "echo", "--pid", "1"});
  EXPECT_EQ(two.exit_code, 2);
  EXPECT_THAT(two.err, HasSubstr("give one subject"));
  echo.reset();
}

TEST_F(OtherNamespace, ThatIsNotThereIsAnErrorThatSaysWhatToGive) {
  const Outcome name =
      topspin({"record", "-i", "lo", "--db", db(), "--netns", "no-such-space", "--duration", "1s"});
  EXPECT_EQ(name.exit_code, 2);
  EXPECT_THAT(name.err,
              AllOf(HasSubstr("no network namespace no-such-space"), HasSubstr("ip netns")));
  const Outcome path =
      topspin({"record", "-i", "lo", "--db", db(), "--netns", "../x", "--duration", "1s"});
  EXPECT_EQ(path.exit_code, 2);
  const Outcome pid =
      topspin({"record", "-i", "lo", "--db", db(), "--netns", "1073741823", "--duration", "1s"});
  EXPECT_EQ(pid.exit_code, 2);
  EXPECT_THAT(pid.err, HasSubstr("network namespace of process 1073741823"));
}

/// Two hosts, a and b, and a router between them that drops 1% of what a sends to port 25701 of b.
/// Each is a network namespace.
class LossyRoute : public OtherNamespace {
 protected:
  void SetUp() override {
    OtherNamespace::SetUp();
    if (IsSkipped()) return;
    if (std::system("for t in nft ethtool; do command -v $t || exit 1; done >/dev/null") != 0)
      GTEST_SKIP() << "needs nft and ethtool";
    const std::string tag = "topspin-" + std::to_string(::getpid()) + "-";
    a_ = tag + "a";
    b_ = tag + "b";
    router_ = tag + "r";
    const std::string names = "a=" + a_ + " b=" + b_ + " r=" + router_ + "; ";
    ASSERT_EQ(shell(names + R"(set -e
for n in $a $b $r; do ip netns add $n; ip -n $n link set lo up; done
ip link add out netns $a type veth peer name to_a netns $r
ip link add out netns $b type veth peer name to_b netns $r
ip -n $a addr add 10.99.1.1/24 dev out
ip -n $r addr add 10.99.1.254/24 dev to_a
ip -n $b addr add 10.99.2.1/24 dev out
ip -n $r addr add 10.99.2.254/24 dev to_b
for link in "$a out" "$b out" "$r to_a" "$r to_b"; do
  set -- $link
  ip -n $1 link set $2 up
  ip netns exec $1 ethtool -K $2 tso off gso off gro off
done >/dev/null 2>&1
ip -n $a route add default via 10.99.1.254
ip -n $b route add default via 10.99.2.254
ip netns exec $r sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward')"),
              0);
    const std::string drops =
        "add table ip t; add chain ip t f { type filter hook forward priority 0 ; }; "
        "add rule ip t f tcp dport 25701 numgen random mod 100 0 counter drop";
    if (shell("ip netns exec " + router_ + " nft '" + drops + "' 2>/dev/null") != 0)
      GTEST_SKIP() << "this kernel's nft has no numgen: nothing can lose packets";
  }
  void TearDown() override {
    for (const std::string& name : {a_, b_, router_})
      if (!name.empty()) shell("ip netns del " + name + " 2>/dev/null");
  }
  static int shell(const std::string& script) { return std::system(script.c_str()); }
  /// Segments that host a sent again, as its kernel counts them.
  uint64_t segments_sent_again() {
    const std::string out = dir_.file("again");
    shell("ip netns exec " + a_ + " cat /proc/net/snmp >" + out);
    std::ifstream file(out);
    std::string line;
    size_t column = 0;
    while (std::getline(file, line)) {
      if (!line.starts_with("Tcp:")) continue;
      std::istringstream words(line);
      std::vector<std::string> values{std::istream_iterator<std::string>(words), {}};
      if (column != 0) return std::stoull(values.at(column));
      column = static_cast<size_t>(std::ranges::find(values, "RetransSegs") - values.begin());
    }
    return 0;
  }
  std::string a_, b_, router_;
};

TEST_F(LossyRoute, RetransmissionsAreThoseOfTheSendersKernel) {
  const std::string ready = dir_.file("ready"), go = dir_.file("go"), done = dir_.file("done");
  const std::string wait_for =
      "def wait_for(path):\n"
      "    while not os.path.exists(path): time.sleep(.01)\n";
  Process receiver({"ip", "netns", "exec", b_, "python3", "-c",
                    "import socket\n"
                    "server = socket.create_server((\"10.99.2.1\", 25701))\n"
                    "open(\"" +
                        ready +
                        "\", \"w\").write(\"x\")\n"
                        "peer, _ = server.accept()\n"
                        "while peer.recv(1 << 16): pass\n"
                        "peer.send(b\"all\")\n"
                        "peer.recv(1)\n"});
  Process sender({"ip", "netns", "exec", a_, "python3", "-c",
                  "import os, socket, time\n" + wait_for + "wait_for(\"" + go +
                      "\")\n"
                      "peer = socket.create_connection((\"10.99.2.1\", 25701))\n"
                      "for _ in range(600):\n"
                      "    peer.sendall(bytes(20000))\n"
                      "    time.sleep(.002)\n"
                      "peer.shutdown(socket.SHUT_WR)\n"
                      "peer.recv(3)\n"
                      "open(\"" +
                      done + "\", \"w\").write(\"x\")\n"});
  const auto wait_for_file = [](const std::string& path) {
    for (int tries = 0; tries < 12'000 && ::access(path.c_str(), F_OK) != 0; ++tries)
      ::usleep(5'000);
    return ::access(path.c_str(), F_OK) == 0;
  };
  ASSERT_TRUE(wait_for_file(ready));
  Process recorder({topspin_binary(), "record", "--netns", b_, "-i", "out", "--db", db(),
                    "--interval", "100ms", "tcp", "port", "25701"});
  ASSERT_TRUE(recorder.wait_for("active"));  // in the header, which comes with the first interval
  std::ofstream(go) << 'x';
  ASSERT_TRUE(wait_for_file(done));
  const uint64_t sent_again = segments_sent_again();
  recorder.send(SIGINT);
  const Outcome recorded = recorder.finish();
  ASSERT_THAT(recorded.err, HasSubstr("the run is complete"));

  const Json json = Json::parse(topspin({"report", "last", "--db", db(), "--format", "json"}).out);
  const auto seen = json["summary"]["tcp_retransmissions"].get<uint64_t>();
  const std::string counts =
      "seen " + std::to_string(seen) + ", sent again " + std::to_string(sent_again);
  RecordProperty("counts", counts);
  ASSERT_GE(sent_again, 20u) << "12 MB, and next to nothing was lost";
  // Some of them are lost as well. If nothing followed a lost segment, the receiver's side cannot
  // know that it comes again.
  EXPECT_GE(seen, sent_again * 7 / 10) << counts;
  EXPECT_LE(seen, sent_again + sent_again / 10) << counts;
}

}  // namespace
}  // namespace topspin::test
