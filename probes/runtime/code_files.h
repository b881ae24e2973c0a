// The files that a process runs code of, from /proc/PID/maps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace topspin {

struct CodeFile {
  uint64_t begin = 0, end = 0;  // of a mapping of its code
  uint64_t file_offset = 0;     // of that mapping
  uint64_t device = 0, inode = 0;
  std::string path;
};

/// The mappings of /proc/PID/maps that hold code of a file. Pure; the text is hostile.
std::vector<CodeFile> parse_code_files(std::string_view maps);

/// Empty if the process has ended, or may not be seen.
std::vector<CodeFile> code_files(const std::string& proc_root, int32_t pid);

/// Where in its file an address of topspin's own code stands.
std::optional<uint64_t> own_file_offset(uintptr_t address);

}  // namespace topspin
