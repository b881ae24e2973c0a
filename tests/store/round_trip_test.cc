// What is stored comes back unchanged: every field, every byte, and what is absent stays absent.
#include <algorithm>
#include <limits>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store_testing.h"

namespace topspin {
namespace {

using testing::ElementsAre;

Sample without_rows(Sample sample) {
  sample.changed_flows.clear();
  sample.changed_threads.clear();
  sample.changed_owners.clear();
  sample.changed_sockets.clear();
  sample.changed_syscalls.clear();
  sample.changed_cpu_holders.clear();
  sample.changed_sleep_stacks.clear();
  sample.changed_stacks.clear();
  sample.long_stretches.clear();
  sample.changed_called.clear();
  sample.slowest_replies.clear();
  return sample;
}

TEST(RoundTrip, TheStartIsTheOneThatIsSetLast) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->set_start(run.started_wall_ns + 5, run.started_monotonic_ns + 7));
  EXPECT_OK(writer->finish({}));
  const auto stored = open(directory.file())->find_run(run.id);
  ASSERT_TRUE(stored.ok());
  EXPECT_EQ(stored->info.started_wall_ns, run.started_wall_ns + 5);
  EXPECT_EQ(stored->info.started_monotonic_ns, run.started_monotonic_ns + 7);
}

TEST(RoundTrip, EveryFieldOfASampleComesBack) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  Sample sample;
  Filler filler;
  filler.fill(sample);
  ASSERT_EQ(sample.changed_flows.size(), 3u);
  sample.changed_flows[1].initiator_is_low = false;
  sample.changed_flows[2].key.ip_version = 6;
  sample.changed_flows[2].key.high.address[15] = 0xfe;
  sample.changed_threads[1].exited = false;
  sample.changed_sockets[1].cookie = UINT64_MAX;  // does not fit SQLite's signed integers
  sample.changed_sockets[2].ip_version = 6;
  sample.changed_sockets[2].local.address[15] = 0xfe;
  sample.changed_called[2].ip_version = 6;
  sample.changed_called[2].address.address[15] = 0xfe;
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(sample));
  EXPECT_OK(writer->finish({}));

  const auto store = open(directory.file());
  const auto ticks = ticks_of(*store, run.id);
  ASSERT_EQ(ticks.size(), 1u);
  EXPECT_EQ(Listing::of(ticks[0]), Listing::of(without_rows(sample)));
  EXPECT_EQ(Listing::of(flows_of(*store, run.id)), Listing::of(sample.changed_flows));
  EXPECT_EQ(Listing::of(threads_of(*store, run.id)), Listing::of(sample.changed_threads));
  EXPECT_EQ(Listing::of(owners_of(*store, run.id)), Listing::of(sample.changed_owners));
  EXPECT_EQ(Listing::of(sockets_of(*store, run.id)), Listing::of(sample.changed_sockets));
  EXPECT_EQ(Listing::of(syscalls_of(*store, run.id)), Listing::of(sample.changed_syscalls));
  EXPECT_EQ(Listing::of(cpu_holders_of(*store, run.id)), Listing::of(sample.changed_cpu_holders));
  EXPECT_EQ(Listing::of(stacks_of(*store, run.id)), Listing::of(sample.changed_stacks));
  EXPECT_EQ(Listing::of(sleep_stacks_of(*store, run.id)), Listing::of(sample.changed_sleep_stacks));
  for (BusyStretch& stretch : sample.long_stretches)  // they come back with the most samples first
    std::reverse(stretch.stacks.begin(), stretch.stacks.end());
  EXPECT_EQ(Listing::of(busy_stretches_of(*store, run.id)), Listing::of(sample.long_stretches));
  EXPECT_EQ(Listing::of(called_of(*store, run.id)), Listing::of(sample.changed_called));
  EXPECT_EQ(Listing::of(slow_replies_of(*store, run.id)), Listing::of(sample.slowest_replies));
}

