// CPU per packet of the flow tracker reading a file, as a ratio to an empty libpcap loop on the
// same file, and its memory per flow.
//
//   capture_read FILE [--rounds N]
//   capture_read FILE --threads N [--rounds N]   wall time of the tracker with one thread and with
//                                                N
//   capture_read FILE --empty                    the empty loop alone, for bench/compare
//   capture_read FILE --tracker [N]              the tracker alone, for perf and valgrind
//
// Each round runs them in turn, each in a child process, so that none affects the memory of the
// others. CPU is the user and system time of the child. Times and ratios are medians over the
// rounds; memory is that of the last round.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <pcap/pcap.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/flow_tracker.h"

namespace {

struct Outcome {
  double cpu_ns = 0;
  double wall_ns = 0;
  int64_t rss_peak_bytes = 0;
  uint64_t packets = 0;
  uint64_t flows = 0;
  int64_t rss_grown_bytes = 0;
  uint64_t active_max = 0;
};

int64_t rss_bytes() {
  std::ifstream in("/proc/self/statm");
  int64_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

Outcome empty_loop(const char* path) {
  Outcome out;
  char error[PCAP_ERRBUF_SIZE];
  pcap_t* pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, error);
  if (pcap == nullptr) std::exit(5);
  pcap_loop(
      pcap, -1,
      [](u_char* user, const pcap_pkthdr*, const u_char*) { ++*reinterpret_cast<uint64_t*>(user); },
      reinterpret_cast<u_char*>(&out.packets));
  pcap_close(pcap);
  return out;
}

Outcome tracker_with(const char* path, int threads) {
  Outcome out;
  const int64_t before = rss_bytes();
  topspin::FileOptions file;
  file.path = path;
  topspin::FlowTableOptions table;
  file.threads = threads;
  table.max_flows = 16'000'000;
  auto opened = topspin::FlowTracker::open_file(file, table);
  if (!opened.ok()) std::exit(5);
  const topspin::IntervalSink sink = [](topspin::ClosedInterval&&) {};
  while (true) {
    auto step = (*opened)->step(sink);
    if (!step.ok() || *step == topspin::StepOutcome::kEnd) break;
  }
  const auto& totals = (*opened)->totals();
  out.packets = totals.packets;
  out.flows = totals.tcp.flows + totals.udp.flows;
  out.active_max = totals.active_flows_max;
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  out.rss_grown_bytes = used.ru_maxrss * 1024 - before;
  return out;
}

Outcome tracker(const char* path) { return tracker_with(path, 1); }

template <typename Run>
Outcome in_child(Run run, const char* path) {
  const auto began = std::chrono::steady_clock::now();
  int pipe_fds[2];
  if (pipe(pipe_fds) != 0) std::exit(5);
  const pid_t pid = fork();
  if (pid == 0) {
    const Outcome out = run(path);
    const bool written = write(pipe_fds[1], &out, sizeof out) == sizeof out;
    _exit(written ? 0 : 1);
  }
  Outcome out;
  const bool got = read(pipe_fds[0], &out, sizeof out) == sizeof out;
  close(pipe_fds[0]);
  close(pipe_fds[1]);
  rusage used{};
  int status = 0;
  if (wait4(pid, &status, 0, &used) != pid || status != 0 || !got) std::exit(5);
  const std::chrono::duration<double, std::nano> passed = std::chrono::steady_clock::now() - began;
  out.wall_ns = passed.count();
  const auto ns = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_usec) * 1e3;
  };
  out.cpu_ns = ns(used.ru_utime) + ns(used.ru_stime);
  out.rss_peak_bytes = used.ru_maxrss * 1024;
  return out;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Compares the wall time with one thread and with several.
int compare_threads(const char* path, int threads, int rounds) {
  std::vector<double> empty_ns, one_ns, several_ns, gains, cpu_ratios;
  uint64_t packets = 0;
  for (int round = 0; round < rounds; ++round) {
    const Outcome empty = in_child(empty_loop, path);
    const Outcome one = in_child(tracker, path);
    const Outcome several =
        in_child([=](const char* file) { return tracker_with(file, threads); }, path);
    packets = empty.packets;
    if (one.packets != packets || several.packets != packets) {
      fmt::print(stderr, "{} and {} packets, libpcap {}\n", one.packets, several.packets, packets);
      return 1;
    }
    const auto count = static_cast<double>(packets);
    empty_ns.push_back(empty.wall_ns / count);
    one_ns.push_back(one.wall_ns / count);
    several_ns.push_back(several.wall_ns / count);
    gains.push_back(one.wall_ns / several.wall_ns);
    cpu_ratios.push_back(several.cpu_ns / one.cpu_ns);
  }
  fmt::print(
      "{{\"file\": \"{}\", \"packets\": {}, \"threads\": {}, \"empty_loop_wall_ns\": {:.1f}, "
      "\"one_thread_wall_ns\": {:.1f}, \"wall_ns\": {:.1f}, \"times_faster\": {:.2f}, "
      "\"times_cpu\": {:.2f}}}\n",
      path, packets, threads, median(empty_ns), median(one_ns), median(several_ns), median(gains),
      median(cpu_ratios));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr,
               "usage: capture_read FILE [--threads N] [--rounds N] [--empty | --tracker [N]]\n");
    return 2;
  }
  if (argc == 3 && std::strcmp(argv[2], "--empty") == 0) {
    return empty_loop(argv[1]).packets == 0 ? 1 : 0;
  }
  if (argc >= 3 && std::strcmp(argv[2], "--tracker") == 0) {
    return tracker_with(argv[1], argc > 3 ? std::atoi(argv[3]) : 1).packets == 0 ? 1 : 0;
  }
  int rounds = 7, threads = 1;
  for (int i = 2; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::max(1, std::atoi(argv[i + 1]));
    if (std::strcmp(argv[i], "--threads") == 0) threads = std::max(1, std::atoi(argv[i + 1]));
  }
  if (threads > 1) return compare_threads(argv[1], threads, rounds);
  std::vector<double> empty_ns, tracker_ns, ratios;
  Outcome last;
  for (int round = 0; round < rounds; ++round) {
    const Outcome empty = in_child(empty_loop, argv[1]);
    last = in_child(tracker, argv[1]);
    if (last.packets != empty.packets) {
      fmt::print(stderr, "the tracker saw {} packets, libpcap {}\n", last.packets, empty.packets);
      return 1;
    }
    const auto packets = static_cast<double>(empty.packets);
    empty_ns.push_back(empty.cpu_ns / packets);
    tracker_ns.push_back(last.cpu_ns / packets);
    ratios.push_back(last.cpu_ns / empty.cpu_ns);
  }
  const double bytes_per_flow =
      last.flows == 0 ? 0
                      : static_cast<double>(last.rss_grown_bytes) / static_cast<double>(last.flows);
  fmt::print(
      "{{\"file\": \"{}\", \"packets\": {}, \"flows\": {}, \"active_flows_max\": {}, "
      "\"empty_loop_ns\": {:.1f}, \"tracker_ns\": {:.1f}, \"ratio\": {:.2f}, "
      "\"rss_bytes_per_flow\": {:.0f}, \"rss_peak_bytes\": {}}}\n",
      argv[1], last.packets, last.flows, last.active_max, median(empty_ns), median(tracker_ns),
      median(ratios), bytes_per_flow, last.rss_peak_bytes);
  return 0;
}
