// Faults of processes, inflicted on a recording: kills, several writers, very many short processes,
// and kernels that allow less.
#include <cerrno>
#include <cstddef>
#include <random>
#include <set>
#include <thread>

#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "tests/app/faults/fault_fixture.h"
#include "tests/support/every_night.h"
#include "tests/support/udp_swarm.h"

namespace topspin::test {
namespace {

class KillFault : public FaultFixture {
 protected:
  /// The numbers of the BPF programs that a process holds, itself or by a link.
  static std::set<uint32_t> programs_of(pid_t pid) {
    std::set<uint32_t> found;
    std::error_code error;
    for (const auto& file :
         std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fdinfo", error)) {
      std::istringstream lines(text_of(file.path()));
      for (std::string name, value; lines >> name >> value;) {
        if (name == "prog_id:") found.insert(static_cast<uint32_t>(std::stoul(value)));
      }
    }
    return found;
  }
  static bool is_loaded(uint32_t program) {
    bpf_attr attr{};
    attr.prog_id = program;
    const UniqueFd fd(
        static_cast<int>(syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &attr, sizeof attr)));
    return fd.valid();
  }
  static std::vector<pid_t> children_of(pid_t pid) {
    const std::string number = std::to_string(pid);
    std::istringstream words(text_of("/proc/" + number + "/task/" + number + "/children"));
    std::vector<pid_t> found;
    for (pid_t child = 0; words >> child;) found.push_back(child);
    return found;
  }
  static bool has_ended(pid_t pid) {
    const std::string stat = text_of("/proc/" + std::to_string(pid) + "/stat");
    return stat.empty() || stat.find(") Z ") != std::string::npos;
  }
};

TEST_F(KillFault, AtAnyMomentLeavesASoundDatabaseAndNothingInTheKernel) {
  std::mt19937 random(20'261'130);
  const int rounds = repeats(6, 60);
  size_t programs_seen = 0, commands_seen = 0;
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE(round);
    Process recording(record({"--interval", "20ms", "--", "sleep", "1000"}));
    // Every second one is killed while it opens, the others once they record.
    if (round % 2 == 1) {
      ASSERT_TRUE(recording.wait_for("active"));
    }
    usleep(std::uniform_int_distribution<useconds_t>(0, 400'000)(random));
    const std::set<uint32_t> programs = programs_of(recording.pid());
    const std::vector<pid_t> children = children_of(recording.pid());
    programs_seen += programs.size();
    commands_seen += children.size();
    EXPECT_TRUE(std::ranges::all_of(programs, is_loaded));
    recording.send(SIGKILL);
    recording.finish();
    EXPECT_TRUE(wait_until([&] { return std::ranges::none_of(programs, is_loaded); }));
    EXPECT_TRUE(wait_until([&] { return std::ranges::all_of(children, has_ended); }));
  }
  EXPECT_GT(programs_seen, 0u);
  EXPECT_GT(commands_seen, 0u);
  expect_sound_database();
  const Json runs = json_of({"list", "--db", db(), "--format", "json"});
  ASSERT_GE(runs["runs"].size(), static_cast<size_t>(rounds / 2));
  for (const Json& run : runs["runs"]) EXPECT_EQ(run["status"], "interrupted") << run;
  // The next recording works.
  EXPECT_EQ(test::run(record({"-q", "--interval", "100ms", "--duration", "200ms"})).exit_code, 0);
  EXPECT_EQ(report()["run"]["status"], "complete");
}

TEST_F(KillFault, OfOneOfThreeRecordersOfAFileHarmsNotTheOthers) {
  std::vector<std::unique_ptr<Process>> recordings;
  for (int i = 0; i < 3; ++i) {
    recordings.push_back(std::make_unique<Process>(record({"--interval", "50ms"})));
    ASSERT_TRUE(recordings.back()->wait_for("active"));
  }
  recordings[1]->send(SIGKILL);
  recordings[1]->finish();
  const int64_t before = ticks();
  ASSERT_TRUE(wait_until([&] { return ticks() >= before + 20; }));
  for (const int i : {0, 2}) {
    recordings[static_cast<size_t>(i)]->send(SIGTERM);
    const Outcome end = recordings[static_cast<size_t>(i)]->finish();
    EXPECT_EQ(end.exit_code, 143) << end.err;
  }
  expect_sound_database();
  EXPECT_EQ(number("SELECT count(*) FROM run WHERE status = 'complete'"), 2);
  EXPECT_EQ(json_of({"list", "--db", db(), "--format", "json"})["runs"].size(), 3u);
}

class ProcessFault : public FaultFixture {};

/// What the command says of its children is what the kernel's accounting says, not topspin's.
TEST_F(ProcessFault, ShortProcessesAreAllInTheSums) {
  const int processes = repeats(2'000, 100'000);
  const Outcome run = Process(record({"-q", "udp", "port", "9", "--", "python3", "-c",
                                      "import os, resource\n"
                                      "for _ in range(" +
                                          std::to_string(processes) +
                                          "):\n"
                                          "  pid = os.fork()\n"
                                          "  if pid == 0: os._exit(0)\n"
                                          "  os.waitpid(pid, 0)\n"
                                          "a = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
                                          "b = resource.getrusage(resource.RUSAGE_SELF)\n"
                                          "print(a.ru_nvcsw + b.ru_nvcsw, a.ru_nivcsw + "
                                          "b.ru_nivcsw, int(1e9 * (a.ru_utime + a.ru_stime + "
                                          "b.ru_utime + b.ru_stime)))\n"}))
                          .finish(std::chrono::seconds(800));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = report();
  if (const auto [rung, reason] = rung_of(json, "scheduler"); rung != "tp_btf" && rung != "raw_tp")
    TOPSPIN_SKIP("needs BPF: " + reason);
  std::istringstream words(run.out);
  double voluntary = 0, involuntary = 0, cpu_ns = 0;
  words >> voluntary >> involuntary >> cpu_ns;
  const Json& summary = json["summary"];
  EXPECT_GT(voluntary, processes);
  EXPECT_NEAR(summary["context_switches"]["voluntary"].get<double>(), voluntary,
              20 + voluntary / 100);
  EXPECT_NEAR(summary["context_switches"]["involuntary"].get<double>(), involuntary,
              20 + involuntary / 50);
  EXPECT_NEAR(summary["cpu_ns"].get<double>(), cpu_ns, 2e7 + cpu_ns / 20);
  EXPECT_EQ(json["losses"]["scheduler_map_full"], 0);
}

TEST_F(ProcessFault, OnOneCpuEachFlowAndPacketIsCounted) {
  UdpSwarm swarm(100);
  ASSERT_TRUE(swarm.ok());
  Process recording(record({"--interval", "250ms", "udp", "port", std::to_string(swarm.port())}),
                    [] {
                      cpu_set_t one;
                      CPU_ZERO(&one);
                      cpu_set_t allowed;
                      sched_getaffinity(0, sizeof allowed, &allowed);
                      int cpu = 0;
                      while (!CPU_ISSET(cpu, &allowed)) ++cpu;
                      CPU_SET(cpu, &one);
                      if (sched_setaffinity(0, sizeof one, &one) != 0) _exit(99);
                    });
  ASSERT_TRUE(recording.wait_for("active"));
  swarm.ping_for(std::chrono::milliseconds(2000));
  // The last ping and its echo are on the wire before the end.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  recording.send(SIGINT);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 130) << end.err;
  const Json json = report();
  EXPECT_EQ(json["summary"]["flows"], 100);
  EXPECT_EQ(json["losses"]["capture_kernel_drops"], 0);
  EXPECT_EQ(json["summary"]["packets"], 2 * swarm.sent());
}

/// Recordings of a command, by a topspin that may do less than root may.
class RestrictedFault : public FaultFixture {
 protected:
  Outcome record_restricted(const std::function<void()>& restrict) const {
    return test::run(record({"--interval", "100ms", "--duration", "500ms", "udp", "port", "9", "--",
                             "sh", "-c", "while :; do sleep 0.01; done"}),
                     restrict);
  }
  /// All but `kept` leave the bounding set, as in a container. Root's program then has no others.
  static void keep_in_bounding_set(const std::set<int>& kept) {
    for (int number = 0; number <= CAP_LAST_CAP; ++number) {
      if (!kept.contains(number)) prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
    }
  }
  /// System calls with these numbers fail with EPERM, as in a container's default profile.
  static void refuse_calls(const std::vector<uint32_t>& calls) {
    std::vector<sock_filter> program = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offsetof(seccomp_data, nr)))};
    for (const uint32_t call : calls) {
      program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
      program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    }
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
      _exit(99);
  }
};

