// `topspin record` as a user runs it: live capture on lo, BPF, real runtimes, signals, privileges.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sqlite3.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include "store/sqlite/sqlite.h"
#include "tests/app/recording/recording_fixture.h"
#include "tests/support/datagram_sender.h"
#include "tests/support/own_network.h"
#include "tests/support/pcap_writer.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/udp_swarm.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;

const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new OwnNetwork);

class Record : public RecordingFixture {};

/// The names that programs rely on, in a run whose scheduler probe was on its top rung.
void expect_scheduler_names(const Json& json) {
  const auto is_histogram = [](const Json& value) {
    for (const char* name : {"count", "sum", "p50", "p99", "max"}) {
      if (!value.contains(name)) return false;
    }
    return value["count"].is_number();
  };
  const Json& scheduler = json["summary"]["scheduler"];
  for (const char* name : {"wake_delivery_ns", "queue_wait_ns", "preemption_wait_ns", "on_cpu_ns",
                           "timer_oversleep_ns"})
    EXPECT_TRUE(is_histogram(scheduler[name])) << name << ": " << scheduler[name];
  EXPECT_GT(scheduler["queue_wait_ns"]["count"], 100);
  EXPECT_GE(scheduler["on_cpu_ns"]["count"], scheduler["queue_wait_ns"]["count"]);
  EXPECT_TRUE(scheduler["migrations"].is_number());
  for (const char* kind : {"same_process", "same_cgroup", "other", "kernel_thread", "nobody"})
    EXPECT_TRUE(scheduler["preempted_by"].contains(kind)) << kind;
  for (const Json& thread : json["threads"]) {
    EXPECT_TRUE(thread["tid"].is_number() && thread["name"].is_string()) << thread;
    EXPECT_TRUE(is_histogram(thread["run_queue_wait_ns"])) << thread;
    EXPECT_TRUE(is_histogram(thread["on_cpu_ns"])) << thread;
  }
}

TEST_F(Record, CountsActiveFlowsExactlyAndNoneAfterTheyStop) {
  constexpr int kClients = 200;
  UdpSwarm swarm(kClients);
  ASSERT_TRUE(swarm.ok());
  Process recording(record({"--period", "250ms", "udp", "port", std::to_string(swarm.port())}));
  ASSERT_TRUE(recording.wait_for("active"));  // in the header, which comes with the first tick
  swarm.ping_for(std::chrono::milliseconds(4500));
  std::this_thread::sleep_for(std::chrono::milliseconds(2300));  // the window, a tick, and a margin
  recording.send(SIGINT);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 130) << end.err;
  const Json json = report();
  EXPECT_EQ(json["run"]["status"], "complete");
  EXPECT_EQ(json["summary"]["active_flows"]["max"], kClients);
  EXPECT_EQ(json["summary"]["active_flows"]["last"], 0);
  EXPECT_EQ(json["summary"]["flows"], kClients);
  EXPECT_EQ(json["summary"]["packets"], 2 * swarm.sent());  // once each: lo is not counted twice
  int full = 0;
  for (const Json& tick : json["ticks"]) full += tick["active_flows"] == kClients;
  EXPECT_GE(full, 3);
  EXPECT_EQ(json["losses"]["capture_kernel_drops"], 0);
}

TEST_F(Record, StoresWhatItsTicksAddUpTo) {
  UdpSwarm swarm(5);
  ASSERT_TRUE(swarm.ok());
  Process recording(record({"--interval", "100ms", "udp", "port", std::to_string(swarm.port())}));
  ASSERT_TRUE(recording.wait_for("active"));
  swarm.ping_for(std::chrono::milliseconds(500));
  recording.send(SIGINT);
  const Outcome end = recording.finish();
  ASSERT_EQ(end.exit_code, 130) << end.err;
  const auto connection = Connection::open(db(), Access::kRead);
  ASSERT_TRUE(connection.ok());
  auto equal = (*connection)
                   ->prepare(
                       "SELECT (SELECT count(*) FROM total), (SELECT ticks FROM total WHERE "
                       "statistic = 'merged') -"
                       " (SELECT count(*) FROM tick), (SELECT packets FROM total WHERE statistic = "
                       "'merged') -"
                       " (SELECT sum(packets) FROM tick)");
  ASSERT_TRUE(equal.ok());
  ASSERT_TRUE(equal->step().ok());
  EXPECT_EQ(equal->int_at(0), 2) << "merged and greatest";
  EXPECT_EQ(equal->int_at(1), 0);
  EXPECT_EQ(equal->int_at(2), 0);
}

