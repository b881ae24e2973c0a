#include "app/host/outlet.h"

#include <array>
#include <csignal>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "app/host/privileges.h"
#include "tests/support/in_child.h"
#include "tests/support/privileges.h"

namespace topspin {
namespace {

/// A pipe in place of a standard stream; the outlet writes to `write_fd`.
struct OutletPipe {
  explicit OutletPipe(int flags = 0) {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
    fcntl(write_end.get(), F_SETFL, flags);
  }
  /// Reads everything that is in it now.
  std::string drain() const {
    fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
    std::string text;
    std::array<char, 65536> buffer;
    ssize_t n = 0;
    while ((n = read(read_end.get(), buffer.data(), buffer.size())) > 0)
      text.append(buffer.data(), static_cast<size_t>(n));
    return text;
  }
  /// Writes until not one more byte fits.
  void fill() const {
    const int flags = fcntl(write_end.get(), F_GETFL);
    fcntl(write_end.get(), F_SETFL, O_NONBLOCK);
    const std::string much(4096, 'x');
    for (const size_t size : {much.size(), size_t{1}}) {
      while (write(write_end.get(), much.data(), size) > 0) {
      }
    }
    fcntl(write_end.get(), F_SETFL, flags);
  }
  UniqueFd read_end, write_end;
};

TEST(Outlet, WritesWholeLinesToAReader) {
  const OutletPipe pipe;
  Outlet outlet(pipe.write_end.get());
  EXPECT_TRUE(outlet.write("one\n"));
  EXPECT_TRUE(outlet.write("two\n"));
  EXPECT_EQ(pipe.drain(), "one\ntwo\n");
}

TEST(Outlet, DropsLinesThatNobodyReadsAndSaysHowManyOnceSomebodyDoes) {
  for (const int flags : {0, O_NONBLOCK}) {
    const OutletPipe pipe(flags);
    Outlet outlet(pipe.write_end.get());
    EXPECT_TRUE(outlet.write("before\n"));
    pipe.fill();
    EXPECT_FALSE(outlet.write("dropped\n", 1));
    EXPECT_FALSE(outlet.write("dropped\n"));
    EXPECT_EQ(outlet.lines_dropped(), 2u);
    EXPECT_FALSE(outlet.silenced());
    pipe.drain();
    EXPECT_TRUE(outlet.write("after\n"));
    const std::string text = pipe.drain();
    EXPECT_NE(text.find("2 lines were not shown"), std::string::npos) << text;
    EXPECT_NE(text.find("\nafter\n"), std::string::npos) << text;
  }
}

TEST(Outlet, IsSilentOnceItsReaderIsGoneOrItsDiskIsFull) {
  prepare_standard_streams();  // SIGPIPE is an error then
  OutletPipe pipe;
  Outlet outlet(pipe.write_end.get());
  EXPECT_TRUE(outlet.write("one\n"));
  pipe.read_end.reset();
  EXPECT_FALSE(outlet.write("two\n"));
  EXPECT_TRUE(outlet.silenced());
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  Outlet disk(full.get());
  EXPECT_FALSE(disk.write("one\n"));
  EXPECT_TRUE(disk.silenced());
  Outlet closed(12345);
  EXPECT_FALSE(closed.write("one\n"));
  EXPECT_TRUE(closed.silenced());
}

/// As another user, writes to a terminal that nobody reads and that belongs to root. Returns what
/// happened. Does not return if a write waits for a reader.
std::string write_to_anothers_terminal(bool controlling) {
  const UniqueFd reader(posix_openpt(O_RDWR | O_NOCTTY));
  if (!reader || grantpt(reader.get()) != 0 || unlockpt(reader.get()) != 0) return "no terminal";
  setsid();
  signal(SIGHUP, SIG_IGN);  // the reader is closed when this returns
  const UniqueFd terminal(::open(ptsname(reader.get()), O_RDWR | O_NOCTTY));
  fchmod(terminal.get(), 0600);
  if (controlling && ioctl(terminal.get(), TIOCSCTTY, 0) != 0) return "not controlling";
  const auto nobody = find_user("nobody");
  if (!nobody.ok() || !become_user(*nobody).ok()) return "no user";
  Outlet outlet(terminal.get());
  const std::string line(100, 'x');
  int written = 0;
  while (outlet.write(line + "\n", 1) && written < 10'000) ++written;
  std::array<char, 65536> buffer;
  const bool first = written > 0 && read(reader.get(), buffer.data(), buffer.size()) > 0;
  return fmt::format("{}{}{}", first ? "read" : "nothing", outlet.silenced() ? ", silenced" : "",
                     outlet.lines_dropped() > 0 ? ", dropped" : "");
}

TEST(Outlet, WaitsForNoReaderOfATerminalThatItMayNotOpen) {
  TOPSPIN_NEEDS_ROOT();
  for (const bool controlling : {false, true}) {
    EXPECT_EQ(in_child([controlling] { return write_to_anothers_terminal(controlling); }),
              "read, dropped");
  }
}

}  // namespace
}  // namespace topspin
