// The Linux capabilities that this thread has, those that this kernel requires, and its version.
#pragma once

namespace topspin {

/// REQUIRES: a CAP_* number. Also false if the kernel does not know it.
bool has_effective_capability(int capability);

/// Whether the running kernel is of this version or a later one. False if that is not known.
bool kernel_is_since(int major, int minor);

/// Since Linux 5.19, everybody may use a BPF descriptor that a privileged process has opened.
bool kernel_restricts_open_bpf();

}  // namespace topspin
