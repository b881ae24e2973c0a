// FlowOwner: the process at a local end of a flow, and how certain that is.
//
// A run numbers its owners from 1 in the order of their discovery. A FlowRow has the numbers of its
// owners, so that it stays small; Sample::changed_owners has the owners themselves. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace topspin {

/// How the owner was found. An end about which nothing is known has no owner.
enum class OwnerQuality : uint8_t {
  kExact,     // seen by BPF at its connect(), and no other process found to hold the socket since
  kSnapshot,  // at one moment the only holder of the socket, or of the listening one it came from
  kShared,    // one of several: processes that hold the socket, or sockets that share the port
};
std::string_view owner_quality_name(OwnerQuality quality);  // "exact", "snapshot", "shared"
std::optional<OwnerQuality> parse_owner_quality(std::string_view name);

/// A process as an owner. Its identity is (pid, start_time_ns). The same process with another
/// quality is another owner.
struct FlowOwner {
  uint32_t number = 0;        // within the run, from 1
  int32_t pid = 0;            // thread group
  int64_t start_time_ns = 0;  // since boot; whole clock ticks where it was read from /proc
  std::string name;           // comm of the group's leader, as last seen: hostile text
  OwnerQuality quality = OwnerQuality::kSnapshot;
};

/// The numbers of a row's owners: [0] the initiator's, [1] the responder's.
using OwnerNumbers = std::array<std::optional<uint32_t>, 2>;

/// The owners of a run, by number.
class OwnerTable {
 public:
  void set(FlowOwner owner);  // replaces the one with the same number
  /// nullptr if the number is 0 or there is no such owner.
  const FlowOwner* find(std::optional<uint32_t> number) const;
  bool empty() const { return owners_.empty(); }

 private:
  std::vector<FlowOwner> owners_;  // sorted by number
};

}  // namespace topspin
