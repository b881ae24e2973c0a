// InterfaceWatch tells whether an interface exists, is up, and is still the same one. libpcap
// returns an error on every call for a deleted interface, and nothing for one that went down. One
// thread.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/unique_fd.h"

namespace topspin {

struct InterfaceState {
  unsigned index = 0;  // 0: no interface of that name
  bool up = false;
  uint32_t mtu = 0;  // 0: not known

  bool operator==(const InterfaceState&) const = default;
};

class InterfaceWatch {
 public:
  InterfaceWatch();

  InterfaceState look(const std::string& name) const;

  /// The current name of the interface with this index; empty if it is gone.
  std::string name_of(unsigned index) const;

 private:
  UniqueFd socket_;
};

}  // namespace topspin
