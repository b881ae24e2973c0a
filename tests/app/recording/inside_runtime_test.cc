// --runtime, from the command line to the report, for a program that starts after topspin has given
// up its privileges, also as another user.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

class InsideARuntime : public testing::Test {
 protected:
  void SetUp() override {
    TOPSPIN_NEEDS_ROOT();
    if (!std::filesystem::exists(kPython)) TOPSPIN_SKIP("the system has no python3");
    std::filesystem::permissions(dir_.path(), std::filesystem::perms::all);
    // It collects about every 20 ms for 3 s.
    std::ofstream(dir_.file("subject.py")) << "import gc, time\nend = time.monotonic() + 3\n"
                                              "while time.monotonic() < end:\n"
                                              "    gc.collect(); time.sleep(0.02)\n";
  }
  void record(std::vector<std::string> options) {
    std::vector<std::string> all = {"record", "-q", "-i", "lo", "--db", dir_.file("t.db")};
    all.insert(all.end(), options.begin(), options.end());
    all.insert(all.end(), {"udp port 9", "--", kPython, dir_.file("subject.py")});
    run_ = topspin(all);
    const Outcome report =
        topspin({"report", "last", "--db", dir_.file("t.db"), "--format", "json"});
    if (report.exit_code == 0) json_ = Json::parse(report.out);
  }
  static constexpr const char* kPython = "/usr/bin/python3";
  TempDir dir_;
  Outcome run_;
  Json json_;
};

TEST_F(InsideARuntime, OfACommandIsInTheReport) {
  for (const std::vector<std::string>& user : {std::vector<std::string>{}, {"-Z", "nobody"}}) {
    std::filesystem::remove(dir_.file("t.db"));
    std::vector<std::string> options = {"--runtime", "cpython,node"};
    options.insert(options.end(), user.begin(), user.end());
    record(options);
    ASSERT_EQ(run_.exit_code, 0) << run_.err;
    const std::string text = json_.dump();
    ASSERT_THAT(text, HasSubstr("runtime cpython in ")) << run_.err;
    if (text.find("measures gc") == std::string::npos) TOPSPIN_SKIP("this python3 has no USDT");
    const Json& collections = json_["summary"]["numbers"]["runtime_gc_ns"];
    ASSERT_TRUE(collections.is_object()) << json_["summary"]["numbers"].dump();
    EXPECT_GT(collections["count"].get<double>(), 20) << collections.dump();
    EXPECT_FALSE(json_["summary"]["numbers"].contains("runtime_loop_turn_ns") &&
                 json_["summary"]["numbers"]["runtime_loop_turn_ns"].is_object());
    EXPECT_THAT(topspin({"report", "last", "--db", dir_.file("t.db")}).out,
                HasSubstr("arbage collections"));
  }
}

TEST_F(InsideARuntime, WhatThereIsNotIsRefusedAtOnce) {
  record({"--runtime", "perl"});
  EXPECT_EQ(run_.exit_code, 2);
  EXPECT_THAT(run_.err, HasSubstr("there is no runtime \"perl\""));
}

}  // namespace
}  // namespace topspin::test