TEST(RoundTrip, OfSlowRepliesTheSlowestOfTheRunAreKept) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  std::vector<uint64_t> expected;
  for (uint64_t tick = 1; tick <= kSlowRepliesARun / 16; ++tick) {
    Sample sample = make_tick(tick);
    for (uint64_t i = 0; i < 32; ++i) {
      SlowReply reply;
      reply.tick = tick;
      reply.total_ns = (tick * 7'919 + i * 104'729) % 1'000'003;
      sample.slowest_replies.push_back(reply);
      expected.push_back(reply.total_ns);
    }
    EXPECT_OK(writer->append(sample));
  }
  EXPECT_OK(writer->finish({}));
  std::vector<uint64_t> stored;
  for (const SlowReply& reply : slow_replies_of(*open(directory.file()), run.id))
    stored.push_back(reply.total_ns);
  std::sort(stored.begin(), stored.end(), std::greater());
  std::sort(expected.begin(), expected.end(), std::greater());
  ASSERT_GT(expected.size(), kSlowRepliesARun);
  expected.resize(kSlowRepliesARun);
  EXPECT_EQ(stored, expected);
}

TEST(RoundTrip, OfBusyStretchesTheLongestOfTheRunAreKeptWithTheirOwnStacks) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  // The first stretches have two stacks. All but one of them are replaced by longer ones with one
  // stack.
  Sample short_ones = make_tick(1);
  for (uint64_t i = 0; i < kStretchesARun; ++i) {
    BusyStretch stretch;
    stretch.tid = 7;
    stretch.length_ns = 1'000 + i;
    stretch.stacks = {{1, 5}, {2, 3}};
    short_ones.long_stretches.push_back(stretch);
  }
  EXPECT_OK(writer->append(short_ones));
  Sample long_ones = make_tick(2);
  for (uint64_t i = 0; i + 1 < kStretchesARun; ++i) {
    BusyStretch stretch;
    stretch.tick = 2;
    stretch.tid = 7;
    stretch.length_ns = 1'000'000 + i;
    stretch.stacks = {{3, 9}};
    long_ones.long_stretches.push_back(stretch);
  }
  EXPECT_OK(writer->append(long_ones));
  EXPECT_OK(writer->finish({}));
  std::vector<BusyStretch> stored = busy_stretches_of(*open(directory.file()), run.id);
  ASSERT_EQ(stored.size(), kStretchesARun);
  std::ranges::sort(stored, {}, &BusyStretch::length_ns);
  std::vector<BusyStretch> expected = {short_ones.long_stretches.back()};
  expected.insert(expected.end(), long_ones.long_stretches.begin(), long_ones.long_stretches.end());
  EXPECT_EQ(Listing::of(stored), Listing::of(expected));
}

TEST(RoundTrip, CpuHoldersAreKeptAsLastSeen) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  CpuHolderRow hog{1, CpuHolder::kProcess, "hog", "/a/group", 7, 1, 5'000};
  CpuHolderRow kernel{2, CpuHolder::kKernelThread, "kworker/0:1", "", 9, 1, 100};
  auto writer = create(directory.file(), run);
  Sample sample = make_tick(1);
  sample.changed_cpu_holders = {hog, kernel};
  EXPECT_OK(writer->append(sample));
  hog.held_ns = 9'000;
  hog.processes = 2;
  Sample next = make_tick(2);
  next.changed_cpu_holders = {hog};
  EXPECT_OK(writer->append(next));
  EXPECT_OK(writer->finish({}));
  const std::vector<CpuHolderRow> expected = {hog, kernel};
  EXPECT_EQ(Listing::of(cpu_holders_of(*open(directory.file()), run.id)), Listing::of(expected));
}

