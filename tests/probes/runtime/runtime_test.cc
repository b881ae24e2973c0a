// Spans inside real runtimes, compared with the runtimes' own accounts: node's perf_hooks,
// CPython's gc.callbacks, the JVM's GarbageCollectorMXBean, Go's debug.ReadGCStats and
// runtime/metrics.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/clock.h"
#include "probes/runtime/numbers.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"
#include "tests/probes/runtime/runtime_subjects.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

using test::RuntimeSubject;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kMs = 1e6;  // nanoseconds

double of(std::optional<uint64_t> value) { return static_cast<double>(value.value_or(0)); }

class InsideRuntimes : public testing::Test {
 protected:
  void SetUp() override { SKIP_WITHOUT_BPF(); }

  std::string file(const std::string& name, const std::string& text) {
    test::write_text(dir_.file(name), text);
    return dir_.file(name);
  }

  /// Measures `command` while it works, and returns its own account of that.
  std::vector<double> watch(const std::vector<std::string>& command,
                            const std::string& runtime = "auto") {
    RuntimeSubject subject(command);
    EXPECT_TRUE(subject.is_ready());
    ProbeOptions options;
    options.runtime = runtime;
    auto opened = Probes::open(process_tree(subject.pid()), options);
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    if (!opened.ok()) return {};
    for (const ProbeStatus& status : (*opened)->status()) {
      if (status.name != "runtime") continue;
      EXPECT_EQ(status.rung, Rung::kTpBtf) << status.reason;
    }
    (void)(*opened)->take_interval();  // finds the runtime
    for (const std::string& event : (*opened)->take_events()) events_ += event + "\n";
    EXPECT_TRUE(subject.work());
    measured_ = (*opened)->take_interval().part<RuntimeInterval>().value();
    EXPECT_EQ(measured_.no_room, 0u);
    return subject.account();
  }

  test::TempDir dir_;
  std::string events_;
  RuntimeInterval measured_;
};

TEST_F(InsideRuntimes, NodesCollectionsAndTurns) {
  if (!test::is_installed("node")) GTEST_SKIP() << "node is not installed";
  const std::string script = file("subject.js", R"js(
const { PerformanceObserver, performance } = require('perf_hooks');
let collections = 0, ms = 0, elu;
new PerformanceObserver((list) => {
  for (const e of list.getEntries()) { collections++; ms += e.duration; }
}).observe({ entryTypes: ['gc'] });
let told = 0;
process.stdin.on('data', () => {
  if (told++ > 0) process.exit(0);
  elu = performance.eventLoopUtilization();
  collections = ms = 0;
  let rounds = 0;
  const timer = setInterval(() => {
    const keep = [];
    for (let i = 0; i < 100000; i++) keep.push({ i });
    gc();
    const end = performance.now() + 50;
    while (performance.now() < end) ;
    if (++rounds < 5) return;
    clearInterval(timer);
    setTimeout(() => {
      const active = performance.eventLoopUtilization(elu).active;
      process.stdout.write(`account ${collections} ${ms} ${active} .end\n`);
    }, 20);
  }, 5);
});
process.stdout.write('ready\n');
)js");
  const std::vector<double> account = watch({"node", "--expose-gc", script});
  ASSERT_EQ(account.size(), 3u);
  EXPECT_THAT(events_, HasSubstr("runtime node in "));
  // Debian's node has libuv and V8 in libraries without a symbol table.
  if (events_.find("nothing of it can be measured") != std::string::npos)
    GTEST_SKIP() << "this node has no symbols: " << events_.substr(0, 200);
  EXPECT_THAT(events_, HasSubstr("measures gc, loop_turn"));
  ASSERT_TRUE(measured_.gc && measured_.loop_turn);
  EXPECT_GE(account[0], 5);
  EXPECT_EQ(static_cast<double>(measured_.gc->count()), account[0]);
  // In node's account a collection begins a little later, and ends a little earlier.
  EXPECT_GE(static_cast<double>(measured_.gc->sum()), 0.5 * account[1] * kMs);
  EXPECT_LE(static_cast<double>(measured_.gc->sum()), 2 * account[1] * kMs + 10 * kMs);
  EXPECT_GE(measured_.loop_turn->max(), 50 * static_cast<uint64_t>(kNanosPerMilli));
  EXPECT_GE(measured_.loop_turn->count(), 5u);
  EXPECT_GE(static_cast<double>(measured_.loop_turn->sum()), 0.9 * account[2] * kMs);
  EXPECT_FALSE(measured_.lock_wait) << "node has no such lock: absent, and not 0";
  EXPECT_FALSE(measured_.task_wait);
  std::printf("gc: %llu of %.0f, %.3f ms of %.3f; turns: %llu, %.3f ms of %.3f, max %.3f\n",
              static_cast<unsigned long long>(measured_.gc->count()), account[0],
              static_cast<double>(measured_.gc->sum()) / kMs, account[1],
              static_cast<unsigned long long>(measured_.loop_turn->count()),
              static_cast<double>(measured_.loop_turn->sum()) / kMs, account[2],
              of(measured_.loop_turn->max()) / kMs);
}

