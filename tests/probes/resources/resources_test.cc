// What a real subject holds and what its cgroup reports, compared with what it did; and the parsers
// of that.
#include "probes/resources/resources.h"

#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/prove/quota_cgroup.h"
#include "core/base/clock.h"
#include "probes/proc/cgroup_reader.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"

namespace topspin {
namespace {

namespace fs = std::filesystem;

TEST(Parsers, limits_memory_and_pressure) {
  const ProcLimits limits = parse_proc_limits(
      "Limit                     Soft Limit           Hard Limit           Units     \n"
      "Max open files            1024                 524288               files     \n"
      "Max address space         unlimited            unlimited            bytes     \n");
  EXPECT_EQ(limits.open_files, 1024);
  EXPECT_EQ(limits.address_space_bytes, std::nullopt);
  EXPECT_EQ(parse_proc_limits("Max address space 4096 8192 bytes\n").address_space_bytes, 4096);
  EXPECT_EQ(parse_proc_limits("").open_files, std::nullopt);

  const ProcMemory memory = parse_meminfo("MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 60 kB\n");
  EXPECT_EQ(memory.total_bytes, 102400);
  EXPECT_EQ(memory.available_bytes, 61440);

  const ProcPressure pressure =
      parse_pressure("some avg10=4.22 avg60=1 avg300=2 total=7841\nfull avg10=0 total=12\n");
  EXPECT_EQ(pressure.some_ns, 7'841'000u);
  EXPECT_EQ(pressure.full_ns, 12'000u);
  EXPECT_EQ(parse_pressure("some total=99999999999999999999\n").some_ns, std::nullopt);
  EXPECT_EQ(parse_pressure("").some_ns, std::nullopt);
}

TEST(Parsers, ephemeral_ports_without_the_reserved_ones) {
  EXPECT_EQ(count_ephemeral_ports("32768\t60999\n", "\n"), 28'232);
  EXPECT_EQ(count_ephemeral_ports("32768 60999", "8080,32767-32769,40000,60990-61010\n"),
            28'232 - 2 - 1 - 10);
  EXPECT_EQ(count_ephemeral_ports("60999 32768", ""), std::nullopt);
  EXPECT_EQ(count_ephemeral_ports("", ""), std::nullopt);
}

TEST(Parsers, cgroups_of_both_versions) {
  constexpr std::string_view kMounts =
      "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
      "35 31 0:32 /docker/a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(find_cgroup_mount(kMounts, "")->mount_point, "/sys/fs/cgroup/unified");
  EXPECT_EQ(find_cgroup_mount(kMounts, "memory")->root, "/docker/a");
  EXPECT_EQ(find_cgroup_mount(kMounts, "cpu")->mount_point, "/sys/fs/cgroup/cpu");
  EXPECT_FALSE(find_cgroup_mount(kMounts, "pids"));
  constexpr std::string_view kGroups = "4:memory:/docker/a/b:c\n1:cpu,cpuacct:/x\n0::/user.slice\n";
  EXPECT_EQ(find_cgroup_path(kGroups, ""), "/user.slice");
  EXPECT_EQ(find_cgroup_path(kGroups, "memory"), "/docker/a/b:c");
  EXPECT_EQ(find_cgroup_path(kGroups, "cpuset"), std::nullopt);
  const auto v2 = parse_cpu_stat("usage_usec 5\nnr_periods 7\nnr_throttled 3\nthrottled_usec 9\n");
  EXPECT_EQ(v2->periods, 7u);
  EXPECT_EQ(v2->throttled_periods, 3u);
  EXPECT_EQ(v2->throttled_ns, 9'000u);
  EXPECT_EQ(parse_cpu_stat("nr_periods 7\nnr_throttled 3\nthrottled_time 9\n")->throttled_ns, 9u);
  EXPECT_FALSE(parse_cpu_stat("usage_usec 5\n"));
}

/// Uses a synthetic /proc and cgroup2 tree of files.
TEST(Cgroups, the_tightest_limit_and_every_quota_up_to_the_top_count) {
  std::string root = (fs::temp_directory_path() / "topspin-cgroup-XXXXXX").string();
  ASSERT_NE(::mkdtemp(root.data()), nullptr);
  const auto write = [&](const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root + path).parent_path());
    std::ofstream(root + path) << text;
  };
  write("/proc/self/mountinfo", "41 31 0:38 / " + root + "/cg rw - cgroup2 cgroup2 rw\n");
  write("/proc/5/cgroup", "0::/outer/inner\n");
  write("/cg/outer/inner/memory.current", "1000\n");
  write("/cg/outer/inner/memory.max", "max\n");
  write("/cg/outer/memory.current", "5000\n");
  write("/cg/outer/memory.max", "8000\n");
  write("/cg/outer/inner/cpu.stat", "nr_periods 10\nnr_throttled 1\nthrottled_usec 5\n");
  write("/cg/outer/cpu.stat", "nr_periods 20\nnr_throttled 2\nthrottled_usec 7\n");
  write("/cg/outer/inner/cpu.pressure", "some avg10=0 total=33\n");
  write("/proc/5/status", "VmSize: 100 kB\nVmRSS: 10 kB\nVmPTE: 2 kB\n");
  write("/proc/meminfo", "MemAvailable: 1000 kB\n");
  ProcReader proc(root + "/proc");
  const CgroupReading reading = CgroupReader(proc, "").read(5);
  EXPECT_EQ(reading.memory_bytes, 1000);
  EXPECT_EQ(reading.memory_room_bytes, 3000);
  EXPECT_EQ(reading.quota->throttled_periods, 3u);
  EXPECT_EQ(reading.quota->throttled_ns, 12'000u);
  EXPECT_EQ(reading.stalls.cpu_some_ns, 33'000u);

  ResourceProbe probe(proc);
  probe.begin_pressure(5);
  write("/cg/outer/inner/cpu.pressure", "some avg10=0 total=43\n");
  write("/cg/outer/cpu.stat", "nr_periods 26\nnr_throttled 4\nthrottled_usec 17\n");
  const ResourceReading resources = probe.read({5}, monotonic_now_ns());
  EXPECT_EQ(resources.cgroup_bytes, 1000);
  // `limit` is what the subject holds plus what is left of the tightest limit.
  EXPECT_EQ(resources.memory_bytes.used, 12 * 1024);
  EXPECT_EQ(resources.memory_bytes.limit, 12 * 1024 + 3000);
  EXPECT_EQ(probe.pressure().cgroup.cpu_some_ns, 10'000u);
  EXPECT_EQ(probe.pressure().throttled_periods, 2u);
  EXPECT_EQ(probe.pressure().throttled_ns, 10'000u);
  EXPECT_EQ(probe.pressure().cgroup.memory_some_ns, std::nullopt);
  // After a move to another group, nothing is known about the interval.
  write("/proc/5/cgroup", "0::/outer\n");
  (void)probe.read({5}, monotonic_now_ns());
  EXPECT_EQ(probe.pressure().throttled_ns, std::nullopt);
  fs::remove_all(root);
}

ResourceReading read_once(pid_t pid) {
  ProcReader proc("/proc");
  // A subject that was just forked closes some descriptors before it sleeps.
  for (int tries = 0; tries < 5'000; ++tries) {
    const auto stat = proc.stat(pid);
    if (!stat || stat->state == 'S') break;
    ::usleep(1'000);
  }
  return ResourceProbe(proc).read({pid}, monotonic_now_ns());
}

TEST(RealSubject, fds_are_told_apart_and_their_limit_is_known) {
  ForkedSubject subject([] {
    const rlimit limit{200, 200};
    CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int pair[2];
    for (int i = 0; i < 5; ++i) CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    for (int i = 0; i < 3; ++i) CHECK(::pipe(pair) == 0);
    for (int i = 0; i < 4; ++i) CHECK(::eventfd(0, 0) >= 0);
    CHECK(::epoll_create1(0) >= 0);
    for (int i = 0; i < 7; ++i) CHECK(::open("/dev/null", O_RDONLY) >= 0);
  });
  const ResourceReading before = read_once(subject.pid());
  subject.run();
  const ResourceReading after = read_once(subject.pid());
  EXPECT_EQ(*after.socket_fds - *before.socket_fds, 10);
  EXPECT_EQ(*after.pipe_fds - *before.pipe_fds, 6);
  EXPECT_EQ(*after.anonymous_fds - *before.anonymous_fds, 5);
  EXPECT_EQ(*after.file_fds - *before.file_fds, 7);
  EXPECT_EQ(*after.socket_fds + *after.pipe_fds + *after.anonymous_fds + *after.file_fds +
                *after.other_fds,
            after.fds);
  EXPECT_EQ(after.process_fds.limit, 200);
  EXPECT_EQ(after.process_fds.used, after.fds);
}

TEST(RealSubject, memory_by_kind_and_page_tables) {
  constexpr size_t kBytes = 32 << 20;
  ForkedSubject subject([] {
    char* shared = static_cast<char*>(
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    CHECK(shared != MAP_FAILED);
    for (size_t at = 0; at < kBytes; at += 4096) shared[at] = 1;
    // One page in every 2 MiB of 4 GiB, so each needs a page table of 4 KiB.
    constexpr size_t kWide = size_t{4} << 30;
    char* wide = static_cast<char*>(::mmap(nullptr, kWide, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    CHECK(wide != MAP_FAILED);
    ::madvise(wide, kWide, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < kWide; at += 2 << 20) wide[at] = 1;
  });
  const ResourceReading before = read_once(subject.pid());
  subject.run();
  const ResourceReading after = read_once(subject.pid());
  EXPECT_NEAR(static_cast<double>(*after.shared_bytes - *before.shared_bytes), kBytes, 1 << 20);
  // The shadow memory of AddressSanitizer takes another MiB.
  EXPECT_NEAR(static_cast<double>(*after.page_table_bytes - *before.page_table_bytes), 2048 * 4096,
              2 << 20);
  ASSERT_TRUE(after.address_space_bytes.used && after.process_mappings.limit);
  EXPECT_EQ(after.address_space_bytes.used, after.vsz_bytes);
#ifdef __x86_64__
  EXPECT_EQ(after.address_space_bytes.limit, (int64_t{1} << 47) - 4096);
#endif
  EXPECT_GT(*after.memory_bytes.limit, *after.memory_bytes.used);
}

TEST(RealSubject, a_limit_of_address_space_is_that_processs_own) {
  ForkedSubject subject([] {
    const rlimit limit{rlim_t{1} << 40, rlim_t{1} << 40};
    CHECK(::setrlimit(RLIMIT_AS, &limit) == 0);
  });
  subject.run();
  EXPECT_EQ(read_once(subject.pid()).address_space_bytes.limit, int64_t{1} << 40);
}

uint64_t throttled_ns(const QuotaCgroup& group) {
  std::ifstream file(group.folder() + "/cpu.stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto use = parse_cpu_stat(text);
  return use ? use->throttled_ns : 0;
}

TEST(RealSubject, throttling_by_a_cpu_quota_is_what_the_kernel_says) {
  const QuotaCgroup group({.used_us = 2000, .period_us = 20'000});
  if (!group.missing().empty()) GTEST_SKIP() << group.missing();
  {
    ForkedSubject subject([] { burn_cpu_ns(60 * kNanosPerMilli); });
    ASSERT_TRUE(group.add(subject.pid()));
    ProcReader proc("/proc");
    ResourceProbe probe(proc);
    probe.begin_pressure(subject.pid());
    const uint64_t before = throttled_ns(group);
    subject.run();
    (void)probe.read({subject.pid()}, monotonic_now_ns());
    const uint64_t after = throttled_ns(group);
    ASSERT_TRUE(probe.pressure().throttled_ns && probe.pressure().throttled_periods);
    // 60 ms of work at 2 ms per 20 ms is throttled in about 30 periods.
    EXPECT_GE(*probe.pressure().throttled_periods, 10u);
    EXPECT_GE(*probe.pressure().cpu_quota_periods, *probe.pressure().throttled_periods);
    // The groups above may have quotas too, so the sum is at least this group's. Linux 6.18 counts
    // no time for some throttled periods, so this group's may be 0.
    EXPECT_GE(*probe.pressure().throttled_ns, after - before);
  }
}

TEST(RealSubject, a_limit_that_it_sets_after_its_start_is_seen) {
  ForkedSubject subject([] {
    rlimit limit{40, 40};
    ::setrlimit(RLIMIT_NOFILE, &limit);
  });
  ProcReader proc("/proc");
  ResourceProbe probe(proc);
  const auto before = probe.read({subject.pid()}, monotonic_now_ns());
  ASSERT_TRUE(before.process_fds.limit);
  EXPECT_NE(*before.process_fds.limit, 40);
  subject.run();
  EXPECT_EQ(probe.read({subject.pid()}, monotonic_now_ns()).process_fds.limit, 40);
}

TEST(HostPressure, is_counted_where_the_kernel_has_it) {
  ProcReader proc("/proc");
  if (!proc.pressure("cpu")) GTEST_SKIP() << "no /proc/pressure: the kernel runs without PSI";
  ResourceProbe probe(proc);
  probe.begin_pressure(::getpid());
  const uint64_t before = *proc.pressure("cpu")->some_ns;
  {
    // There are more busy processes than CPUs, so some of them wait.
    std::vector<std::unique_ptr<ForkedSubject>> busy;
    for (long i = 0; i < ::sysconf(_SC_NPROCESSORS_ONLN) + 2; ++i)
      busy.push_back(std::make_unique<ForkedSubject>([] { burn_cpu_ns(100 * kNanosPerMilli); }));
    for (auto& one : busy) one->go();
    for (auto& one : busy) one->wait_done();
  }
  (void)probe.read({::getpid()}, monotonic_now_ns());
  const uint64_t after = *proc.pressure("cpu")->some_ns;
  ASSERT_TRUE(probe.pressure().host.cpu_some_ns);
  EXPECT_GT(*probe.pressure().host.cpu_some_ns, 0u);
  EXPECT_LE(*probe.pressure().host.cpu_some_ns, after - before);
}

}  // namespace
}  // namespace topspin
