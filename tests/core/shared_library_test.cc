// Shared libraries that are loaded when they are needed.
#include "core/base/shared_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace topspin {
namespace {

using testing::HasSubstr;

TEST(SharedLibrary, FindsFunctionsAndNamesTheFirstThatIsMissing) {
  auto library = SharedLibrary::open("libc.so.6", {"a test needs libc", "install it", "libc"});
  if (!library.ok() && library.error().message.find("statically") != std::string::npos)
    GTEST_SKIP() << library.error().message;
  ASSERT_TRUE(library.ok()) << library.error().message;
  decltype(&::getpid) own_pid = nullptr;
  library->find("getpid", own_pid);
  ASSERT_NE(own_pid, nullptr);
  EXPECT_EQ(own_pid(), ::getpid());
  EXPECT_EQ(library->missing(), "");
  for (const char* symbol : {"topspin_no_such", "topspin_nor_this"}) {
    library->find(symbol, own_pid);
    EXPECT_EQ(own_pid, nullptr);
    EXPECT_EQ(library->missing(), "topspin_no_such");
  }
}

TEST(SharedLibrary, SaysWhatIsMissingAndWhatToDo) {
  const auto library = SharedLibrary::open(
      "libtopspin-no-such.so.9", {"a test needs a library", "install the package", "no library"});
  ASSERT_FALSE(library.ok());
  EXPECT_EQ(library.error().code, ErrorCode::kUnsupported);
  if (library.error().message.find("statically") != std::string::npos) return;
  EXPECT_THAT(library.error().message, testing::StartsWith("a test needs a library ("));
  EXPECT_THAT(library.error().message, HasSubstr("libtopspin-no-such.so.9"));
  EXPECT_THAT(library.error().message, testing::EndsWith("); install the package"));
}

}  // namespace
}  // namespace topspin
