#include "core/base/result.h"

#include <memory>

#include <gtest/gtest.h>

#include "core/base/unique_fd.h"

namespace topspin {
namespace {

Result<std::unique_ptr<int>> make(bool good) {
  if (!good) return make_error(ErrorCode::kInput, "no");
  return std::make_unique<int>(7);
}

Result<int> chain(bool good) {
  TOPSPIN_ASSIGN(auto value, make(good));
  return *value;
}

Status check(bool good) {
  TOPSPIN_TRY(good ? Status() : Status(make_error(ErrorCode::kUsage, "bad")));
  return {};
}

TEST(Result, CarriesValueOrError) {
  EXPECT_EQ(*chain(true), 7);
  EXPECT_EQ(chain(false).error().message, "no");
  EXPECT_TRUE(check(true).ok());
  EXPECT_EQ(exit_code(check(false).error().code), 2);
}

TEST(Result, EachKindOfErrorHasItsExitCode) {
  EXPECT_EQ(exit_code(ErrorCode::kInvalidRun), 3);
  EXPECT_EQ(exit_code(ErrorCode::kPermission), 4);
  EXPECT_EQ(exit_code(ErrorCode::kUnsupported), 4);
  EXPECT_EQ(exit_code(ErrorCode::kInput), 5);
  EXPECT_EQ(exit_code(ErrorCode::kOutput), 5);
  EXPECT_EQ(exit_code(ErrorCode::kInternal), 5);
}

TEST(ResultDeathTest, AskingForTheWrongOneAborts) {
  EXPECT_DEATH((void)make(false).value(), "CHECK");
  EXPECT_DEATH((void)make(true).error(), "CHECK");
}

TEST(UniqueFd, ClosesWhatItOwns) {
  int raw = -1;
  {
    UniqueFd a(::dup(0));
    raw = a.get();
    UniqueFd b = std::move(a);
    EXPECT_FALSE(a.valid());  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(b.get(), raw);
  }
  EXPECT_EQ(::close(raw), -1);
}

}  // namespace
}  // namespace topspin
