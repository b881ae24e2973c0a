// Tells BPF objects that keep a state in task storage which threads belong to the subject. The
// programs are attached first, and follow forks. Then the root is marked (through a pidfd, so that
// it is the right process), and all threads are walked until a walk finds no new one. The walk
// finds threads that were forked before their parent was marked. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include <bpf/libbpf.h>

#include "core/base/result.h"
#include "probes/proc/subject.h"

namespace topspin {

/// The parts of a skeleton that this needs. A value of `threads` begins with a __u32 that is 0 for
/// a thread about which nothing is known yet.
struct SubjectWatch {
  int threads_fd = -1;                    // map `threads`
  size_t thread_bytes = 0;                // of its values
  uint32_t seed = 1;                      // how the value of the root begins
  bpf_link* walk = nullptr;               // of walk_threads
  const __u64* threads_joined = nullptr;  // the programs' own variable, mapped
};

/// Makes the subject's threads members. REQUIRES: the programs are attached, so that children of
/// members join automatically. kUsage if the process has ended.
Status seed_subject(const SubjectWatch& watch, const Subject& subject);

/// Walks over all threads of the host once. In cgroup mode, call it once per tick.
Status walk_subject(const SubjectWatch& watch);

/// Runs an iterator to its end. `take` gets what it writes, in pieces that may end anywhere.
/// `what` completes the sentence "cannot walk the ...".
Status read_iterator(bpf_link* link, const char* what,
                     const std::function<void(std::string_view)>& take);

/// Runs an iterator that writes no output.
Status run_iterator(bpf_link* link, const char* what);

}  // namespace topspin
