#include "app/outlet.h"

#include <array>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace topspin {
namespace {

/// A pipe in place of a standard stream; the outlet writes to `write_fd`.
struct Pipe {
  explicit Pipe(int flags = 0) {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
    fcntl(write_end.get(), F_SETFL, flags);
  }
  /// All that is in it now.
  std::string drain() const {
    fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
    std::string text;
    std::array<char, 65536> buffer;
    ssize_t n = 0;
    while ((n = read(read_end.get(), buffer.data(), buffer.size())) > 0)
      text.append(buffer.data(), static_cast<size_t>(n));
    return text;
  }
  /// Until not a byte more fits.
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
  const Pipe pipe;
  Outlet outlet(pipe.write_end.get());
  EXPECT_TRUE(outlet.write("one\n"));
  EXPECT_TRUE(outlet.write("two\n"));
  EXPECT_EQ(pipe.drain(), "one\ntwo\n");
}

TEST(Outlet, DropsLinesThatNobodyReadsAndSaysHowManyOnceSomebodyDoes) {
  for (const int flags : {0, O_NONBLOCK}) {
    const Pipe pipe(flags);
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
  Pipe pipe;
  Outlet outlet(pipe.write_end.get());
  EXPECT_TRUE(outlet.write("one\n"));
  pipe.read_end.reset();
  EXPECT_FALSE(outlet.write("two\n"));
  EXPECT_TRUE(outlet.silenced());
  const UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  Outlet disk(full.get());
  EXPECT_FALSE(disk.write("one\n"));
  EXPECT_TRUE(disk.silenced());
  Outlet closed(12345);
  EXPECT_FALSE(closed.write("one\n"));
  EXPECT_TRUE(closed.silenced());
}

}  // namespace
}  // namespace topspin
