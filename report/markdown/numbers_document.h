// docs/numbers.md: what every number of a tick is, written from the registry. Pure.
#pragma once

#include <string>

namespace topspin {

std::string numbers_document();

}  // namespace topspin
