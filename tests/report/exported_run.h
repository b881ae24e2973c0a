// Shared by the tests of exports: a stored run full of hostile text, and readers of other programs.
#pragma once

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/base/clock.h"
#include "store/run_store.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {

/// Text that has a special meaning to spreadsheets, terminals, XML, JSON, Prometheus and GitHub.
inline std::string hostile(const std::string& start = "") {
  using namespace std::string_literals;
  return start +
         "=1+1\"',;\r\n::error::x%0A]]>&<b>{}\\\t\x1b[31m\xff\xe2\x80\xae\xef\xbf\xbe\0end"s;
}

inline constexpr int64_t kStart = 1'790'000'000 * kNanosPerSecond;

inline FlowRow make_flow(uint64_t id, uint8_t ip_version) {
  FlowRow flow;
  flow.id = id;
  flow.key.ip_version = ip_version;
  flow.key.protocol = id % 2 == 0 ? kProtocolUdp : kProtocolTcp;
  flow.key.low = {{127, 0, 0, 1}, 8888};
  flow.key.high = {{127, 0, 0, 2}, static_cast<uint16_t>(10'000 + id % 50'000)};
  if (ip_version == 6) {
    flow.key.low.address = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    flow.key.high.address = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
  }
  flow.initiator_is_low = false;
  flow.ended = id % 3 == 0;
  flow.first_ns = kStart + 100'000'000 + static_cast<int64_t>(id);
  flow.last_ns = kStart + 1'900'000'000;
  flow.packets = {10 + id, 5 + id};
  flow.bytes = {1000 + id, 500 + id};
  flow.period_ns = kNanosPerSecond;
  flow.lateness_last_ns = id == 1 ? 300'000'000 : -5;
  flow.lateness_max_ns = 300'000'000;
  flow.replies = 5;
  flow.owners = {1, std::nullopt};
  return flow;
}

/// A load of one stage with 100 messages, of which 98 are answered within 1 to 98 us.
inline LoadResult hostile_load() {
  LoadResult load;
  load.target = hostile("=");
  load.planned = 100;
  load.errors[hostile("@errno")] = 1;
  load.http = HttpAccounts{{{200, 98}}, 4096, 0, {}, {}, {}, 0, 0};
  load.http->checks[hostile("-check")] = 1;
  load.http->failures[hostile("=failure")] = 1;
  load.invalid_reasons = {hostile("-late")};
  load.total.accounts.scheduled = 100;
  load.total.accounts.replied = 98;
  load.total.accounts.lost = 2;
  load.total.end_ns = kNanosPerSecond;
  for (uint64_t i = 1; i <= 98; ++i) load.total.latency_intended.record(i * 1000);
  load.stages = {load.total};
  load.stages[0].name = hostile("+stage");
  return load;
}

