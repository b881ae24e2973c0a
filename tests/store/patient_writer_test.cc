// A database that cannot be written for a while: what waits is stored later, in order, and what is
// dropped is counted.
#include "store/runs/patient_writer.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "store/sqlite/sqlite.h"
#include "store_testing.h"

namespace topspin {
namespace {

/// A writer that logs what it is given, and fails while Log::error is set.
class FakeWriter final : public RunWriter {
 public:
  struct Log {
    std::vector<std::string> entries;  // "tick 1", "event x", "stage 0", "end"
    LossInterval losses;
    RunEnd end;
    std::optional<Error> error;
  };
  explicit FakeWriter(Log& log) : log_(log) {}

  Status set_start(int64_t, int64_t) override { return note("start"); }
  Status append(const Sample& sample) override {
    if (log_.error) return *log_.error;
    log_.losses.merge(sample.losses);
    return note("tick " + std::to_string(sample.tick));
  }
  Status append(std::vector<Sample>) override { return {}; }
  LossInterval take_losses() override { return {}; }
  Status add_event(int64_t, std::string_view text) override {
    return note("event " + std::string(text));
  }
  Status put_stage(uint64_t position, const RunStage&) override {
    return note("stage " + std::to_string(position));
  }
  Status put_load(const LoadResult&) override { return note("load"); }
  Status finish(const RunEnd& end) override {
    log_.end = end;
    return note("end");
  }
  Status check_place() override { return {}; }

 private:
  Status note(std::string entry) {
    if (log_.error) return *log_.error;
    log_.entries.push_back(std::move(entry));
    return {};
  }
  Log& log_;
};

Sample tick(uint64_t number, uint64_t drops = 0) {
  Sample sample;
  sample.tick = number;
  sample.losses.capture_kernel_drops = drops;
  return sample;
}

class PatientWriterTest : public testing::Test {
 protected:
  PatientWriter make(uint64_t most_bytes = PatientWriter::kMaxWaitingBytes) {
    return {std::make_unique<FakeWriter>(log_), [this] { return now_ns_; },
            [this] {
              now_ns_ += 50'000'000;
              if (on_wait_) on_wait_();
              return true;
            },
            most_bytes};
  }
  void lock() { log_.error = make_error(ErrorCode::kOutput, "it is locked", EBUSY); }
  void unlock() { log_.error.reset(); }
  void pass() { now_ns_ += PatientWriter::kRetryNs; }

