// Fuzz target: texts of /proc, which contain names that processes choose.
#include "core/base/proc_stat.h"
#include "core/tick/host_usage.h"
#include "load/wire/target.h"
#include "probes/proc/cgroup_reader.h"
#include "probes/proc/proc_reader.h"
#include "probes/sockets/socket_ledger.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  const std::string_view text = fuzz_text(data, size);
  (void)parse_proc_stat(text);
  (void)parse_proc_status(text);
  (void)parse_proc_schedstat(text);
  (void)parse_smaps_rollup(text);
  (void)parse_proc_limits(text);
  (void)parse_meminfo(text);
  (void)parse_pressure(text);
  (void)count_ephemeral_ports(text, text);
  (void)count_ephemeral_ports("32768\t60999\n", text);
  (void)parse_cpu_stat(text);
  (void)parse_host_cpu(text, 100);
  (void)parse_listen_counts(text);
  (void)find_cgroup_mount(text, "");
  (void)find_cgroup_mount(text, "cpu");
  (void)find_cgroup_path(text, "");
  (void)lists_udp_end(text, {});
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 3 0 99 1000 50 184 1 1 0 0 0 0 0 0 0 0 "
      "0 0 17 1 0 0 0 0 0\n",
      "Name:\tx\nTgid:\t7\nVmRSS:\t  12 kB\nRssAnon:\t8 kB\nThreads:\t3\n"
      "voluntary_ctxt_switches:\t5\n",
      "123 456 7\n",
      "0-0 ---p 0 0:0 0 [rollup]\nPss:   10 kB\nSwapPss:  2 kB\n",
      "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024    4096   files\n"
      "Max address space         unlimited  unlimited bytes\n",
      "MemTotal:  100 kB\nMemAvailable:  50 kB\n",
      "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 total=3\n",
      "32768\t60999\n",
      "8080,9148-9200,40000-40010\n",
      "nr_periods 3\nnr_throttled 1\nthrottled_usec 99\n",
      "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4\n",
      "TcpExt: ListenOverflows ListenDrops\nTcpExt: 3 4\n",
      "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
      "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
      "0::/user.slice/a b\n4:cpu,cpuacct:/x\n",
      "  sl  local_address rem_address   st\n 1: 0100007F:0355 00000000:0000 07 0:0 0:0 0 0\n"};
}
