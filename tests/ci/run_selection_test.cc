// Which runs a typed selector means.
#include "ci/run_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace topspin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

StoredRun run(uint64_t number, std::string id, std::string branch = {}, std::string commit = {}) {
  StoredRun stored;
  stored.number = number;
  stored.info.id = std::move(id);
  stored.info.source.branch = std::move(branch);
  stored.info.source.commit = std::move(commit);
  stored.info.source.dirty = false;
  return stored;
}

/// A database from which run 3 was removed.
std::vector<StoredRun> database() {
  std::vector<StoredRun> runs = {
      run(1, "01a2-aa", "main", "1111111aaaa"), run(2, "01a2-ab", "main", "2222222bbbb"),
      run(4, "01a3-ba", "feature", "2222222bbbb"), run(12, "01a3-bb", "12x", "3333333cccc")};
  runs[2].info.source.dirty = true;
  runs[1].info.labels["side"] = "a";
  runs[2].info.labels["side"] = "a";
  runs[3].info.labels["branch"] = "labelled";
  return runs;
}

std::vector<uint64_t> numbers(std::string_view selector) {
  const auto chosen = select_runs(database(), selector);
  if (!chosen.ok()) return {};
  std::vector<uint64_t> found;
  for (const StoredRun& one : *chosen) found.push_back(one.number);
  return found;
}

std::string refusal(std::string_view selector, const std::vector<StoredRun>& runs = database()) {
  const auto chosen = select_runs(runs, selector);
  if (chosen.ok()) return "it was found";
  EXPECT_EQ(chosen.error().code, ErrorCode::kUsage);
  return chosen.error().message;
}

TEST(RunSelection, CountsBackFromTheLast) {
  EXPECT_THAT(numbers("last"), ElementsAre(12));
  EXPECT_THAT(numbers("last~0"), ElementsAre(12));
  EXPECT_THAT(numbers("last~1"), ElementsAre(4));
  EXPECT_THAT(numbers("last~3"), ElementsAre(1));
  EXPECT_THAT(refusal("last~4"), HasSubstr("there is no run last~4: the database holds 4"));
  EXPECT_THAT(refusal("last~x"), HasSubstr("no run matches \"last~x\""));
}

TEST(RunSelection, TakesTheNumbersOfTheDatabase) {
  EXPECT_THAT(numbers("#1"), ElementsAre(1));
  EXPECT_THAT(numbers("12"), ElementsAre(12));
  EXPECT_THAT(refusal("#3"), HasSubstr("no run matches \"#3\""));
  EXPECT_THAT(refusal("3"), HasSubstr("no run matches \"3\""));
  EXPECT_THAT(refusal("#"), HasSubstr("no run matches"));
  EXPECT_THAT(refusal("#-1"), HasSubstr("no run matches"));
  EXPECT_THAT(refusal("99999999999999999999999"), HasSubstr("no run matches"));
}

TEST(RunSelection, TakesAnIdOrAPrefixOfOneAlone) {
  EXPECT_THAT(numbers("01a2-ab"), ElementsAre(2));
  EXPECT_THAT(numbers("01a3-bb"), ElementsAre(12));
  EXPECT_THAT(refusal("01a3"), HasSubstr("2 runs begin with \"01a3\"; give more of the id"));
  EXPECT_THAT(refusal(""), HasSubstr("no run matches"));
  std::vector<StoredRun> nested = {run(1, "b-3"), run(2, "b-34")};
  EXPECT_EQ(select_runs(nested, "b-3")->front().number, 1u) << "a whole id, whatever begins so";
}

TEST(RunSelection, TakesBranchesAndCommitsWithOrWithoutTheirWord) {
  for (const char* selector : {"main", "branch=main"})
    EXPECT_THAT(numbers(selector), ElementsAre(1, 2)) << selector;
  for (const char* selector : {"2222222", "commit=2222222"})
    EXPECT_THAT(numbers(selector), ElementsAre(2)) << selector;
  for (const char* selector : {"2222222+changes", "commit=2222222+changes"})
    EXPECT_THAT(numbers(selector), ElementsAre(4)) << selector;
  EXPECT_THAT(numbers("branch=labelled"), ElementsAre(12)) << "a label may have that name";
  EXPECT_THAT(refusal("commit=222"), HasSubstr("no run matches"));
}

TEST(RunSelection, TakesLabels) {
  EXPECT_THAT(numbers("side=a"), ElementsAre(2, 4));
  EXPECT_THAT(refusal("side=b"), HasSubstr("no run matches \"side=b\""));
  EXPECT_THAT(refusal("=a"), HasSubstr("no run matches"));
}

TEST(RunSelection, AsksBackForAMisspeltName) {
  EXPECT_THAT(refusal("lsat"), HasSubstr("did you mean \"last\"?"));
  EXPECT_THAT(refusal("faeture"), HasSubstr("did you mean \"feature\"?"));
  EXPECT_THAT(refusal("last", {}), HasSubstr("holds no run yet"));
}

TEST(RunSelection, AsksBackForAMisspeltLabel) {
  EXPECT_THAT(refusal("sdie=a"), HasSubstr("did you mean \"side=a\"?"));
  EXPECT_THAT(refusal("brnach=main"), HasSubstr("did you mean \"branch=main\"?"));
  EXPECT_THAT(refusal("branch=mian"), HasSubstr("did you mean \"branch=main\"?"));
  EXPECT_THAT(refusal("branch=labeled"), HasSubstr("did you mean \"branch=labelled\"?"));
  EXPECT_THAT(refusal("side=b"), Not(HasSubstr("did you mean")));
  EXPECT_THAT(refusal("colour=red"), Not(HasSubstr("did you mean")));
}

}  // namespace
}  // namespace topspin
