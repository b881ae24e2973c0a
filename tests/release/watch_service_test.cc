// The systemd unit of the flight recorder: what systemd says of it, and the real binary as it
// starts it, as far as that works without systemd.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "tests/release/source_file.h"
#include "tests/support/own_network.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;

std::string unit_with_program(const TempDir& dir, const std::string& name) {
  std::string text = contents("release/systemd/topspin-watch@.service");
  const std::string start = "ExecStart=topspin";
  text.replace(text.find(start), start.size(), "ExecStart=" + topspin_binary());
  const std::string file = dir.file(name);
  std::ofstream(file) << text;
  return file;
}

TEST(WatchService, IsWhatSystemdUnderstandsAndFindsSafe) {
  if (test::run({"systemd-analyze", "--version"}).exit_code != 0)
    TOPSPIN_SKIP("systemd-analyze is not installed (package systemd)");
  const TempDir dir;
  const std::string file = unit_with_program(dir, "topspin-watch@web.service");
  const Outcome verified = test::run({"systemd-analyze", "verify", "--man=no", file});
  EXPECT_EQ(verified.exit_code, 0);
  EXPECT_EQ(verified.err, "");
  // The threshold is ten times the exposure.
  const Outcome safe =
      test::run({"systemd-analyze", "security", "--offline=true", "--threshold=30", file});
  EXPECT_EQ(safe.exit_code, 0) << safe.out.substr(safe.out.size() -
                                                  std::min<size_t>(400, safe.out.size()));
  EXPECT_THAT(safe.out, HasSubstr("Overall exposure level"));
}

TEST(WatchService, IsConfiguredByItsFileAndTellsSystemd) {
  TOPSPIN_NEEDS_ROOT();
  if (!OwnNetwork::why_not().empty()) TOPSPIN_SKIP(OwnNetwork::why_not());
  const TempDir dir;
  std::ofstream(dir.file("web.toml")) << "[watch]\n"
                                         "interface = \"lo\"\n"
                                         "keep = \"5s\"\n"
                                         "when = [\"fds > 1000\", \"unanswered > 5 for 1s\"]\n"
                                         "listen = \"127.0.0.1:9470\"\n";
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = dir.file("notify");
  std::copy(path.begin(), path.end(), address.sun_path);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const timeval patience{20, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const auto message = [&] {
    char text[256];
    const ssize_t got = ::recv(socket.get(), text, sizeof text, 0);
    return got > 0 ? std::string(text, static_cast<size_t>(got)) : std::string();
  };
  Process service({topspin_binary(), "watch", "--db", dir.file("web.db")}, [&] {
    setenv("TOPSPIN_CONFIG", dir.file("web.toml").c_str(), 1);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
    setenv("WATCHDOG_USEC", "400000", 1);
  });
  EXPECT_THAT(message(), HasSubstr("READY=1\nSTATUS=watching lo by 2 rules"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(message(), "WATCHDOG=1");
  EXPECT_THAT(test::run({"curl", "-sS", "-m", "10", "http://127.0.0.1:9470/metrics"}).out,
              HasSubstr("topspin_incidents_total 0"));
  service.send(SIGTERM);
  std::string last;
  while (last != "STOPPING=1") {
    last = message();
    ASSERT_FALSE(last.empty());
  }
  const Outcome ended = service.finish();
  EXPECT_EQ(ended.exit_code, 143) << ended.err;
  EXPECT_THAT(contents("release/systemd/topspin-watch@.service"),
              HasSubstr("SuccessExitStatus=143"));
}

}  // namespace
}  // namespace topspin::test
