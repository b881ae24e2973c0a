// Calls of the subject are told from requests to it. The expected numbers are computed by hand.
#include "capture/flows/call_book.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "capture/flows/flow_table.h"
#include "tests/capture/times.h"

namespace topspin {
namespace {

constexpr uint16_t kServerPort = 80, kClientPort = 40'000, kDownstreamPort = 90, kOwnPort = 50'000;

/// A packet between two ports of a host with one address.
ParsedPacket sent(int64_t at_ns, uint16_t from, uint16_t to, uint8_t tcp_flags = kTcpAck,
                  uint32_t payload = 10, uint32_t sequence = 1000) {
  ParsedPacket p;
  p.stamp_ns = at_ns;
  p.key.low_port = std::min(from, to);
  p.key.high_port = std::max(from, to);
  p.key.kind = kProtocolTcp;
  p.from_low = from < to;
  p.has_tcp_header = true;
  p.tcp_flags = tcp_flags;
  p.tcp_sequence = sequence;
  p.payload_bytes = payload;
  p.wire_bytes = 54 + payload;
  p.ip_version = 4;
  p.skip = SkipReason::kCount;
  return p;
}

/// The subject listens on port 80 and opens all flows from ports 50,000 to 59,999.
class FakeParts final : public SubjectParts {
 public:
  SubjectPart part_in(const FlowKey& flow, bool initiator_is_low) override {
    ++asked;
    const uint16_t initiator = initiator_is_low ? flow.low.port : flow.high.port;
    const uint16_t responder = initiator_is_low ? flow.high.port : flow.low.port;
    if (responder == kServerPort) return serves;
    if (initiator >= kOwnPort && initiator < kOwnPort + 10'000) return calls;
    return SubjectPart::kNone;
  }
  SubjectPart serves = SubjectPart::kServes;
  SubjectPart calls = SubjectPart::kCalls;
  int asked = 0;
};

class CallBookTest : public testing::Test {
 protected:
  CallBookTest() {
    FlowTableOptions options;
    options.subject_parts = &parts_;
    auto table = FlowTable::create(options, 0, HashSeed::fixed(7));
    EXPECT_TRUE(table.ok());
    table_ = std::move(table).value();
    table_->begin(kStart);
  }

  void see(const ParsedPacket& p) { table_->observe({&p, 1}); }
  /// A request and its reply between two ports. Times count from the start.
  void ask(int64_t at_ns, uint16_t from, uint16_t to) { see(next(at_ns, from, to)); }
  void reply(int64_t at_ns, uint16_t from, uint16_t to) { see(next(at_ns, from, to)); }
  ParsedPacket next(int64_t at_ns, uint16_t from, uint16_t to) {
    uint32_t& sequence = sequences_[{from, to}];
    const ParsedPacket p = sent(kStart + at_ns, from, to, kTcpAck, 10, 1000 + sequence);
    sequence += 10;
    return p;
  }
  void close(int64_t at_ns) {
    flows_ = table_->take_interval(kStart + at_ns);
    const auto calls = table_->take_calls();
    ASSERT_TRUE(calls);
    calls_ = *calls;
    rows_ = table_->take_changed_called();
  }

