// The program as a whole.
#pragma once

#include <span>

namespace topspin {

/// Parses and runs a command line; the program's whole behaviour. Returns the exit code.
int run_program(std::span<char*> arguments);

}  // namespace topspin
