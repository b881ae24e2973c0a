// Reads a verdict that `topspin gate --format json` wrote, for exports and reports.
#pragma once

#include <string>

#include "ci/judgement/judgement.h"
#include "core/base/result.h"

namespace topspin {

/// kInput if the file cannot be read or does not contain a judgement.
Result<Judgement> read_judgement_file(const std::string& path);

}  // namespace topspin
