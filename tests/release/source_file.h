// Files of the sources, read whole.
#pragma once

#include <fstream>
#include <sstream>
#include <string>

namespace topspin::test {

inline std::string source(const std::string& path) { return TOPSPIN_SOURCE_DIR "/" + path; }

inline std::string contents(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(source(path), std::ios::binary).rdbuf();
  return bytes.str();
}

}  // namespace topspin::test
