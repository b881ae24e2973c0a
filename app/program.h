// The program as a whole.
#pragma once

#include <span>

namespace topspin {

/// Parses and runs a command line, which is all that main() does. Returns the exit code.
int run_program(std::span<char*> arguments);

}  // namespace topspin
