#include "core/flow/flow_owner.h"

#include <algorithm>
#include <utility>

namespace topspin {
namespace {

constexpr std::array<std::string_view, 3> kQualityNames = {"exact", "snapshot", "shared"};

}  // namespace

std::string_view owner_quality_name(OwnerQuality quality) {
  return kQualityNames.at(static_cast<size_t>(quality));
}

std::optional<OwnerQuality> parse_owner_quality(std::string_view name) {
  for (size_t index = 0; index < kQualityNames.size(); ++index) {
    if (kQualityNames[index] == name) return static_cast<OwnerQuality>(index);
  }
  return std::nullopt;
}

// Sorted, not indexed by number, because a number from a database may have any value.
void OwnerTable::set(FlowOwner owner) {
  const auto place = std::lower_bound(
      owners_.begin(), owners_.end(), owner.number,
      [](const FlowOwner& known, uint32_t number) { return known.number < number; });
  if (place != owners_.end() && place->number == owner.number)
    *place = std::move(owner);
  else
    owners_.insert(place, std::move(owner));
}

const FlowOwner* OwnerTable::find(std::optional<uint32_t> number) const {
  if (!number) return nullptr;
  const auto place = std::lower_bound(
      owners_.begin(), owners_.end(), *number,
      [](const FlowOwner& known, uint32_t wanted) { return known.number < wanted; });
  return place != owners_.end() && place->number == *number ? &*place : nullptr;
}

}  // namespace topspin