/// Stores a run with two ticks, `flows` flows (every fourth is IPv6), one row of most other kinds,
/// and a load. Returns its id.
inline std::string store_hostile_run(const std::string& db, uint64_t flows = 4,
                                     const std::string& link_type = "RAW") {
  RunInfo info;
  info.id = make_run_id(kStart);
  info.started_wall_ns = kStart;
  info.started_monotonic_ns = 5'000'000'000;
  info.topspin_version = "0.1.0";
  info.labels = {{hostile("key"), hostile()}, {"side", "a"}};
  info.command = {"sh", "-c", hostile("-")};
  info.host.hostname = hostile("@");
  info.source.branch = hostile("branch");
  info.source.commit = std::string(40, 'a');
  info.settings.link_type = link_type;
  info.settings.window_ns = info.settings.interval_ns = kNanosPerSecond;
  info.settings.stack_samples_per_second = 99;
  info.probes = {{"scheduler", Rung::kProc, hostile("reason")}};
  auto writer = RunWriter::create(db, info, {});
  EXPECT_TRUE(writer.ok()) << (writer.ok() ? "" : writer.error().message);
  for (uint64_t tick = 1; tick <= 2; ++tick) {
    Sample sample;
    sample.tick = tick;
    sample.interval_ns = kNanosPerSecond;
    sample.elapsed_ns = static_cast<int64_t>(tick) * kNanosPerSecond;
    sample.monotonic_ns = info.started_monotonic_ns + sample.elapsed_ns;
    sample.flows.begin_ns = kStart + sample.elapsed_ns - kNanosPerSecond;
    sample.flows.end_ns = kStart + sample.elapsed_ns;
    sample.flows.active_flows = 3 + tick;
    sample.flows.active_flows_max = 7;
    sample.flows.packets = 100 * tick;
    sample.flows.initiator_packets = 60 * tick;
    for (int i = 1; i <= 1000; ++i) {
      sample.flows.reply_latency.record(static_cast<uint64_t>(i) * 1000);
      sample.flows.lateness.record((i - 500) * 1'000'000);
    }
    sample.scheduler.emplace();
    sample.scheduler->cpu_ns = 250'000'000;
    sample.scheduler->voluntary_switches = 11;
    sample.scheduler->cpus.resize(1);
    sample.scheduler->cpus[0] = {.cpu = 3, .switches = 20, .waits = 5, .wait_ns = 600};
    sample.counters.instructions = EventCount{1000 * tick, 100, 50};
    sample.resources.emplace();
    sample.resources->rss_bytes = 10'000'000 + static_cast<int64_t>(tick);
    if (tick == 1) {
      for (uint64_t id = 1; id <= flows; ++id)
        sample.changed_flows.push_back(make_flow(id, id % 4 == 0 ? 6 : 4));
      ThreadRow thread;
      thread.pid = 42;
      thread.tid = 43;
      thread.name = hostile("+");
      thread.cpu_ns = 9;
      thread.on_cpu.emplace();
      for (uint64_t slice_ns : {2'000, 3'000, 90'000}) thread.on_cpu->record(slice_ns);
      sample.changed_threads.push_back(thread);
      StackRow stack;
      stack.number = 1;
      stack.thread = hostile("st");
      stack.frames = "main;" + hostile("frame") + ";leaf";
      stack.samples = 17;
      sample.changed_stacks.push_back(stack);
      SleepStackRow sleep;
      sleep.number = 1;
      sleep.thread = hostile("sl");
      sleep.frames = "main;" + hostile("nap");
      sleep.reason = BlockedBy::kFutex;
      sleep.woken_by = hostile("=waker");
      sleep.sleeps = 3;
      sleep.slept_ns = 60'000'000;
      sample.changed_sleep_stacks.push_back(sleep);
      BusyStretch stretch;
      stretch.tick = 1;
      stretch.pid = 42;
      stretch.tid = 43;
      stretch.thread = hostile("=busy");
      stretch.began_ns = info.started_monotonic_ns + 500'000'000;
      stretch.length_ns = 80'000'000;
      stretch.cpu_ns = 79'000'000;
      stretch.samples = 8;
      stretch.stacks = {{1, 7}, {0, 1}};
      sample.long_stretches.push_back(stretch);
      CalledRow called;
      called.number = 1;
      called.protocol = kProtocolTcp;
      called.address = {{127, 0, 0, 1}, 5432};
      called.requests = 4;
      called.refused = 1;
      called.latency.record_n(70'000, 4);
      sample.changed_called.push_back(called);
      SlowReply slow;
      slow.tick = 1;
      slow.protocol = kProtocolTcp;
      slow.local = {{127, 0, 0, 1}, 8080};
      slow.remote = {{127, 0, 0, 1}, 40'000};
      slow.reader_tid = 7;
      slow.sender_tid = 8;
      slow.sender = hostile("=sender");
      slow.ready_ns = info.started_monotonic_ns + 1'000'000'000;
      slow.total_ns = 9'000'000;
      slow.parts[static_cast<size_t>(ReplyPart::kUnreadBusy)] = 2'000'000;
      slow.parts[static_cast<size_t>(ReplyPart::kOnCpu)] = 1'000'000;
      slow.parts[static_cast<size_t>(ReplyPart::kFutex)] = 6'000'000;
      sample.slowest_replies.push_back(slow);
      SyscallRow syscall;
      syscall.number = 1;
      syscall.name = hostile("@call");
      syscall.count = 3;
      syscall.latency.record(5000);
      sample.changed_syscalls.push_back(syscall);
      CpuHolderRow holder;
      holder.number = 1;
      holder.name = hostile("-hog");
      holder.cgroup = "/" + hostile("group");
      holder.pid = 4711;
      holder.processes = 1;
      holder.held_ns = 12'000'000;
      sample.changed_cpu_holders.push_back(holder);
      FlowOwner owner;
      owner.number = 1;
      owner.pid = 42;
      owner.name = hostile("\t");
      sample.changed_owners.push_back(owner);
    }
    EXPECT_TRUE((*writer)->append(sample).ok());
  }
  EXPECT_TRUE((*writer)->put_load(hostile_load()).ok());
  EXPECT_TRUE((*writer)->add_event(1'500'000'000, hostile("event")).ok());
  RunEnd end;
  end.duration_ns = 2 * kNanosPerSecond;
  EXPECT_TRUE((*writer)->finish(end).ok());
  return info.id;
}

/// Runs a Python program on a file, and parses the JSON that it prints.
inline nlohmann::json python(const std::string& program, const std::string& file) {
  const Outcome run = test::run({"python3", "-c", program, file});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return run.exit_code == 0 ? nlohmann::json::parse(run.out) : nlohmann::json();
}

inline bool has_program(const std::string& name) {
  return test::run({"sh", "-c", "command -v " + name}).exit_code == 0;
}

/// A Python that has the module; empty if there is none. PATH may have another one than Debian's.
inline std::string python_with(const std::string& module) {
  for (const char* python : {"python3", "/usr/bin/python3"}) {
    if (test::run({python, "-c", "import " + module}).exit_code == 0) return python;
  }
  return "";
}

#define TOPSPIN_NEEDS_PROGRAM(name, package) \
  if (!has_program(name)) GTEST_SKIP() << name << " is not installed (package " package ")"

}  // namespace topspin::test
