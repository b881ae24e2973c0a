// A cgroup with a CPU quota, which exists while the object lives. It is of version 2, or of version
// 1 if that has the cpu controller. Needs root. The tests of the probes use it too.
#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

/// The allowed CPU time in each period.
struct CpuQuota {
  int64_t used_us = 0;
  int64_t period_us = 0;
};

class QuotaCgroup {
 public:
  explicit QuotaCgroup(const CpuQuota& quota) {
    const std::string root = "/sys/fs/cgroup";
    const bool unified = access((root + "/cgroup.controllers").c_str(), F_OK) == 0;
    if (unified) write_control(root + "/cgroup.subtree_control", "+cpu");
    folder_ = fmt::format("{}{}/topspin-quota-{}", root, unified ? "" : "/cpu", getpid());
    const bool made =
        mkdir(folder_.c_str(), 0755) == 0 &&
        (unified
             ? write_control(folder_ + "/cpu.max",
                             fmt::format("{} {}", quota.used_us, quota.period_us))
             : write_control(folder_ + "/cpu.cfs_period_us", fmt::format("{}", quota.period_us)) &&
                   write_control(folder_ + "/cpu.cfs_quota_us", fmt::format("{}", quota.used_us)));
    if (!made) missing_ = os_error("needs a cgroup with a CPU quota").message;
  }
  /// Retries, because a process that has just ended may still be in it for a moment.
  ~QuotaCgroup() {
    for (int tries = 0; tries < 1000 && rmdir(folder_.c_str()) != 0 && errno == EBUSY; ++tries)
      usleep(1000);
  }
  QuotaCgroup(const QuotaCgroup&) = delete;
  QuotaCgroup& operator=(const QuotaCgroup&) = delete;

  const std::string& folder() const { return folder_; }
  /// Why the cgroup could not be made; empty if it was.
  const std::string& missing() const { return missing_; }
  bool add(pid_t pid) const {
    return write_control(folder_ + "/cgroup.procs", fmt::format("{}", pid));
  }

 private:
  /// Writes into an existing file.
  static bool write_control(const std::string& path, std::string_view text) {
    const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }

  std::string folder_;
  std::string missing_;
};

}  // namespace topspin
