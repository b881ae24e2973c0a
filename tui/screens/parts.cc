#include "tui/screens/parts.h"

#include <cmath>

#include "core/base/text.h"

namespace topspin {

std::optional<double> as_number(const std::optional<int64_t>& value) {
  return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
}

std::string as_bytes(double bytes) { return format_bytes(std::llround(bytes)); }

}  // namespace topspin
