// ProcessTree: the processes of a subject, found only from /proc. For the rungs below BPF.
//
// A member remains a member, even if it gets another parent. A process that is forked twice and
// loses its middle process between two updates is not found; only BPF sees that. Lives on one
// thread.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "probes/proc/proc_reader.h"
#include "probes/proc/subject.h"

namespace topspin {

class ProcessTree {
 public:
  ProcessTree(const Subject& subject, ProcReader& proc) : subject_(subject), proc_(proc) {}

  /// Reads /proc (process tree: every stat file of the host; cgroup: cgroup.procs of it and below).
  void update();

  /// Members that have not ended, ascending.
  const std::vector<int32_t>& processes() const { return alive_; }

  /// Whether topspin itself would be a member. It is left out, with everything that it starts,
  /// unless it is the named subject.
  bool has_own_process() const { return has_own_process_; }

 private:
  void update_tree();
  void update_cgroup();

  Subject subject_;
  ProcReader& proc_;
  std::map<int32_t, uint64_t> members_;  // pid -> start ticks; zombies too, until reaped
  std::vector<int32_t> alive_;
  bool has_own_process_ = false;
};

}  // namespace topspin
