// Shared by the users of BPF objects: errors made from libbpf's messages, RAII types for a skeleton
// and a ring, loading and attaching, and the run time of programs as the kernel counts it. Each
// object on one thread; several threads may load objects at the same time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "core/number/histogram.h"
#include "probes/bpf/cells_abi.h"
#include "probes/bpf/mapped_array.h"

namespace topspin {

/// The warnings of libbpf on this thread since its construction. libbpf never prints anything to
/// standard error once there was one.
class BpfLog {
 public:
  BpfLog();
  BpfLog(const BpfLog&) = delete;
  BpfLog& operator=(const BpfLog&) = delete;

  /// One sentence for a libbpf call that failed with `os_errno` (positive) while doing `what`.
  Error error(std::string_view what, int os_errno, bool needs_btf = true) const;
};

/// For a hash whose elements programs create or delete while the scheduler's locks are held. Until
/// Linux 6.1, the kernel allocates such an element with its general allocator, which may need these
/// locks itself. There the hash is made with all its elements, and of at most 16,384, since they
/// take memory.
void make_safe_in_scheduler(bpf_map* map);

template <typename Skeleton>
struct DestroySkeleton {
  void operator()(Skeleton* skeleton) const { Skeleton::destroy(skeleton); }
};
template <typename Skeleton>
using OwnedSkeleton = std::unique_ptr<Skeleton, DestroySkeleton<Skeleton>>;

struct FreeRing {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};
using RingBuffer = std::unique_ptr<ring_buffer, FreeRing>;
/// `of_what` completes the sentence "cannot map the ring of ...".
Result<RingBuffer> open_ring(int map_fd, ring_buffer_sample_fn on_record, void* context,
                             std::string_view of_what);

/// A map in task storage, for objects that share it: made before either, so that they can load at
/// the same time. An error if this kernel has no such maps, or the user may not create them.
Result<UniqueFd> make_task_storage(const char* name, uint32_t value_bytes);

/// Loads the programs of an opened skeleton. `array` is its BPF_F_MMAPABLE map, with `elements` for
/// each possible CPU. `programs` completes the sentence "cannot load the ... programs".
template <typename Element, typename Skeleton>
Result<MappedBpfArray<Element>> load_programs(Skeleton& skeleton, bpf_map* array, uint32_t elements,
                                              const BpfLog& log, std::string_view programs,
                                              bool needs_btf = true) {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return log.error("cannot count the CPUs", -cpus, needs_btf);
  const uint32_t all = static_cast<uint32_t>(cpus) * elements;
  bpf_map__set_max_entries(array, all);
  if (const int error = Skeleton::load(&skeleton))
    return log.error(fmt::format("cannot load the {} programs", programs), -error, needs_btf);
  return MappedBpfArray<Element>::map(bpf_map__fd(array), all);
}

/// REQUIRES: they are loaded.
template <typename Skeleton>
Status attach_programs(Skeleton& skeleton, const BpfLog& log, std::string_view programs,
                       bool needs_btf = true) {
  if (const int error = Skeleton::attach(&skeleton))
    return log.error(fmt::format("cannot attach the {} programs", programs), -error, needs_btf);
  return {};
}

struct ProgramStats {
  uint64_t missed_runs = 0;  // skipped because they were already running on that CPU
  int64_t run_ns = 0;        // 0 unless the kernel counts it (kernel.bpf_stats_enabled)
};
std::vector<int> loaded_programs(const bpf_object* object);
ProgramStats read_program_stats(std::span<const int> program_fds);

/// Converts a histogram from BPF.
Histogram read_histogram(const topspin_cells& cells);

}  // namespace topspin
