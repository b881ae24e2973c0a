// CpuStacks: where the subject's threads are when they are on a CPU. The probe "stacks", on
// request.
//
// A perf event of CPU time on each thread that is there and each CPU, carried on by the kernel to
// the threads and processes that those start, samples the call chain (kernel and user, by frame
// pointers) into one ring a CPU. Each tick the rings are emptied, addresses become names, and equal
// stacks are counted together: nothing else is kept. What the rings had no room for is counted by
// the kernel, what the table of different stacks had no room for here.
//
// Address spaces are followed from the same rings (mmap, fork, exec); those of processes that were
// there before are read from /proc. Owned by Probes, on its thread.
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
#include "probes/stacks/symbols.h"

namespace topspin {

struct CpuStackInterval {
  std::vector<StackRow> changed;
  uint64_t samples_lost = 0;      // no room in a ring
  uint64_t samples_unstored = 0;  // beyond the most different stacks
};

/// A stretch of a process's addresses that is code.
struct CodeMapping {
  uint64_t end = 0;
  uint64_t file_offset = 0;
  std::string path;  // empty or "//anon" or "[...]": no file
};

/// The code of a process, by where it begins. Pure.
class CodeMap {
 public:
  /// Takes the place of what it overlaps.
  void add(uint64_t begin, CodeMapping mapping);
  /// With where it begins; nullptr: none.
  const std::pair<const uint64_t, CodeMapping>* find(uint64_t address) const;
  void clear() { mappings_.clear(); }
  bool empty() const { return mappings_.empty(); }

 private:
  std::map<uint64_t, CodeMapping> mappings_;
};
/// The lines of /proc/PID/maps that are executable.
CodeMap parse_code_maps(std::string_view text);

class CpuStacks {
 public:
  /// What a user without privilege may lock for each CPU.
  static constexpr size_t kRingBytes = 512u << 10;

  /// `ring_bytes`: a power of two pages; smaller for tests.
  static Result<CpuStacks> open(const Subject& subject, int64_t samples_per_second,
                                ProcReader& proc, size_t ring_bytes = kRingBytes);

  /// Empties the rings; the stacks that grew since the last call, as they stand now.
  CpuStackInterval take_interval();

  /// What is missing and why; empty: nothing.
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
    uint64_t jit_read_at = 0;   // in which interval
    uint64_t maps_read_at = 0;  // likewise
  };
  struct Stack {
    uint32_t number;
    uint64_t samples;
    bool changed;
  };

  CpuStacks(ProcReader& proc, size_t ring_bytes) : proc_(&proc), ring_bytes_(ring_bytes) {}

  Status open_events(const perf_event_attr& attr, std::span<const ThreadOf> threads,
                     const std::vector<int>& cpus);
  Result<uint64_t> open_events_on(int cpu, const perf_event_attr& attr,
                                  std::span<const ThreadOf> threads, std::optional<Error>& failure);
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
  std::string user_frame(int32_t pid, uint64_t address);
  std::string kernel_frame(uint64_t address) const;
  void read_jit_map(int32_t pid, Process& process);
  const ElfSymbols* elf(int32_t pid, const std::string& path);

  ProcReader* proc_;
  size_t ring_bytes_;
  bool counts_losses_ = false;  // else records tell of them
  uint64_t samples_lost_ = 0;
  std::vector<UniqueFd> events_;
  std::vector<Ring> rings_;
  SymbolTable kernel_;
  std::string reason_;
  uint64_t interval_ = 1;
  std::unordered_map<int32_t, Process> processes_;
  std::unordered_map<int32_t, std::string> comms_;  // tid -> name
  std::unordered_map<std::string, std::optional<ElfSymbols>> files_;
  std::map<std::pair<std::string, std::string>, Stack> stacks_;  // (thread, frames)
};

}  // namespace topspin
