// Reads a small file that the user named: a plan, a configuration, samples. For code at the edges.
#pragma once

#include <cstddef>
#include <string>

#include "core/base/result.h"

namespace topspin {

/// Returns all bytes of a file or pipe. kInput, with only the reason ("it is a device"), if it is a
/// directory or a device (which may have no end), cannot be read, or has more than `most_bytes`. It
/// never keeps more bytes than that.
Result<std::string> read_file(const std::string& path, size_t most_bytes);

}  // namespace topspin
