// InterfaceWatch: whether an interface is there, up, and still the same one. libpcap tells of a
// deleted interface by an error on every call, and of one that went down not at all. One thread.
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

  /// The name that the interface with this index has now; empty: it is gone.
  std::string name_of(unsigned index) const;

 private:
  UniqueFd socket_;
};

}  // namespace topspin
