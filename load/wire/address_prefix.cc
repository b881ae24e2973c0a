#include "load/wire/address_prefix.h"

#include <charconv>
#include <cstring>

#include <arpa/inet.h>
#include <fmt/format.h>

namespace topspin {
namespace {

constexpr int kBitsBeforeV4 = 96;

std::array<uint8_t, 16> mapped(const in_addr& v4) {
  std::array<uint8_t, 16> bytes{};
  bytes[10] = bytes[11] = 0xff;
  std::memcpy(&bytes[12], &v4, sizeof v4);
  return bytes;
}

}  // namespace

bool AddressPrefix::contains(const SocketAddress& address) const {
  std::array<uint8_t, 16> other{};
  if (address.storage.ss_family == AF_INET)
    other = mapped(reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr);
  else
    std::memcpy(other.data(), &reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr,
                other.size());
  for (int bit = 0; bit < bits; ++bit) {
    const auto at = static_cast<size_t>(bit / 8);
    if (((bytes[at] ^ other[at]) >> (7 - bit % 8) & 1) != 0) return false;
  }
  return true;
}

Result<AddressPrefix> parse_address_prefix(const std::string& text) {
  const auto wrong = [&](std::string_view why) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("\"{}\" {}; write ADDRESS or ADDRESS/PREFIX, as 10.0.0.0/8 or "
                                  "fd00::/8",
                                  text, why));
  };
  const size_t slash = text.find('/');
  const std::string host = text.substr(0, slash);
  AddressPrefix prefix;
  in_addr v4{};
  int before = 0;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    prefix.bytes = mapped(v4);
    before = kBitsBeforeV4;
  } else if (inet_pton(AF_INET6, host.c_str(), prefix.bytes.data()) != 1) {
    return wrong("is not an address");
  }
  if (slash != std::string::npos) {
    const char* const end = text.data() + text.size();
    int length = -1;
    const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, length);
    if (error != std::errc() || stop != end || length < 0 || length > 128 - before)
      return wrong("has no valid length behind its slash");
    prefix.bits = before + length;
  }
  for (int bit = prefix.bits; bit < 128; ++bit) {
    if ((prefix.bytes[static_cast<size_t>(bit / 8)] >> (7 - bit % 8) & 1) != 0)
      return wrong("has bits behind its length");
  }
  return prefix;
}

}  // namespace topspin
