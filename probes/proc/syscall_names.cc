#include "probes/proc/syscall_names.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <asm/unistd.h>
#include <fmt/format.h>

#include "probes/syscall_table.h"  // generated: kSyscalls, {number, name} for each __NR_ macro

namespace topspin {

std::string syscall_name(int32_t number) {
  for (const auto& [known, name] : kSyscalls) {
    if (known == number) return std::string(name);
  }
  return fmt::format("syscall_{}", number);
}

int32_t syscall_number(std::string_view name) {
  for (const auto& [number, known] : kSyscalls) {
    if (known == name) return number;
  }
  return -1;
}

}  // namespace topspin
