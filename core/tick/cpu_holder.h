// CpuHolderRow: who had the CPUs while threads of the subject waited for them. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace topspin {

/// What held a CPU while threads of the subject waited for it.
///
/// Each wait for a CPU is divided among those that had the CPU meanwhile, in nanoseconds of
/// waiting: if three threads wait behind one process for 1 ms, it held 3 ms. So the sum over all
/// kinds is the sum of all waits that have ended, plus the time so far of waits that are open.
enum class CpuHolder : uint8_t {
  kSubject,       // another thread of the subject
  kProcess,       // a process outside the subject
  kKernelThread,  // a thread of the kernel
  kInterrupts,    // interrupts (if the kernel accounts for their time) and stolen time
  kIdle,          // nobody: the CPU was idle and had to wake up
  kQuota,         // nobody: the cgroup's quota held the thread back
  kUnseen,        // not known: hidden switches, no room
};
inline constexpr size_t kCpuHolderCount = 7;
std::string_view cpu_holder_name(CpuHolder kind);  // "subject", "process", ...
std::optional<CpuHolder> parse_cpu_holder(std::string_view name);

/// A program that held CPUs while the subject waited for them. Its processes are counted together,
/// since the run began.
struct CpuHolderRow {
  uint32_t number = 0;                   // within the run, from 1
  CpuHolder kind = CpuHolder::kProcess;  // kSubject, kProcess or kKernelThread
  std::string name;    // comm of the process or kernel thread: hostile text; "": beyond the limit
  std::string cgroup;  // path: hostile text; "": not known, or a kernel thread
  int32_t pid = 0;     // of the process seen last
  uint64_t processes = 0;  // how many
  uint64_t held_ns = 0;    // nanoseconds of waiting, as above
};

}  // namespace topspin
