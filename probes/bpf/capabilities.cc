#include "probes/bpf/capabilities.h"

#include <cstdio>

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

bool kernel_restricts_open_bpf() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return true;
  return major < 5 || (major == 5 && minor < 19);
}

}  // namespace topspin
