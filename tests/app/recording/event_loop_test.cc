// EventLoop: sources with handlers.
#include "app/recording/sources/event_loop.h"

#include <array>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/base/unique_fd.h"

namespace topspin {
namespace {

struct Pipe {
  UniqueFd read_end, write_end;
};
Pipe make_pipe() {
  std::array<int, 2> fds{};
  EXPECT_EQ(pipe(fds.data()), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

TEST(EventLoop, CallsTheHandlersOfReadySourcesInOrder) {
  Pipe first = make_pipe(), second = make_pipe(), silent = make_pipe();
  std::string called;
  EventLoop loop;
  loop.add([&] { return second.read_end.get(); }, [&] { called += "2"; });
  loop.add([&] { return silent.read_end.get(); }, [&] { called += "s"; });
  loop.add([&] { return first.read_end.get(); }, [&] { called += "1"; });
  loop.add([] { return -1; }, [&] { called += "x"; });
  ASSERT_EQ(write(first.write_end.get(), "a", 1), 1);
  ASSERT_TRUE(loop.wait(-1).ok());
  EXPECT_EQ(called, "1");
  second.write_end.reset();  // the end of a stream is an event too
  ASSERT_TRUE(loop.wait(-1).ok());
  EXPECT_EQ(called, "121");
}

TEST(EventLoop, ASourceMayGoWhileTheLoopRuns) {
  Pipe pipe = make_pipe();
  int calls = 0;
  EventLoop loop;
  loop.add([&] { return pipe.read_end.get(); },
           [&] {
             ++calls;
             pipe.read_end.reset();
           });
  pipe.write_end.reset();
  ASSERT_TRUE(loop.wait(-1).ok());
  ASSERT_TRUE(loop.wait(0).ok());
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace topspin
