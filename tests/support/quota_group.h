// QuotaGroup: a cgroup with a quota of 2 ms of CPU time in every 20 ms, in whichever version has
// the CPU controller. Test support; needs root and a writable cgroup file system, else made() is
// false.
#pragma once

#include <fstream>
#include <iterator>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include "probes/proc/cgroup_reader.h"

namespace topspin {

class QuotaGroup {
 public:
  QuotaGroup() {
    std::ifstream mounts("/proc/self/mountinfo");
    std::string text((std::istreambuf_iterator<char>(mounts)), {});
    const std::string name = "/topspin-test-" + std::to_string(::getpid());
    if (const auto v1 = find_cgroup_mount(text, "cpu")) {
      directory_ = v1->mount_point + name;
      made_ = ::mkdir(directory_.c_str(), 0755) == 0 && write("cpu.cfs_period_us", "20000") &&
              write("cpu.cfs_quota_us", "2000");
    } else if (const auto v2 = find_cgroup_mount(text, "")) {
      (void)(std::ofstream(v2->mount_point + "/cgroup.subtree_control") << "+cpu").flush();
      directory_ = v2->mount_point + name;
      made_ = ::mkdir(directory_.c_str(), 0755) == 0 && write("cpu.max", "2000 20000");
    }
  }
  ~QuotaGroup() {
    if (!directory_.empty()) ::rmdir(directory_.c_str());
  }
  bool made() const { return made_; }
  bool add(pid_t pid) const { return write("cgroup.procs", std::to_string(pid)); }
  uint64_t throttled_ns() const {
    std::ifstream file(directory_ + "/cpu.stat");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const auto use = parse_cpu_stat(text);
    return use ? use->throttled_ns : 0;
  }

 private:
  bool write(const char* file, const std::string& text) const {
    std::ofstream out(directory_ + "/" + file);
    return static_cast<bool>((out << text).flush());
  }
  std::string directory_;
  bool made_ = false;
};

}  // namespace topspin
