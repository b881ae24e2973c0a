// A fuzz target: one decoder of foreign bytes, and seeds for it. Each NAME_fuzz.cc defines these
// two functions; CMakeLists.txt lists the targets. libFuzzer (preset fuzz) or driver.cc (all other
// presets) calls them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Decodes the bytes. Wrong bytes are no failure; a failed CHECK, a sanitizer report or an
/// exception is one. Returns 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

/// Inputs from which the others are made. At least one of them decodes without an error.
std::vector<std::string> fuzz_seeds();

inline std::string_view fuzz_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}