TEST(RoundTrip, SocketsAndSyscallsAreKeptAsLastSeen) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  Sample sample = make_tick(1);
  SocketRow listener;
  listener.cookie = 7;
  listener.protocol = kProtocolTcp;
  listener.accept_queue = 3;
  SocketRow datagrams;
  datagrams.cookie = 8;
  datagrams.protocol = kProtocolUdp;
  SocketRow beyond;
  beyond.cookie = 9;
  SyscallRow accepts{288, "accept4", 2, 1, {}, 5};
  accepts.latency.record_n(1'000, 2);
  sample.changed_sockets = {listener, datagrams, beyond};
  sample.changed_syscalls = {accepts};
  sample.sockets.emplace().socket_wait.emplace();  // measured, and nobody waited
  WriterOptions options;
  options.max_socket_rows = 2;
  auto writer = create(directory.file(), run, options);
  EXPECT_OK(writer->append(sample));
  listener.accept_queue = 0;
  listener.closed = true;
  accepts.count = 3;
  accepts.latency.record(9);
  Sample next = make_tick(2);
  next.changed_sockets = {listener};
  next.changed_syscalls = {accepts};
  EXPECT_OK(writer->append(next));
  EXPECT_OK(writer->finish({}));

  const auto store = open(directory.file());
  const std::vector<SocketRow> sockets = {listener, datagrams};
  EXPECT_EQ(Listing::of(sockets_of(*store, run.id)), Listing::of(sockets));
  const std::vector<SyscallRow> syscalls = {accepts};
  EXPECT_EQ(Listing::of(syscalls_of(*store, run.id)), Listing::of(syscalls));
  const auto ticks = ticks_of(*store, run.id);
  ASSERT_EQ(ticks.size(), 2u);
  EXPECT_EQ(ticks[0].losses.socket_rows_unstored, 1u);
  ASSERT_TRUE(ticks[0].sockets);
  EXPECT_TRUE(ticks[0].sockets->socket_wait && ticks[0].sockets->socket_wait->empty());
  EXPECT_FALSE(ticks[0].sockets->accept_delay);
  EXPECT_FALSE(ticks[1].sockets);
}

TEST(RoundTrip, AStackIsKeptAsLastSeen) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  StackRow first{1, "\x1b[2J", "main;work", 3};
  const StackRow second{2, "", "", 1};
  Sample sample = make_tick(1);
  sample.changed_stacks = {first, second};
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(sample));
  sample.tick = 2;
  first.samples = 9;
  sample.changed_stacks = {first};
  EXPECT_OK(writer->append(sample));
  EXPECT_OK(writer->finish({}));
  const std::vector<StackRow> expected = {first, second};
  EXPECT_EQ(Listing::of(stacks_of(*open(directory.file()), run.id)), Listing::of(expected));
}

TEST(RoundTrip, ACalledAddressIsKeptAsLastSeen) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  CalledRow database;
  database.number = 1;
  database.protocol = kProtocolTcp;
  database.address = {{127, 0, 0, 1}, 5432};
  database.requests = 3;
  CalledRow hidden;
  hidden.number = kFirstHidden;
  hidden.protocol = kProtocolUdp;
  hidden.address = {{10, 0, 0, 1}, 53};
  hidden.hidden_connections = 2;
  hidden.hidden_by_interface = true;
  Sample sample = make_tick(1);
  sample.changed_called = {database, hidden};
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(sample));
  sample.tick = 2;
  database.requests = 9;
  database.latency.record_n(5'000, 9);
  sample.changed_called = {database};
  EXPECT_OK(writer->append(sample));
  EXPECT_OK(writer->finish({}));
  const std::vector<CalledRow> expected = {database, hidden};
  EXPECT_EQ(Listing::of(called_of(*open(directory.file()), run.id)), Listing::of(expected));
}

TEST(RoundTrip, AnOwnerOfFlowsIsKeptAsLastSeen) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  using std::string_literals::operator""s;
  FlowOwner first{1, 4242, 77, "\x1b[2J\0\xff"s, OwnerQuality::kShared};
  const FlowOwner second{2, 4243, 78, "", OwnerQuality::kExact};
  Sample sample = make_tick(1, 2);
  sample.changed_flows[0].owners = {1, 2};
  sample.changed_owners = {first, second};
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(sample));
  sample.tick = 2;
  first.name = "renamed";
  sample.changed_owners = {first};
  sample.changed_flows[0].owners = {2, std::nullopt};
  EXPECT_OK(writer->append(sample));
  EXPECT_OK(writer->finish({}));

  const auto store = open(directory.file());
  const std::vector<FlowOwner> expected = {first, second};
  EXPECT_EQ(Listing::of(owners_of(*store, run.id)), Listing::of(expected));
  EXPECT_EQ(Listing::of(flows_of(*store, run.id)), Listing::of(sample.changed_flows));
}