  FakeParts parts_;
  std::unique_ptr<FlowTable> table_;
  std::map<std::pair<uint16_t, uint16_t>, uint32_t> sequences_;
  FlowInterval flows_;
  CallInterval calls_;
  std::vector<CalledRow> rows_;
};

TEST_F(CallBookTest, ACallIsInNoNumberOfRequestsAndItsTimeIsAShareOfTheReplys) {
  ask(0, kClientPort, kServerPort);
  ask(10 * kMs, kOwnPort, kDownstreamPort);
  reply(50 * kMs, kDownstreamPort, kOwnPort);
  reply(60 * kMs, kServerPort, kClientPort);
  close(kS);
  EXPECT_EQ(flows_.requests, 1u);
  EXPECT_EQ(flows_.reply_latency.count(), 1u);
  EXPECT_EQ(flows_.reply_latency.sum(), 60u * kMs);
  EXPECT_EQ(calls_.requests, 1u);
  EXPECT_EQ(calls_.failures, 0u);
  EXPECT_EQ(calls_.latency->sum(), 40u * kMs);
  EXPECT_EQ(calls_.serving_ns, 60u * kMs);
  EXPECT_EQ(calls_.serving_and_calling_ns, 40u * kMs);
  EXPECT_EQ(calls_.lone_reply_calling->count(), 1u);
  EXPECT_EQ(calls_.lone_reply_calling->sum(), 40u * kMs);
  EXPECT_EQ(calls_.lone_reply_ns, 60u * kMs);
  ASSERT_EQ(rows_.size(), 1u);
  EXPECT_EQ(rows_[0].address.port, kDownstreamPort);
  EXPECT_EQ(rows_[0].requests, 1u);
  EXPECT_EQ(rows_[0].latency.sum(), 40u * kMs);
  EXPECT_EQ(parts_.asked, 2) << "once for each flow";
}

TEST_F(CallBookTest, WithSeveralRequestsAtOnceNoReplyIsAlone) {
  ask(0, kClientPort, kServerPort);
  ask(5 * kMs, kClientPort + 1, kServerPort);
  ask(10 * kMs, kOwnPort, kDownstreamPort);
  reply(20 * kMs, kServerPort, kClientPort);
  reply(50 * kMs, kDownstreamPort, kOwnPort);
  reply(60 * kMs, kServerPort, kClientPort + 1);
  ask(100 * kMs, kClientPort, kServerPort);
  reply(110 * kMs, kServerPort, kClientPort);
  close(kS);
  EXPECT_EQ(calls_.serving_ns, 70u * kMs);
  EXPECT_EQ(calls_.serving_and_calling_ns, 40u * kMs);
  EXPECT_EQ(calls_.lone_reply_calling->count(), 1u) << "the last one";
  EXPECT_EQ(calls_.lone_reply_calling->sum(), 0u);
  EXPECT_EQ(calls_.lone_reply_ns, 10u * kMs);
}

TEST_F(CallBookTest, WhatOthersAskOfOthersIsNoTimeOfTheSubjects) {
  ask(0, kClientPort, kDownstreamPort);
  ask(10 * kMs, kOwnPort, kDownstreamPort);
  reply(20 * kMs, kDownstreamPort, kOwnPort);
  reply(30 * kMs, kDownstreamPort, kClientPort);
  close(kS);
  EXPECT_EQ(flows_.requests, 1u);
  EXPECT_EQ(calls_.requests, 1u);
  EXPECT_EQ(calls_.serving_ns, 0u);
}

TEST_F(CallBookTest, ARequestIsPendingForItsTimeoutAtMost) {
  ask(0, kClientPort, kServerPort);
  ask(0, kOwnPort, kDownstreamPort);
  close(5 * kS);
  EXPECT_NEAR(static_cast<double>(*calls_.serving_ns), kS, 15 * kMs);
  EXPECT_NEAR(static_cast<double>(*calls_.serving_and_calling_ns), kS, 15 * kMs);
  EXPECT_EQ(flows_.unanswered, 1u);
  EXPECT_EQ(calls_.unanswered, 1u);
  EXPECT_EQ(calls_.failures, 1u);
}

TEST_F(CallBookTest, WhatIsFoundOutLateIsCountedAndWhatIsPendingThenChangesSides) {
  parts_.calls = SubjectPart::kUnknown;
  ask(0, kOwnPort, kDownstreamPort);
  reply(10 * kMs, kDownstreamPort, kOwnPort);
  ask(990 * kMs, kOwnPort, kDownstreamPort);
  close(kS);
  EXPECT_EQ(flows_.requests, 2u);
  EXPECT_EQ(calls_.requests, 0u);
  EXPECT_EQ(calls_.decided_late, 0u);
  parts_.calls = SubjectPart::kCalls;
  reply(1010 * kMs, kDownstreamPort, kOwnPort);
  close(2 * kS);
  EXPECT_EQ(calls_.decided_late, 2u);
  EXPECT_EQ(calls_.undecided, 0u);
  ask(2010 * kMs, kOwnPort, kDownstreamPort);
  reply(2030 * kMs, kDownstreamPort, kOwnPort);
  ask(2900 * kMs, kOwnPort, kDownstreamPort);
  close(3 * kS);
  EXPECT_EQ(flows_.requests, 0u);
  EXPECT_EQ(calls_.requests, 2u);
  EXPECT_EQ(calls_.latency->sum(), 20u * kMs);
}

TEST_F(CallBookTest, WhatIsPendingWhenItTurnsOutToBeACallRunsOutAsOne) {
  parts_.calls = SubjectPart::kUnknown;
  ask(900 * kMs, kOwnPort, kDownstreamPort);
  close(kS);
  parts_.calls = SubjectPart::kCalls;
  close(1500 * kMs);
  close(4 * kS);
  EXPECT_EQ(flows_.unanswered, 0u);
  EXPECT_EQ(calls_.unanswered, 1u);
}

TEST_F(CallBookTest, WhatNobodyEverFindsOutIsCountedOnceWhenTheRunEnds) {
  parts_.calls = SubjectPart::kUnknown;
  for (int i = 0; i < 3; ++i) {
    ask(i * 100 * kMs, kOwnPort, kDownstreamPort);
    reply((i * 100 + 1) * kMs, kDownstreamPort, kOwnPort);
  }
  close(kS);
  EXPECT_EQ(calls_.undecided, 0u);
  table_->finish(kStart + 2 * kS);
  close(2 * kS);
  EXPECT_EQ(calls_.undecided, 3u);
  EXPECT_EQ(calls_.decided_late, 0u);
}

TEST_F(CallBookTest, AServerThatIsFoundLateHasCountedNothingWrong) {
  parts_.serves = SubjectPart::kPerhapsServes;
  ask(0, kClientPort, kServerPort);
  reply(10 * kMs, kServerPort, kClientPort);
  close(kS);
  EXPECT_EQ(calls_.serving_ns, 0u);
  parts_.serves = SubjectPart::kServes;
  close(2 * kS);
  ask(2 * kS, kClientPort, kServerPort);
  reply(2 * kS + 10 * kMs, kServerPort, kClientPort);
  table_->finish(kStart + 3 * kS);
  close(3 * kS);
  EXPECT_EQ(calls_.serving_ns, 10u * kMs);
  EXPECT_EQ(*calls_.undecided + *calls_.decided_late, 0u);
}

TEST_F(CallBookTest, EachWayToFailIsCountedForTheAddress) {
  // Refused.
  see(sent(kStart, kOwnPort, kDownstreamPort, kTcpSyn, 0));
  see(sent(kStart + kMs, kDownstreamPort, kOwnPort, kTcpRst | kTcpAck, 0));
  // A reset while a call is pending.
  ask(2 * kMs, kOwnPort + 1, kDownstreamPort);
  see(sent(kStart + 3 * kMs, kDownstreamPort, kOwnPort + 1, kTcpRst, 0, 5000));
  // An HTTP error.
  ask(4 * kMs, kOwnPort + 2, kDownstreamPort);
  ParsedPacket error = next(5 * kMs, kDownstreamPort, kOwnPort + 2);
  error.http_status = 503;
  see(error);
  // An ordinary reply, and a refused connection of somebody else.
  ask(6 * kMs, kOwnPort + 2, kDownstreamPort);
  ParsedPacket fine = next(7 * kMs, kDownstreamPort, kOwnPort + 2);
  fine.http_status = 404;
  see(fine);
  see(sent(kStart + 8 * kMs, kClientPort, kDownstreamPort, kTcpSyn, 0));
  see(sent(kStart + 9 * kMs, kDownstreamPort, kClientPort, kTcpRst | kTcpAck, 0));
  // No answer to the SYN, and none to a request.
  see(sent(kStart + 10 * kMs, kOwnPort + 3, kDownstreamPort, kTcpSyn, 0));
  ask(10 * kMs, kOwnPort + 4, kDownstreamPort);
  table_->finish(kStart + 5 * kS);
  close(5 * kS);
  EXPECT_EQ(flows_.tcp_refused, 1u);
  EXPECT_EQ(flows_.tcp_never_completed, 0u);
  EXPECT_EQ(flows_.requests, 0u);
  EXPECT_EQ(calls_.refused, 1u);
  EXPECT_EQ(calls_.never_completed, 1u);
  EXPECT_EQ(calls_.unanswered, 2u);
  EXPECT_EQ(calls_.resets, 1u);
  EXPECT_EQ(calls_.http_errors, 1u);
  EXPECT_EQ(calls_.failures, 5u);
  ASSERT_EQ(rows_.size(), 1u);
  EXPECT_EQ(rows_[0].failures(), 5u);
  EXPECT_EQ(rows_[0].requests, 4u);
  EXPECT_EQ(rows_[0].tries(), 6u);
  EXPECT_EQ(rows_[0].resets, 1u);
}

TEST_F(CallBookTest, AddressesBeyondTheLimitAreOneRow) {
  const auto addresses = static_cast<uint16_t>(kCalledAddresses + 5);
  for (uint16_t i = 0; i < addresses; ++i) {
    const auto port = static_cast<uint16_t>(1000 + i);
    ask(i * kMs, kOwnPort, port);
    reply(i * kMs + 100'000, port, kOwnPort);
  }
  close(kS);
  ASSERT_EQ(rows_.size(), kCalledAddresses + 1);
  EXPECT_EQ(rows_.back().number, kOtherAddresses);
  EXPECT_EQ(rows_.back().address.port, 0);
  EXPECT_EQ(rows_.back().requests, 5u);
  EXPECT_EQ(calls_.requests, addresses);
  close(2 * kS);
  EXPECT_TRUE(rows_.empty()) << "nothing is new";
}

TEST_F(CallBookTest, PortsThatAreUsedAnewAreAskedAboutAnew) {
  see(sent(kStart, kOwnPort, kDownstreamPort, kTcpSyn, 0, 1));
  see(sent(kStart + 1, kDownstreamPort, kOwnPort, kTcpSyn | kTcpAck, 0, 1));
  see(sent(kStart + 2, kOwnPort, kDownstreamPort, kTcpAck, 10, 2));
  see(sent(kStart + 3, kDownstreamPort, kOwnPort, kTcpAck, 10, 2));
  see(sent(kStart + 4, kOwnPort, kDownstreamPort, kTcpRst, 0, 12));
  parts_.calls = SubjectPart::kNone;  // another process has the port by now
  see(sent(kStart + 10, kOwnPort, kDownstreamPort, kTcpSyn, 0, 900'000));
  see(sent(kStart + 11, kDownstreamPort, kOwnPort, kTcpSyn | kTcpAck, 0, 700'000));
  see(sent(kStart + 12, kOwnPort, kDownstreamPort, kTcpAck, 10, 900'001));
  see(sent(kStart + 13, kDownstreamPort, kOwnPort, kTcpAck, 10, 700'001));
  close(kS);
  EXPECT_EQ(calls_.requests, 1u);
  EXPECT_EQ(flows_.requests, 1u);
}

TEST(CallBook, WithoutASubjectAllRequestsAreOfOthers) {
  auto table = FlowTable::create({}, 0, HashSeed::fixed(7));
  ASSERT_TRUE(table.ok());
  const ParsedPacket request = sent(kStart, kOwnPort, kDownstreamPort);
  (*table)->observe({&request, 1});
  EXPECT_EQ((*table)->take_interval(kStart + kS).requests, 1u);
  EXPECT_FALSE((*table)->take_calls());
  EXPECT_TRUE((*table)->take_changed_called().empty());
}

}  // namespace
}  // namespace topspin
