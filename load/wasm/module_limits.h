// What a module may ask for before it runs, which WasmEdge does not limit: a table of four thousand
// million elements, or a function with as many local variables, would take all memory in one
// instruction.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace topspin {

constexpr uint64_t kWasmPageBytes = 65'536;
constexpr uint64_t kMostWasmPages = 256;  // of a client's memory: 16 MiB
constexpr uint64_t kMostTableElements = 100'000;
constexpr uint64_t kMostTables = 10;
constexpr uint64_t kMostLocals = 50'000;  // of a function

/// Whether the bytes begin as a module in WebAssembly does.
bool is_wasm(std::string_view bytes);

/// Pure. kUsage if it asks for more, or is damaged where this is written. Everything else is left
/// to WasmEdge's loader.
Status check_module_limits(std::string_view bytes, const std::string& name);

}  // namespace topspin