TEST(RoundTrip, AbsentStaysAbsentAndIsNotZero) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  Sample nothing;
  nothing.tick = 1;
  nothing.changed_flows.resize(1);
  nothing.changed_threads.resize(1);
  Sample zero;
  zero.tick = 2;
  zero.scheduler.emplace();
  zero.scheduler->run_queue_latency.emplace();  // measured, and nobody waited
  zero.scheduler->cpu_ns = 0;
  zero.resources.emplace();
  zero.resources->swap_bytes = 0;
  zero.self.bpf_ns = 0;
  Sample histogram_alone;
  histogram_alone.tick = 3;
  histogram_alone.scheduler.emplace();
  histogram_alone.scheduler->queue_wait.emplace();
  histogram_alone.scheduler->queue_wait->record(5);
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(nothing));
  EXPECT_OK(writer->append(zero));
  EXPECT_OK(writer->append(histogram_alone));
  EXPECT_OK(writer->finish({}));

  const auto store = open(directory.file());
  const auto ticks = ticks_of(*store, run.id);
  ASSERT_EQ(ticks.size(), 3u);
  EXPECT_FALSE(ticks[0].scheduler.has_value());
  EXPECT_FALSE(ticks[0].resources.has_value());
  EXPECT_EQ(Listing::of(ticks[0]), Listing::of(without_rows(nothing)));
  EXPECT_EQ(Listing::of(ticks[1]), Listing::of(zero));
  EXPECT_EQ(Listing::of(ticks[2]), Listing::of(histogram_alone));
  EXPECT_EQ(Listing::of(flows_of(*store, run.id)), Listing::of(nothing.changed_flows));
  EXPECT_EQ(Listing::of(threads_of(*store, run.id)), Listing::of(nothing.changed_threads));
}

TEST(RoundTrip, EveryFieldOfARunComesBack) {
  const TemporaryDirectory directory;
  RunInfo run;
  RunEnd end;
  Filler filler;
  filler.fill(run);
  filler.fill(end);
  end.status = RunStatus::kFailed;
  run.source.dirty = false;
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(make_tick(1)));
  EXPECT_OK(writer->append(make_tick(2)));
  EXPECT_OK(writer->finish(end));

  const auto store = open(directory.file());
  for (const StoredRun& stored : {must(store->find_run(run.id)), must(store->list_runs()).at(0)}) {
    EXPECT_EQ(Listing::of(stored.info), Listing::of(run));
    EXPECT_EQ(Listing::of(stored.end), Listing::of(end));
    EXPECT_EQ(stored.ticks, 2u);
  }
}

TEST(RoundTrip, WhatIsNotKnownOfARunStaysSo) {
  const TemporaryDirectory directory;
  RunInfo run;
  run.id = "only an id";
  const RunEnd end;
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->finish(end));
  const StoredRun stored = must(open(directory.file())->find_run(run.id));
  EXPECT_EQ(Listing::of(stored.info), Listing::of(run));
  EXPECT_EQ(Listing::of(stored.end), Listing::of(end));
}

