// Shared by the tests that inflict faults on a recording: its database read by SQL, and the
// evidence that a process leaves, or must not leave, in the kernel.
#pragma once

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "store/sqlite/sqlite.h"
#include "tests/app/recording/recording_fixture.h"

namespace topspin::test {

class FaultFixture : public RecordingFixture {
 protected:
  /// The number that a query gives; -1 if the database cannot be read yet.
  int64_t number(const std::string& query) const {
    const auto connection = Connection::open(db(), Access::kRead);
    if (!connection.ok()) return -1;
    const auto found = (*connection)->query_int(query);
    return found.ok() ? *found : -1;
  }
  int64_t ticks() const { return number("SELECT count(*) FROM tick"); }
  void expect_sound_database() const {
    const auto connection = Connection::open(db(), Access::kRead);
    ASSERT_TRUE(connection.ok()) << connection.error().message;
    const auto integrity = (*connection)->query_text("PRAGMA integrity_check");
    EXPECT_TRUE(integrity.ok() && *integrity == "ok");
    EXPECT_EQ(number("SELECT count(*) FROM pragma_foreign_key_check"), 0);
  }

  template <typename Condition>
  static bool wait_until(Condition condition, int seconds = 60) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      usleep(20'000);
    }
    return true;
  }

  static std::string text_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  /// The rung of a probe and why it is not a better one, in the last run.
  static std::pair<std::string, std::string> rung_of(const Json& report, const std::string& probe) {
    for (const Json& row : report["probes"]) {
      if (row["name"] != probe) continue;
      return {row["rung"].get<std::string>(),
              row["reason"].is_string() ? row["reason"].get<std::string>() : ""};
    }
    return {"", "there is no probe " + probe};
  }
};

}  // namespace topspin::test
