// Names come from files of this host, are looked up on a separate thread, and are made harmless.
#include "app/screen/name_resolver.h"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>
#include <sys/wait.h>

namespace topspin {
namespace {

/// Whether the names are looked up by a process of their own, as in the sandbox.
class NameResolverTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(ByAProcess, NameResolverTest, testing::Bool());

TEST_P(NameResolverTest, KnowsThisHostAndItsServices) {
  const HostKey here{{127, 0, 0, 1}, 4};
  HostKey nowhere{{}, 6};
  nowhere.address = {0xfd, 0, 0xde, 0xad};
  UniqueFd process;
  if (GetParam()) {
    auto started = start_name_process();
    ASSERT_TRUE(started.ok()) << started.error().message;
    process = std::move(started).value();
  }
  NameResolver resolver(std::move(process));
  NameTable names;
  const NameWants wants{{here}, {{80, kProtocolTcp}, {59'999, kProtocolTcp}}};
  resolver.ask(wants);
  resolver.ask(wants);
  for (int i = 0; i < 600 && resolver.busy(); ++i) {
    resolver.take(names);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ASSERT_FALSE(resolver.busy());
  ASSERT_NE(names.host(here), nullptr);
  if (names.host(here)->empty()) GTEST_SKIP() << "needs 127.0.0.1 in the hosts file";
  ASSERT_NE(names.service({80, kProtocolTcp}), nullptr);
  if (names.service({80, kProtocolTcp})->empty()) GTEST_SKIP() << "needs the services file";
  EXPECT_EQ(*names.service({80, kProtocolTcp}), "http");
  EXPECT_EQ(*names.service({59'999, kProtocolTcp}), "");
  EXPECT_EQ(names.service({80, kProtocolUdp}), nullptr);
  Endpoint end{here.address, 80};
  EXPECT_EQ(names.endpoint(end, 4, kProtocolTcp), *names.host(here) + ":http");
  end.port = 59'999;
  EXPECT_EQ(names.endpoint(end, 4, kProtocolTcp), *names.host(here) + ":59999");
}

TEST(NameResolver, TheProcessEndsWhenNobodyAsksIt) {
  auto started = start_name_process();
  ASSERT_TRUE(started.ok()) << started.error().message;
  started.value().reset();
  int status = -1;
  EXPECT_GT(::waitpid(-1, &status, 0), 0);
  EXPECT_EQ(status, 0);
}

TEST(NameTable, HostileNamesAreHarmlessAndBounded) {
  NameTable names;
  const HostKey key{{10, 0, 0, 1}, 4};
  names.set_host(key, std::string("\x1b[2Jevil\n") + std::string(1000, 'x'));
  EXPECT_EQ(names.host(key)->find('\x1b'), std::string::npos);
  EXPECT_EQ(names.host(key)->find('\n'), std::string::npos);
  EXPECT_LT(names.host(key)->size(), 400u);
  for (uint16_t port = 0; port < 2 * NameTable::kMaxNames; ++port) {
    names.set_service({port, kProtocolTcp}, "x");
  }
  EXPECT_EQ(names.service({0, kProtocolTcp}), nullptr);  // the oldest is dropped
  EXPECT_NE(names.service({2 * NameTable::kMaxNames - 1, kProtocolTcp}), nullptr);
}

}  // namespace
}  // namespace topspin
