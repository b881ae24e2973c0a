// Reads a small file that somebody named: a plan, a configuration, samples. At the edges only.
#pragma once

#include <cstddef>
#include <string>

#include "core/base/result.h"

namespace topspin {

/// All bytes of a file or pipe. kInput, with the reason alone ("it is a device"): it is a folder or
/// a device, which may have no end, it cannot be read, or it holds more than `most_bytes`. No more
/// than these are ever kept.
Result<std::string> read_file(const std::string& path, size_t most_bytes);

}  // namespace topspin