TEST_F(Record, StartsWhereItsTicksCountFrom) {
  Process recording(record({"--interval", "100ms", "--duration", "1s", "udp", "dst", "port", "9"}));
  ASSERT_TRUE(recording.wait_for("active"));
  const DatagramSender sender(9);
  // The last packet that it counts comes close to its end.
  std::jthread traffic([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      (void)sender.send("x");
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  });
  ASSERT_EQ(recording.finish().exit_code, 0);
  traffic.request_stop();
  const auto connection = Connection::open(db(), Access::kRead);
  ASSERT_TRUE(connection.ok());
  auto row = (*connection)
                 ->prepare(
                     "SELECT max(last_ns) - started_monotonic_ns, duration_ns,"
                     " min(first_ns) - started_monotonic_ns FROM flow JOIN run USING (run)");
  ASSERT_TRUE(row.ok()) << row.error().message;
  ASSERT_TRUE(row->step().ok());
  EXPECT_LT(row->int_at(0), row->int_at(1)) << "the last packet came before the end";
  EXPECT_GE(row->int_at(2), 0);
}

TEST_F(Record, EndsWhatTheCommandStartedTooWhenItEndsTheCommand) {
  // On SIGTERM the shell ends at once. Its child ignores the signal and holds the pipe.
  Process recording(record({"udp", "port", "9", "--", "sh", "-c",
                            "trap 'exit 0' TERM; (trap '' TERM; echo child; exec sleep 1000) & "
                            "wait"}));
  ASSERT_TRUE(recording.wait_for("child"));
  ASSERT_TRUE(recording.wait_for("active"));
  recording.send(SIGTERM);
  // The output ends only when nobody holds the pipe.
  const Outcome end = recording.finish(std::chrono::seconds(300));
  EXPECT_EQ(end.exit_code, 143) << end.err;
  EXPECT_EQ(end.err.find("[test: killed"), std::string::npos);
}

TEST_F(Record, SaysSoWhenTheMemorySharedWithReadersIsTruncated) {
  Process recording(record({"--interval", "100ms", "udp", "port", "9"}));
  ASSERT_TRUE(recording.wait_for("active"));
  ASSERT_EQ(truncate((db() + "-shm").c_str(), 0), 0);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 5) << end.err;
  EXPECT_NE(end.err.find("-shm was truncated"), std::string::npos) << end.err;
  EXPECT_EQ(topspin({"list", "--db", db()}).exit_code, 0);
}

TEST_F(Record, NamesTheOwnersOfBothEnds) {
  UdpSwarm swarm(20);
  ASSERT_TRUE(swarm.ok());
  for (const char* rung : {"tp_btf", "proc"}) {
    Process recording(record(
        {"--probe", std::string("owners=") + rung, "udp", "port", std::to_string(swarm.port())}));
    ASSERT_TRUE(recording.wait_for("active"));
    swarm.ping_for(std::chrono::milliseconds(2500));
    recording.send(SIGINT);
    const Outcome end = recording.finish();
    EXPECT_EQ(end.exit_code, 130) << end.err;
    const Json json = report();
    const auto probe = std::find_if(json["probes"].begin(), json["probes"].end(),
                                    [](const Json& p) { return p["name"] == "owners"; });
    ASSERT_NE(probe, json["probes"].end());
    if ((*probe)["rung"] == "none") TOPSPIN_SKIP((*probe)["reason"].get<std::string>());
    ASSERT_EQ(json["busiest_flows"].size(), 8u);
    for (const Json& flow : json["busiest_flows"]) {
      for (const char* end_of_flow : {"initiator_owner", "responder_owner"}) {
        ASSERT_TRUE(flow[end_of_flow].is_object()) << rung << flow;
        EXPECT_EQ(flow[end_of_flow]["pid"], getpid());
        EXPECT_EQ(flow[end_of_flow]["quality"], "snapshot");
      }
    }
    const Outcome text = topspin({"report", "last", "--db", db()});
    const std::string name = json["busiest_flows"][0]["initiator_owner"]["name"];
    const std::string both = name + " " + std::to_string(getpid());
    EXPECT_NE(text.out.find(both + " > " + both), std::string::npos) << text.out;
  }
}

