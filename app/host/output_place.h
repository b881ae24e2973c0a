// What is known of a place before something is written there.
#pragma once

#include <string>

namespace topspin {

std::string directory_of(const std::string& path);

/// Whether everybody may put files into the directory that `path` is in, but remove only their own.
bool is_shared_directory(const std::string& path);

/// Whether an SQLite database is there that can be read.
bool is_database(const std::string& path);

}  // namespace topspin
