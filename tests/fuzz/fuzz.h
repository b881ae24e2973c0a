// A fuzz target: one decoder of foreign bytes, and seeds for it. Each NAME_fuzz.cc defines these
// two functions; CMakeLists.txt lists them. A preset's compiler says who calls them: libFuzzer
// (preset fuzz) or driver.cc (all others).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Decodes the bytes. What is wrong with them is no failure; a CHECK, a sanitizer or an exception
/// is one. Returns 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

/// Inputs from which the others are made. At least one is decoded without an error.
std::vector<std::string> fuzz_seeds();

inline std::string_view fuzz_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}