TEST(RoundTrip, HostileTextComesBackByteForByte) {
  const TemporaryDirectory directory;
  using std::string_literals::operator""s;
  const std::vector<std::string> hostile = {
      "it's; DROP TABLE run; --"s, "a\0b\0"s, "\xff\xfe\x80 invalid"s, "\x1b[2J\x1b]0;owned\a"s,
      "line\nbreak\ttab\r"s,       ""s,       "\xe2\x80\xae bidi"s,    std::string(100'000, 'x')};
  RunInfo run = make_run();
  run.command = hostile;
  for (const std::string& text : hostile) run.labels[text] = text;
  run.host.hostname = hostile[1];
  run.settings.filter = hostile[2];
  run.settings.subject = hostile[3];
  run.probes = {{hostile[0], Rung::kProc, hostile[1]}, {hostile[2], Rung::kNone, hostile[3]}};
  Sample sample = make_tick(1);
  for (size_t i = 0; i < hostile.size(); ++i) {
    ThreadRow& thread = sample.changed_threads.emplace_back();
    thread.tid = static_cast<int32_t>(i);
    thread.name = hostile[i];
  }
  RunEnd end;
  end.invalid_reasons = hostile;
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(sample));
  for (const std::string& text : hostile) EXPECT_OK(writer->add_event(1, text));
  EXPECT_OK(writer->finish(end));

  const auto store = open(directory.file());
  const StoredRun stored = must(store->find_run(run.id));
  EXPECT_EQ(Listing::of(stored.info), Listing::of(run));
  EXPECT_EQ(stored.end.invalid_reasons, hostile);
  EXPECT_EQ(Listing::of(threads_of(*store, run.id)), Listing::of(sample.changed_threads));
  const auto events = events_of(*store, run.id);
  ASSERT_EQ(events.size(), hostile.size());
  for (size_t i = 0; i < hostile.size(); ++i) EXPECT_EQ(events[i].text, hostile[i]);
}

TEST(RoundTrip, ExtremesOfEveryIntegerComeBackOrSaturate) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  Sample sample = make_tick(1, 1);
  sample.flows.bytes = std::numeric_limits<uint64_t>::max();
  sample.flows.begin_ns = std::numeric_limits<int64_t>::min();
  sample.flows.end_ns = std::numeric_limits<int64_t>::max();
  sample.changed_flows[0].key.high.port = 65'535;
  sample.changed_flows[0].key.protocol = 255;
  sample.changed_flows[0].key.vlan = {65'535, 0};
  sample.changed_flows[0].lateness_last_ns = std::numeric_limits<int64_t>::min();
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(sample));
  EXPECT_OK(writer->finish({}));

  const auto store = open(directory.file());
  const auto ticks = ticks_of(*store, run.id);
  EXPECT_EQ(ticks.at(0).flows.bytes, uint64_t{std::numeric_limits<int64_t>::max()});
  // Times so far from 0 are nonsense. They are clamped, so that the difference of two still fits.
  constexpr int64_t kMostNs = (int64_t{1} << 62) - 1;
  EXPECT_EQ(ticks.at(0).flows.begin_ns, -kMostNs);
  EXPECT_EQ(ticks.at(0).flows.end_ns, kMostNs);
  sample.changed_flows[0].lateness_last_ns = -kMostNs;
  EXPECT_EQ(Listing::of(flows_of(*store, run.id)), Listing::of(sample.changed_flows));
}

TEST(Writer, AFlowIsOneRowThatFollowsItsChanges) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  Sample first = make_tick(1, 3);
  EXPECT_OK(writer->append(first));
  Sample second = make_tick(2, 3);
  std::swap(second.changed_flows[0], second.changed_flows[2]);  // in any order
  second.changed_flows[1].ended = true;
  second.changed_flows[1].initiator_is_low = true;  // a late SYN showed who the initiator is
  EXPECT_OK(writer->append(second));
  EXPECT_OK(writer->finish({}));
  std::swap(second.changed_flows[0], second.changed_flows[2]);
  EXPECT_EQ(Listing::of(flows_of(*open(directory.file()), run.id)),
            Listing::of(second.changed_flows));
}

TEST(Writer, AThreadIsOneRowByPidTidAndStart) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  ThreadRow one;
  one.pid = 1;
  one.tid = 2;
  one.start_time_ns = 3;
  one.name = "worker";
  one.cpu_ns = 10;
  ThreadRow reused = one;  // another thread with the same tid
  reused.start_time_ns = 4;
  auto writer = create(directory.file(), run);
  Sample sample = make_tick(1);
  sample.changed_threads = {one, reused};
  EXPECT_OK(writer->append(sample));
  one.cpu_ns = 20;
  one.exited = true;
  sample = make_tick(2);
  sample.changed_threads = {one};
  EXPECT_OK(writer->append(sample));
  EXPECT_OK(writer->finish({}));
  EXPECT_EQ(Listing::of(threads_of(*open(directory.file()), run.id)),
            Listing::of(std::vector{one, reused}));
}

