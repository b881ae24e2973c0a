// Linked into the test programs that depend on time (those with a LOCK): they, and the subjects and
// servers that they start, run before the tests beside them whenever they want a CPU. Without the
// privilege for it they run as all others.
#include <cerrno>
#include <cstdio>

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace topspin::test {
namespace {

class FirstInLine : public testing::Environment {
 public:
  void SetUp() override {
    constexpr int kHighest = -20;
    if (setpriority(PRIO_PROCESS, 0, kHighest) != 0 && errno != EACCES) std::perror("setpriority");
  }
};

const auto* const kFirstInLine = testing::AddGlobalTestEnvironment(new FirstInLine);

}  // namespace
}  // namespace topspin::test
