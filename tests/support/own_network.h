// A network namespace for a whole test program. Other tests run at the same time, and their packets
// are not on its loopback. Register it once in a file of the program:
//   const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new OwnNetwork);
#pragma once

#include <string>

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "core/base/check.h"
#include "core/base/unique_fd.h"

namespace topspin::test {

class OwnNetwork : public testing::Environment {
 public:
  /// Runs before the first test, while the process has one thread.
  void SetUp() override {
    if (::unshare(CLONE_NEWNET) != 0) {
      why_not_ = "needs a network namespace of its own (cap_sys_admin): run as root";
      return;
    }
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    request.ifr_flags = IFF_UP;
    CHECK(::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0);
    why_not_.clear();
  }
  /// Why there is no namespace, for GTEST_SKIP; empty: there is one.
  static const std::string& why_not() { return why_not_; }

 private:
  static inline std::string why_not_ = "not tried yet";
};

}  // namespace topspin::test
