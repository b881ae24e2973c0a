// The parsers of /proc, and the reader on a synthetic tree of files.
#include "probes/proc/proc_reader.h"

#include <cstdint>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "probes/proc/process_tree.h"
#include "probes/proc/subject.h"
#include "probes/resources/resources.h"

namespace topspin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

std::string stat_line(int pid, std::string_view name, char state, int parent, int start,
                      int minor = 10, int reaped = 5) {
  return std::to_string(pid) + " (" + std::string(name) + ") " + state + " " +
         std::to_string(parent) + " 1 1 0 -1 4194304 " + std::to_string(minor) + " " +
         std::to_string(reaped) + " 2 1 7 3 0 0 20 0 4 0 " + std::to_string(start) +
         " 1000 200 18446744073709551615 0 0\n";
}

TEST(ParseProcStat, reads_the_fields) {
  const auto stat = parse_proc_stat(stat_line(42, "cat", 'S', 7, 1234));
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, 42);
  EXPECT_EQ(stat->name, "cat");
  EXPECT_EQ(stat->parent_pid, 7);
  EXPECT_EQ(stat->minor_faults, 10u);
  EXPECT_EQ(stat->reaped_minor_faults, 5u);
  EXPECT_EQ(stat->major_faults, 2u);
  EXPECT_EQ(stat->reaped_major_faults, 1u);
  EXPECT_EQ(stat->threads, 4);
  EXPECT_EQ(stat->start_ticks, 1234u);
  EXPECT_FALSE(stat->ended());
}

TEST(ParseProcStat, a_hostile_name_moves_no_field) {
  const auto stat = parse_proc_stat(stat_line(42, "x) R 1 (\n) Z", 'S', 7, 1234));
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->name, "x) R 1 (\n) Z");
  EXPECT_EQ(stat->state, 'S');
  EXPECT_EQ(stat->parent_pid, 7);
}

TEST(ParseProcStat, cut_anywhere_is_no_answer_and_no_crash) {
  const std::string whole = stat_line(42, "cat", 'S', 7, 1234);
  const size_t start_time = whole.find("1234");
  for (size_t length = 0; length < start_time; ++length)
    EXPECT_FALSE(parse_proc_stat(std::string_view(whole).substr(0, length))) << length;
  EXPECT_FALSE(parse_proc_stat(")("));
  EXPECT_FALSE(parse_proc_stat("() S 1"));
}

TEST(ParseProcStatus, absent_is_not_zero) {
  const ProcStatus status = parse_proc_status(
      "Name:\tcat\nVmSize:\t 2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t 12 kB\nThreads:\t3\n"
      "voluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t4\n");
  EXPECT_EQ(status.rss_bytes, 1024 * 1024);
  EXPECT_EQ(status.vsz_bytes, 2048 * 1024);
  EXPECT_EQ(status.anonymous_bytes, 12 * 1024);
  EXPECT_EQ(status.swap_bytes, std::nullopt);
  EXPECT_EQ(status.threads, 3);
  EXPECT_EQ(status.voluntary_switches, 17u);
  EXPECT_EQ(status.involuntary_switches, 4u);
  EXPECT_EQ(parse_proc_status("VmRSS: 99999999999999999999 kB\n").rss_bytes, std::nullopt);
  EXPECT_EQ(parse_proc_status("VmRSS: 9223372036854775807 kB\n").rss_bytes, std::nullopt);
  EXPECT_EQ(parse_proc_status("VmRSS: -1 kB\n").rss_bytes, std::nullopt);
}

TEST(ParseProcSchedstat, needs_all_three) {
  const auto stat = parse_proc_schedstat("123 456 7\n");
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->cpu_ns, 123u);
  EXPECT_EQ(stat->run_delay_ns, 456u);
  EXPECT_EQ(stat->timeslices, 7u);
  EXPECT_FALSE(parse_proc_schedstat("123 456\n"));
  EXPECT_FALSE(parse_proc_schedstat(""));
}

TEST(ParseSmapsRollup, takes_pss_and_not_its_parts) {
  const auto share = parse_smaps_rollup("Rss: 9 kB\nPss:   5 kB\nPss_Dirty: 3 kB\nSwapPss: 1 kB\n");
  ASSERT_TRUE(share);
  EXPECT_EQ(share->pss_bytes, 5 * 1024);
  EXPECT_EQ(share->swap_bytes, 1024);
  EXPECT_FALSE(parse_smaps_rollup("Rss: 9 kB\n"));
}

