// RunCosts: how the subject of a run spent its time, by name: inside each system call (runs with
// --syscalls), in each function, and asleep at each place (runs with --stacks). Plain values.
//
// They are read from rows that count from the start of a run to its end and not per tick, so they
// include the start and the warm-up.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/result.h"
#include "store/run_store.h"

namespace topspin {

enum class CostKind : uint8_t {
  kSyscall,   // from entry to return, on a CPU and off it
  kFunction,  // on a CPU in this function itself, by samples
  kSleep,     // asleep at this place: the program's innermost function, and the reason
};
inline constexpr size_t kCostKindCount = 3;
std::string_view cost_kind_name(CostKind kind);  // "system_call", "function", "sleep"

struct RunCosts {
  struct Cost {
    double ns = 0;
    uint64_t times = 0;  // calls, samples, sleeps
  };
  using Key = std::pair<CostKind, std::string>;  // the name is hostile text
  std::map<Key, Cost> costs;
  std::array<bool, kCostKindCount> measured{};  // by CostKind
  // Costs are compared per reply or per second. Like the costs, these are of the whole run.
  uint64_t replies = 0;  // split ones; if there are none, those on the wire
  int64_t elapsed_ns = 0;
  std::optional<uint64_t> cpu_ns;
};

/// Reads the costs of a run. Without --syscalls and --stacks, none were measured.
Result<RunCosts> read_costs(RunStore& store, const StoredRun& run);

/// The innermost function of a stack (StackRow::frames); "[no frames]" if it is empty.
std::string_view innermost_function(std::string_view frames);
/// The same without the kernel's frames ("_[k]"). If there are only those, the outermost of them.
std::string_view innermost_of_program(std::string_view frames);

}  // namespace topspin
