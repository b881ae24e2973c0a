// CpuHolders finds who had the CPUs for which the subject's threads waited. It reads this from the
// scheduler's BPF programs, and looks up the names. Owned by a rung of the scheduler probe, on its
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "core/tick/sample.h"
#include "probes/bpf/mapped_array.h"
#include "probes/scheduler/bpf/scheduler_abi.h"
#include "probes/scheduler/rungs/scheduler_rung.h"

namespace topspin {

class CpuHolders {
 public:
  /// `map_fd`: the map `holders`, which outlives this object.
  CpuHolders(int map_fd, std::string proc_root)
      : map_fd_(map_fd), proc_root_(std::move(proc_root)) {}

  /// Sets waited_behind and cpu_holders_missed of the totals, and returns the rows that changed.
  void read(const MappedBpfArray<topspin_cpu>& cpus, SchedulerReading& reading);

 private:
  struct Process {
    topspin_holder seen{};  // its held_ns includes what is in slots
    bool in_slot = false;
    uint64_t counted_ns = 0;  // the part of held_ns that is in a row
    size_t row = 0;
    std::string name;  // of that row
  };
  using Processes = std::unordered_map<uint32_t, Process>;  // by thread group

  bool read_processes(const MappedBpfArray<topspin_cpu>& cpus);
  std::vector<std::pair<uint32_t, topspin_holder>> read_elements() const;
  std::string name_of(const topspin_holder& holder) const;
  void count(Process& process, std::vector<bool>& changed);
  size_t row_of(const Process& process);
  void forget_idle();

  int map_fd_;
  std::string proc_root_;
  Processes processes_;
  std::vector<CpuHolderRow> rows_;
  std::map<std::tuple<CpuHolder, std::string, std::string>, size_t> places_;  // kind, name, cgroup
  std::array<uint64_t, kCpuHolderCount> held_ns_{};  // for kinds that have names
};

}  // namespace topspin
