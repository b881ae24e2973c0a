// Subject: SubjectSpec made certain. Which process (pid and start time, so that a reused number is
// not taken for it) or which cgroup (its id, which BPF sees, and its directory). Plain values.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "probes/probes.h"
#include "probes/proc_reader.h"

namespace topspin {

struct Subject {
  SubjectSpec::Kind kind = SubjectSpec::Kind::kNone;
  int32_t pid = 0;
  uint64_t start_ticks = 0;
  uint64_t cgroup_id = 0;
  std::string cgroup_directory;
};

/// Fails with kUsage if the process or the cgroup is not there.
Result<Subject> resolve_subject(const SubjectSpec& spec, ProcReader& proc);

}  // namespace topspin
