// The results of growth.h as sentences, which reports and the screen share. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/run/growth.h"

namespace topspin {

struct GrowthLine {
  std::string_view topic;  // "per flow", "headroom", "leak"; empty: the same as before
  std::string text;
  bool alarming = false;  // a leak
};

/// In order of importance within each topic. Limits that even ten million flows would not reach are
/// left out.
std::vector<GrowthLine> growth_lines(const Growth& growth);

/// "3.02 KiB", or a count with three digits. Values very close to 0 are "0".
std::string format_amount(double value, bool bytes);

}  // namespace topspin
