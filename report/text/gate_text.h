// A judgement for people at a terminal: the verdict first, then why, then the numbers.
#pragma once

#include <string>

#include "ci/aa_check.h"
#include "ci/judgement.h"

namespace topspin {

/// Hostile text (names of metrics, times) is sanitised.
std::string judgement_text(const Judgement& judgement);

/// `gate --aa`.
std::string aa_check_text(const AaCheck& check);

}  // namespace topspin
