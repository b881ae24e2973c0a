// What growth.h computes, as sentences: the same in reports and on the screen. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/run/growth.h"

namespace topspin {

struct GrowthLine {
  std::string_view topic;  // "per flow", "headroom", "leak"; empty: goes on with the one before
  std::string text;
  bool alarming = false;  // a leak
};

/// In order of importance within each topic. Limits that ten million flows do not reach are left
/// out.
std::vector<GrowthLine> growth_lines(const Growth& growth);

/// "3.02 KiB", or a count to three digits; what is as good as 0 is "0".
std::string format_amount(double value, bool bytes);

}  // namespace topspin
