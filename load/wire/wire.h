// The bytes of a ping and of its answer. Pure.
//
//   ping4      "PING"; the answer is any 4 bytes (servers say PONG, or echo)
//   fixed32    "PING" eight times, 32 bytes; the answer is any 32 bytes
//   numbered   number and moment of sending (CLOCK_MONOTONIC, nanoseconds), each 8 bytes in network
//              order, then zeros up to the chosen size (16 or more); the server must echo
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "load/load.h"

namespace topspin {

inline constexpr size_t kNumberedBytesMin = 16;
inline constexpr size_t kMessageBytesMax = 65'507;  // what fits in one UDP datagram over IPv4

struct PingNumber {
  uint64_t number = 0;
  int64_t sent_monotonic_ns = 0;

  bool operator==(const PingNumber&) const = default;
};

/// The size of a ping of the profile. `message_bytes` is used only for kNumbered.
size_t ping_bytes(WireProfile profile, size_t message_bytes);

/// Writes a ping. REQUIRES: out.size() == ping_bytes(...).
void write_ping(WireProfile profile, const PingNumber& number, std::span<uint8_t> out);

/// Whether the bytes can be an answer to a ping of the profile. For kNumbered also see
/// read_number().
bool is_answer(WireProfile profile, std::span<const uint8_t> bytes, size_t message_bytes);

/// kNumbered: the number and time in the answer. REQUIRES: is_answer().
PingNumber read_number(std::span<const uint8_t> bytes);

std::string_view wire_profile_name(WireProfile profile);  // "ping4", "fixed32", "numbered"

}  // namespace topspin
