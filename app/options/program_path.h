// Finds programs by name, as a shell does.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace topspin {

/// Whether the path is a regular file that this process may execute.
bool is_executable(const std::filesystem::path& path);

/// Whether one of the directories in `path_list` ("/usr/bin:/bin"; an empty entry stands for
/// `directory`) has the program.
bool find_program(const std::string& name, std::string_view path_list,
                  const std::filesystem::path& directory);

/// PATH of this process, or the usual one if it is not set.
std::string inherited_path();

}  // namespace topspin