class MadeUpProc : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "topspin-proc-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  void add_process(int pid, int parent, int start, char state = 'S') {
    const std::string directory = std::to_string(pid);
    write(directory + "/stat", stat_line(pid, "made up", state, parent, start));
    write(directory + "/status", "VmSize: 100 kB\nVmRSS: 10 kB\nThreads: 2\n");
    write(directory + "/maps", "a\nb\nc\n");
    write(directory + "/smaps_rollup", "Pss: 4 kB\n");
    for (const char* fd : {"0", "1", "2", "17"}) write(directory + "/fd/" + fd, "");
    write(directory + "/task/" + directory + "/schedstat", "1 2 3\n");
  }
  void remove_process(int pid) { fs::remove_all(root_ / std::to_string(pid)); }

  Subject subject(int pid) {
    ProcReader proc(root_.string());
    SubjectSpec spec;
    spec.kind = SubjectSpec::Kind::kProcessTree;
    spec.pid = pid;
    auto resolved = resolve_subject(spec, proc);
    EXPECT_TRUE(resolved.ok());
    return resolved.value();
  }

  fs::path root_;
};

TEST_F(MadeUpProc, lists_processes_and_sums_what_they_hold) {
  add_process(5, 1, 100);
  add_process(30, 5, 200);
  write("sys/kernel", "");
  ProcReader proc(root_.string());
  EXPECT_THAT(proc.processes(), ElementsAre(5, 30));
  EXPECT_THAT(proc.threads(5), ElementsAre(5));

  ResourceProbe probe(proc);
  const int64_t now_ns = monotonic_now_ns();
  const ResourceReading reading = probe.read({5, 30}, now_ns);
  EXPECT_EQ(reading.processes, 2);
  EXPECT_EQ(reading.threads, 4);
  EXPECT_EQ(reading.rss_bytes, 20 * 1024);
  EXPECT_EQ(reading.vsz_bytes, 200 * 1024);
  EXPECT_EQ(reading.anonymous_bytes, std::nullopt);
  EXPECT_EQ(reading.pss_bytes, 8 * 1024);
  EXPECT_EQ(reading.mappings, 6);
  EXPECT_EQ(reading.fds, 8);
  EXPECT_EQ(reading.minor_faults, 30);
  EXPECT_EQ(reading.major_faults, 6);
}

/// Two processes that share most of their resident memory.
TEST_F(MadeUpProc, memory_of_several_processes_counts_shared_pages_once) {
  for (const int pid : {5, 30}) {
    add_process(pid, pid == 5 ? 1 : 5, pid);
    write(std::to_string(pid) + "/status",
          "VmSize: 900 kB\nVmRSS: 600 kB\nVmSwap: 80 kB\nVmPTE: 10 kB\n");
    write(std::to_string(pid) + "/smaps_rollup", "Rss: 600 kB\nPss: 320 kB\nSwapPss: 50 kB\n");
  }
  write("meminfo", "MemAvailable: 1000 kB\n");
  ProcReader proc(root_.string());
  const LimitUse both = ResourceProbe(proc).read({5, 30}, monotonic_now_ns()).memory_bytes;
  EXPECT_EQ(both.used, (640 + 100 + 20) * 1024);
  EXPECT_EQ(both.limit, (640 + 100 + 20 + 1000) * 1024);
  const LimitUse one = ResourceProbe(proc).read({5}, monotonic_now_ns()).memory_bytes;
  EXPECT_EQ(one.used, (600 + 80 + 10) * 1024);
  // Without Pss there is no number for both, rather than one that counts shared pages twice.
  fs::remove(root_ / "30/smaps_rollup");
  EXPECT_FALSE(ResourceProbe(proc).read({5, 30}, monotonic_now_ns()).memory_bytes.used);
}

TEST_F(MadeUpProc, an_empty_cgroup_holds_nothing_and_an_ended_process_is_not_known) {
  write("meminfo", "MemAvailable: 1000 kB\n");
  ProcReader proc(root_.string());
  const ResourceReading empty = ResourceProbe(proc, root_ / "group").read({}, monotonic_now_ns());
  for (const auto member : {&ResourceReading::processes, &ResourceReading::threads,
                            &ResourceReading::fds, &ResourceReading::rss_bytes})
    EXPECT_EQ(empty.*member, 0);
  EXPECT_EQ(ResourceProbe(proc).read({}, monotonic_now_ns()).threads, std::nullopt);
}

TEST_F(MadeUpProc, an_unreadable_part_makes_its_sum_absent_and_no_other) {
  add_process(5, 1, 100);
  add_process(30, 5, 200);
  fs::remove(root_ / "30/smaps_rollup");
  fs::remove_all(root_ / "30/fd");
  ProcReader proc(root_.string());
  const ResourceReading reading = ResourceProbe(proc).read({5, 30}, monotonic_now_ns());
  EXPECT_EQ(reading.pss_bytes, std::nullopt);
  EXPECT_EQ(reading.fds, std::nullopt);
  EXPECT_EQ(reading.mappings, 6);
  EXPECT_EQ(reading.rss_bytes, 20 * 1024);
}

