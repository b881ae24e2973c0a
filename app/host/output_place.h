// Checks of a path before something is written there.
#pragma once

#include <string>

#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

std::string directory_of(const std::string& path);

/// Whether the directory of `path` is like /tmp: everybody may create files in it, but remove only
/// their own.
bool is_shared_directory(const std::string& path);

struct NewFile {
  UniqueFd file;
  std::string name;
};

/// A new file in the working directory, named after the time, for what a screen shows.
Result<NewFile> create_screen_file();

/// Whether `path` is an SQLite database that can be read.
bool is_database(const std::string& path);

}  // namespace topspin
