// Names of system calls, as the kernel's headers of the architecture that topspin was built for
// number them. Pure.
#pragma once

#include <cstdint>
#include <string>

namespace topspin {

/// "accept4"; "syscall_999" where this build knows no name.
std::string syscall_name(int32_t number);

/// The other way, of names as those headers have them; -1 if this architecture has no such call.
int32_t syscall_number(std::string_view name);

}  // namespace topspin
