// The random numbers of scripts: SplitMix64, so that a client's state is one number.
#pragma once

#include <cstdint>

namespace topspin {

inline uint64_t mix_random(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

inline uint64_t next_random(uint64_t& state) {
  state += 0x9E3779B97F4A7C15;
  return mix_random(state);
}

/// Of the load, by its seed; the state of what belongs to no client.
inline uint64_t random_of_load(uint64_t seed) { return mix_random(seed + 0x9E3779B97F4A7C15); }
inline uint64_t random_of_client(uint64_t of_load, uint32_t client) {
  return mix_random(of_load ^ mix_random(client + 1));
}

}  // namespace topspin
