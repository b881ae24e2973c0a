// A range of addresses, as "10.0.0.0/8" or "fd00::1": what a worker may send to. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "load/wire/target.h"

namespace topspin {

struct AddressPrefix {
  std::array<uint8_t, 16> bytes{};  // IPv4 as ::ffff:A.B.C.D
  int bits = 128;                   // of 128

  bool contains(const SocketAddress& address) const;
  bool operator==(const AddressPrefix&) const = default;
};

/// Without a length it is one address. kUsage if it is none, or has bits behind its length.
Result<AddressPrefix> parse_address_prefix(const std::string& text);

}  // namespace topspin
