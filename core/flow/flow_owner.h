// FlowOwner: the process at a local end of a flow, and how sure that is.
//
// A run numbers its owners from 1 in the order of their discovery. A FlowRow names its owners by
// number, and Sample::changed_owners hands the owners themselves along, so that a row stays small.
// Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace topspin {

/// How the owner was found. An end of which nothing is known has no owner at all.
enum class OwnerQuality : uint8_t {
  kExact,     // seen by BPF at its connect(), and nobody else found to hold the socket since
  kSnapshot,  // the only one to hold the socket, or the listening one it came from, at a moment
  kShared,    // one of several: processes that hold the socket, or sockets that share the port
};
std::string_view owner_quality_name(OwnerQuality quality);  // "exact", "snapshot", "shared"
std::optional<OwnerQuality> parse_owner_quality(std::string_view name);

/// A process as an owner. Its identity is (pid, start_time_ns); the same process known in another
/// quality is another owner.
struct FlowOwner {
  uint32_t number = 0;        // within the run, from 1
  int32_t pid = 0;            // thread group
  int64_t start_time_ns = 0;  // since boot; whole clock ticks where it was read from /proc
  std::string name;           // comm of the group's leader, as last seen: hostile text
  OwnerQuality quality = OwnerQuality::kSnapshot;
};

/// Owners by the numbers that rows name them by; [0] the initiator's, [1] the responder's.
using OwnerNumbers = std::array<std::optional<uint32_t>, 2>;

/// The owners of a run, to be found by number.
class OwnerTable {
 public:
  void set(FlowOwner owner);  // replaces the one of the same number
  /// nullptr if there is no number, or no such owner.
  const FlowOwner* find(std::optional<uint32_t> number) const;
  bool empty() const { return owners_.empty(); }

 private:
  std::vector<FlowOwner> owners_;  // sorted by number
};

}  // namespace topspin
