// SyscallProbe: measures the cost of the subject's system calls with BPF. It is opened only on
// request, because it costs each call of the subject about 160 ns, and each call of any other
// process some tens of ns. It has two rungs: tp_btf (syscalls.bpf.c), and for kernels without BTF
// tracepoint (syscalls_tracepoint.bpf.c). There is no cheap enough way below them. Owned by Probes,
// on its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/result.h"
#include "core/tick/sample.h"
#include "probes/proc/proc_reader.h"
#include "probes/proc/subject.h"

namespace topspin {

/// What was measured since opening.
struct SyscallReading {
  std::vector<SyscallRow> changed;  // since the previous reading; each since opening
  LossInterval losses;              // the syscalls_* fields
  int64_t bpf_ns = 0;               // 0: the kernel does not count it
};

class SyscallProbe {
 public:
  virtual ~SyscallProbe() = default;
  static Result<std::unique_ptr<SyscallProbe>> open_tp_btf(const Subject& subject);
  static Result<std::unique_ptr<SyscallProbe>> open_tracepoint(const Subject& subject,
                                                               uint64_t max_threads,
                                                               ProcReader& proc);
  virtual SyscallReading read() = 0;
  /// The subject's cgroup was removed and created again.
  virtual void follow_cgroup(uint64_t /*id*/) {}
};

}  // namespace topspin
