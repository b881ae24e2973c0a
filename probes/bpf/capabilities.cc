#include "probes/bpf/capabilities.h"

#include <cstdio>
#include <utility>

#include <sys/capability.h>
#include <sys/utsname.h>

namespace topspin {

bool has_effective_capability(int capability) {
  cap_t state = ::cap_get_proc();
  if (state == nullptr) return false;
  cap_flag_value_t value = CAP_CLEAR;
  const bool set =
      ::cap_get_flag(state, capability, CAP_EFFECTIVE, &value) == 0 && value == CAP_SET;
  ::cap_free(state);
  return set;
}

bool kernel_is_since(int major, int minor) {
  utsname names{};
  std::pair<int, int> version;
  return ::uname(&names) == 0 &&
         std::sscanf(names.release, "%d.%d", &version.first, &version.second) == 2 &&
         version >= std::pair(major, minor);
}

bool kernel_restricts_open_bpf() { return !kernel_is_since(5, 19); }

}  // namespace topspin
