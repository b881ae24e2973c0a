// A judgement for programs: `gate --format json` and `compare --format json`. Names are fixed.
#pragma once

#include <string>

#include "ci/judgement.h"

namespace topspin {

/// One object, pretty-printed, newline at the end, ASCII only. What is not known is null.
std::string judgement_json(const Judgement& judgement);

}  // namespace topspin
