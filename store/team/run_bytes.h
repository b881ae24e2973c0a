// The file of a run, compressed in chunks: gzip, whose checksum tells whether it came back as it
// was. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace topspin {

inline constexpr size_t kFileChunkBytes = size_t{1} << 20;

/// At most kFileChunkBytes each.
Result<std::vector<std::string>> compress_in_chunks(std::string_view file);

/// kInput if the chunks are damaged, or make a file of more than `bytes`.
Result<std::string> decompress_chunks(const std::vector<std::string>& chunks, size_t bytes,
                                      const std::string& name);

}  // namespace topspin
