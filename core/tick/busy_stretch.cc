#include "core/tick/busy_stretch.h"

#include <algorithm>
#include <unordered_map>

namespace topspin {

std::optional<uint32_t> KeptStretches::keep(int32_t tid, uint64_t length_ns) {
  const Kept added{tid, length_ns};
  if (kept_.size() < most_) {
    kept_.push_back(added);
    return static_cast<uint32_t>(kept_.size() - 1);
  }
  std::unordered_map<int32_t, size_t> count_of{{tid, 1}};
  for (const Kept& kept : kept_) ++count_of[kept.tid];
  size_t most = 0;
  for (const auto& [thread, count] : count_of) most = std::max(most, count);
  const Kept* given_up = count_of[tid] == most ? &added : nullptr;
  for (const Kept& kept : kept_) {
    if (count_of[kept.tid] != most) continue;
    if (given_up == nullptr || kept.length_ns < given_up->length_ns) given_up = &kept;
  }
  if (given_up == nullptr || given_up == &added) return std::nullopt;
  const auto number = static_cast<uint32_t>(given_up - kept_.data());
  kept_[number] = added;
  return number;
}

}  // namespace topspin
