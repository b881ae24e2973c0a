#include "app/options/program_path.h"

#include <algorithm>
#include <cstdlib>

#include <unistd.h>

namespace topspin {

namespace fs = std::filesystem;

bool is_executable(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
}

bool find_program(const std::string& name, std::string_view path_list, const fs::path& directory) {
  for (size_t begin = 0; begin <= path_list.size();) {
    const size_t end = std::min(path_list.find(':', begin), path_list.size());
    const fs::path folder = path_list.substr(begin, end - begin);
    if (is_executable((folder.empty() ? directory : folder) / name)) return true;
    begin = end + 1;
  }
  return false;
}

std::string inherited_path() {
  const char* path = std::getenv("PATH");
  return path != nullptr ? path : "/usr/bin:/bin";
}

}  // namespace topspin
