// What the BPF objects that include subject_thread.bpf.h share in user space: naming the subject's
// threads to them, and the kernel's account of their programs. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "core/result.h"
#include "probes/proc/subject.h"
#include "probes/scheduler/scheduler_abi.h"

namespace topspin {

/// The parts of a skeleton that subject_thread.bpf.h declares.
struct SubjectWatch {
  int threads_fd = -1;                    // map `threads`
  size_t thread_bytes = 0;                // of its values
  bpf_link* walk = nullptr;               // of walk_threads
  const __u64* threads_joined = nullptr;  // the programs' own variable, mapped
};

/// Makes the subject's threads members. REQUIRES: the programs are attached, so that from now on
/// members' children join by themselves. kUsage: the process is gone.
Status seed_subject(const SubjectWatch& watch, const Subject& subject);

/// One pass over all threads of the host; in cgroup mode due once a tick.
Status walk_subject(const SubjectWatch& watch);

/// A pass of an iterator that writes nothing.
Status run_iterator(bpf_link* link, const char* what);

struct ProgramStats {
  uint64_t missed_runs = 0;  // skipped, since they were running already on that CPU
  int64_t run_ns = 0;        // 0 unless the kernel counts it (kernel.bpf_stats_enabled)
};
std::vector<int> loaded_programs(const bpf_object* object);
ProgramStats read_program_stats(std::span<const int> program_fds);

/// A histogram as BPF keeps it.
Histogram read_histogram(const topspin_cells& cells);

}  // namespace topspin
