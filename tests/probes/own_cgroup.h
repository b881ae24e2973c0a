// A cgroup (v2) for one test, with another one inside it. Made and removed with the object. Test
// support.
#pragma once

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

#include "probes/probes.h"

namespace topspin {

class OwnCgroup {
 public:
  OwnCgroup() {
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
      if (line.find(" - cgroup2 ") == std::string::npos) continue;
      std::istringstream words(line);
      std::string skipped;
      words >> skipped >> skipped >> skipped >> skipped >> mount_;
      break;
    }
    if (mount_.empty()) {
      missing_ = "needs cgroup2: it is not mounted";
      return;
    }
    name_ = fmt::format("topspin-test-{}", ::getpid());
    make();
  }
  ~OwnCgroup() {
    if (!name_.empty()) remove();
  }
  OwnCgroup(const OwnCgroup&) = delete;
  OwnCgroup& operator=(const OwnCgroup&) = delete;

  /// Why the cgroup could not be made; empty if it exists.
  const std::string& missing() const { return missing_; }

  void make() {
    std::error_code error;
    std::filesystem::create_directories(mount_ + "/" + name_ + "/inner", error);
    if (error) missing_ = "needs to make a cgroup: " + error.message();
  }
  /// REQUIRES: no process is inside any more. The kernel may need a moment to notice that.
  void remove() const {
    for (const char* below : {"/inner", ""}) {
      const std::string directory = mount_ + "/" + name_ + below;
      for (int tries = 0; tries < 1'000 && ::rmdir(directory.c_str()) != 0 && errno == EBUSY;
           ++tries)
        ::usleep(1'000);
    }
  }

  /// `below` is "" or "/inner".
  void take_in(pid_t pid, const std::string& below = "") const {
    std::ofstream(mount_ + "/" + name_ + below + "/cgroup.procs") << pid << std::flush;
  }
  void put_out(pid_t pid) const { std::ofstream(mount_ + "/cgroup.procs") << pid << std::flush; }
  SubjectSpec spec() const {
    SubjectSpec subject;
    subject.kind = SubjectSpec::Kind::kCgroup;
    subject.cgroup_path = "/" + name_;
    return subject;
  }

 private:
  std::string mount_;
  std::string name_;
  std::string missing_;
};

}  // namespace topspin