TEST_F(Record, WatchesARealRuntime) {
  const std::string pingpong = std::string(TOPSPIN_SOURCE_DIR) + "/bench/subjects/pingpong";
  const char* runtime = nullptr;
  for (const auto& [name, program] : {std::pair{"node", "node"}, {"python", "python3"}}) {
    if (test::run({"sh", "-c", std::string("command -v ") + program}).exit_code == 0) {
      runtime = name;
      break;
    }
  }
  if (runtime == nullptr) TOPSPIN_SKIP("neither Node nor Python is installed");
  const std::string port = std::to_string(20'000 + getpid() % 10'000);
  const Outcome run = test::run(record({"--period", "1s", "--label", "who=test", "udp", "port",
                                        port, "--", pingpong, runtime, port, "100", "5"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("swarm: 100 clients"), std::string::npos);  // the command's output
  const Json json = report();
  const Json& summary = json["summary"];
  EXPECT_TRUE(json["run"]["valid"]) << json["run"]["invalid_reasons"];
  EXPECT_EQ(json["run"]["exit_status"], 0);
  EXPECT_EQ(json["run"]["labels"]["who"], "test");
  EXPECT_EQ(summary["active_flows"]["max"], 100);
  EXPECT_EQ(summary["flows"], 100);
  EXPECT_GE(summary["lateness_ns"]["count"].get<int>(), 200);
  EXPECT_GE(summary["reply_latency_ns"]["count"].get<int>(), 300);
  EXPECT_GT(summary["cpu_ns"].get<int64_t>(), 0);
  EXPECT_GT(summary["context_switches"]["voluntary"].get<int64_t>(), 0);
  EXPECT_GT(summary["rss_bytes"]["max"].get<int64_t>(), 1 << 20);
  EXPECT_GE(summary["processes"]["max"].get<int64_t>(), 3);  // the shell, the server, the swarm
  EXPECT_GE(summary["fds"]["max"].get<int64_t>(), 100);
  EXPECT_GE(json["threads"].size(), 3u);
  EXPECT_GE(json["ticks"].size(), 5u);
  bool scheduler = false;
  for (const Json& probe : json["probes"]) {
    if (probe["name"] == "scheduler") scheduler = probe["rung"] != "none";
    if (probe["name"] == "scheduler" && probe["rung"] == "tp_btf") {
      EXPECT_GT(summary["run_queue_latency_ns"]["count"].get<int64_t>(), 100);
      expect_scheduler_names(json);
    }
  }
  EXPECT_TRUE(scheduler);
  for (const char* name : {"rss_bytes", "vsz_bytes", "mappings", "fds"})
    EXPECT_TRUE(summary["per_flow"].contains(name)) << name;
  ASSERT_FALSE(summary["headroom"].empty());
  EXPECT_TRUE(summary["headroom"][0]["limit"].is_string());
  EXPECT_GT(summary["headroom"][0]["flows"].get<int64_t>(), 100);
  EXPECT_TRUE(summary["leak"]["verdict"].is_string());
  EXPECT_TRUE(summary["leak"]["metrics"].is_array());
  for (const char* name : {"cpu_ns", "rss_bytes", "bpf_ns"})
    EXPECT_TRUE(json["self"].contains(name)) << name;
}

TEST_F(Record, EachFlowHasARowThoughTheyAllCameInTheLastTick) {
  const Outcome run = test::run(
      record({"-q", "udp", "and", "dst", "portrange", "20000-49999", "--", "python3", "-c",
              "import socket\n"
              "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              "for port in range(20000, 50000):\n"
              "  try: s.sendto(b'x', ('127.0.0.1', port))\n"
              "  except ConnectionRefusedError: s.sendto(b'x', ('127.0.0.1', port))\n"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = report();
  EXPECT_EQ(json["summary"]["flows"], 30'000);
  EXPECT_EQ(json["losses"]["flow_rows_unstored"], 0);
  const Outcome rows =
      topspin({"export", "last", "--db", db(), "--format", "csv", "--table", "flows"});
  EXPECT_EQ(std::count(rows.out.begin(), rows.out.end(), '\n'), 30'001);
}

TEST_F(Record, SocketsAndSystemCallsAreInTheReport) {
  const Outcome run = test::run(
      record({"-q", "--syscalls", "--", "sh", "-c", "for i in 1 2 3 4 5; do cat /dev/null; done"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = report();
  for (const Json& probe : json["probes"]) {
    if (probe["name"] == "syscalls" && probe["rung"] == "none")
      TOPSPIN_SKIP(probe["reason"].get<std::string>());
  }
  std::map<std::string, Json> calls;
  for (const Json& call : json["syscalls"]) calls[call["name"]] = call;
  EXPECT_GE(calls["execve"]["count"].get<int>(), 6);  // the shell, and cat five times
  EXPECT_GT(calls["wait4"]["blocked_ns"].get<int64_t>(), 0);
  EXPECT_EQ(calls["close"]["latency_ns"]["count"], calls["close"]["count"]);
  EXPECT_TRUE(calls["close"].contains("errors"));
  const Json& sockets = json["summary"]["sockets"];
  EXPECT_EQ(sockets["udp_drops"], 0);
  EXPECT_EQ(sockets["listen_overflows"], 0);
  EXPECT_EQ(sockets["accept_queue_max"], nullptr);  // it listens nowhere
  EXPECT_EQ(sockets["accept_queue_limit"], nullptr);
  EXPECT_EQ(sockets["accept_delay_ns"]["count"], 0);
  for (const char* part : {"socket", "cpu_queue", "runtime"})
    EXPECT_EQ(json["summary"]["reply_split_ns"][part]["count"], 0) << part;
  const Outcome text = topspin({"report", "last", "--db", db()});
  EXPECT_NE(text.out.find("execve"), std::string::npos) << text.out;
}

/// The server reads by splice: the capture sees each of its replies, and the probes see none. The
/// run itself finds that the split is doubtful.
TEST_F(Record, ASplitThatDoesNotAgreeWithTheWireIsDoubted) {
  std::ofstream(dir_.file("server.py"))
      << "import os, socket, sys, time\n"
         "if not hasattr(os, 'splice'): sys.exit(77)\n"
         "listener = socket.create_server(('127.0.0.1', int(sys.argv[2])))\n"
         "if os.fork() == 0:\n"
         "  for _ in range(3):\n"
         "    with socket.create_connection(listener.getsockname()) as client:\n"
         "      for _ in range(20):\n"
         "        time.sleep(0.005)\n"
         "        client.sendall(b'x')\n"
         "        client.recv(1)\n"
         "  os._exit(0)\n"
         "into, out = os.pipe()\n"
         "time.sleep(0.5)\n"  // so that a tick finds the listener
         "for _ in range(3):\n"
         "  server, _ = listener.accept()\n"
         "  for _ in range(20):\n"
         "    if sys.argv[1] == 'splice':\n"
         "      os.splice(server.fileno(), out, 1)\n"
         "      os.read(into, 1)\n"
         "    else: server.recv(1)\n"
         "    server.sendall(b'y')\n"
         "  server.close()\n";
  // A free port, so that no other replies are captured.
  const Outcome port = test::run({"python3", "-c",
                                  "import socket\n"
                                  "print(socket.create_server(('127.0.0.1', 0)).getsockname()[1],"
                                  " end='')"});
  ASSERT_EQ(port.exit_code, 0) << port.err;
  const auto doubts_of_server = [&](const char* way) {
    const Outcome run = test::run(record({"-q", "--interval", "200ms", "tcp", "port", port.out,
                                          "--", "python3", dir_.file("server.py"), way, port.out}));
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open(db().c_str(), &database), SQLITE_OK);
    std::vector<std::string> doubts;
    EXPECT_EQ(sqlite3_exec(
                  database, "SELECT doubt FROM doubt WHERE run = (SELECT max(run) FROM run)",
                  [](void* into, int, char** values, char**) {
                    static_cast<std::vector<std::string>*>(into)->emplace_back(values[0]);
                    return 0;
                  },
                  &doubts, nullptr),
              SQLITE_OK);
    sqlite3_close(database);
    return std::pair{run.exit_code, doubts};
  };
  const auto [exit_code, none] = doubts_of_server("recv");
  if (exit_code == 77) TOPSPIN_SKIP("this python3 has no os.splice");
  ASSERT_EQ(exit_code, 0);
  if (report()["summary"]["reply_split_ns"]["runtime"].is_null())
    TOPSPIN_SKIP("no probe of replies on this host");
  EXPECT_EQ(none, std::vector<std::string>{});
  const auto [status, doubts] = doubts_of_server("splice");
  EXPECT_EQ(status, 0);
  ASSERT_EQ(doubts.size(), 1u);
  EXPECT_EQ(doubts[0], "the split of replies has 0 of the 60 that the wire saw (0%)");
}

TEST_F(Record, AFallBackRungSaysThatItSeesOnlyPartOfWhatItDidNotStart) {
  Process idle({"sleep", "60"});
  const Outcome run =
      test::run(record({"--probe", "scheduler=proc", "--interval", "200ms", "--duration", "1s",
                        "--pid", std::to_string(idle.pid()), "udp", "port", "9"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const Json json = report();
  EXPECT_EQ(json["run"]["usable"], true);
  EXPECT_EQ(json["run"]["may_be_judged"], false);
  ASSERT_EQ(json["run"]["doubts"].size(), 1u) << json["run"]["doubts"];
  EXPECT_NE(json["run"]["doubts"][0].get<std::string>().find("watched by proc"), std::string::npos);
}

TEST_F(Record, FollowsAProcessThatRunsAlreadyUntilItEnds) {
  Process busy({"sh", "-c", "sh -c 'while :; do :; done'; exit 0"}, [] { setpgid(0, 0); });
  Process recording(record({"--interval", "500ms", "--pid", std::to_string(busy.pid())}));
  // Wait for some ticks, in which the inner shell, a child of the recorded process, uses CPU.
  ASSERT_TRUE(recording.wait_for("2.0s", std::chrono::seconds(60)));
  kill(-busy.pid(), SIGKILL);
  busy.finish();
  const Outcome run = recording.finish();
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const Json json = report();
  EXPECT_GT(json["summary"]["cpu_ns"].get<int64_t>(), 0);  // of its child
  EXPECT_EQ(json["run"]["status"], "complete");
  EXPECT_EQ(json["run"]["exit_status"], nullptr);
}

/// CPU time and run-queue wait of the only thread of a process, by its own account.
std::pair<int64_t, int64_t> schedstat_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/schedstat");
  int64_t cpu_ns = 0, wait_ns = 0;
  file >> cpu_ns >> wait_ns;
  return {cpu_ns, wait_ns};
}

TEST_F(Record, WhatTheProbesCountedBeforeTheRunBeganIsNotInIt) {
  Process busy({"sh", "-c", "while :; do :; done"});
  while (schedstat_of(busy.pid()).first < 1'000'000'000) usleep(20'000);  // long before the run
  for (const char* rung : {"tp_btf", "raw_tp", "proc"}) {
    const auto before = schedstat_of(busy.pid());
    const Outcome run = test::run(
        record({"-q", "--interval", "250ms", "--duration", "1s", "--pid",
                std::to_string(busy.pid()), "--probe", std::string("scheduler=") + rung}));
    const auto after = schedstat_of(busy.pid());
    ASSERT_TRUE(run.exit_code == 0 || run.exit_code == 3) << run.err;  // 3: late ticks
    const Json json = report();
    const auto probe = std::find_if(json["probes"].begin(), json["probes"].end(),
                                    [](const Json& p) { return p["name"] == "scheduler"; });
    ASSERT_NE(probe, json["probes"].end());
    if ((*probe)["rung"] != rung) continue;
    const auto all_ns = json["summary"]["cpu_ns"].get<int64_t>();
    EXPECT_GT(all_ns, 0) << rung;
    EXPECT_LE(all_ns, after.first - before.first) << rung;
    int64_t of_threads_ns = 0;
    for (const Json& thread : json["threads"]) of_threads_ns += thread["cpu_ns"].get<int64_t>();
    if (std::string(rung) != "proc") {
      EXPECT_LE(of_threads_ns, after.first - before.first) << rung;
    }
    // A thread cannot use more CPU time than has passed since the run began. The bound is not
    // exact: the kernel's clocks differ slightly, and it updates the account of a running thread at
    // ticks of its CPU. If a hypervisor holds that CPU, time of one reading appears in the next.
    int64_t cpu_ns = 0;
    for (const Json& tick : json["ticks"]) {
      cpu_ns += tick["cpu_ns"].is_number() ? tick["cpu_ns"].get<int64_t>() : 0;
      const auto elapsed_ns = tick["elapsed_ns"].get<int64_t>();
      EXPECT_LE(cpu_ns, elapsed_ns + elapsed_ns / 20 + 5'000'000) << rung << tick;
    }
  }
}

TEST_F(Record, AStandstillIsOneLongIntervalAndSaysSo) {
  UdpSwarm swarm(20);
  ASSERT_TRUE(swarm.ok());
  Process recording(record({"--interval", "200ms", "udp", "port", std::to_string(swarm.port())}));
  ASSERT_TRUE(recording.wait_for("active"));
  std::atomic<bool> over{false};
  std::thread sender([&] {
    while (!over) swarm.ping_for(std::chrono::milliseconds(300));
  });
  ASSERT_TRUE(recording.wait_for("1.0s"));
  recording.send(SIGSTOP);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // the standstill itself
  recording.send(SIGCONT);
  const bool told = recording.wait_for("topspin was stopped for at least");
  over = true;
  sender.join();
  recording.send(SIGINT);
  const Outcome end = recording.finish();
  EXPECT_TRUE(told) << end.err;
  const Json json = report();
  // Nothing of the standstill is missing, except replies that came after the end.
  if (json["losses"]["capture_kernel_drops"] == 0) {
    EXPECT_LE(json["summary"]["packets"], 2 * swarm.sent());
    EXPECT_GE(json["summary"]["packets"], 2 * swarm.sent() - 20);
  }
  int64_t longest_ns = 0;
  for (const Json& tick : json["ticks"])
    longest_ns = std::max(longest_ns, tick["interval_ns"].get<int64_t>());
  EXPECT_GE(longest_ns, 1'400'000'000);
  // One interval instead of the seven that were due in the meantime.
  EXPECT_LE(json["ticks"].size(), json["run"]["duration_ns"].get<uint64_t>() / 200'000'000 - 4);
}

TEST_F(Record, ADurationOfWholeIntervalsLosesNoRows) {
  const Outcome run =
      test::run(record({"-q", "--interval", "4s", "--duration", "4s", "udp", "and", "dst",
                        "portrange", "20000-49999", "--", "python3", "-c",
                        "import socket, time\n"
                        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                        "for port in range(20000, 50000):\n"
                        "  try: s.sendto(b'x', ('127.0.0.1', port))\n"
                        "  except ConnectionRefusedError: s.sendto(b'x', ('127.0.0.1', port))\n"
                        "time.sleep(60)\n"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = report();
  EXPECT_EQ(json["ticks"].size(), 1u);
  const Outcome rows =
      topspin({"export", "last", "--db", db(), "--format", "csv", "--table", "flows"});
  // Each flow has its row, or is counted as a flow without one.
  EXPECT_EQ(static_cast<int64_t>(std::count(rows.out.begin(), rows.out.end(), '\n')) - 1 +
                json["losses"]["flow_rows_unstored"].get<int64_t>(),
            json["summary"]["flows"].get<int64_t>());
}

/// A recording whose standard error cannot be written, and whose command ends by itself.
class RecordWithoutError : public Record {
 protected:
  void expect_it_goes_on(const std::function<void()>& spoil_stderr, const std::string& what) {
    const std::string mark = dir_.file("asked-to-end");
    const Outcome run = test::run(record({"--interval", "50ms", "--", "sh", "-c",
                                          "trap 'touch " + mark +
                                              "' TERM; i=0; while [ $i -lt 10 ]; do i=$((i+1)); "
                                              "sleep 0.1; done; exit 7"}),
                                  spoil_stderr);
    EXPECT_EQ(run.exit_code, 7) << what;
    EXPECT_FALSE(std::filesystem::exists(mark)) << what;
    const Json json = report();
    EXPECT_EQ(json["run"]["status"], "complete") << what;
    EXPECT_GE(json["ticks"].size(), 3u) << what;
  }
};

TEST_F(RecordWithoutError, GoesOnWhereverItGoes) {
  expect_it_goes_on([] { dup2(open("/dev/full", O_WRONLY), 2); }, "full disk");
  expect_it_goes_on(
      [] {
        std::array<int, 2> ends{};
        (void)!pipe(ends.data());
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
      },
      "no reader");
  expect_it_goes_on(
      [] {
        for (const int fd : {0, 1, 2}) close(fd);
      },
      "closed");
  for (const int flags : {O_NONBLOCK, 0}) {
    expect_it_goes_on(
        [flags] {  // a full pipe that somebody holds without reading
          std::array<int, 2> ends{};
          (void)!pipe(ends.data());
          fcntl(ends[1], F_SETFL, O_NONBLOCK);
          const std::string much(4096, 'x');
          while (write(ends[1], much.data(), much.size()) > 0) {
          }
          fcntl(ends[1], F_SETFL, flags);
          dup2(ends[1], 2);
        },
        flags == 0 ? "slow reader" : "slow reader, non-blocking");
  }
}

TEST_F(Record, AFileSizeLimitIsAnErrorAndNotTheEndOfTheCommand) {
  const std::string mark = dir_.file("mark");
  const Outcome run = test::run({"sh", "-c",
                                 "ulimit -f 1200; exec " + topspin_binary() +
                                     " record -q -i lo "
                                     "--interval 10ms --db " +
                                     db() + " -- sh -c 'sleep 3; touch " + mark + "; exit 7'"});
  EXPECT_TRUE(std::filesystem::exists(mark));
  EXPECT_TRUE(run.exit_code == 5 || run.exit_code == 7) << run.exit_code << run.err;
  if (run.exit_code == 5) {
    EXPECT_NE(run.err.find("could not be stored"), std::string::npos) << run.err;
  }
}

TEST_F(Record, ALockOfAnotherProgramDelaysWhatIsStoredAndEndsNothing) {
  Process recording(record({"--interval", "100ms", "--", "sleep", "60"}));
  ASSERT_TRUE(recording.wait_for("active"));
  {
    auto locker = Connection::open(db(), Access::kWrite);
    ASSERT_TRUE(locker.ok());
    ASSERT_TRUE((*locker)->execute("BEGIN EXCLUSIVE").ok());
    ASSERT_TRUE(recording.wait_for("ticks wait in memory"));
    const size_t lines = recording.lines_so_far();
    while (recording.lines_so_far() < lines + 10) ASSERT_TRUE(recording.wait_for_more());
  }
  EXPECT_TRUE(recording.wait_for("the database can be written again"));
  recording.send(SIGINT);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 130) << end.err;
  const Json json = report();
  EXPECT_EQ(json["run"]["status"], "complete");
  EXPECT_EQ(json["losses"]["ticks_unstored"], 0);
  // Each tick follows the previous one: none is missing.
  int64_t elapsed_ns = 0;
  for (const Json& tick : json["ticks"]) {
    elapsed_ns += tick["interval_ns"].get<int64_t>();
    EXPECT_EQ(tick["elapsed_ns"], elapsed_ns);
  }
}

TEST_F(Record, ADatabaseThatIsDeletedMeanwhileIsNoticed) {
  Process recording(record({"--interval", "100ms"}));
  ASSERT_TRUE(recording.wait_for("active"));
  ASSERT_TRUE(std::filesystem::remove(db()));
  EXPECT_TRUE(recording.wait_for("was deleted, renamed or replaced"));
  recording.send(SIGINT);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 5) << end.err;
}

TEST_F(Record, ACommandThatItsDurationEndedHasNotFailed) {
  const Outcome end = test::run(record({"--duration", "300ms", "--", "sleep", "60"}));
  EXPECT_EQ(end.exit_code, 0) << end.err;
  const Outcome text = topspin({"report", "last", "--db", db()});
  EXPECT_NE(text.out.find("ended the command after its duration"), std::string::npos) << text.out;
  EXPECT_EQ(text.out.find("xited with 143"), std::string::npos) << text.out;
}

TEST_F(Record, AWriteAheadLogThatIsCutMeanwhileIsNoticed) {
  Process recording(record({"--interval", "100ms"}));
  ASSERT_TRUE(recording.wait_for("active"));
  std::filesystem::resize_file(db() + "-wal", 0);
  EXPECT_TRUE(recording.wait_for("-wal was truncated"));
  recording.send(SIGINT);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 5) << end.err;
}

TEST_F(Record, ATerminalThatDoesNotReadHoldsNothingUp) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_TRUE(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
  const std::string name = ptsname(terminal);
  winsize size{40, 150, 0, 0};
  ioctl(terminal, TIOCSWINSZ, &size);
  const pid_t screen = fork();
  if (screen == 0) {
    setsid();
    const int fd = open(name.c_str(), O_RDWR);
    ioctl(fd, TIOCSCTTY, 0);
    for (const int standard : {0, 1, 2}) dup2(fd, standard);
    setenv("TERM", "xterm", 1);
    execlp(topspin_binary().c_str(), "topspin", "live", "-i", "lo", "--interval", "100ms", "--db",
           db().c_str(), "udp", "port", "9", nullptr);
    _exit(127);
  }
  const auto ticks = [&]() -> size_t {
    const Outcome run = topspin({"report", "last", "--db", db(), "--format", "json"});
    return run.exit_code == 0 ? Json::parse(run.out)["ticks"].size() : 0;
  };
  const auto wait_for_ticks = [&](size_t wanted) {
    for (int i = 0; i < 300 && ticks() < wanted; ++i) usleep(100'000);
    return ticks() >= wanted;
  };
  // The screen is up once ticks are stored. Nobody reads it. Then it is stopped as by Ctrl-S.
  EXPECT_TRUE(wait_for_ticks(3));
  const int slave = open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  EXPECT_EQ(tcflow(slave, TCOOFF), 0);
  EXPECT_TRUE(wait_for_ticks(ticks() + 20));
  kill(screen, SIGTERM);
  int status = 0;
  pid_t ended = 0;
  for (int i = 0; i < 300 && ended == 0; ++i) {
    ended = waitpid(screen, &status, WNOHANG);
    if (ended == 0) usleep(100'000);
  }
  if (ended == 0) {
    kill(screen, SIGKILL);
    waitpid(screen, &status, 0);
  }
  EXPECT_EQ(ended, screen) << "SIGTERM was not heard";
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 143) << status;
  EXPECT_EQ(report()["run"]["status"], "complete");
  close(slave);
  close(terminal);
}

TEST_F(Record, PassesTheCommandsStatusAndStreamsOn) {
  EXPECT_EQ(test::run(record({"-q", "--", "sh", "-c", "exit 7"})).exit_code, 7);
  EXPECT_EQ(test::run(record({"-q", "--", "sh", "-c", "kill -9 $$"})).exit_code, 137);
  const Outcome run =
      test::run({"sh", "-c",
                 "echo from-stdin | " + topspin_binary() + " record -q -i lo --db " + db() +
                     " -- sh -c 'cat; echo to-stderr >&2'"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "from-stdin\n");
  EXPECT_EQ(run.err, "to-stderr\n");
  const Json json = report();
  EXPECT_EQ(json["run"]["command"], Json({"sh", "-c", "cat; echo to-stderr >&2"}));
}

TEST_F(Record, EndsAfterItsDuration) {
  const Outcome run = test::run(record({"--duration", "1500ms", "--interval", "500ms"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const Json json = report();
  EXPECT_EQ(json["run"]["duration_ns"], 1'500'000'000);
  EXPECT_EQ(json["ticks"].size(), 3u);
  // A command does not outlive the recording.
  const Outcome with = test::run(record({"-q", "--duration", "500ms", "--", "sleep", "60"}));
  EXPECT_EQ(with.exit_code, 0) << with.err;
}

TEST_F(Record, RemovesRunsThatAreOlderThanItRetains) {
  five_pings().save(dir_.file("of-1970.pcap"));
  ASSERT_EQ(topspin({"read", dir_.file("of-1970.pcap"), "--db", db()}).exit_code, 0);
  const auto runs = [&] {
    return Json::parse(topspin({"list", "--db", db(), "--format", "json"}).out)["runs"].size();
  };
  const Outcome kept = test::run(record({"--duration", "500ms"}));
  EXPECT_EQ(kept.exit_code, 0) << kept.err;
  EXPECT_EQ(runs(), 2u);
  const Outcome retained = test::run(record({"--duration", "500ms", "--retain", "1h"}));
  EXPECT_EQ(retained.exit_code, 0) << retained.err;
  EXPECT_NE(retained.err.find("1 older run was removed"), std::string::npos) << retained.err;
  EXPECT_EQ(runs(), 2u) << "its own, and the one before it";
  EXPECT_EQ(test::run(record({"--duration", "500ms", "--retain", "soon"})).exit_code, 2);

  Process recording(record({}));
  ASSERT_TRUE(recording.wait_for("active"));
  EXPECT_EQ(topspin({"rm", "--before", "1ms", "--yes", "--db", db()}).exit_code, 0);
  EXPECT_EQ(runs(), 1u) << "the one that is being recorded";
  recording.send(SIGTERM);
  EXPECT_EQ(recording.finish().exit_code, 143);
  EXPECT_EQ(report()["run"]["status"], "complete");
}

TEST_F(Record, ASignalSavesAndASecondOneAborts) {
  {
    Process recording(record({"--interval", "200ms"}));
    ASSERT_TRUE(recording.wait_for("active"));
    recording.send(SIGTERM);
    EXPECT_EQ(recording.finish().exit_code, 143);
    EXPECT_EQ(report()["run"]["status"], "complete");
  }
  Process recording(record(
      {"--interval", "200ms", "--", "sh", "-c", "trap '' INT TERM; while :; do sleep 1; done"}));
  ASSERT_TRUE(recording.wait_for("active"));
  recording.send(SIGINT);
  usleep(300'000);
  recording.send(SIGINT);
  EXPECT_EQ(recording.finish(std::chrono::seconds(3)).exit_code, 130);
  EXPECT_NE(report()["run"]["status"], "complete");
}

TEST_F(Record, ACommandThatWillNotEndIsKilledAndItsRunIsComplete) {
  // Its output is read until it is killed.
  const Outcome run = test::run(record({"-q", "--duration", "500ms", "--", "sh", "-c",
                                        "trap '' TERM; while :; do echo alive; sleep 0.1; done"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("alive"), std::string::npos);
  const Json json = report();
  EXPECT_EQ(json["run"]["status"], "complete");
  EXPECT_EQ(json["run"]["duration_ns"], 500'000'000) << "its last tick does not wait for it";
  EXPECT_EQ(json["run"]["exit_status"], 128 + SIGKILL);
}

TEST_F(Record, AKillLosesNoTickThatWasPrinted) {
  Process recording(record({"--interval", "100ms"}));
  ASSERT_TRUE(recording.wait_for("1.0s"));
  recording.send(SIGKILL);
  const Outcome end = recording.finish();
  const Json json = report();
  EXPECT_EQ(json["run"]["status"], "interrupted");
  EXPECT_FALSE(json["run"]["valid"]);
  std::istringstream lines(end.err);
  size_t printed = 0;
  for (std::string line; std::getline(lines, line);)
    printed += line.find("s ") < 12 && line.find("time") == std::string::npos;
  EXPECT_GE(json["ticks"].size(), printed);  // a tick is stored before its line is printed
}

TEST_F(Record, UnderSudoTheCommandAndTheDatabaseBelongToTheCaller) {
  chmod(dir_.path().c_str(), 0777);
  const auto as_if_sudo = [] {
    setenv("SUDO_UID", "65534", 1);
    setenv("SUDO_GID", "65534", 1);
  };
  Process recording(record({"--interval", "200ms", "--", "sh", "-c", "id -u; sleep 2"}),
                    as_if_sudo);
  ASSERT_TRUE(recording.wait_for("active"));
  std::ifstream status("/proc/" + std::to_string(recording.pid()) + "/status");
  std::stringstream text;
  text << status.rdbuf();
  EXPECT_NE(text.str().find("Uid:\t65534\t65534\t65534\t65534"), std::string::npos);
  EXPECT_NE(text.str().find("NoNewPrivs:\t1"), std::string::npos);
  // Neither CAP_SYS_ADMIN (21), CAP_DAC_OVERRIDE (1) nor CAP_SETUID (7) is left.
  const size_t at = text.str().find("CapPrm:\t");
  const uint64_t permitted = std::stoull(text.str().substr(at + 8, 16), nullptr, 16);
  EXPECT_EQ(permitted & (1ull << 21 | 1ull << 1 | 1ull << 7), 0u);
  const Outcome run = recording.finish();
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "65534\n");
  struct stat info {};
  ASSERT_EQ(stat(db().c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 65534u);
  EXPECT_EQ(report()["run"]["status"], "complete");
}

TEST_F(Record, ACommandThatCannotBeExecutedLeavesAFailedRunAndSaysSo) {
  const std::string path = dir_.file("script");
  std::ofstream(path) << "#!/no/such/interpreter\n";
  chmod(path.c_str(), 0755);
  const Outcome run = test::run(record({"--", path}));
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_EQ(report()["run"]["status"], "failed");
}

TEST_F(Record, ADirectoryThatCannotBeWrittenIs5) {
  const Outcome run = test::run({topspin_binary(), "record", "-i", "lo", "--db", "/proc/t.db", "--",
                                 "touch", dir_.file("ran")});
  EXPECT_EQ(run.exit_code, 5) << run.err;
  EXPECT_FALSE(std::filesystem::exists(dir_.file("ran")));  // the command was never let go
}

}  // namespace
}  // namespace topspin::test