TEST_F(RestrictedFault, EachSetOfCapabilitiesIsEnoughForSomethingOrSaysWhatIsMissing) {
  const Outcome none = record_restricted([] { keep_in_bounding_set({}); });
  EXPECT_EQ(none.exit_code, 4) << none.err;
  EXPECT_NE(none.err.find("CAP_NET_RAW"), std::string::npos) << none.err;
  EXPECT_FALSE(std::filesystem::exists(db()));
  for (const std::set<int>& without_bpf :
       {std::set<int>{CAP_NET_RAW}, {CAP_NET_RAW, CAP_BPF}, {CAP_NET_RAW, CAP_PERFMON}}) {
    const Outcome run = record_restricted([&] { keep_in_bounding_set(without_bpf); });
    ASSERT_EQ(run.exit_code, 0) << run.err;
    const Json json = report();
    const auto [rung, reason] = rung_of(json, "scheduler");
    EXPECT_TRUE(rung == "perf" || rung == "proc") << rung;
    EXPECT_NE(reason.find("cap_"), std::string::npos) << reason;
    EXPECT_EQ(json["run"]["status"], "complete");
    EXPECT_GT(json["summary"]["context_switches"]["voluntary"].get<int64_t>(), 0) << rung;
  }
  const Outcome both = record_restricted([] {
    keep_in_bounding_set({CAP_NET_RAW, CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE});
  });
  ASSERT_EQ(both.exit_code, 0) << both.err;
  const auto [rung, reason] = rung_of(report(), "scheduler");
  EXPECT_TRUE(rung == "tp_btf" || rung == "raw_tp") << rung << ": " << reason;
}

TEST_F(RestrictedFault, WhatSeccompRefusesIsDoneWithoutAndTheReasonIsStored) {
  const auto [perf, perf_reason] = [&] {
    const Outcome run = record_restricted([] { refuse_calls({SYS_bpf}); });
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return rung_of(report(), "scheduler");
  }();
  EXPECT_TRUE(perf == "perf" || perf == "proc") << perf;
  EXPECT_NE(perf_reason, "");
  const Outcome neither = record_restricted([] { refuse_calls({SYS_bpf, SYS_perf_event_open}); });
  EXPECT_EQ(neither.exit_code, 0) << neither.err;
  const Json json = report();
  const auto [proc, proc_reason] = rung_of(json, "scheduler");
  EXPECT_EQ(proc, "proc");
  EXPECT_NE(proc_reason, "");
  EXPECT_GT(json["summary"]["context_switches"]["voluntary"].get<int64_t>(), 0);
}

}  // namespace
}  // namespace topspin::test
