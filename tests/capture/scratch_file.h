// A file with the given bytes, which goes away with the object.
#pragma once

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace topspin::test {

class ScratchFile {
 public:
  explicit ScratchFile(const std::string& bytes) {
    char name[] = "/tmp/topspin-capture-XXXXXX";
    const int fd = mkstemp(name);
    path_ = name;
    EXPECT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    close(fd);
  }
  ~ScratchFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace topspin::test
