// The files whose code a process runs, from /proc/PID/maps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "probes/proc/code_mappings.h"

namespace topspin {

/// The mappings of /proc/PID/maps that hold code of a file that is still there. Pure.
std::vector<MappedCode> parse_code_files(std::string_view maps);

/// Empty if the process has ended, or may not be seen.
std::vector<MappedCode> code_files(const std::string& proc_root, int32_t pid);

/// The position in the file of an address in topspin's own code.
std::optional<uint64_t> own_file_offset(uintptr_t address);

}  // namespace topspin
