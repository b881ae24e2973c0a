// What `--runtime` adds to one span inside a runtime: of the subject, and of another process that
// runs the same file. The runtime is this program itself, described in a file of its own: a span is
// two calls of empty functions. Alternating rounds of each configuration, pinned to one CPU;
// medians of CPU time, as differences to "nothing" of the same round.
//
//   probes_runtime_cost [rounds]
//
// Needs root with BPF.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/check.h"
#include "core/base/clock.h"
#include "probes/probes.h"

extern "C" [[gnu::noinline, gnu::used]] void topspin_bench_begin() { asm volatile("# begin"); }
extern "C" [[gnu::noinline, gnu::used]] void topspin_bench_end() { asm volatile("# end"); }

namespace topspin {
namespace {

constexpr int kDefaultRounds = 11;
constexpr int kCpu = 1;
constexpr int kSpans = 20'000;

/// A process that makes spans when told, and answers with the CPU time that each took.
class Worker {
 public:
  Worker() {
    int command[2], answer[2];
    CHECK(::pipe(command) == 0 && ::pipe(answer) == 0);
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(::sysconf(_SC_NPROCESSORS_ONLN) > kCpu ? kCpu : 0, &set);
      CHECK(::sched_setaffinity(0, sizeof(set), &set) == 0);
      char byte = 0;
      while (::read(command[0], &byte, 1) == 1) {
        const int64_t begin_ns = process_cpu_now_ns();
        for (int i = 0; i < kSpans; ++i) {
          topspin_bench_begin();
          topspin_bench_end();
        }
        const double ns = static_cast<double>(process_cpu_now_ns() - begin_ns) / kSpans;
        CHECK(::write(answer[1], &ns, sizeof(ns)) == sizeof(ns));
      }
      ::_exit(0);
    }
    to_ = command[1], from_ = answer[0];
  }
  ~Worker() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  pid_t pid() const { return pid_; }
  double ns_per_span() const {
    double ns = 0;
    CHECK(::write(to_, "x", 1) == 1 && ::read(from_, &ns, sizeof(ns)) == sizeof(ns));
    return ns;
  }

 private:
  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
};

struct Configuration {
  const char* name;
  const char* points;  // of the file
  bool is_subject;
  std::vector<double> added = {};
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void run(int rounds) {
  std::vector<Configuration> configurations = {
      {"begin and end at two entries",
       "begin = \"topspin_bench_begin\"\nend = \"topspin_bench_end\"\n", true},
      {"begin at an entry, end at the return",
       "begin = \"topspin_bench_begin\"\nend = \"return:topspin_bench_begin\"\n", true},
      {"two entries, not the subject",
       "begin = \"topspin_bench_begin\"\nend = \"topspin_bench_end\"\n", false},
  };
  const Worker subject, other;
  const std::string file = fmt::format("/tmp/topspin-bench-{}.toml", ::getpid());
  std::vector<double> nothing;
  for (int round = 0; round < rounds; ++round) {
    nothing.push_back(subject.ns_per_span());
    for (Configuration& one : configurations) {
      std::ofstream(file) << "name = \"bench\"\nobjects = [\"probes_runtime_cost\"]\n"
                             "[[span]]\nkind = \"gc\"\n"
                          << one.points;
      ProbeOptions options;
      options.runtime = file;
      options.forced = {
          {"scheduler", Rung::kProc}, {"accepts", Rung::kNone}, {"replies", Rung::kNone}};
      SubjectSpec spec;
      spec.kind = SubjectSpec::Kind::kProcessTree;
      spec.pid = subject.pid();
      auto probes = Probes::open(spec, options);
      CHECK(probes.ok());
      (void)(*probes)->take_interval();
      const double ns = one.is_subject ? subject.ns_per_span() : other.ns_per_span();
      const auto measured = (*probes)->take_interval().part<RuntimeInterval>();
      CHECK(measured && measured->gc);
      CHECK(measured->gc->count() == (one.is_subject ? kSpans : 0u));
      one.added.push_back(ns - nothing.back());
    }
  }
  std::remove(file.c_str());
  fmt::print("nothing attached: {:.1f} ns a span\n", median(nothing));
  for (const Configuration& one : configurations)
    fmt::print("{:40} {:8.0f} ns added a span\n", one.name, median(one.added));
}

}  // namespace
}  // namespace topspin

int main(int argc, char** argv) {
  topspin::run(argc > 1 ? std::atoi(argv[1]) : topspin::kDefaultRounds);
  return 0;
}
