// Programs by name, as a shell finds them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace topspin {

/// A regular file that this process may execute.
bool is_executable(const std::filesystem::path& path);

/// Whether one of the folders of `path_list` ("/usr/bin:/bin"; an empty one is `directory`) has the
/// program.
bool find_program(const std::string& name, std::string_view path_list,
                  const std::filesystem::path& directory);

/// PATH as this process has it, or the usual one.
std::string inherited_path();

}  // namespace topspin
