// Two generators in separate network namespaces load a server in a third, and are shown as one
// load. This is the worked example of docs/load.md.
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;

/// Creates the namespaces and the links between them, and removes them when it is destroyed.
class Hosts {
 public:
  Hosts() {
    ok_ = true;
    for (const char* name : {"server", "one", "two"}) ip("netns add " + host(name));
    int number = 0;
    for (const char* name : {"one", "two"}) {
      ++number;
      ip(fmt::format("link add s{0} netns {1} type veth peer name c{0} netns {2}", number,
                     host("server"), host(name)));
      ip(fmt::format("-n {} addr add 10.77.{}.1/24 dev s{}", host("server"), number, number));
      ip(fmt::format("-n {} addr add 10.77.{}.2/24 dev c{}", host(name), number, number));
      ip(fmt::format("-n {} link set s{} up", host("server"), number));
      ip(fmt::format("-n {} link set c{} up", host(name), number));
    }
  }
  Hosts(const Hosts&) = delete;
  Hosts& operator=(const Hosts&) = delete;
  ~Hosts() {
    for (const char* name : {"server", "one", "two"}) ip("netns del " + host(name));
  }

  bool ok() const { return ok_; }
  static std::string host(const std::string& name) {
    return fmt::format("topspin-{}-{}", getpid(), name);
  }
  static std::vector<std::string> in(const std::string& name, std::vector<std::string> words) {
    std::vector<std::string> all = {"ip", "netns", "exec", host(name)};
    all.insert(all.end(), words.begin(), words.end());
    return all;
  }

 private:
  void ip(const std::string& words) {
    ok_ = test::run({"sh", "-c", "ip " + words}).exit_code == 0 && ok_;
  }
  bool ok_ = false;
};

TEST(LoadMerge, TwoHostsAreShownAsOneLoad) {
  TOPSPIN_NEEDS_ROOT();
  if (test::run({"sh", "-c", "command -v ip && command -v python3"}).exit_code != 0)
    TOPSPIN_SKIP("ip or python3 is not installed");
  const Hosts hosts;
  if (!hosts.ok()) TOPSPIN_SKIP("network namespaces cannot be made here");
  const TempDir dir;
  Process server(
      Hosts::in("server", {"python3", std::string(TOPSPIN_SOURCE_DIR) + "/bench/subjects/server.py",
                           "udp", "9000", "0.0.0.0"}));
  sleep(2);  // the server does not say when it listens; pings that come too early count as lost
  const auto load = [&](const char* name, const char* network, const char* clients) {
    return Hosts::in(name, {topspin_binary(), "load", "udp-pingpong", "--target",
                            fmt::format("10.77.{}.1:9000", network), "--clients", clients, "--hold",
                            "3s", "--period", "100ms", "--late-after", "30s", "--format", "json",
                            "--db", dir.file(fmt::format("{}.db", name)), "--label", "load=demo"});
  };
  Process one(load("one", "1", "20"));
  Process two(load("two", "2", "30"));
  const Json of_one = Json::parse(one.finish().out), of_two = Json::parse(two.finish().out);
  ASSERT_GT(of_one["replied"].get<int>(), 0) << of_one;

  const std::string all = dir.file("all.db");
  for (int i = 0; i < 2; ++i) {  // merging a second time changes nothing
    const Outcome merged = topspin({"merge", all, dir.file("one.db"), dir.file("two.db")});
    EXPECT_EQ(merged.exit_code, 0) << merged.err;
  }
  const Outcome shown = topspin({"load", "show", "load=demo", "--db", all, "--format", "json"});
  const Json whole = Json::parse(shown.out);
  for (const char* name : {"scheduled", "sent", "replied", "late_replies", "lost", "planned",
                           "clients_max", "duplicates"}) {
    EXPECT_EQ(whole[name].get<int>(), of_one[name].get<int>() + of_two[name].get<int>()) << name;
  }
  EXPECT_EQ(whole["clients_max"], 50);
  for (const char* name : {"latency_intended_ns", "latency_actual_ns"}) {
    const Json &a = of_one[name], &b = of_two[name], &sum = whole[name];
    EXPECT_EQ(sum["count"].get<int64_t>(), a["count"].get<int64_t>() + b["count"].get<int64_t>());
    EXPECT_EQ(sum["sum"].get<int64_t>(), a["sum"].get<int64_t>() + b["sum"].get<int64_t>());
    EXPECT_EQ(sum["max"].get<int64_t>(),
              std::max(a["max"].get<int64_t>(), b["max"].get<int64_t>()));
    EXPECT_EQ(sum["min"].get<int64_t>(),
              std::min(a["min"].get<int64_t>(), b["min"].get<int64_t>()));
  }
  ASSERT_EQ(whole["stages"].size(), of_one["stages"].size());
  const int last = topspin({"load", "show", "last", "--db", all}).exit_code;
  EXPECT_TRUE(last == 0 || last == 3) << last;  // 3: it was late, on a busy host
  EXPECT_EQ(topspin({"load", "show", "load=none", "--db", all}).exit_code, 2);
}

}  // namespace
}  // namespace topspin::test
