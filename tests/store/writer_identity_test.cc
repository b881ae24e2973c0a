#include "store/sqlite/writer_identity.h"

#include <csignal>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace topspin {
namespace {

TEST(WriterIdentity, ThisProcessIsAlive) {
  const WriterIdentity self = this_writer();
  EXPECT_EQ(self.pid, ::getpid());
  EXPECT_GT(self.start_ticks, 0);
  EXPECT_NE(self.boot_id, "");
  EXPECT_EQ(fate_of(self), WriterFate::kAlive);
}

TEST(WriterIdentity, TheSameNumberWithAnotherStartOrBootIsGone) {
  WriterIdentity other = this_writer();
  other.start_ticks += 1;
  EXPECT_EQ(fate_of(other), WriterFate::kGone);
  other = this_writer();
  other.boot_id = "00000000-0000-0000-0000-000000000000";
  EXPECT_EQ(fate_of(other), WriterFate::kGone);
  other = this_writer();
  other.pid_namespace += 1;
  EXPECT_EQ(fate_of(other), WriterFate::kHidden);
  for (const int64_t pid : {int64_t{0}, int64_t{-1}, INT64_MAX}) {
    other = this_writer();
    other.pid = pid;
    EXPECT_EQ(fate_of(other), WriterFate::kGone);
  }
}

TEST(WriterIdentity, AZombieIsGoneAndSoIsOneThatWasReaped) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const WriterIdentity self = this_writer();
    if (::write(ends[1], &self.start_ticks, sizeof self.start_ticks) < 0) _exit(1);
    ::pause();
    _exit(0);
  }
  WriterIdentity writer = this_writer();
  writer.pid = child;
  ASSERT_EQ(::read(ends[0], &writer.start_ticks, sizeof writer.start_ticks),
            static_cast<ssize_t>(sizeof writer.start_ticks));
  EXPECT_EQ(fate_of(writer), WriterFate::kAlive);
  ::kill(child, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(fate_of(writer), WriterFate::kGone);  // a zombie: dead, but not reaped yet
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(fate_of(writer), WriterFate::kGone);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace topspin
