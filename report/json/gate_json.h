// A judgement for programs: `gate --format json` and `compare --format json`. Names are fixed.
#pragma once

#include <string>
#include <string_view>

#include "ci/aa_check.h"
#include "ci/judgement.h"
#include "core/result.h"

namespace topspin {

/// One object, pretty-printed, newline at the end, ASCII only. What is not known is null.
std::string judgement_json(const Judgement& judgement);

/// `gate --aa --format json`.
std::string aa_check_json(const AaCheck& check);

/// Back from JSON (of a file or the gate's log: hostile), as far as other formats show it: the
/// verdict, its reasons and metrics. kInput: it is no judgement. `name` is the source, for
/// messages.
Result<Judgement> parse_judgement(std::string_view json, std::string_view name);

}  // namespace topspin
