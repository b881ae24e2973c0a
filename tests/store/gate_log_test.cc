// The gate's log returns what was logged, in order, also while a run is recorded.
#include "store/runs/gate_log.h"

#include <gtest/gtest.h>

#include "store/schema/database.h"
#include "store_testing.h"

namespace topspin {
namespace {

TEST(GateLog, AcceptancesComeBackAsTheyWereGiven) {
  const TemporaryDirectory directory;
  const std::string run = store_run(directory.file(), 2, 0);
  EXPECT_TRUE(must(read_acceptances(directory.file())).empty());
  Acceptance baseline;
  baseline.accepted_wall_ns = 1'700'000'000'000'000'000;
  baseline.kind = Acceptance::Kind::kBaseline;
  baseline.run_id = run;
  baseline.because = "TLS is on\n\x1b[31m\xff";
  Acceptance change;
  change.accepted_wall_ns = 1'700'000'000'000'000'001;
  change.series = "nightly.csv:cpu_us";
  change.row_index = 112;
  change.metric = "cpu_us";
  change.because = "checksums";
  EXPECT_OK(log_acceptance(directory.file(), baseline));
  EXPECT_OK(log_acceptance(directory.file(), change));
  const auto read = must(read_acceptances(directory.file()));
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0], baseline);
  EXPECT_EQ(read[1], change);
  EXPECT_FALSE(std::filesystem::exists(directory.file() + "-wal"));
}

TEST(GateLog, TheLastJudgementIsTheNewest) {
  const TemporaryDirectory directory;
  store_run(directory.file(), 1, 0);
  EXPECT_EQ(must(read_last_judgement(directory.file())), std::nullopt);
  StoredJudgement judgement{7, "ab", "fail", 1, 42, "{}"};
  EXPECT_OK(log_judgement(directory.file(), judgement));
  judgement.judged_wall_ns = 5;  // the clock was set back, but this is still the newer one
  judgement.verdict = "pass";
  EXPECT_OK(log_judgement(directory.file(), judgement));
  EXPECT_EQ(must(read_last_judgement(directory.file())), judgement);
}

TEST(GateLog, ItIsWrittenWhileARunIsRecorded) {
  const TemporaryDirectory directory;
  auto writer = create(directory.file());
  EXPECT_OK(writer->append(make_tick(1)));
  StoredJudgement judgement{7, "history", "pass", 0, 1, "{}"};
  EXPECT_OK(log_judgement(directory.file(), judgement));
  EXPECT_OK(writer->append(make_tick(2)));
  EXPECT_OK(writer->finish({}));
  EXPECT_EQ(must(read_last_judgement(directory.file())), judgement);
  EXPECT_EQ(must(open(directory.file())->list_runs()).at(0).ticks, 2u);
}

TEST(GateLog, AFileThatIsNotThereIsNotCreated) {
  const TemporaryDirectory directory;
  const Status status = log_judgement(directory.file(), {7, "ab", "pass", 0, 1, "{}"});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kInput);
  EXPECT_FALSE(std::filesystem::exists(directory.file()));
  EXPECT_FALSE(read_acceptances(directory.file()).ok());
}

TEST(GateLog, ADamagedEntryIsSaid) {
  const TemporaryDirectory directory;
  store_run(directory.file(), 1, 0);
  {
    const auto connection = must(open_for_writing(directory.file(), {}));
    EXPECT_OK(connection->execute(
        "INSERT INTO acceptance (accepted_wall_ns, kind, series, row_index, because) VALUES"
        " (1, 'change', 'x', -1, 'y')"));
    EXPECT_FALSE(connection
                     ->execute("INSERT INTO acceptance (accepted_wall_ns, kind, because) VALUES"
                               " (1, 'change', 'of nothing')")
                     .ok());
  }
  const auto read = read_acceptances(directory.file());
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.error().message.find("damaged"), std::string::npos);
}

}  // namespace
}  // namespace topspin
