// The page of a build without uPlot (TOPSPIN_PLOTS=OFF): it says so, runs no script, and has the
// numbers of each plot in an open table.
#include <gtest/gtest.h>

#include "report/html/html_report.h"
#include "report/html/page_assets.h"
#include "tests/report/report_testing.h"

namespace topspin {
namespace {

TEST(PageWithoutPlots, SaysSoAndHasTheTables) {
  ASSERT_FALSE(kPageHasPlots) << "linked with the wrong assets";
  const TemporaryDirectory directory;
  const std::string run = test::store_report_run(directory.file(), {.name = "x"});
  const std::string html = html_report(test::read_page(directory.file(), {run}));
  EXPECT_NE(html.find("without plots"), std::string::npos);
  EXPECT_NE(html.find("script-src 'none'"), std::string::npos);
  EXPECT_EQ(html.find("uPlot"), std::string::npos);
  EXPECT_EQ(html.find("class=\"plot\""), std::string::npos);
  EXPECT_EQ(html.find("class=\"toolbar\""), std::string::npos) << "nothing to zoom";
  size_t open_tables = 0;
  for (size_t at = 0; (at = html.find("<details open>", at)) != std::string::npos; ++at)
    ++open_tables;
  EXPECT_GE(open_tables, 6u);
}

}  // namespace
}  // namespace topspin
