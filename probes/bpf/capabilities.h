// Which Linux capabilities this thread has right now, and which this kernel asks for.
#pragma once

namespace topspin {

/// REQUIRES: a CAP_* number. False too where the kernel does not know it.
bool has_effective_capability(int capability);

/// Kernels from 5.19 on let everybody use BPF descriptors that were opened by somebody who might.
bool kernel_restricts_open_bpf();

}  // namespace topspin