TEST(Writer, WhatThreadsDidInATickIsKeptOfTheForemost) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  constexpr int kThreads = 40;
  // Thread i runs for i us and waits for i us in each tick. In the second tick only odd threads do.
  for (uint64_t tick : {1, 2}) {
    Sample sample = make_tick(tick);
    for (int i = 0; i < kThreads; ++i) {
      ThreadRow row;
      row.pid = 1;
      row.tid = i;
      row.name = "worker";
      const uint64_t ticks = tick == 1 || i % 2 == 0 ? 1 : 2;
      row.cpu_ns = row.run_queue_wait_ns = 1000u * static_cast<uint64_t>(i) * ticks;
      row.run_queue_waits = 7 * ticks;
      sample.changed_threads.push_back(row);
    }
    EXPECT_OK(writer->append(sample));
  }
  EXPECT_OK(writer->finish({}));
  std::map<int64_t, std::map<int32_t, ThreadTick>> found;  // by the tick's end and the tid
  const auto store = open(directory.file());
  EXPECT_OK(store->for_each_thread_tick(
      run.id, [&](const ThreadTick& m) { found[m.elapsed_ns][m.tid] = m; }));
  ASSERT_EQ(found.size(), 2u);
  const auto& first = found.begin()->second;
  const auto& second = found.rbegin()->second;
  EXPECT_EQ(first.size(), kThreadTicksKept);
  EXPECT_EQ(first.begin()->first, kThreads - static_cast<int32_t>(kThreadTicksKept));
  EXPECT_EQ(second.size(), 20u);  // threads that did nothing have no row
  for (const auto& [tid, moment] : second) {
    EXPECT_EQ(tid % 2, 1);
    EXPECT_EQ(moment.cpu_ns, 1000u * static_cast<uint64_t>(tid));
    EXPECT_EQ(moment.run_queue_wait_ns, moment.cpu_ns);
    EXPECT_EQ(moment.run_queue_waits, 7u);
    EXPECT_EQ(moment.name, "worker");
    EXPECT_EQ(moment.pid, 1);
    EXPECT_EQ(moment.interval_ns, make_tick(2).interval_ns);
  }
}

TEST(Writer, LateMessagesAreKeptTheLatestOfATickAndOneAFlow) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  constexpr uint64_t kFlows = 400;
  const auto lateness_of = [](uint64_t flow) { return static_cast<int64_t>(flow + 1) * 1'000'000; };
  for (uint64_t tick : {1, 2, 3}) {
    Sample sample = make_tick(tick, kFlows);
    for (FlowRow& flow : sample.changed_flows) {
      const uint64_t number = flow.id - sample.changed_flows.front().id;
      flow.period_ns = 1'000'000'000;  // so a message is late by more than 100 ms
      flow.lateness_last_ns = lateness_of(number);
      // In the second tick, flow 300 is the only one whose initiator sends.
      flow.packets = {tick == 2 && number != 300 ? 1 : tick, tick};
      flow.last_ns = static_cast<int64_t>(tick * 1000 + number);
    }
    if (tick == 3) {
      for (FlowRow& flow : sample.changed_flows) flow.lateness_last_ns = 100'000'000;  // not late
    }
    if (tick == 2) {  // a tick that came late has a second row of a flow
      FlowRow again = sample.changed_flows[300];
      ++again.packets[0];
      again.lateness_last_ns = *again.lateness_last_ns / 2;
      ++again.last_ns;
      sample.changed_flows.push_back(again);
    }
    EXPECT_OK(writer->append(sample));
  }
  EXPECT_OK(writer->finish({}));
  const auto store = open(directory.file());
  const std::vector<FlowRow> flows = flows_of(*store, run.id);
  std::vector<LateMessage> late;
  EXPECT_OK(store->for_each_late_message(run.id, [&](const LateMessage& m) { late.push_back(m); }));
  ASSERT_EQ(late.size(), kLateMessagesKept + 1);
  for (size_t i = 0; i < kLateMessagesKept; ++i) {
    const uint64_t number = kFlows - kLateMessagesKept + i;
    EXPECT_EQ(late[i].flow, flows[number].id);
    EXPECT_EQ(late[i].lateness_ns, lateness_of(number));
    EXPECT_EQ(late[i].time_ns, static_cast<int64_t>(1000 + number));
    EXPECT_EQ(late[i].initiator,
              format_endpoint(flows[number].initiator(), flows[number].key.ip_version));
  }
  EXPECT_EQ(late.back().flow, flows[300].id);
  EXPECT_EQ(late.back().time_ns, 2300);
}

