// The seeded hash of a flow key: multiply and fold (64 x 64 -> 128 bits), five words at a time.
//
// Each table has a random seed from the kernel, so that nobody can craft keys that collide: with n
// such keys, an unseeded table would need n probes per packet. Pure.
#pragma once

#include <array>
#include <cstdint>

#include "capture/packet/packet.h"

namespace topspin {

struct HashSeed {
  std::array<uint64_t, 5> words{};

  /// From the kernel's generator.
  static HashSeed random();
  /// A repeatable seed for tests.
  static HashSeed fixed(uint64_t number);
};

inline uint64_t multiply_fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t hash_key(const PacketKey& key, const HashSeed& seed) {
  const auto& s = seed.words;
  const uint64_t first = multiply_fold(key.word(0) ^ s[0], key.word(2) ^ s[1]);
  const uint64_t second = multiply_fold(key.word(1) ^ s[2], key.word(3) ^ s[3]);
  return multiply_fold(first ^ key.word(4) ^ s[4], (second << 32 | second >> 32) ^ s[1]);
}

}  // namespace topspin