constexpr const char* kPython = R"py(
import gc, sys, threading, time
gc.disable()
count, ns, begin = 0, 0, 0
def note(phase, info):
    global count, ns, begin
    if phase == "start":
        begin = time.perf_counter_ns()
    else:
        count, ns = count + 1, ns + time.perf_counter_ns() - begin
def spin(until):
    while time.monotonic() < until:
        sum(range(1000))
gc.callbacks.append(note)
print("ready", flush=True)
sys.stdin.readline()
for i in range(7):
    ring = [[] for _ in range(100000)]
    for one in ring: one.append(ring)
    del ring, one
    gc.collect()
count_now, ns_now = count, ns
until = time.monotonic() + 0.4
threads = [threading.Thread(target=spin, args=(until,)) for _ in range(2)]
for t in threads: t.start()
for t in threads: t.join()
print("account", count_now, ns_now, sys.getswitchinterval() * 1e9, ".end", flush=True)
sys.stdin.readline()
)py";

/// `sees_every_take`: all waits for the GIL are measured, also those of threads that another thread
/// forced to hand it over. Otherwise only those after a call that may block.
void check_python(const RuntimeInterval& measured, const std::vector<double>& account,
                  bool sees_every_take) {
  ASSERT_EQ(account.size(), 3u);
  ASSERT_TRUE(measured.gc && measured.lock_wait);
  EXPECT_EQ(account[0], 7);
  EXPECT_EQ(measured.gc->count(), 7u);
  EXPECT_LE(static_cast<double>(measured.gc->sum()), account[1]) << "its account is around ours";
  EXPECT_GE(static_cast<double>(measured.gc->sum()), 0.5 * account[1]);
  EXPECT_GT(measured.lock_wait->count(), 0u);
  // Two threads that compute: each waits for the whole switch interval, again and again.
  if (sees_every_take) {
    EXPECT_GE(of(measured.lock_wait->max()), account[2]);
  }
  std::printf("gc: %llu, %.3f ms of %.3f; GIL: %llu waits, %.3f ms, max %.3f ms\n",
              static_cast<unsigned long long>(measured.gc->count()),
              static_cast<double>(measured.gc->sum()) / kMs, account[1] / kMs,
              static_cast<unsigned long long>(measured.lock_wait->count()),
              static_cast<double>(measured.lock_wait->sum()) / kMs,
              of(measured.lock_wait->max()) / kMs);
}

TEST_F(InsideRuntimes, CpythonsCollectionsAndLockByUsdt) {
  const std::string python = "/usr/bin/python3";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "the system has no " << python;
  const std::vector<double> account = watch({python, file("subject.py", kPython)});
  if (events_.find("measures gc") == std::string::npos)
    GTEST_SKIP() << "this build has neither USDT nor symbols: " << events_;
  check_python(measured_, account, false);
}

TEST_F(InsideRuntimes, CpythonsCollectionsAndLockBySymbols) {
  // The first python3 of PATH, unless it is the system's. It is usually built without USDT.
  const std::string python =
      test::run({"python3", "-c", "import sys; print(sys.executable, end='')"}).out;
  if (python.empty() || std::filesystem::canonical(python).string().starts_with("/usr/bin/"))
    GTEST_SKIP() << "PATH has no python3 but the system's";
  const std::vector<double> account = watch({python, file("subject.py", kPython)});
  if (events_.find("measures gc, lock_wait") == std::string::npos)
    GTEST_SKIP() << "this build has neither USDT nor symbols: " << events_;
  check_python(measured_, account, true);
}

