// The Linux capabilities that this thread has, those that this kernel requires, and its version.
#pragma once

namespace topspin {

/// Why the kernel may refuse what the capabilities of this thread allow.
inline constexpr const char* kRefusedAnyway =
    "refused, though topspin has the capabilities: in a container by its seccomp profile, else by "
    "a security module or lockdown";
inline constexpr const char* kAllowAnyway =
    "in a container, --security-opt seccomp=unconfined (docs/containers.md)";

/// REQUIRES: a CAP_* number. Also false if the kernel does not know it.
bool has_effective_capability(int capability);

/// Whether the running kernel is of this version or a later one. False if that is not known.
bool kernel_is_since(int major, int minor);

/// Since Linux 5.19, everybody may use a BPF descriptor that a privileged process has opened.
bool kernel_restricts_open_bpf();

}  // namespace topspin
