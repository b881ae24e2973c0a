// What `--runtime` adds to one span inside a runtime: in the subject, and in another process that
// runs the same program. The runtime is this program itself, described in a file that it writes. A
// span is two calls of empty functions. The rounds of the configurations alternate, pinned to one
// CPU. Prints medians of CPU time, as differences to "nothing" of the same round.
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
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/one_cpu.h"
#include "core/base/check.h"
#include "core/base/clock.h"
#include "probes/probes.h"

// A uprobe on `push` or a no-op costs one trap. The kernel runs most other first instructions out
// of line, and steps over them with a second trap.
extern "C" {
void topspin_bench_begin();
void topspin_bench_end();
void topspin_bench_begin_stepped();
void topspin_bench_end_stepped();
}
#if defined(__x86_64__)
#define TOPSPIN_BENCH_BODY "push %rbp\npop %rbp\nret\n"
#define TOPSPIN_BENCH_STEPPED "xor %eax, %eax\nret\n"
#elif defined(__aarch64__)
#define TOPSPIN_BENCH_BODY "nop\nret\n"
#define TOPSPIN_BENCH_STEPPED "mov x0, xzr\nret\n"
#else
#error "write a function that begins with an instruction which uprobes need not step over"
#endif
#define TOPSPIN_BENCH_FUNCTION(name, body)                                               \
  asm(".text\n.globl " name "\n.type " name ",%function\n" name ":\n" body ".size " name \
      ", .-" name "\n")
TOPSPIN_BENCH_FUNCTION("topspin_bench_begin", TOPSPIN_BENCH_BODY);
TOPSPIN_BENCH_FUNCTION("topspin_bench_end", TOPSPIN_BENCH_BODY);
TOPSPIN_BENCH_FUNCTION("topspin_bench_begin_stepped", TOPSPIN_BENCH_STEPPED);
TOPSPIN_BENCH_FUNCTION("topspin_bench_end_stepped", TOPSPIN_BENCH_STEPPED);

namespace topspin {
namespace {

constexpr int kDefaultRounds = 11;
constexpr int kSpans = 20'000;

/// A process that makes spans on command, and reports the CPU time per span.
class Worker {
 public:
  Worker() {
    int command[2], answer[2];
    CHECK(::pipe(command) == 0 && ::pipe(answer) == 0);
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      pin();
      char byte = 0;
      while (::read(command[0], &byte, 1) == 1) {
        const bool is_stepped = byte == 's';
        const int64_t begin_ns = process_cpu_now_ns();
        for (int i = 0; i < kSpans; ++i) {
          if (is_stepped) {
            topspin_bench_begin_stepped();
            topspin_bench_end_stepped();
          } else {
            topspin_bench_begin();
            topspin_bench_end();
          }
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
  double ns_per_span(bool is_stepped) const {
    double ns = 0;
    CHECK(::write(to_, is_stepped ? "s" : "p", 1) == 1 &&
          ::read(from_, &ns, sizeof(ns)) == sizeof(ns));
    return ns;
  }

 private:
  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
};

struct Configuration {
  const char* name;
  const char* points;  // begin and end of the span, as in the file
  bool is_subject;
  bool is_stepped;
  std::vector<double> added = {};
};

void run(int rounds) {
  std::vector<Configuration> configurations = {
      {"two entries", "begin = \"topspin_bench_begin\"\nend = \"topspin_bench_end\"\n", true,
       false},
      {"two entries, stepped",
       "begin = \"topspin_bench_begin_stepped\"\nend = \"topspin_bench_end_stepped\"\n", true,
       true},
      {"an entry and its return",
       "begin = \"topspin_bench_begin\"\nend = \"return:topspin_bench_begin\"\n", true, false},
      {"two entries, not the subject",
       "begin = \"topspin_bench_begin\"\nend = \"topspin_bench_end\"\n", false, false},
  };
  const Worker subject, other;
  const std::string file = fmt::format("/tmp/topspin-bench-{}.toml", ::getpid());
  std::vector<double> nothing;
  for (int round = 0; round < rounds; ++round) {
    nothing.push_back(subject.ns_per_span(false));
    for (Configuration& one : configurations) {
      std::ofstream(file) << "name = \"bench\"\nobjects = [\"probes_runtime_cost\"]\n"
                             "[[span]]\nkind = \"gc\"\n"
                          << one.points;
      ProbeOptions options;
      options.runtime = file;
      options.forced = {
          {"scheduler", Rung::kNone}, {"accepts", Rung::kNone}, {"replies", Rung::kNone}};
      SubjectSpec spec;
      spec.kind = SubjectSpec::Kind::kProcessTree;
      spec.pid = subject.pid();
      auto probes = Probes::open(spec, options);
      CHECK(probes.ok());
      (void)(*probes)->take_interval();
      const double ns =
          one.is_subject ? subject.ns_per_span(one.is_stepped) : other.ns_per_span(one.is_stepped);
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