  FakeWriter::Log log_;
  int64_t now_ns_ = 0;
  std::function<void()> on_wait_;
};

using Entries = std::vector<std::string>;

TEST_F(PatientWriterTest, StoresAtOnceWhileItCan) {
  PatientWriter writer = make();
  EXPECT_OK(writer.append(tick(1)));
  EXPECT_OK(writer.add_event(1, "x"));
  EXPECT_FALSE(writer.waiting());
  EXPECT_FALSE(writer.take_notice());
  EXPECT_EQ(log_.entries, (Entries{"tick 1", "event x"}));
}

TEST_F(PatientWriterTest, WhatWaitedIsStoredInOrderAndBothAreTold) {
  PatientWriter writer = make();
  lock();
  EXPECT_OK(writer.append(tick(1)));
  EXPECT_OK(writer.add_event(1, "x"));
  EXPECT_OK(writer.put_stage(0, {}));
  EXPECT_OK(writer.append(tick(2)));
  ASSERT_TRUE(writer.waiting());
  const auto waits = writer.take_notice();
  ASSERT_TRUE(waits);
  EXPECT_NE(waits->find("it is locked"), std::string::npos) << *waits;
  EXPECT_FALSE(writer.take_notice());
  unlock();
  pass();
  EXPECT_OK(writer.retry());
  EXPECT_FALSE(writer.waiting());
  EXPECT_EQ(log_.entries, (Entries{"tick 1", "event x", "stage 0", "tick 2"}));
  const auto over = writer.take_notice();
  ASSERT_TRUE(over);
  EXPECT_NE(over->find("2 ticks stored late, 0 dropped"), std::string::npos) << *over;
}

TEST_F(PatientWriterTest, BeyondTheBoundTheOldestAreGivenUpAndCountedInTheNextThatIsStored) {
  PatientWriter writer = make(1 << 20);
  lock();
  constexpr uint64_t kTicks = 100;  // more than a mebibyte
  for (uint64_t number = 1; number <= kTicks; ++number) EXPECT_OK(writer.append(tick(number, 1)));
  const uint64_t given_up = writer.take_losses().ticks_unstored;
  EXPECT_GT(given_up, 0u);
  unlock();
  pass();
  EXPECT_OK(writer.retry());
  EXPECT_EQ(log_.entries.size(), kTicks - given_up);
  EXPECT_EQ(log_.entries.back(), "tick 100");
  EXPECT_EQ(log_.losses.ticks_unstored, given_up);
  EXPECT_EQ(log_.losses.capture_kernel_drops, kTicks);  // including the losses of dropped ticks
  EXPECT_OK(writer.finish({}));
}

TEST_F(PatientWriterTest, AnErrorThatTimeDoesNotMendIsPassedOn) {
  PatientWriter writer = make();
  log_.error = make_error(ErrorCode::kInput, "it is damaged");
  EXPECT_FALSE(writer.append(tick(1)).ok());
  EXPECT_FALSE(writer.waiting());
}

TEST_F(PatientWriterTest, TheEndWaitsForTheDatabase) {
  PatientWriter writer = make();
  lock();
  EXPECT_OK(writer.append(tick(1)));
  int waits = 0;
  on_wait_ = [&] {
    if (++waits == 10) unlock();
  };
  EXPECT_OK(writer.finish({}));
  EXPECT_EQ(log_.entries, (Entries{"tick 1", "end"}));
  EXPECT_TRUE(log_.end.invalid_reasons.empty());
}

TEST_F(PatientWriterTest, TheEndSaysWhatIsMissing) {
  PatientWriter writer = make();
  lock();
  EXPECT_OK(writer.append(tick(1)));
  EXPECT_OK(writer.append(tick(2)));
  const Status finished = writer.finish({});
  ASSERT_FALSE(finished.ok());
  EXPECT_EQ(finished.error().code, ErrorCode::kOutput);
  EXPECT_NE(finished.error().message.find("2 ticks of the run could not be stored"),
            std::string::npos)
      << finished.error().message;
}

/// Holds the write lock of a database, as another program would.
class Locker {
 public:
  explicit Locker(const std::string& path)
      : connection_(must(Connection::open(path, Access::kWrite))) {
    EXPECT_OK(connection_->execute("BEGIN EXCLUSIVE"));
  }

 private:
  std::unique_ptr<Connection> connection_;  // closing it rolls back
};

TEST(PatientWriterOnSqlite, ALockOfAnotherProgramDelaysTicksAndLosesNone) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  WriterOptions options;
  options.busy_timeout_ms = 1;
  int64_t now_ns = 0;
  PatientWriter writer(
      create(directory.file(), run, options), [&] { return now_ns; }, [&] { return false; });
  EXPECT_OK(writer.append(make_tick(1, 50)));
  {
    const Locker locker(directory.file());
    for (uint64_t number = 2; number <= 6; ++number) {
      now_ns += PatientWriter::kRetryNs;
      EXPECT_OK(writer.append(make_tick(number, 50)));
    }
    EXPECT_TRUE(writer.waiting());
  }
  now_ns += PatientWriter::kRetryNs;
  EXPECT_OK(writer.append(make_tick(7, 50)));
  EXPECT_FALSE(writer.waiting());
  EXPECT_OK(writer.finish(RunEnd{RunStatus::kComplete, 1, {}, {}, {}}));
  const auto store = open(directory.file());
  EXPECT_EQ(ticks_of(*store, run.id).size(), 7u);
  EXPECT_EQ(flows_of(*store, run.id).size(), 50u);
}

TEST(CheckPlace, NoticesThatTheFileWentAwayOrIsAnother) {
  const TemporaryDirectory directory;
  const auto writer = create(directory.file());
  EXPECT_OK(writer->check_place());
  std::filesystem::rename(directory.file(), directory.file("elsewhere.db"));
  EXPECT_FALSE(writer->check_place().ok());
  std::filesystem::copy(directory.file("elsewhere.db"), directory.file());
  EXPECT_FALSE(writer->check_place().ok());
  const Status finished = writer->finish(RunEnd{RunStatus::kComplete, 1, {}, {}, {}});
  ASSERT_FALSE(finished.ok());
  EXPECT_EQ(finished.error().code, ErrorCode::kOutput);
}

}  // namespace
}  // namespace topspin
