// docs/numbers.md agrees with the registry. With TOPSPIN_UPDATE_GOLDEN=1 the test writes it.
#include "report/markdown/numbers_document.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace topspin {
namespace {

TEST(NumbersDocument, IsWhatTheRegistrySays) {
  const std::string path = std::string(TOPSPIN_SOURCE_DIR) + "/docs/numbers.md";
  if (std::getenv("TOPSPIN_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path) << numbers_document();
    GTEST_SKIP() << "wrote " << path;
  }
  std::stringstream document;
  document << std::ifstream(path).rdbuf();
  EXPECT_EQ(document.str(), numbers_document()) << "run this test with TOPSPIN_UPDATE_GOLDEN=1";
}

}  // namespace
}  // namespace topspin