TEST_F(InsideRuntimes, TheJvmsCollectionsAndStops) {
  if (!test::is_installed("javac")) GTEST_SKIP() << "no JDK is installed (javac)";
  file("Subject.java", R"java(
import java.lang.management.*;
public class Subject {
  static long count() {
    long sum = 0;
    for (GarbageCollectorMXBean b : ManagementFactory.getGarbageCollectorMXBeans()) sum += b.getCollectionCount();
    return sum;
  }
  static long ms() {
    long sum = 0;
    for (GarbageCollectorMXBean b : ManagementFactory.getGarbageCollectorMXBeans()) sum += b.getCollectionTime();
    return sum;
  }
  public static void main(String[] a) throws Exception {
    long count = count(), ms = ms();
    System.out.print("ready\n"); System.out.flush();
    System.in.read();
    count = count(); ms = ms();
    Object[] keep = new Object[300000];
    for (int i = 0; i < keep.length; i++) keep[i] = new int[8];
    for (int i = 0; i < 6; i++) System.gc();
    System.out.print("account " + (count() - count) + " " + (ms() - ms) + " " + keep.length + " .end\n");
    System.out.flush();
    System.in.read();
  }
}
)java");
  ASSERT_EQ(test::run({"javac", "-d", dir_.path().string(), dir_.file("Subject.java")}).exit_code,
            0);
  for (const char* collector : {"-XX:+UseSerialGC", "-XX:+UseParallelGC", "-XX:+UseG1GC"}) {
    events_.clear();
    const std::vector<double> account =
        watch({"java", collector, "-Xmx256m", "-cp", dir_.path().string(), "Subject"});
    ASSERT_EQ(account.size(), 3u);
    if (events_.find("measures gc, stop") == std::string::npos)
      GTEST_SKIP() << "this JVM was built without USDT: " << events_;
    ASSERT_TRUE(measured_.gc && measured_.stop);
    EXPECT_GE(account[0], 6) << collector;
    // The parallel collector makes two collections, a young and a full one, in one pause.
    EXPECT_GE(measured_.gc->count(), 6u) << collector;
    EXPECT_LE(static_cast<double>(measured_.gc->count()), account[0]) << collector;
    if (collector != std::string("-XX:+UseParallelGC")) {
      EXPECT_EQ(static_cast<double>(measured_.gc->count()), account[0]) << collector;
    }
    EXPECT_GE(static_cast<double>(measured_.gc->sum()), 0.5 * account[1] * kMs) << collector;
    EXPECT_GE(measured_.stop->count(), 6u) << collector;
    EXPECT_GE(measured_.stop->sum(), measured_.gc->sum()) << "each collection is in a stop";
    std::printf("%s gc: %llu of %.0f, %.3f ms of %.0f; stops: %llu, %.3f ms\n", collector,
                static_cast<unsigned long long>(measured_.gc->count()), account[0],
                static_cast<double>(measured_.gc->sum()) / kMs, account[1],
                static_cast<unsigned long long>(measured_.stop->count()),
                static_cast<double>(measured_.stop->sum()) / kMs);
  }
}

constexpr const char* kGo = R"go(
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

func waits() (sum uint64) {
	s := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(s)
	for _, n := range s[0].Value.Float64Histogram().Counts {
		sum += n
	}
	return
}

func main() {
	in := bufio.NewReader(os.Stdin)
	fmt.Print("ready\n")
	in.ReadString('\n')
	var before, after debug.GCStats
	debug.ReadGCStats(&before)
	for i := 0; i < 8; i++ {
		runtime.GC()
	}
	debug.ReadGCStats(&after)
	first := waits()
	there, back := make(chan int), make(chan int)
	go func() {
		for range there {
			back <- 1
		}
	}()
	for i := 0; i < 20000; i++ {
		there <- 1
		<-back
	}
	fmt.Printf("account %d %d %d .end\n", after.NumGC-before.NumGC,
		int64(after.PauseTotal-before.PauseTotal), waits()-first)
	in.ReadString('\n')
}
)go";

class InsideGo : public InsideRuntimes {
 protected:
  std::string build(const std::string& flags) {
    const std::string source = file("main.go", kGo);
    const auto built =
        test::run({"sh", "-c",
                   "cd " + dir_.path().string() + " && GOCACHE=$PWD/cache GOFLAGS= " +
                       "GO111MODULE=off go build " + flags + " -o subject main.go"});
    EXPECT_EQ(built.exit_code, 0) << built.err;
    return dir_.file("subject");
  }
};

