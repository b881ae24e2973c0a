// SyscallProbe: what the subject's system calls cost, by BPF (syscalls.bpf.c). Opened only on
// request, since it costs each call of the subject some 160 ns, and each call of every other
// process of the host some tens. One rung, tp_btf: below it nothing counts calls at a bearable
// price. Owned by Probes, on its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/result.h"
#include "core/sample.h"
#include "probes/subject.h"

namespace topspin {

/// What it has seen since opening.
struct SyscallReading {
  std::vector<SyscallRow> changed;  // since the previous reading; each since opening
  LossInterval losses;              // the syscalls_* fields
  int64_t bpf_ns = 0;               // 0: the kernel does not count it
};

class SyscallProbe {
 public:
  virtual ~SyscallProbe() = default;
  static Result<std::unique_ptr<SyscallProbe>> open(const Subject& subject);
  virtual SyscallReading read() = 0;
};

}  // namespace topspin
