// Names and numbers of system calls, from the kernel's headers of the architecture that topspin was
// built for. Pure.
#pragma once

#include <cstdint>
#include <string>

namespace topspin {

/// "accept4"; "syscall_999" if this build does not know the name.
std::string syscall_name(int32_t number);

/// The number of a name in those headers; -1 if this architecture has no such call.
int32_t syscall_number(std::string_view name);

}  // namespace topspin
