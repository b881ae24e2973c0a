#include "load/wire/wire.h"

#include <algorithm>
#include <cstring>

#include "core/base/check.h"

namespace topspin {
namespace {

constexpr std::string_view kPing = "PING";
constexpr size_t kFixedBytes = 32;

void put_u64(uint64_t value, uint8_t* out) {
  for (int i = 7; i >= 0; --i, value >>= 8) out[i] = static_cast<uint8_t>(value);
}

uint64_t get_u64(const uint8_t* in) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | in[i];
  return value;
}

}  // namespace

size_t ping_bytes(WireProfile profile, size_t message_bytes) {
  switch (profile) {
    case WireProfile::kPing4: return kPing.size();
    case WireProfile::kFixed32: return kFixedBytes;
    case WireProfile::kNumbered: return message_bytes;
  }
  CHECK(false);
}

void write_ping(WireProfile profile, const PingNumber& number, std::span<uint8_t> out) {
  if (profile != WireProfile::kNumbered) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<uint8_t>(kPing[i % kPing.size()]);
    return;
  }
  CHECK(out.size() >= kNumberedBytesMin);
  put_u64(number.number, out.data());
  put_u64(static_cast<uint64_t>(number.sent_monotonic_ns), out.data() + 8);
  std::fill(out.begin() + kNumberedBytesMin, out.end(), uint8_t{0});
}

bool is_answer(WireProfile profile, std::span<const uint8_t> bytes, size_t message_bytes) {
  return bytes.size() == ping_bytes(profile, message_bytes);
}

PingNumber read_number(std::span<const uint8_t> bytes) {
  CHECK(bytes.size() >= kNumberedBytesMin);
  return {get_u64(bytes.data()), static_cast<int64_t>(get_u64(bytes.data() + 8))};
}

std::string_view wire_profile_name(WireProfile profile) {
  switch (profile) {
    case WireProfile::kPing4: return "ping4";
    case WireProfile::kFixed32: return "fixed32";
    case WireProfile::kNumbered: return "numbered";
  }
  CHECK(false);
}

}  // namespace topspin