TEST_F(InsideGo, CyclesStopsAndWaitsOfGoroutines) {
  if (!test::is_installed("go")) GTEST_SKIP() << "go is not installed";
  const std::vector<double> account = watch({build("")}, "go,go-tasks");
  ASSERT_EQ(account.size(), 3u);
  EXPECT_THAT(events_, HasSubstr("measures gc_cycle, stop\n"));
  ASSERT_TRUE(measured_.gc_cycle && measured_.stop && measured_.task_wait);
  EXPECT_THAT(events_, HasSubstr("measures task_wait"));
  EXPECT_EQ(account[0], 8);
  EXPECT_EQ(measured_.gc_cycle->count(), 8u);
  EXPECT_GE(measured_.stop->count(), 16u) << "two in each cycle";
  EXPECT_LE(static_cast<double>(measured_.stop->sum()), account[1] + 1 * kMs)
      << "its account is around ours";
  // Go samples one goroutine in eight for its whole life, so its account may not include these two.
  EXPECT_GE(measured_.task_wait->count(), 40'000u);
  EXPECT_GE(static_cast<double>(measured_.task_wait->count()), account[2]);
  EXPECT_EQ(measured_.unfinished, 0u);
  std::printf("cycles: %llu; stops: %llu, %.3f ms of %.3f; waits: %llu (Go saw %.0f), %.3f ms\n",
              static_cast<unsigned long long>(measured_.gc_cycle->count()),
              static_cast<unsigned long long>(measured_.stop->count()),
              static_cast<double>(measured_.stop->sum()) / kMs, account[1] / kMs,
              static_cast<unsigned long long>(measured_.task_wait->count()), account[2],
              static_cast<double>(measured_.task_wait->sum()) / kMs);
}

TEST_F(InsideGo, WithoutSymbolsSaysWhatIsMissing) {
  if (!test::is_installed("go")) GTEST_SKIP() << "go is not installed";
  ASSERT_EQ(watch({build("-ldflags=-s")}, "go,go-tasks").size(), 3u);
  EXPECT_THAT(events_, HasSubstr("nothing of it can be measured"));
  EXPECT_THAT(events_, HasSubstr("task_wait (no runtime.casgstatus)"));
  EXPECT_FALSE(measured_.task_wait || measured_.stop || measured_.gc_cycle) << "absent, not 0";
}

TEST_F(InsideGo, AReturnIsRefused) {
  if (!test::is_installed("go")) GTEST_SKIP() << "go is not installed";
  const std::string own = file("own.toml",
                               "name = \"own\"\nobjects = [\"subject\"]\n[[span]]\n"
                               "kind = \"gc\"\nbegin = \"runtime.GC\"\n"
                               "end = \"return:runtime.GC\"\n");
  EXPECT_EQ(watch({build("")}, own).size(), 3u) << "it lives";
  EXPECT_THAT(events_, HasSubstr("runtime.GC (a Go program may not be probed at a return)"));
  EXPECT_FALSE(measured_.gc);
}

TEST_F(InsideRuntimes, OfOthersAreLeftOut) {
  const std::string python = "/usr/bin/python3";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "the system has no " << python;
  // Another process of the same program collects while the subject sleeps.
  const std::string script = file("subject.py", kPython);
  RuntimeSubject subject({python, script}), other({python, script});
  ASSERT_TRUE(subject.is_ready() && other.is_ready());
  ProbeOptions options;
  options.runtime = "cpython";
  auto opened = Probes::open(process_tree(subject.pid()), options);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  (void)(*opened)->take_interval();
  EXPECT_TRUE(other.work());
  const RuntimeInterval idle = (*opened)->take_interval().part<RuntimeInterval>().value();
  if (!idle.gc) GTEST_SKIP() << "this build has neither USDT nor symbols";
  EXPECT_EQ(idle.gc->count(), 0u);
  EXPECT_EQ(idle.lock_wait->count(), 0u);
  EXPECT_TRUE(subject.work());
  EXPECT_EQ((*opened)->take_interval().part<RuntimeInterval>()->gc->count(), 7u);
}

TEST_F(InsideRuntimes, AUsersOwnFileDescribesAnother) {
  const std::string python = "/usr/bin/python3";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "the system has no " << python;
  const std::string own = file("own.toml",
                               "name = \"own\"\nobjects = [\"python3*\"]\n[[span]]\n"
                               "kind = \"stop\"\nbegin = \"PyGC_Collect\"\n"
                               "end = \"PyErr_SetInterrupt\"\n");
  (void)watch({python, file("subject.py", kPython)}, own);
  EXPECT_THAT(events_, HasSubstr("runtime own in "));
  EXPECT_TRUE(measured_.stop) << events_;
}

TEST(Runtime, IsMeasuredOnRequest) {
  SKIP_WITHOUT_BPF();
  ForkedSubject subject([] {});
  auto probes = Probes::open(process_tree(subject.pid()), {});
  ASSERT_TRUE(probes.ok()) << probes.error().message;
  for (const ProbeStatus& status : (*probes)->status()) {
    if (status.name != "runtime") continue;
    EXPECT_EQ(status.reason, "not asked for: --runtime auto");
  }
  EXPECT_FALSE((*probes)->take_interval().part<RuntimeInterval>());
}

TEST(Runtime, DoctorSeesAFunctionOfItsOwn) {
  SKIP_WITHOUT_BPF();
  size_t rungs = 0;
  for (const RungReport& report : examine_probes()) {
    if (report.probe != "runtime") continue;
    ++rungs;
    EXPECT_TRUE(report.works) << report.reason;
  }
  EXPECT_EQ(rungs, 1u);
}

}  // namespace
}  // namespace topspin
