#include "core/tick/split_check.h"

#include <gtest/gtest.h>

namespace topspin {
namespace {

constexpr uint64_t kNsPerMs = 1'000'000;

SplitTotals healthy() {
  SplitTotals totals;
  totals.wire_replies = totals.split_replies = 1'000;
  totals.wire_sum_ns = 1'000 * kNsPerMs;
  totals.split_sum_ns = 990 * kNsPerMs;
  return totals;
}

TEST(DoubtOfSplit, SourcesThatAgreeRaiseNone) {
  EXPECT_EQ(doubt_of_split(healthy()), std::nullopt);
  SplitTotals edges = healthy();
  edges.split_replies = 991;  // some replies were under way at the start or the end
  EXPECT_EQ(doubt_of_split(edges), std::nullopt);
}

TEST(DoubtOfSplit, TheStackBetweenPacketAndSocketRaisesNone) {
  SplitTotals fast = healthy();  // 10 us per reply on the wire, of which the stack took 6 us
  fast.wire_sum_ns = 10 * kNsPerMs;
  fast.split_sum_ns = 4 * kNsPerMs;
  EXPECT_EQ(doubt_of_split(fast), std::nullopt);
  fast.split_sum_ns = 25 * kNsPerMs;
  EXPECT_EQ(doubt_of_split(fast), std::nullopt);
}

TEST(DoubtOfSplit, PartsThatAddUpToMoreThanTheWireSawAreSaid) {
  SplitTotals totals = healthy();
  totals.split_sum_ns = 10'200'000 * kNsPerMs;
  EXPECT_EQ(doubt_of_split(totals),
            "the parts of 1000 replies add up to 2.83h, where the wire saw 1.00s for 1000 replies");
  totals.split_sum_ns = 1'400 * kNsPerMs;
  EXPECT_NE(doubt_of_split(totals), std::nullopt);
}

TEST(DoubtOfSplit, PartsThatAddUpToMuchLessThanTheWireSawAreSaid) {
  SplitTotals totals = healthy();
  totals.split_sum_ns = 300 * kNsPerMs;
  EXPECT_NE(doubt_of_split(totals), std::nullopt);
  totals.split_sum_ns = 520 * kNsPerMs;  // half of each reply, as if it ended at its first send
  EXPECT_NE(doubt_of_split(totals), std::nullopt);
  totals.split_sum_ns = 850 * kNsPerMs;
  EXPECT_EQ(doubt_of_split(totals), std::nullopt);
}

TEST(DoubtOfSplit, RequestsThatWereSentAgainWereLateForTheSocket) {
  SplitTotals totals = healthy();
  totals.split_sum_ns = 300 * kNsPerMs;
  totals.wire_held_up_ns = 600 * kNsPerMs;
  EXPECT_EQ(doubt_of_split(totals), std::nullopt);
  totals.split_sum_ns = 1'400 * kNsPerMs;  // a delay on the way cannot explain parts too large
  EXPECT_NE(doubt_of_split(totals), std::nullopt);
}

TEST(DoubtOfSplit, RepliesThatTheSplitMissesAreSaidAsAShare) {
  SplitTotals totals = healthy();
  totals.split_replies = 620;
  EXPECT_EQ(doubt_of_split(totals),
            "the split of replies has 620 of the 1000 that the wire saw (62%)");
  totals.split_replies = 0;
  EXPECT_EQ(doubt_of_split(totals),
            "the split of replies has 0 of the 1000 that the wire saw (0%)");
}

TEST(DoubtOfSplit, RepliesThatWereNotCapturedRaiseNone) {
  SplitTotals totals = healthy();
  totals.split_replies = 5'000;  // the capture had a filter, or was on another interface
  totals.split_sum_ns = 9'000 * kNsPerMs;
  EXPECT_EQ(doubt_of_split(totals), std::nullopt);
}

TEST(DoubtOfSplit, TurnsThatTheProbesTookForRepliesAreSaid) {
  SplitTotals totals = healthy();
  totals.wire_turns = 2'000;
  totals.split_turns = 2'000;
  EXPECT_EQ(doubt_of_split(totals), std::nullopt);
  totals.split_turns = 0;
  totals.split_replies = 3'000;
  const auto doubt = doubt_of_split(totals);
  ASSERT_TRUE(doubt);
  EXPECT_NE(doubt->find("2000"), std::string::npos) << *doubt;
}

TEST(DoubtOfSplit, AFewRepliesSayNothing) {
  SplitTotals totals;
  totals.wire_replies = 15;
  totals.wire_sum_ns = 15 * kNsPerMs;
  EXPECT_EQ(doubt_of_split(totals), std::nullopt);
}

/// A tick in which a responder on `port` replied 100 times in 1 ms each, and the probes saw `split`
/// of the replies. The subject listens on port 80.
Sample tick(uint16_t port, uint64_t split) {
  Sample sample;
  for (int reply = 0; reply < 100; ++reply) sample.flows.reply_latency.record(kNsPerMs);
  FlowRow row;
  row.key.protocol = kProtocolTcp;
  row.key.low.port = 40'000;
  row.key.high.port = port;
  row.replies = 100;
  sample.changed_flows.push_back(row);
  SocketRow listener;
  listener.protocol = kProtocolTcp;
  listener.local.port = 80;
  sample.changed_sockets.push_back(listener);
  SocketInterval sockets;
  sockets.reply_socket.emplace();
  sockets.reply_cpu_queue.emplace();
  sockets.reply_runtime.emplace();
  for (uint64_t reply = 0; reply < split; ++reply) {
    sockets.reply_socket->record(kNsPerMs / 2);
    sockets.reply_cpu_queue->record(0);
    sockets.reply_runtime->record(kNsPerMs / 2);
  }
  sample.sockets = sockets;
  return sample;
}

TEST(SplitCheck, ComparesWhereEveryResponderIsTheSubject) {
  SplitCheck check(1'000 * kNsPerMs);
  check.add(tick(80, 100));
  EXPECT_EQ(check.doubt(), std::nullopt);
  check.add(tick(80, 0));
  ASSERT_TRUE(check.doubt());
  EXPECT_NE(check.doubt()->find("100 of the 200"), std::string::npos) << *check.doubt();
}

TEST(SplitCheck, RequestsThatWereNeverAnsweredAreNoReplies) {
  SplitCheck check(1'000 * kNsPerMs);
  Sample sample = tick(80, 100);
  sample.flows.reply_latency.record(1'000 *
                                    kNsPerMs);  // ten times as long as the 100 others together
  sample.flows.unanswered = 1;
  check.add(sample);
  EXPECT_EQ(check.doubt(), std::nullopt);
  // A difference in the replies that came is still reported.
  sample = tick(80, 100);
  sample.flows.reply_latency.record_n(3 * kNsPerMs, 100);
  sample.sockets->reply_runtime->record_n(kNsPerMs / 10, 100);
  check.add(sample);
  EXPECT_EQ(check.doubt(),
            "the parts of 300 replies add up to 210ms, where the wire saw 500ms for 300 replies");
}

TEST(SplitCheck, ALateReplyIsOneThatCame) {
  SplitCheck check(1'000 * kNsPerMs);
  Sample sample = tick(80, 100);
  sample.flows.reply_latency.record(2'000 * kNsPerMs);
  sample.flows.unanswered = 2;  // the late one, and one still open, which counts only here
  sample.flows.late_replies = 1;
  sample.sockets->reply_runtime->record(2'000 * kNsPerMs);
  check.add(sample);
  EXPECT_EQ(check.doubt(), std::nullopt);
  check.add(tick(80, 100));
  sample = tick(80, 0);
  sample.sockets->reply_runtime->record_n(20 * kNsPerMs, 100);
  check.add(sample);
  EXPECT_EQ(check.doubt(),
            "the parts of 301 replies add up to 4.20s, where the wire saw 2.30s for 301 replies");
}

TEST(SplitCheck, ComparesNothingWhenOthersRepliedToo) {
  SplitCheck check(1'000 * kNsPerMs);
  check.add(tick(80, 0));
  check.add(tick(81, 0));
  EXPECT_EQ(check.doubt(), std::nullopt);
}

/// A tick in which one flow between these ports had `replies` replies, and the probes saw `split`.
/// The subject's socket is on port 50'000.
Sample flow_tick(uint16_t initiator, uint16_t responder, uint64_t replies, uint64_t split) {
  Sample sample;
  FlowRow row;
  row.id = initiator;
  row.key.protocol = kProtocolTcp;
  row.key.low.port = initiator;
  row.key.high.port = responder;
  row.replies = replies;
  sample.changed_flows.push_back(row);
  SocketRow socket;
  socket.protocol = kProtocolTcp;
  socket.local.port = 50'000;
  sample.changed_sockets.push_back(socket);
  sample.flows.reply_latency.record_n(kNsPerMs, replies);
  SocketInterval sockets;
  sockets.reply_runtime.emplace();
  sockets.reply_runtime->record_n(kNsPerMs / 2, split);
  sample.sockets = sockets;
  return sample;
}

TEST(SplitCheck, RepliesOfTheOtherEndWhereTheSubjectAnsweredAreSaid) {
  SplitCheck check(1'000 * kNsPerMs);
  check.add(flow_tick(50'000, 40'000, 10, 10));  // the server was taken for the initiator
  EXPECT_EQ(check.doubt(), std::nullopt);        // too few to tell
  check.add(flow_tick(50'000, 40'000, 60, 50));
  EXPECT_EQ(
      check.doubt(),
      "the probes saw 60 replies of the subject, and the wire 0: 60 replies on its ports came "
      "from the other end, so the capture may have client and server swapped");
}

TEST(SplitCheck, ASubjectThatAsksOthersIsNoDoubt) {
  SplitCheck proxy(1'000 * kNsPerMs);  // serves on one port and sends its requests from others
  proxy.add(flow_tick(40'000, 50'000, 100, 100));
  proxy.add(flow_tick(41'000, 80, 300, 0));
  EXPECT_EQ(proxy.doubt(), std::nullopt);
  SplitCheck both(1'000 * kNsPerMs);  // uses one port for both; the wire saw each of its replies
  both.add(flow_tick(40'000, 50'000, 100, 100));
  both.add(flow_tick(50'000, 80, 300, 0));
  EXPECT_EQ(both.doubt(), std::nullopt);
  SplitCheck client(1'000 * kNsPerMs);
  client.add(flow_tick(50'000, 80, 300, 0));
  EXPECT_EQ(client.doubt(), std::nullopt);
}

TEST(SplitCheck, RetransmissionsAndFullAcceptQueuesMakeRequestsLate) {
  for (const bool refused : {false, true}) {
    SplitCheck check(1'000 * kNsPerMs);
    Sample sample = tick(80, 100);
    sample.flows.reply_latency.record_n(500 * kNsPerMs, 5);
    sample.sockets->reply_runtime->record_n(kNsPerMs, 5);
    check.add(sample);
    EXPECT_NE(check.doubt(), std::nullopt);
    sample = tick(80, 100);
    if (refused)
      sample.sockets->listen_overflows = 5;
    else
      sample.flows.tcp_retransmissions = 5;
    check.add(sample);
    EXPECT_EQ(check.doubt(), std::nullopt);
  }
}

TEST(SplitCheck, OneRetransmissionExplainsOneLateReplyAndNoMore) {
  SplitCheck check(1'000 * kNsPerMs);
  Sample sample = tick(80, 100);
  sample.flows.tcp_retransmissions = 1;
  sample.flows.reply_latency.record(200 * kNsPerMs);
  sample.sockets->reply_runtime->record(kNsPerMs);
  // The request without a reply lasts longest, but the retransmission must still explain the late
  // reply.
  sample.flows.reply_latency.record(1'000 * kNsPerMs);
  sample.flows.unanswered = 1;
  check.add(sample);
  EXPECT_EQ(check.doubt(), std::nullopt);
  sample = tick(80, 100);  // most of the split's time is missing
  sample.sockets->reply_runtime->clear();
  sample.sockets->reply_runtime->record_n(kNsPerMs / 10, 100);
  sample.sockets->reply_socket->clear();
  sample.sockets->reply_socket->record_n(0, 100);
  sample.flows.reply_latency.clear();
  sample.flows.reply_latency.record_n(2 * kNsPerMs, 100);
  check.add(sample);
  EXPECT_NE(check.doubt(), std::nullopt);
}

TEST(SplitCheck, ComparesNothingWithoutASplit) {
  SplitCheck check(1'000 * kNsPerMs);
  Sample sample = tick(80, 0);
  sample.sockets->reply_runtime.reset();
  check.add(sample);
  EXPECT_EQ(check.doubt(), std::nullopt);
}

}  // namespace
}  // namespace topspin
