#include "core/number/number.h"

namespace topspin {

std::string_view number_kind_name(NumberKind kind) {
  switch (kind) {
    case NumberKind::kCount: return "count";
    case NumberKind::kGauge: return "gauge";
    case NumberKind::kMaximum: return "maximum";
    case NumberKind::kTotal: return "total";
    case NumberKind::kDistribution: return "distribution";
    case NumberKind::kState: return "state";
  }
  return "count";
}

NumberUnit number_unit(std::string_view name) {
  return name.ends_with("_ns")                         ? NumberUnit::kNanoseconds
         : name.ends_with("_bytes") || name == "bytes" ? NumberUnit::kBytes
                                                       : NumberUnit::kOne;
}

std::string_view without_unit(std::string_view name) {
  for (const std::string_view unit : {"_ns", "_bytes"}) {
    if (name.ends_with(unit)) return name.substr(0, name.size() - unit.size());
  }
  return name;
}

}  // namespace topspin