/// A tick of a busy host takes several intervals, each with a row of the flow.
TEST(Writer, OfSeveralLateMessagesOfAFlowInATickTheLatestIsKept) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  Sample sample = make_tick(1, 2);
  for (FlowRow& flow : sample.changed_flows) {
    flow.period_ns = 1'000'000'000;
    flow.lateness_last_ns = 300'000'000;
    flow.packets = {1, 1};
  }
  FlowRow again = sample.changed_flows[0];
  again.packets = {2, 2};
  again.lateness_last_ns = 400'000'000;
  sample.changed_flows.push_back(again);
  again.packets = {3, 3};
  again.lateness_last_ns = 200'000'000;
  sample.changed_flows.push_back(again);
  EXPECT_OK(writer->append(sample));
  EXPECT_OK(writer->finish({}));
  const auto store = open(directory.file());
  std::vector<int64_t> late;
  EXPECT_OK(store->for_each_late_message(
      run.id, [&](const LateMessage& m) { late.push_back(m.lateness_ns); }));
  EXPECT_THAT(late, testing::UnorderedElementsAre(300'000'000, 400'000'000));
}

TEST(Writer, RowsBeyondTheLimitsAreCountedInTheTick) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  WriterOptions options;
  options.max_flow_rows = 4;
  options.max_thread_rows = 1;
  auto writer = create(directory.file(), run, options);
  Sample first = make_tick(1, 3);
  first.losses.flow_rows_unstored = 100;  // counted before the tick reached the writer
  EXPECT_OK(writer->append(first));
  Sample second = make_tick(2, 6);
  second.changed_threads.resize(3);
  for (int i = 0; i < 3; ++i) second.changed_threads[static_cast<size_t>(i)].tid = i;
  EXPECT_OK(writer->append(second));
  EXPECT_OK(writer->finish({}));
  const auto store = open(directory.file());
  const auto ticks = ticks_of(*store, run.id);
  EXPECT_EQ(ticks.at(0).losses.flow_rows_unstored, 100u);
  EXPECT_EQ(ticks.at(1).losses.flow_rows_unstored, 2u);
  EXPECT_EQ(ticks.at(0).losses.thread_rows_unstored, 0u);
  EXPECT_EQ(ticks.at(1).losses.thread_rows_unstored, 2u);
  const auto flows = flows_of(*store, run.id);
  ASSERT_EQ(flows.size(), 4u);
  for (const FlowRow& flow : flows) EXPECT_EQ(flow.packets[0], 2u);  // those kept stay current
  EXPECT_EQ(threads_of(*store, run.id).size(), 1u);
}

TEST(Writer, SeveralTicksGoInOneCall) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  std::vector<Sample> samples;
  for (uint64_t tick = 1; tick <= 200; ++tick) samples.push_back(make_tick(tick, 2));
  EXPECT_OK(writer->append(samples));
  EXPECT_OK(writer->append(std::vector<Sample>()));
  EXPECT_OK(writer->finish({}));
  const auto ticks = ticks_of(*open(directory.file()), run.id);
  ASSERT_EQ(ticks.size(), 200u);  // more than the reader fetches at once
  for (size_t i = 0; i < ticks.size(); ++i) {
    EXPECT_EQ(Listing::of(ticks[i]), Listing::of(without_rows(samples[i])));
  }
}

TEST(Writer, FlowsOfSeveralRunsStayApart) {
  const TemporaryDirectory directory;
  const std::string a =
      store_run(directory.file(), 2, 5000);  // more than the reader fetches at once
  const std::string b = store_run(directory.file(), 3, 2);
  const auto store = open(directory.file());
  const auto of_a = flows_of(*store, a);
  const auto of_b = flows_of(*store, b);
  ASSERT_EQ(of_a.size(), 5000u);
  ASSERT_EQ(of_b.size(), 2u);
  EXPECT_EQ(Listing::of(of_a), Listing::of(make_tick(2, 5000).changed_flows));
  EXPECT_EQ(Listing::of(of_b), Listing::of(make_tick(3, 2).changed_flows));
  EXPECT_EQ(ticks_of(*store, a).size(), 2u);
  EXPECT_EQ(ticks_of(*store, b).size(), 3u);
}

