// The mappings of /proc/PID/maps that hold code. Pure; the text is hostile.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace topspin {

struct MappedCode {
  uint64_t begin = 0, end = 0;
  uint64_t file_offset = 0;
  uint64_t device = 0, inode = 0;  // of the file; 0: no file, or they cannot be read
  std::string path;  // of the file; may end with " (deleted)"; empty, "//anon" or "[...]": no
                     // file
};

/// In the order of the text, without lines that cannot be read.
std::vector<MappedCode> parse_mapped_code(std::string_view maps);

}  // namespace topspin
