// HeadroomWatch: warns once, while the number of flows rises, that a limit is near, and at how many
// flows it will be reached. Pure; keeps a bounded series. Lives with the recording's loop.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/run/growth.h"

namespace topspin {

class HeadroomWatch {
 public:
  /// The warnings of this tick: one sentence for each limit whose use grows with the flows and has
  /// reached a quarter, a half or four fifths for the first time.
  std::vector<std::string> observe(const Sample& sample);

 private:
  std::vector<GrowthPoint> series_;
  struct Told {
    size_t shares = 0;         // how many shares were reached so far
    uint64_t asked_flows = 0;  // live flows when the headroom was last computed
  };
  std::map<std::string_view, Told> told_;
};

/// "address space ends at about 16,380 flows (16,371 to 16,390): 8.00 GiB a flow"
std::string headroom_sentence(const Headroom& headroom);

}  // namespace topspin
