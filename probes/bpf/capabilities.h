// The Linux capabilities that this thread has, and those that this kernel requires.
#pragma once

namespace topspin {

/// REQUIRES: a CAP_* number. Also false if the kernel does not know it.
bool has_effective_capability(int capability);

/// Since Linux 5.19, everybody may use a BPF descriptor that a privileged process has opened.
bool kernel_restricts_open_bpf();

}  // namespace topspin
