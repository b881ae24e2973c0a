// Shared by tests of `topspin record`: a database in a directory of its own, and its report.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {

class RecordingFixture : public testing::Test {
 protected:
  using Json = nlohmann::json;

  void SetUp() override { TOPSPIN_NEEDS_ROOT(); }

  /// The command line of a recording on loopback.
  std::vector<std::string> record(std::vector<std::string> more) const {
    std::vector<std::string> all = {topspin_binary(), "record", "-i", "lo", "--db", db()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// The report of the run recorded last.
  Json report() const { return json_of({"report", "last", "--db", db(), "--format", "json"}); }
  std::string db() const { return dir_.file("t.db"); }

  static Json json_of(const std::vector<std::string>& arguments) {
    const Outcome run = topspin(arguments);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.exit_code == 0 ? Json::parse(run.out) : Json();
  }

  TempDir dir_;
};

}  // namespace topspin::test
