#include "load/engine/schedule_feed.h"

#include <algorithm>

namespace topspin {

void LoadReport::merge(LoadReport later) {
  for (auto& [position, part] : later.stages) {
    const auto found = std::find_if(stages.begin(), stages.end(),
                                    [p = position](const auto& stage) { return stage.first == p; });
    if (found == stages.end())
      stages.emplace_back(position, std::move(part));
    else
      found->second.merge(part);
  }
  std::swap(stages, later.stages);
  *this = std::move(later);
}

}  // namespace topspin
