// A verdict from a file of `topspin gate --format json`, for exports and reports.
#pragma once

#include <string>

#include "ci/judgement/judgement.h"
#include "core/base/result.h"

namespace topspin {

/// kInput: the file cannot be read, or holds no judgement.
Result<Judgement> read_judgement_file(const std::string& path);

}  // namespace topspin
