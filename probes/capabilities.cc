#include "probes/capabilities.h"

#include <sys/capability.h>

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

}  // namespace topspin