TEST(Writer, LeftWithoutFinishMarksTheRunInterrupted) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  {
    auto writer = create(directory.file(), run);
    EXPECT_OK(writer->append(make_tick(1)));
  }
  const StoredRun stored = must(open(directory.file())->find_run(run.id));
  EXPECT_EQ(stored.end.status, RunStatus::kInterrupted);
  EXPECT_EQ(stored.end.duration_ns, 1'000'000'000);
  EXPECT_EQ(stored.ticks, 1u);
}

TEST(Writer, ATickGivenTwiceIsRefusedAndTheFirstStays) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(make_tick(1)));
  EXPECT_FALSE(writer->append(make_tick(1)).ok());
  EXPECT_FALSE(writer->append(make_tick(2)).ok());  // no more ticks are accepted
  EXPECT_OK(writer->finish({}));
  EXPECT_EQ(ticks_of(*open(directory.file()), run.id).size(), 1u);
}

TEST(FindRun, ByItsWholeIdAndTheLast) {
  const TemporaryDirectory directory;
  RunInfo run = make_run();
  for (const char* id : {"aab-1", "aac-2", "b-3", "b-34"}) {
    run.id = id;
    run.started_wall_ns += id[0] == 'a' ? 1 : -100;
    store_run(directory.file(), 1, 0, run);
  }
  const auto store = open(directory.file());
  EXPECT_EQ(must(store->find_run("aac-2")).info.id, "aac-2");
  EXPECT_EQ(must(store->find_run("b-3")).info.id, "b-3");  // although another id begins with it
  // The clock went back after the second run. The last run is the one that was stored last.
  EXPECT_EQ(must(store->last_run()).info.id, "b-34");
  for (const char* wrong : {"aab", "b", "", "c", "aab-11", "%", "a_b", "' OR 1"}) {
    const auto found = store->find_run(wrong);
    ASSERT_FALSE(found.ok()) << wrong;
    EXPECT_EQ(found.error().code, ErrorCode::kUsage);
  }
  std::vector<std::string> ids;
  std::vector<uint64_t> numbers;
  for (const StoredRun& stored : must(store->list_runs())) {
    ids.push_back(stored.info.id);
    numbers.push_back(stored.number);
  }
  EXPECT_THAT(ids, ElementsAre("aab-1", "aac-2", "b-3", "b-34"));
  EXPECT_THAT(numbers, ElementsAre(1, 2, 3, 4));
  EXPECT_FALSE(store->for_each_tick("aa", [](const Sample&) {}).ok());
}

TEST(FindRun, TheSameIdIsNotStoredTwice) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  store_run(directory.file(), 1, 0, run);
  EXPECT_FALSE(RunWriter::create(directory.file(), run, {}).ok());
  EXPECT_EQ(must(open(directory.file())->list_runs()).size(), 1u);
}

TEST(ReadTicks, GivesAsManyAsAreAskedForFromANumberOn) {
  TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  for (const uint64_t tick : {1, 2, 4, 5, 6}) EXPECT_OK(writer->append(make_tick(tick)));
  EXPECT_OK(writer->finish({}));
  const auto store = open(directory.file());
  const auto numbers = [&](uint64_t first, size_t most) {
    std::vector<uint64_t> ticks;
    for (const Sample& tick : must(store->read_ticks(run.id, first, most)))
      ticks.push_back(tick.tick);
    return ticks;
  };
  EXPECT_EQ(numbers(0, 2), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(numbers(3, 2), (std::vector<uint64_t>{4, 5}));
  EXPECT_EQ(numbers(6, 100), (std::vector<uint64_t>{6}));
  EXPECT_TRUE(numbers(7, 100).empty());
  EXPECT_EQ(must(store->last_tick(run.id)), 6u);
  EXPECT_EQ(store->read_ticks("no run", 0, 1).error().code, ErrorCode::kUsage);
}

}  // namespace
}  // namespace topspin
