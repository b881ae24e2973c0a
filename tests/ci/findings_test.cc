// The rules of findings on made-up runs: each rule on a run that has the fault, and on one that
// looks like it but does not have it.
#include "ci/findings/findings.h"

#include <algorithm>
#include <memory>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace topspin {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kMs = 1'000'000;

/// A run of ten seconds of a server on two CPUs that answered 2,000 requests, each within 0.1 ms.
struct MadeUpRun {
  MadeUpRun() {
    info.host.cpus_online = 2;
    info.settings.reply_timeout_ns = 1'000'000'000;
    Sample& s = fold->merged;
    s.interval_ns = 10'000'000'000;
    s.flows.packets = 4000;
    s.flows.requests = 2000;
    s.flows.tcp_handshakes = 40;
    s.flows.tcp.packets = 4000;
    s.self.host_busy_ns = 2'000'000'000;
    s.scheduler.emplace();
    s.scheduler->cpu_ns = 1'500'000'000;
    s.scheduler->on_cpu.emplace();
    s.scheduler->on_cpu->record_n(50'000, 4000);
    for (const int cpu : {0, 1}) s.scheduler->cpus.push_back({cpu, 2000, 2000, 0, 0, 0, 0});
    s.sockets.emplace();
    replies(20'000, 10'000, 30'000);
  }

  /// Sets each of the three parts of the slowest twentieth of the replies.
  void replies(uint64_t socket_ns, uint64_t queue_ns, uint64_t runtime_ns) {
    SocketInterval& s = *fold->merged.sockets;
    const auto set = [](std::optional<Histogram>& part, uint64_t slow_ns) {
      part.emplace();
      part->record_n(10'000, 1900);
      part->record_n(slow_ns, 100);
    };
    set(s.reply_socket, socket_ns);
    set(s.reply_cpu_queue, queue_ns);
    set(s.reply_runtime, runtime_ns);
  }

  std::vector<Finding> find() {
    totals = RunTotals(*fold);
    if (load) totals.set_load(*load);
    return find_causes({info,
                        *fold,
                        totals,
                        growth,
                        load ? &*load : nullptr,
                        threads,
                        sockets,
                        stacks,
                        stack_samples,
                        called,
                        cpu_holders,
                        {},
                        slow,
                        stretches ? &*stretches : nullptr});
  }
  /// The key of the only finding: findings with the same cause are reported as one.
  std::string only() {
    const auto findings = find();
    EXPECT_EQ(findings.size(), 1u) << findings.back().sentence;
    return std::string(findings.front().key);
  }
  std::string first() { return std::string(find().front().key); }
  std::string sentence() { return find().front().sentence; }

  Sample& merged() { return fold->merged; }
  SocketInterval& at_sockets() { return *fold->merged.sockets; }
  SchedulerInterval& scheduler() { return *fold->merged.scheduler; }

  RunInfo info;
  std::unique_ptr<RunFold> fold = std::make_unique<RunFold>();
  RunTotals totals;
  Growth growth;
  std::optional<LoadResult> load;
  std::vector<ThreadRow> threads;
  std::vector<SocketRow> sockets;
  std::vector<StackRow> stacks;
  uint64_t stack_samples = 0;
  std::vector<CalledRow> called;
  std::vector<CpuHolderRow> cpu_holders;
  std::vector<SlowReply> slow;
  std::optional<LongStretches> stretches;
};

TEST(Findings, AHealthyRunHasOneThatSaysSo) {
  MadeUpRun run;
  const auto findings = run.find();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].key, kNothing);
  EXPECT_THAT(findings[0].sentence, HasSubstr("Nothing stands out"));
}

TEST(Findings, KeysAreUniqueAndEachSaysWhatToDo) {
  std::set<std::string_view> keys;
  for (const std::string_view key : finding_keys()) EXPECT_TRUE(keys.insert(key).second) << key;
  EXPECT_FALSE(keys.contains(kNothing));
  MadeUpRun run;
  run.at_sockets().listen_overflows = 10;
  for (const Finding& finding : run.find()) {
    EXPECT_FALSE(finding.proofs.empty());
    EXPECT_FALSE(finding.refuted_by.empty());
    EXPECT_FALSE(finding.next_step.empty());
  }
}

TEST(Findings, WithoutASplitItSaysThatCausesInsideWereNotLookedFor) {
  MadeUpRun run;
  run.merged().sockets.reset();
  EXPECT_THAT(run.sentence(), HasSubstr("not looked for"));
  EXPECT_THAT(run.find().front().next_step, HasSubstr("record with --pid"));
  // It was recorded with a subject.
  run.merged().sockets.emplace();
  for (auto part : {&SocketInterval::reply_socket, &SocketInterval::reply_cpu_queue,
                    &SocketInterval::reply_runtime})
    (run.at_sockets().*part).emplace();
  EXPECT_THAT(run.sentence(), HasSubstr("answered no request that topspin could tell"));
  EXPECT_THAT(run.find().front().next_step, Not(HasSubstr("--pid")));
  run.at_sockets().reply_socket->record(1000);
  EXPECT_THAT(run.sentence(), HasSubstr("only 1 reply of the subject was split"));
}

TEST(Findings, AnAcceptQueueThatOverflowsAndOneThatIsOnlyUsed) {
  MadeUpRun run;
  run.at_sockets().accept_queue_max = 4;
  run.at_sockets().accept_queue_limit = 128;
  EXPECT_EQ(run.first(), kNothing);

  run.at_sockets().listen_overflows = 2772;
  run.at_sockets().accept_queue_limit = 4;
  SocketRow socket;
  socket.protocol = 6;
  socket.local.port = 8080;
  socket.drops = 2772;
  socket.accept_queue_limit = 4;
  run.sockets.push_back(socket);
  EXPECT_EQ(run.first(), "accept_queue_overflow");
  EXPECT_THAT(run.sentence(), HasSubstr("2,772 connection attempts"));
  EXPECT_THAT(run.sentence(), HasSubstr(":8080"));
  EXPECT_THAT(run.sentence(), HasSubstr("holds 4"));
}

TEST(Findings, WhatACauseExplainsIsNotSaidTwice) {
  MadeUpRun run;
  run.merged().flows.unanswered = 500;
  EXPECT_EQ(run.first(), "replies_lost");
  run.at_sockets().udp_drops = 500;
  const auto findings = run.find();
  EXPECT_EQ(findings.front().key, "receive_buffer_overflow");
  EXPECT_TRUE(std::none_of(findings.begin(), findings.end(),
                           [](const Finding& f) { return f.key == "replies_lost"; }));
}

TEST(Findings, DescriptorsThatRanOutAndManyThatDidNot) {
  MadeUpRun run;
  run.fold->greatest.resources.emplace();
  run.fold->greatest.resources->process_fds = {900, 1024};
  EXPECT_EQ(run.first(), kNothing);
  run.fold->greatest.resources->process_fds = {1024, 1024};
  EXPECT_EQ(run.first(), "descriptor_limit");
}

TEST(Findings, RefusedConnections) {
  MadeUpRun run;
  run.merged().flows.tcp_refused = 10;
  EXPECT_EQ(run.first(), "connections_refused");
  EXPECT_THAT(run.sentence(), HasSubstr("10 of 50"));
}

TEST(Findings, ConnectionsThatTheServerResets) {
  MadeUpRun run;
  run.merged().flows.tcp_handshakes = 820;
  run.merged().flows.unanswered = 99;
  run.merged().flows.tcp_server_resets = 5;
  EXPECT_EQ(run.first(), "replies_lost") << "a few connections that timed out";
  run.merged().flows.tcp_server_resets = 800;
  EXPECT_EQ(run.only(), "connections_reset");
  EXPECT_THAT(run.sentence(), HasSubstr("800 of 820 connections"));
}

TEST(Findings, ConnectionsThatTheServerTurnsAwayAndThoseThatItOnlyGreets) {
  MadeUpRun run;
  run.merged().flows.tcp_handshakes = 1575;
  run.merged().flows.unanswered = 99;
  run.merged().flows.tcp_server_resets = 1500;
  run.merged().flows.tcp_turned_away = 10;
  EXPECT_EQ(run.first(), "connections_reset") << "some of them soon";
  run.merged().flows.tcp_turned_away = 1500;
  EXPECT_EQ(run.only(), "connections_turned_away");
  EXPECT_THAT(run.sentence(), HasSubstr("1,500 of 1,575 connections"));
  EXPECT_THAT(run.sentence(), Not(HasSubstr("descriptors")));
  // A limit on clients may be that of descriptors, which the server keeps itself.
  run.fold->greatest.resources.emplace();
  run.fold->greatest.resources->process_fds = {100, 100};
  EXPECT_EQ(run.only(), "connections_turned_away");
  EXPECT_THAT(run.sentence(), HasSubstr("100 of its 100 file descriptors"));
  run.fold->greatest.resources.reset();
  // All of them, and none is open for long: so it means to.
  run.merged().flows.tcp_server_resets = run.merged().flows.unanswered = 0;
  run.merged().flows.tcp_turned_away = 1575;
  EXPECT_EQ(run.first(), kNothing);
  // All that are new, while older ones stay.
  run.fold->greatest.sockets.emplace();
  run.fold->greatest.sockets->tcp_connections = 75;
  EXPECT_EQ(run.first(), "connections_turned_away");
  EXPECT_THAT(run.sentence(), HasSubstr("at most 75 of its connections were open"));
}

TEST(Findings, FlowsThatWentSilent) {
  MadeUpRun run;
  run.fold->greatest.flows.periodic_flows = 2000;
  run.merged().flows.silent_flows = 1400;
  run.merged().flows.missed_ticks = 14'000;
  EXPECT_EQ(run.first(), "silent_flows");
  EXPECT_THAT(run.sentence(), HasSubstr("1,400 of 2,000"));
  run.merged().flows.silent_flows = 2000;
  EXPECT_EQ(run.first(), kNothing) << "the load is over, and nobody said so";
  run.fold->load_end_ns = 9'000'000'000;
  EXPECT_EQ(run.first(), "silent_flows");
  run.merged().flows.silent_flows = 0;
  EXPECT_EQ(run.first(), kNothing) << "missed ticks that were made up for are no silence";
}

TEST(Findings, ErrorsOfHttp) {
  MadeUpRun run;
  run.load.emplace();
  run.load->http.emplace();
  run.load->http->statuses = {{200, 900}, {500, 100}};
  run.load->total.accounts.scheduled = run.load->total.accounts.sent = 1000;
  run.load->total.accounts.replied = 1000;
  EXPECT_EQ(run.first(), kNothing);
  run.load->total.accounts.http_errors = 100;
  EXPECT_EQ(run.first(), "error_replies");
  EXPECT_THAT(run.sentence(), HasSubstr("500: 100"));
}

TEST(Findings, ALoadThatCameTooLateMakesAllElseDoubtful) {
  MadeUpRun run;
  run.at_sockets().listen_overflows = 10;
  run.load.emplace();
  run.load->invalid_reasons = {"the generator sent 40% of its messages late"};
  run.load->total.accounts.scheduled = 1000;
  run.load->total.accounts.sent_late = 400;
  EXPECT_EQ(run.first(), "generator_bottleneck");
}

TEST(Findings, PacketsThatWereNotSeen) {
  MadeUpRun run;
  run.merged().losses.capture_kernel_drops = 400;
  EXPECT_EQ(run.first(), "capture_bottleneck");
}

TEST(Findings, WaitingForACpuBehindOthersByQuotaByAffinityOrBehindOneself) {
  MadeUpRun run;
  run.replies(100'000, 40 * kMs, 200'000);
  run.merged().self.host_busy_ns = 19'000'000'000;
  EXPECT_EQ(run.only(), "starved_by_others");
  EXPECT_THAT(run.sentence(), HasSubstr("others used 1.75 CPUs"));

  run.scheduler().cpu_ns = 18'000'000'000;
  EXPECT_EQ(run.only(), "starved_by_itself");

  run.scheduler().cpu_ns = 9'500'000'000;
  run.merged().self.host_busy_ns = 10'000'000'000;
  run.scheduler().cpus = {{1, 4000, 4000, 0, 0, 0, 0}};
  EXPECT_EQ(run.only(), "starved_by_affinity");
  EXPECT_THAT(run.sentence(), HasSubstr("CPU 1"));

  run.merged().pressure.cpu_quota_periods = 100;
  run.merged().pressure.throttled_periods = 60;
  EXPECT_EQ(run.only(), "starved_by_quota");
  EXPECT_THAT(run.sentence(), HasSubstr("60 of 100 periods"));
}

TEST(Findings, WhoHadTheCpusInsteadIsNamedAndBelievedMoreThanWhatTheHostUsed) {
  MadeUpRun run;
  run.replies(100'000, 40 * kMs, 200'000);
  run.merged().self.host_busy_ns = 19'000'000'000;
  const auto behind = [&](CpuHolder kind) -> auto& {
    return run.scheduler().waited_behind[static_cast<size_t>(kind)];
  };
  behind(CpuHolder::kProcess) = 900 * kMs;
  behind(CpuHolder::kSubject) = 90 * kMs;
  behind(CpuHolder::kIdle) = 10 * kMs;
  run.cpu_holders = {{1, CpuHolder::kProcess, "stress", "/a/group", 4711, 1, 600 * kMs},
                     {2, CpuHolder::kProcess, "cc1", "", 5000, 31, 200 * kMs},
                     {3, CpuHolder::kProcess, "third", "", 5001, 1, 100 * kMs},
                     {4, CpuHolder::kSubject, "server", "", 17, 1, 90 * kMs}};
  EXPECT_EQ(run.only(), "starved_by_others");
  EXPECT_THAT(run.sentence(), HasSubstr("60% behind stress (process 4711, cgroup /a/group) and 20% "
                                        "behind cc1 (31 processes), while"));
  EXPECT_THAT(run.sentence(), Not(HasSubstr("third")));

  // Others use as much, but on other CPUs. The subject's threads wait for each other.
  behind(CpuHolder::kProcess) = 90 * kMs;
  behind(CpuHolder::kSubject) = 900 * kMs;
  EXPECT_EQ(run.only(), "starved_by_itself");
}

TEST(Findings, AServerThatComputesAndHasTwoRequestsAtOnceNowAndThenIsNotStarved) {
  MadeUpRun run;
  run.replies(100'000, 4 * kMs, 3 * kMs);
  run.at_sockets().reply_runtime->record_n(3 * kMs, 1900);  // all of them compute
  run.scheduler().cpu_ns = 6'000'000'000;
  run.merged().self.host_busy_ns = 6'500'000'000;
  run.scheduler().cpus = {{1, 4000, 4000, 0, 0, 0, 0}};
  EXPECT_EQ(run.only(), kNothing);
  run.replies(100'000, 40 * kMs, 3 * kMs);
  run.at_sockets().reply_runtime->record_n(3 * kMs, 1900);
  EXPECT_EQ(run.only(), "starved_by_affinity");
}

TEST(Findings, AWaitForOneTurnOfAnotherThreadIsNotStarving) {
  MadeUpRun run;
  run.merged().self.host_busy_ns = 19'000'000'000;
  run.replies(100'000, 5 * kMs / 2, 200'000);
  EXPECT_EQ(run.only(), kNothing);
  run.replies(100'000, 7 * kMs / 2, 200'000);
  EXPECT_EQ(run.only(), "starved_by_others");
}

TEST(Findings, RequestsThatTimeOutWhileAllReplyLateAreNotCalledLost) {
  MadeUpRun run;
  run.merged().flows.unanswered = 50;
  run.merged().self.host_busy_ns = 19'000'000'000;
  run.replies(100'000, 10 * kMs, 200'000);
  EXPECT_EQ(run.first(), "replies_lost");
  run.replies(100'000, 900 * kMs, 200'000);
  EXPECT_EQ(run.first(), "starved_by_others");
  EXPECT_EQ(run.find().size(), 1u);
}

TEST(Findings, CpusThatAreBusyDelayNobodyWhoGetsOne) {
  MadeUpRun run;
  run.merged().self.host_busy_ns = 19'000'000'000;
  run.merged().pressure.cpu_quota_periods = 100;
  run.merged().pressure.throttled_periods = 60;
  EXPECT_EQ(run.first(), kNothing);
}

TEST(Findings, AnEventLoopThatDoesOtherWork) {
  MadeUpRun run;
  run.replies(70 * kMs, 100'000, 200'000);
  EXPECT_EQ(run.first(), kNothing) << "it read late, and no thread was busy: no cause is known";
  run.scheduler().on_cpu->record_n(80 * kMs, 5);
  EXPECT_EQ(run.first(), "event_loop_blocked") << "of a run that has no stretches";
  run.scheduler().busy_stretch.emplace();
  run.scheduler().busy_stretch->record_n(50'000, 4000);
  EXPECT_EQ(run.first(), kNothing);
  run.scheduler().busy_stretch->record_n(80 * kMs, 5);
  EXPECT_EQ(run.first(), "event_loop_blocked");
  EXPECT_THAT(run.sentence(), HasSubstr("up to 80.0ms"));
  EXPECT_THAT(run.sentence(), Not(HasSubstr("samples")));

  run.stacks = {{1, "node", "start;loop;RunTimers;checksum;mix", 45},
                {2, "node", "start;loop;RunTimers;checksum;shift", 35},
                {3, "node", "start;loop;read", 20}};
  run.stack_samples = 100;
  EXPECT_THAT(run.sentence(), HasSubstr("80% of its CPU samples are in checksum"))
      << "the innermost function that is in half of them";
}

TEST(Findings, AnEventLoopIsBlockedByWhatItsLongStretchesRan) {
  MadeUpRun run;
  run.replies(70 * kMs, 100'000, 200'000);
  run.scheduler().busy_stretch.emplace();
  run.scheduler().busy_stretch->record_n(80 * kMs, 5);
  // Most of all samples are elsewhere.
  run.stacks = {{1, "server", "main;loop;serve;hot", 900}, {2, "server", "main;loop;block", 30}};
  run.stack_samples = 930;
  SlowReply reply;
  reply.reader_tid = 5;
  reply.total_ns = 70 * kMs;
  reply.ready_ns = 1'000 * kMs;
  reply.parts[static_cast<size_t>(ReplyPart::kUnreadBusy)] = 70 * kMs;
  run.slow = {reply};
  const auto stretch = [](int32_t tid, uint64_t length_ns, uint64_t began_ms,
                          std::vector<StretchStack> stacks) {
    BusyStretch of;
    of.tid = tid;
    of.length_ns = length_ns;
    of.began_ns = static_cast<int64_t>(began_ms * kMs);
    of.stacks = std::move(stacks);
    for (const StretchStack& stack : of.stacks) of.samples += stack.samples;
    return of;
  };
  run.stretches.emplace();
  run.stretches->frames = {{1, "main;loop;serve;hot"}, {2, "main;loop;block"}, {3, "main;start"}};
  run.stretches->longest = {
      stretch(9, 900 * kMs, 1'000, {{1, 90}}),  // a thread that reads nothing
      stretch(5, 300 * kMs, 100, {{3, 30}}),    // the start, before any of the requests
      stretch(5, 81 * kMs, 990, {{2, 7}, {1, 1}}), stretch(5, 80 * kMs, 2'000, {{2, 8}}),
      stretch(5, 3 * kMs, 3'000, {{1, 50}}),  // too short to make the tail
  };
  EXPECT_EQ(run.first(), "event_loop_blocked");
  EXPECT_THAT(
      run.sentence(),
      HasSubstr("; 15 of the 16 CPU samples in 2 stretches of 80.0ms and more are in block"));
  EXPECT_THAT(run.sentence(), Not(HasSubstr("hot")));

  for (BusyStretch& one : run.stretches->longest) {
    one.samples = 0;
    one.stacks.clear();
  }
  EXPECT_THAT(run.sentence(), HasSubstr("no CPU sample was taken in 2 stretches"));
  EXPECT_THAT(run.sentence(), Not(HasSubstr("hot")));
  run.stretches->longest.clear();
  EXPECT_THAT(run.sentence(), HasSubstr("97% of its CPU samples are in hot"))
      << "without stretches, what ran in the whole run";
}

TEST(Findings, ACollectorByItsThreadsOrByItsFunctions) {
  MadeUpRun run;
  run.replies(70 * kMs, 100'000, 200'000);
  run.scheduler().on_cpu->record_n(80 * kMs, 5);
  ThreadRow worker, collector;
  worker.name = "http-worker";
  worker.cpu_ns = 1'000'000'000;
  collector.name = "GC Thread#0";
  collector.cpu_ns = 10'000'000;
  run.threads = {worker, collector};
  EXPECT_EQ(run.only(), "event_loop_blocked") << "a collector that runs a little";
  run.threads[1].cpu_ns = 900'000'000;
  EXPECT_EQ(run.only(), "stop_the_world");
  EXPECT_THAT(run.sentence(), HasSubstr("GC Thread#0"));

  run.threads.clear();
  run.stacks = {{1, "python3", "main;gc_collect_main;visit", 60}, {2, "python3", "main;send", 40}};
  run.stack_samples = 100;
  EXPECT_EQ(run.only(), "stop_the_world");
  EXPECT_THAT(run.sentence(), HasSubstr("60%"));
}

TEST(Findings, ACollectorWhosePausesWereMeasured) {
  MadeUpRun run;
  run.replies(70 * kMs, 100'000, 200'000);
  run.scheduler().on_cpu->record_n(80 * kMs, 5);
  run.stacks = {{1, "python3", "main;gc_collect_main;visit", 60}, {2, "python3", "main;send", 40}};
  run.stack_samples = 100;
  RuntimeInterval& runtime = run.merged().part<RuntimeInterval>().emplace();
  runtime.loop_turn.emplace().record_n(78 * kMs, 5);
  EXPECT_EQ(run.only(), "stop_the_world") << "no pause can be seen: its CPU samples say it";
  runtime.gc.emplace().record_n(100'000, 50);
  EXPECT_EQ(run.only(), "event_loop_blocked") << "its pauses are short";
  EXPECT_THAT(run.sentence(), HasSubstr("longest turn of its event loop took 78.0ms"));
  runtime.gc->record_n(60 * kMs, 1);
  EXPECT_EQ(run.only(), "stop_the_world");
  EXPECT_THAT(run.sentence(), HasSubstr("Garbage collection stopped the server 51 times, for up"));
  EXPECT_EQ(run.find().front().proofs.back().name, "max of runtime_gc_ns");
  runtime.stop.emplace().record_n(61 * kMs, 1);
  EXPECT_THAT(run.sentence(), HasSubstr("Its runtime stopped the server 1 time, for up to 61.0ms"));
}

TEST(Findings, ADiskThatRepliesWaitForAndOneThatOthersUse) {
  MadeUpRun run;
  auto& sleeps = run.scheduler().blocked_by[static_cast<size_t>(BlockedBy::kDisk)];
  sleeps.emplace();
  sleeps->record_n(6 * kMs, 100);
  EXPECT_EQ(run.first(), kNothing) << "replies are not late";
  run.replies(20'000, 10'000, 6 * kMs);
  EXPECT_EQ(run.first(), "disk");
  EXPECT_THAT(run.sentence(), HasSubstr("slept 100 times"));
  sleeps.emplace();
  sleeps->record_n(kMs, 30);
  EXPECT_EQ(run.first(), kNothing) << "they are late for another reason";
}

/// An address that was called `requests` times with the usual latency; the slowest twentieth of the
/// calls took longer.
CalledRow called_at(uint16_t port, uint64_t requests, uint64_t usual_ns, uint64_t slow_ns) {
  CalledRow row;
  row.number = port;
  row.protocol = kProtocolTcp;
  row.address = {{127, 0, 0, 1}, port};
  row.requests = requests;
  row.latency.record_n(usual_ns, requests - requests / 20);
  row.latency.record_n(slow_ns, requests / 20);
  return row;
}

TEST(Findings, ADownstreamThatRepliesWaitForAndOneThatIsAsSlowBesideThem) {
  MadeUpRun run;
  run.replies(20'000, 10'000, 62 * kMs);
  CallInterval& calls = run.fold->merged.part<CallInterval>().emplace();
  calls.latency.emplace();
  calls.serving_ns = 1000 * kMs;
  calls.serving_and_calling_ns = 970 * kMs;
  run.called = {called_at(5432, 2000, 60 * kMs, 61 * kMs), called_at(53, 4000, 50'000, 60'000)};
  EXPECT_EQ(run.only(), "slow_downstream");
  EXPECT_THAT(run.sentence(), HasSubstr("127.0.0.1:5432"));
  EXPECT_THAT(run.sentence(), HasSubstr("up to 97% of its replies' time"));
  EXPECT_THAT(run.sentence(), HasSubstr("p99 61"));
  // For replies that do not overlap, the share is exact, and is used instead of the upper bound.
  calls.lone_reply_calling.emplace();
  calls.lone_reply_calling->record_n(58 * kMs, 100);
  calls.lone_reply_ns = 100 * 62 * kMs;
  EXPECT_THAT(run.sentence(), HasSubstr("pending in 94% of its replies' time"));

  // The calls come from a thread in the background.
  calls.lone_reply_calling.reset();
  calls.serving_and_calling_ns = 100 * kMs;
  EXPECT_EQ(run.only(), kNothing);
  // The subject always waits for calls, but for short ones, as to a cache. The time goes elsewhere.
  calls.serving_and_calling_ns = 970 * kMs;
  run.called = {called_at(5432, 2000, 300'000, kMs)};
  EXPECT_EQ(run.only(), kNothing);
}

TEST(Findings, CallsThatFailAndAClientThatTriesTwoAddresses) {
  MadeUpRun run;
  CalledRow database = called_at(5432, 100, 300'000, kMs);
  database.refused = 40;
  database.http_errors = 3;
  run.called = {database};
  EXPECT_EQ(run.only(), "downstream_fails");
  EXPECT_THAT(run.sentence(), HasSubstr("at 127.0.0.1:5432 failed: of 140 tries 40 connections "
                                        "were refused, 3 calls were answered with an HTTP"));
  // A client tries ::1 first, where nobody listens.
  CalledRow first = database;
  first.requests = first.http_errors = 0;
  first.latency = {};
  CalledRow second = called_at(5432, 100, 300'000, kMs);
  second.number = 2;
  run.called = {second, first};
  EXPECT_EQ(run.only(), kNothing);
}

TEST(Findings, WhatWasNotCapturedIsSaidWhereNothingElseIs) {
  MadeUpRun run;
  CalledRow hidden;
  hidden.number = kFirstHidden;
  hidden.protocol = kProtocolTcp;
  hidden.address = {{127, 0, 0, 1}, 5432};
  hidden.hidden_connections = 7;
  run.called = {hidden};
  EXPECT_EQ(run.only(), kNothing);
  EXPECT_THAT(run.sentence(),
              HasSubstr("7 connections of the subject to 127.0.0.1:5432 are not captured"));
}

/// 1,900 replies of 0.1 ms, and 100 of part_ns + rest_ns, with part_ns in `part`.
void slow_replies(MadeUpRun& run, ReplyPart part, uint64_t part_ns, uint64_t rest_ns) {
  SocketInterval& s = run.at_sockets();
  s.reply.emplace().record_n(100'000, 1'900);
  s.reply->record_n(part_ns + rest_ns, 100);
  ReplyPartTimes& times = s.reply_parts[static_cast<size_t>(part)];
  times.with.emplace().record_n(part_ns + rest_ns, 100);
  times.without.emplace().record_n(rest_ns, 100);
  times.mostly.emplace().record_n(part_ns + rest_ns, 100);
}

TEST(Findings, ALockThatTheSlowestRepliesWaitForAndOtherSleeps) {
  MadeUpRun lock;
  slow_replies(lock, ReplyPart::kFutex, 90 * kMs, 6 * kMs);
  EXPECT_EQ(lock.only(), "lock");
  EXPECT_THAT(lock.sentence(), HasSubstr("100% of the slowest replies"));
  EXPECT_THAT(lock.sentence(), HasSubstr("p99 would be 6"));
  EXPECT_THAT(lock.sentence(), HasSubstr("instead of 96"));

  MadeUpRun sleeps, handed_over, short_one;
  slow_replies(sleeps, ReplyPart::kSleep, 90 * kMs, 6 * kMs);
  slow_replies(handed_over, ReplyPart::kBetweenThreads, 90 * kMs, 6 * kMs);
  slow_replies(short_one, ReplyPart::kFutex, kMs, kMs / 2);
  for (MadeUpRun* run : {&sleeps, &handed_over, &short_one}) EXPECT_EQ(run->only(), kNothing);
}

TEST(Findings, ALockIsNotToBlameForATailThatWouldBeAsLongWithoutIt) {
  MadeUpRun interpreter;
  slow_replies(interpreter, ReplyPart::kFutex, 2 * kMs, 3 * kMs);
  EXPECT_EQ(interpreter.only(), kNothing);
  MadeUpRun lock;
  slow_replies(lock, ReplyPart::kFutex, 3 * kMs, 2 * kMs);
  EXPECT_EQ(lock.only(), "lock");
}

/// Requests lie unread for up to 70 ms while thread 7 sleeps, which it also does while it is idle.
MadeUpRun with_a_reader_asleep() {
  MadeUpRun run;
  run.replies(70 * kMs, 100'000, 200'000);
  slow_replies(run, ReplyPart::kUnreadAsleep, 70 * kMs, kMs);
  run.scheduler().busy_stretch.emplace().record_n(50'000, 4000);
  run.scheduler().blocked_by[static_cast<size_t>(BlockedBy::kPoll)].emplace().record_n(500 * kMs,
                                                                                       9);
  run.slow.resize(1);
  run.slow[0].reader_tid = 7;
  run.slow[0].total_ns = 71 * kMs;
  run.slow[0].parts[static_cast<size_t>(ReplyPart::kUnreadAsleep)] = 70 * kMs;
  run.threads.resize(2);
  run.threads[0].tid = 7;
  run.threads[0].blocked_by[static_cast<size_t>(BlockedBy::kPoll)] = {9, 4500 * kMs};
  run.threads[1].tid = 8;
  return run;
}

TEST(Findings, AThreadThatSleepsInsteadOfReading) {
  const auto sleeps = [](MadeUpRun& run, size_t thread, BlockedBy reason, uint64_t ns) {
    run.threads[thread].blocked_by[static_cast<size_t>(reason)] = {5, 5 * ns};
    run.scheduler().blocked_by[static_cast<size_t>(reason)].emplace().record_n(ns, 5);
  };
  MadeUpRun own = with_a_reader_asleep();
  sleeps(own, 0, BlockedBy::kSleep, 80 * kMs);
  EXPECT_EQ(own.only(), "reader_asleep");
  EXPECT_THAT(own.sentence(), HasSubstr("in a sleep of its own, for up to 80"));

  // Work of another thread keeps nobody from reading.
  own.scheduler().busy_stretch->record_n(80 * kMs, 5);
  EXPECT_EQ(own.only(), "reader_asleep");

  // The sleeps of a thread that reads nothing say nothing about the reader.
  MadeUpRun other = with_a_reader_asleep();
  sleeps(other, 1, BlockedBy::kDisk, 80 * kMs);
  EXPECT_EQ(other.only(), "reader_asleep");
  EXPECT_THAT(other.sentence(), HasSubstr("in epoll, poll or the like"));

  // A call that blocks.
  MadeUpRun call = with_a_reader_asleep();
  sleeps(call, 0, BlockedBy::kSocket, 80 * kMs);
  EXPECT_THAT(call.sentence(), HasSubstr("on another socket"));
  call.called.resize(1);
  call.called[0].address = {{127, 0, 0, 1}, 5432};
  call.called[0].requests = 100;
  call.called[0].latency.record_n(75 * kMs, 100);
  EXPECT_EQ(call.only(), "reader_asleep");
  EXPECT_THAT(call.sentence(), HasSubstr("it waited for calls to 127.0.0.1:5432 (p50 7"));

  // If sleeps are short compared with the queue that they cause, their sum counts.
  MadeUpRun disk = with_a_reader_asleep();
  sleeps(disk, 0, BlockedBy::kDisk, 10 * kMs);
  EXPECT_THAT(disk.sentence(), HasSubstr("in epoll, poll or the like"));
  disk.threads[0].blocked_by[static_cast<size_t>(BlockedBy::kPoll)] = {9, 40 * kMs};
  EXPECT_THAT(disk.sentence(), HasSubstr("in calls on files, for up to 10"));

  // Only the first slow replies are evidence, so a report that reads more of them says the same.
  MadeUpRun many = with_a_reader_asleep();
  sleeps(many, 1, BlockedBy::kDisk, 80 * kMs);
  many.slow.resize(kEvidenceSlowReplies + 1, many.slow[0]);
  many.slow.back().reader_tid = 8;
  EXPECT_THAT(many.sentence(), HasSubstr("in epoll, poll or the like"));

  MadeUpRun stopped = with_a_reader_asleep();
  sleeps(stopped, 0, BlockedBy::kStopped, 80 * kMs);
  EXPECT_EQ(stopped.only(), "stopped");
}

TEST(Findings, RepliesThatWaitInsideAndThoseThatAlwaysTakeThatLong) {
  const auto waiting = [](MadeUpRun& run, ReplyPart part, uint64_t fastest_ns) {
    slow_replies(run, part, 90 * kMs, 6 * kMs);
    SocketInterval& s = run.at_sockets();
    s.reply.emplace().record_n(fastest_ns, 1'900);
    s.reply->record_n(96 * kMs, 100);
    s.reply_parts[static_cast<size_t>(part)].time.emplace().record_n(fastest_ns / 2, 1'900);
    s.reply_parts[static_cast<size_t>(part)].time->record_n(90 * kMs, 100);
  };
  MadeUpRun go, poll, child, equal, downstream;
  waiting(go, ReplyPart::kBetweenThreads, kMs);
  EXPECT_EQ(go.only(), "waited_inside");
  EXPECT_THAT(go.sentence(), HasSubstr("in no thread"));
  waiting(poll, ReplyPart::kPoll, kMs);
  EXPECT_EQ(poll.only(), "waited_inside");
  EXPECT_THAT(poll.sentence(), HasSubstr("asleep in epoll"));
  waiting(child, ReplyPart::kChild, kMs);
  EXPECT_THAT(child.sentence(), HasSubstr("waiting for a child process"));
  waiting(equal, ReplyPart::kBetweenThreads, 40 * kMs);
  EXPECT_EQ(equal.only(), kNothing) << "it means to wait";
  waiting(downstream, ReplyPart::kSocket, kMs);
  EXPECT_EQ(downstream.only(), kNothing) << "a call, of which it is not known to whom";
}

TEST(Findings, TimersThatTheSlackDelays) {
  MadeUpRun run;
  run.scheduler().timer_slack.emplace();
  run.scheduler().timer_oversleep.emplace();
  run.scheduler().timer_slack->record_n(50'000, 1000);
  run.scheduler().timer_oversleep->record_n(60'000, 1000);
  EXPECT_EQ(run.first(), kNothing) << "the usual 50 us";
  run.scheduler().timer_slack->record_n(19 * kMs, 1000);
  run.scheduler().timer_oversleep->record_n(20 * kMs, 1000);
  EXPECT_EQ(run.first(), "timer_slack");
}

TEST(Findings, SendsThatNagleHoldsUntilALateAckAndUntilOneThatComesAtOnce) {
  MadeUpRun run;
  run.at_sockets().nagle_held.emplace().record_n(60'000, 1'500);
  EXPECT_EQ(run.only(), kNothing) << "ACKs that come within a round trip";
  run.at_sockets().nagle_held.emplace().record_n(43 * kMs, 1'500);
  EXPECT_EQ(run.only(), "delayed_ack");
  EXPECT_THAT(run.sentence(), HasSubstr("held 1,500 small sends back for 4"));
  run.at_sockets().nagle_held.emplace().record_n(43 * kMs, 30);
  EXPECT_EQ(run.only(), kNothing) << "30 of 2,000 replies";
}

TEST(Findings, PeersThatReadSlowlyAndAFastServerThatFillsTheirWindows) {
  MadeUpRun run;
  run.fold->greatest.sockets.emplace().tcp_connections = 8;
  run.at_sockets().tcp_busy_ns = 56'000 * kMs;
  run.at_sockets().tcp_rwnd_limited_ns = 48'000 * kMs;
  run.at_sockets().tcp_rwnd_limited_max = 7;
  run.merged().flows.tcp_zero_windows = 900;
  EXPECT_EQ(run.only(), "slow_peer");
  EXPECT_THAT(run.sentence(), HasSubstr("86% of the 56.0s"));
  EXPECT_THAT(run.sentence(), HasSubstr("on 7 of 8 connections"));
  run.merged().flows.tcp_zero_windows = 90'000;
  EXPECT_EQ(run.only(), kNothing) << "each window was open again after half a millisecond";
  run.merged().flows.tcp_zero_windows = 900;
  run.fold->greatest.sockets->tcp_connections = 1'000;
  EXPECT_EQ(run.only(), kNothing) << "a few slow ones among very many";
  run.fold->greatest.sockets->tcp_connections = 8;
  run.at_sockets().tcp_busy_ns = 200'000 * kMs;
  EXPECT_EQ(run.only(), kNothing) << "the path, or the server, kept them for longer";
}

TEST(Findings, WhatGrowsUnderASteadyLoadUnlessItCameBackAfterwards) {
  MadeUpRun run;
  Slope slope;
  slope.value = 2;
  slope.points = 60;
  run.growth.steady = {{"fds", 120, 60, slope}};
  EXPECT_EQ(run.only(), "leak_under_load");
  EXPECT_THAT(run.sentence(), HasSubstr("last 60.0s"));
  EXPECT_THAT(run.sentence(), HasSubstr("fds by 120"));
  run.growth.leak.verdict = LeakVerdict::kNone;
  EXPECT_EQ(run.only(), kNothing);
  run.growth.leak.verdict = LeakVerdict::kLeak;
  LeakMetric fds{"fds", LeakVerdict::kLeak, "", 84, 80, 90, std::nullopt};
  run.growth.leak.metrics = {fds};
  EXPECT_EQ(run.only(), "leak");
}

TEST(Findings, LeaksAndLimitsComeAfterWhatFailed) {
  MadeUpRun run;
  run.growth.leak.verdict = LeakVerdict::kLeak;
  LeakMetric rss{"rss_bytes", LeakVerdict::kLeak, "", 84e6, 80e6, 90e6, std::nullopt};
  run.growth.leak.metrics = {rss};
  run.growth.headroom = {{"fds", 1.0, 900, 1024, 1010, 1000, 1020}};
  auto findings = run.find();
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].key, "limit_ahead");
  EXPECT_EQ(findings[1].key, "leak");
  EXPECT_THAT(findings[1].sentence, HasSubstr("rss_bytes"));

  run.merged().flows.tcp_refused = 10;
  EXPECT_EQ(run.first(), "connections_refused");
  run.growth.headroom[0].used = 100;
  run.growth.leak.verdict = LeakVerdict::kNone;
  EXPECT_EQ(run.find().size(), 1u);
}

}  // namespace
}  // namespace topspin
