// Each path through the states of a recording. record_test.cc and packets_test.cc test what the
// process does in them.
#include "app/recording/recording_state.h"

#include <csignal>
#include <utility>

#include <gtest/gtest.h>

namespace topspin::test {
namespace {

using enum RecordingState;

const Error kCaptureError{ErrorCode::kInput, 0, "the interface is gone"};
const Error kStoreError{ErrorCode::kOutput, 0, "the disk is full"};

/// The rest of the path, which is the same for all.
void expect_the_rest(RecordingEnding& ending) {
  EXPECT_EQ(ending.state(), kEnding);
  ending.last_tick_made();
  EXPECT_EQ(ending.state(), kDraining);
  ending.command_ended();
  EXPECT_EQ(ending.state(), kDone);
}

TEST(RecordingEnding, RunsUntilSomethingAsksForTheEnd) {
  RecordingEnding ending;
  EXPECT_EQ(ending.state(), kRunning);
  EXPECT_EQ(ending.signal(), 0);
  EXPECT_FALSE(ending.failure());
}

TEST(RecordingEnding, OfADurationOrACommandHasNeitherSignalNorError) {
  RecordingEnding ending;
  ending.ask();
  ending.ask();  // both at once
  expect_the_rest(ending);
  EXPECT_EQ(ending.signal(), 0);
  EXPECT_FALSE(ending.failure());
}

TEST(RecordingEnding, OfASignalKeepsIt) {
  RecordingEnding ending;
  EXPECT_TRUE(ending.stop_by(SIGTERM));
  expect_the_rest(ending);
  EXPECT_EQ(ending.signal(), SIGTERM);
}

TEST(RecordingEnding, OfATerminalThatIsGoneIsThatOfSighupWhicheverIsSeenFirst) {
  RecordingEnding seen_first;
  seen_first.hang_up();
  EXPECT_TRUE(seen_first.stop_by(SIGHUP));  // of the same terminal
  EXPECT_FALSE(seen_first.stop_by(SIGHUP));
  expect_the_rest(seen_first);
  EXPECT_EQ(seen_first.signal(), SIGHUP);

  RecordingEnding signal_first;
  EXPECT_TRUE(signal_first.stop_by(SIGHUP));
  signal_first.hang_up();
  EXPECT_FALSE(signal_first.stop_by(SIGHUP));
  expect_the_rest(signal_first);
  EXPECT_EQ(signal_first.signal(), SIGHUP);
}

TEST(RecordingEnding, ASecondSignalAbortsInEachState) {
  RecordingEnding ending;
  EXPECT_TRUE(ending.stop_by(SIGINT));
  EXPECT_FALSE(ending.stop_by(SIGTERM));
  ending.last_tick_made();
  EXPECT_FALSE(ending.stop_by(SIGTERM));  // during the wait for a command that does not end
  ending.command_ended();
  EXPECT_FALSE(ending.stop_by(SIGTERM));
  EXPECT_EQ(ending.signal(), SIGINT);
}

TEST(RecordingEnding, ASignalWhileItEndsAnywayIsTheFirstOne) {
  RecordingEnding ending;
  ending.ask();
  ending.last_tick_made();
  EXPECT_TRUE(ending.stop_by(SIGINT));
  EXPECT_EQ(ending.state(), kDraining) << "it goes on from where it was";
  EXPECT_FALSE(ending.stop_by(SIGINT));
  ending.command_ended();
  EXPECT_EQ(ending.state(), kDone);
}

TEST(RecordingEnding, AnErrorEndsItAndTheFirstOneIsTold) {
  for (const auto& [first, second] :
       {std::pair(kCaptureError, kStoreError), std::pair(kStoreError, kCaptureError)}) {
    RecordingEnding ending;
    ending.fail(first);
    ending.fail(second);  // of the last tick
    expect_the_rest(ending);
    ASSERT_TRUE(ending.failure());
    EXPECT_EQ(ending.failure()->message, first.message);
    EXPECT_EQ(ending.signal(), 0);
  }
}

TEST(RecordingEnding, AnErrorAfterASignalIsKeptToo) {
  RecordingEnding ending;
  EXPECT_TRUE(ending.stop_by(SIGINT));
  ending.last_tick_made();
  ending.fail(kStoreError);
  EXPECT_EQ(ending.state(), kDraining);
  ending.command_ended();
  ending.fail(kCaptureError);
  EXPECT_EQ(ending.state(), kDone);
  EXPECT_EQ(ending.failure()->message, kStoreError.message);
  EXPECT_EQ(ending.signal(), SIGINT);
}

TEST(RecordingEndingDeathTest, NoStateIsLeftOut) {
  RecordingEnding running;
  EXPECT_DEATH(running.last_tick_made(), "");
  RecordingEnding ending;
  ending.ask();
  EXPECT_DEATH(ending.command_ended(), "");
}

}  // namespace
}  // namespace topspin::test