TEST_F(MadeUpProc, a_process_that_ended_takes_nothing_but_its_part) {
  add_process(5, 1, 100);
  ProcReader proc(root_.string());
  const ResourceReading reading = ResourceProbe(proc).read({5, 30}, monotonic_now_ns());
  EXPECT_EQ(reading.pss_bytes, 4 * 1024);
  EXPECT_EQ(reading.fds, 4);
}

TEST_F(MadeUpProc, faults_never_fall_when_a_process_leaves) {
  add_process(5, 1, 100);
  add_process(30, 5, 200);
  ProcReader proc(root_.string());
  ResourceProbe probe(proc);
  EXPECT_EQ(probe.read({5, 30}, monotonic_now_ns()).minor_faults, 30);
  EXPECT_EQ(probe.read({5}, monotonic_now_ns()).minor_faults, 30);
}

TEST_F(MadeUpProc, tree_finds_descendants_whatever_their_numbers) {
  add_process(50, 1, 100);
  add_process(40, 50, 200);  // a lower pid than its parent's
  add_process(45, 40, 300);
  add_process(60, 1, 300);
  add_process(61, 50, 300, 'Z');
  ProcReader proc(root_.string());
  ProcessTree tree(subject(50), proc);
  tree.update();
  EXPECT_THAT(tree.processes(), ElementsAre(40, 45, 50));
}

TEST_F(MadeUpProc, tree_keeps_a_reparented_member_and_drops_a_reused_number) {
  add_process(50, 1, 100);
  add_process(51, 50, 200);
  add_process(52, 51, 300);
  ProcReader proc(root_.string());
  ProcessTree tree(subject(50), proc);
  tree.update();
  EXPECT_THAT(tree.processes(), ElementsAre(50, 51, 52));
  remove_process(51);
  add_process(52, 1, 300);  // its parent is gone
  tree.update();
  EXPECT_THAT(tree.processes(), ElementsAre(50, 52));
  add_process(52, 1, 900);  // another process with the same pid
  add_process(50, 1, 901);
  tree.update();
  EXPECT_THAT(tree.processes(), ElementsAre());
}

TEST_F(MadeUpProc, subject_must_be_there) {
  add_process(61, 1, 300, 'Z');
  ProcReader proc(root_.string());
  for (const int pid : {0, -1, 7, 61}) {
    SubjectSpec spec;
    spec.kind = SubjectSpec::Kind::kProcessTree;
    spec.pid = pid;
    const auto resolved = resolve_subject(spec, proc);
    ASSERT_FALSE(resolved.ok());
    EXPECT_EQ(resolved.error().code, ErrorCode::kUsage);
  }
  SubjectSpec spec;
  spec.kind = SubjectSpec::Kind::kCgroup;
  spec.cgroup_path = "/no/such/cgroup";
  EXPECT_FALSE(resolve_subject(spec, proc).ok());
}

TEST(ProcReader, counts_its_own_descriptors_and_mappings) {
  ProcReader proc("/proc");
  const auto before = proc.fds(::getpid());
  const int fd = ::dup(0);
  const auto after = proc.fds(::getpid());
  ::close(fd);
  ASSERT_TRUE(before && after);
  EXPECT_EQ(*after, *before + 1);

  // Pages with alternating protection are one mapping each. The allocator may add a few mappings.
  constexpr size_t kPages = 4000;
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const auto mappings_before = proc.mappings(::getpid(), INT64_MAX);
  void* area = ::mmap(nullptr, kPages * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(area, MAP_FAILED);
  for (size_t index = 0; index < kPages; index += 2)
    ::mprotect(static_cast<char*>(area) + index * page, page, PROT_READ | PROT_WRITE);
  const auto mappings_after = proc.mappings(::getpid(), INT64_MAX);
  EXPECT_EQ(proc.mappings(::getpid(), 0), std::nullopt);  // many mappings, and no time to read them
  ::munmap(area, kPages * page);
  ASSERT_TRUE(mappings_before && mappings_after);
  EXPECT_GE(*mappings_after - *mappings_before, static_cast<int64_t>(kPages) - 1);
  EXPECT_LE(*mappings_after - *mappings_before, static_cast<int64_t>(kPages) + 10);
  EXPECT_TRUE(proc.mappings(::getpid(), 0));  // a few are always read
}

}  // namespace
}  // namespace topspin
