// A subject in another network and pid namespace, as in a container, recorded from outside.
#include <algorithm>
#include <fstream>

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
    return std::system("command -v unshare ip python3 >/dev/null 2>&1") != 0;
  }
  std::string db() const { return dir_.file("t.db"); }
  TempDir dir_;
};

/// A UDP echo server and its client on the namespace's own lo: 20 exchanges a second. It is process
/// 1 of a pid namespace of its own.
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

/// The one child of a process, once it is there.
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
  // Its number out here, not the 1 that it is inside.
  for (const char* side : {"initiator_owner", "responder_owner"}) {
    ASSERT_TRUE(flow[side].is_object()) << flow;
    EXPECT_EQ(std::to_string(flow[side]["pid"].get<int>()), pid);
  }
  const bool has_socket = std::ranges::any_of(json["sockets"], [](const Json& socket) {
    return socket.dump().find("23107") != std::string::npos;
  });
  EXPECT_TRUE(has_socket) << json["sockets"];
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
  EXPECT_THAT(pid.err, HasSubstr("no process 1073741823"));
}

}  // namespace
}  // namespace topspin::test
