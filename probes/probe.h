// ProbeOptions: what the user asks of the probes.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/sample.h"
#include "probes/proc/subject.h"

namespace topspin {

struct ProbeOptions {
  std::map<std::string, Rung> forced;  // probe name -> the only rung to try
  uint64_t max_threads = 65'536;       // with a row each; more are counted in thread_rows_unstored
  uint64_t max_thread_rows_per_interval = 20'000;
  bool counters = false;            // perf counters: they cost at each context switch
  int64_t stacks_per_second = 0;    // CPU samples with stacks, of each CPU in use; 0: none
  std::string proc_root = "/proc";  // for tests

  bool syscalls = false;          // measure system calls: some 160 ns each for the subject
  uint64_t max_sockets = 16'384;  // listening and UDP sockets with a row each
};

}  // namespace topspin
