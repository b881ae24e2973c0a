// CpuStacks: samples the stacks of the subject's threads while they run on a CPU. This is the probe
// "stacks"; it runs on request.
//
// A perf event of CPU time is opened on each existing thread and each CPU. The kernel extends it to
// the threads and processes that these start. It samples the call chain (kernel and user, by frame
// pointers) into one ring per CPU. In each tick the rings are emptied, addresses are replaced by
// names, and equal stacks are counted together; nothing else is kept. The kernel counts samples for
// which a ring had no room. Samples for which the table of stacks had no room are counted here.
//
// Changes of address spaces come from the same rings (mmap, fork, exec). Those of processes that
// existed before are read from /proc. Owned by Probes, on its thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "core/tick/sample.h"
#include "probes/perf/perf_event.h"
#include "probes/proc/proc_reader.h"
#include "probes/proc/subject.h"
#include "probes/stacks/stretch_samples.h"
#include "probes/stacks/symbols.h"

namespace topspin {

struct CpuStackInterval {
  std::vector<StackRow> changed;
  std::vector<StackSample> samples;  // one by one
  uint64_t samples_lost = 0;         // no room in a ring
  uint64_t samples_unstored = 0;     // beyond the limit of distinct stacks
};

/// A range of a process's addresses that holds code.
struct CodeMapping {
  uint64_t end = 0;
  uint64_t file_offset = 0;
  std::string path;  // empty, "//anon" or "[...]": no file
};

/// The code ranges of a process, by their first address. Pure.
class CodeMap {
 public:
  /// Adds a range, and replaces those that it overlaps.
  void add(uint64_t begin, CodeMapping mapping);
  /// The range of an address, with its first address; nullptr if there is none.
  const std::pair<const uint64_t, CodeMapping>* find(uint64_t address) const;
  void clear() { mappings_.clear(); }
  bool empty() const { return mappings_.empty(); }

 private:
  std::map<uint64_t, CodeMapping> mappings_;
};
/// The executable ranges in /proc/PID/maps.
CodeMap parse_code_maps(std::string_view text);

class CpuStacks {
 public:
  /// The memory that an unprivileged user may lock per CPU.
  static constexpr size_t kRingBytes = 512u << 10;

  /// `ring_bytes`: a power of two pages; smaller for tests.
  static Result<CpuStacks> open(const Subject& subject, int64_t samples_per_second,
                                ProcReader& proc, size_t ring_bytes = kRingBytes);

  /// Empties the rings. Returns the stacks whose counts grew since the last call, with their
  /// current counts.
  CpuStackInterval take_interval();

  /// The name of the code at `address` of a process, from the rings and /proc.
  std::string user_frame(int32_t pid, uint64_t address);
  /// The name of the kernel's code at `address`. Ends with "_[k]".
  std::string kernel_frame(uint64_t address) const;

  /// What is missing and why; empty if nothing is.
  const std::string& reason() const { return reason_; }

 private:
  /// One CPU's ring, written by the kernel.
  struct Ring {
    Ring(void* at, size_t all_bytes) : memory(at), bytes(all_bytes) {}
    Ring(Ring&& other) noexcept
        : memory(std::exchange(other.memory, nullptr)), bytes(other.bytes) {}
    Ring& operator=(Ring&&) = delete;
    ~Ring();
    void* memory;
    size_t bytes;
  };
  struct Record;
  struct Process {
    CodeMap code;
    SymbolTable jit;
    int64_t jit_size = -1;      // of perf-PID.map when it was read
    uint64_t jit_read_at = 0;   // the interval in which it was read
    uint64_t maps_read_at = 0;  // likewise
  };
  struct Stack {
    uint32_t number;
    uint64_t samples;
    bool changed;
  };

  CpuStacks(ProcReader& proc, size_t ring_bytes) : proc_(&proc), ring_bytes_(ring_bytes) {}

  /// What is sampled on each CPU: threads by their ids, or the descriptor of a cgroup.
  struct Targets {
    std::span<const int32_t> ids;
    unsigned long flags = 0;
  };

  Status open_events(const perf_event_attr& attr, Targets targets, const std::vector<int>& cpus);
  Result<uint64_t> open_events_on(int cpu, const perf_event_attr& attr, const Targets& targets,
                                  std::optional<Error>& failure);
  void read_kernel_symbols();
  void add_reason(const std::string& reason);
  void drain(std::vector<Record>& into);
  void apply(const Record& record, CpuStackInterval& interval);
  void take_fork(const Record& record);
  void take_exit(const Record& record);
  void take_name(const Record& record);
  void take_mapping(const Record& record);
  void count_sample(const Record& record, CpuStackInterval& interval);
  Process& process(int32_t pid);
  const std::string& comm(int32_t pid, int32_t tid);
  void read_jit_map(int32_t pid, Process& process);
  const ElfSymbols* elf(int32_t pid, const std::string& path);

  ProcReader* proc_;
  size_t ring_bytes_;
  bool counts_losses_ = false;  // else records in the ring report them
  uint64_t samples_lost_ = 0;
  std::vector<UniqueFd> events_;
  std::vector<Ring> rings_;
  SymbolTable kernel_;
  std::string reason_;
  uint64_t interval_ = 1;
  std::unordered_map<int32_t, Process> processes_;
  std::vector<int32_t> ended_;  // processes whose code is still needed until the next interval
  std::unordered_map<int32_t, std::string> comms_;  // tid -> name
  std::unordered_map<std::string, std::optional<ElfSymbols>> files_;
  std::map<std::pair<std::string, std::string>, Stack> stacks_;  // (thread, frames)
};

}  // namespace topspin
