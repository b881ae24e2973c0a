// The list of workloads, from which the command line and plans take names, options and defaults.
#include <set>

#include <gtest/gtest.h>

#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

TEST(WorkloadTypes, EachKindIsListedOnceAndIsWhole) {
  std::set<std::string> names;
  for (const WorkloadType& type : workload_types()) {
    EXPECT_TRUE(names.insert(std::string(type.name())).second) << type.name();
    EXPECT_EQ(parse_workload(type.name()), type.kind);
    EXPECT_EQ(&workload_type(type.kind), &type);
    EXPECT_FALSE(type.help.empty());
    EXPECT_TRUE(type.run);
    EXPECT_EQ(type.takes("stages"), type.has_clients());
    std::set<std::string> options;
    for (const LoadOption& option : options_of(common_load_options(), type.options)) {
      EXPECT_TRUE(options.insert(option.name).second) << option.name;
      EXPECT_FALSE(option.help.empty()) << option.name;
      EXPECT_TRUE(option.set) << option.name;
    }
  }
}

TEST(WorkloadTypes, ADefaultThatIsShownIsTheDefault) {
  for (const WorkloadType& type : workload_types()) {
    LoadDraft draft;
    draft.options.wire = WireProfile::kPing4;
    for (const LoadOption& option : options_of(common_load_options(), type.options)) {
      // Only one wire profile takes a size.
      if (option.default_text.empty() || option.name == "size") continue;
      EXPECT_TRUE(option.set(draft, option.default_text).ok()) << option.name;
    }
    const LoadOptions fresh;
    EXPECT_EQ(draft.options.period_ns, fresh.period_ns);
    EXPECT_EQ(draft.options.timeout_ns, fresh.timeout_ns);
    EXPECT_EQ(draft.options.wire, fresh.wire);
    EXPECT_EQ(draft.options.sockets, fresh.sockets);
    EXPECT_EQ(draft.options.flows, fresh.flows);
    EXPECT_EQ(draft.options.duration_ns, fresh.duration_ns);
    EXPECT_EQ(draft.options.http.path, fresh.http.path);
    EXPECT_EQ(draft.options.http.requests_per_connection, fresh.http.requests_per_connection);
    EXPECT_EQ(draft.options.http.streams, fresh.http.streams);
    EXPECT_EQ(draft.options.http.resumption, fresh.http.resumption);
  }
}

TEST(WorkloadTypes, ASizeIsForTheNumberedWire) {
  const WorkloadType& type = workload_type(WorkloadKind::kUdpPingpong);
  const auto set = [&](LoadDraft& draft, std::string_view name, const std::string& text) {
    for (const LoadOption& option : type.options) {
      if (option.name == name) return option.set(draft, text);
    }
    return Status(make_error(ErrorCode::kUsage, "no such option"));
  };
  LoadDraft draft;
  EXPECT_FALSE(set(draft, "size", "40").ok());
  ASSERT_TRUE(set(draft, "wire", "numbered").ok());
  EXPECT_TRUE(set(draft, "size", "40").ok());
  EXPECT_EQ(draft.options.message_bytes, 40u);
  EXPECT_FALSE(set(draft, "size", "0").ok());
  EXPECT_FALSE(set(draft, "size", "4x").ok());
}

TEST(WorkloadTypes, StagesComeFromOneOfTwoForms) {
  LoadDraft both;
  both.stages = "hold 1s";
  both.clients = 3;
  EXPECT_FALSE(finish_stages(both).ok());
  LoadDraft none;
  ASSERT_TRUE(finish_stages(none).ok());  // one client for ten seconds
  EXPECT_FALSE(none.options.stages.empty());
}

}  // namespace
}  // namespace topspin
