// Which Linux capabilities this thread has right now.
#pragma once

namespace topspin {

/// REQUIRES: a CAP_* number. False too where the kernel does not know it.
bool has_effective_capability(int capability);

}  // namespace topspin
