#include "load/wasm/module_limits.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace topspin {
namespace {

// A module is a head of 8 bytes, and sections: an id of one byte, the length of the contents as
// LEB128, and the contents.
constexpr std::string_view kMagic("\0asm", 4);
constexpr std::string_view kCoreVersion("\1\0\0\0", 4);
constexpr uint8_t kCustomSection = 0, kTableSection = 4, kMemorySection = 5, kCodeSection = 10;

/// Reads from the front of some bytes. Once something is missing, everything is.
class WasmBytes {
 public:
  explicit WasmBytes(std::string_view bytes) : bytes_(bytes) {}

  bool has_failed() const { return has_failed_; }
  bool is_empty() const { return bytes_.empty(); }

  uint8_t byte() {
    if (bytes_.empty()) {
      has_failed_ = true;
      return 0;
    }
    const auto value = static_cast<uint8_t>(bytes_.front());
    bytes_.remove_prefix(1);
    return value;
  }

  /// An unsigned LEB128 of at most 10 bytes.
  uint64_t number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const uint8_t next = byte();
      if (shift < 64) value |= uint64_t{next & 0x7FU} << shift;
      if (next < 0x80) return value;
    }
    has_failed_ = true;
    return 0;
  }

  WasmBytes part(uint64_t length) {
    if (length > bytes_.size()) {
      has_failed_ = true;
      return WasmBytes({});
    }
    const WasmBytes taken(bytes_.substr(0, length));
    bytes_.remove_prefix(length);
    return taken;
  }

  std::string_view text() { return part(number()).bytes_; }

 private:
  std::string_view bytes_;
  bool has_failed_ = false;
};

struct WasmLimits {
  uint64_t least = 0;
  std::optional<uint64_t> most;
};

WasmLimits read_limits(WasmBytes& bytes) {
  WasmLimits limits;
  const uint8_t flags = bytes.byte();
  limits.least = bytes.number();
  if ((flags & 1) != 0) limits.most = bytes.number();
  return limits;
}

/// What is wrong; empty if nothing is.
std::string wrong_in_tables(WasmBytes& section) {
  const uint64_t count = section.number();
  if (count > kMostTables)
    return fmt::format("it has {} tables; {} are allowed", count, kMostTables);
  for (uint64_t i = 0; i < count && !section.has_failed(); ++i) {
    const uint8_t type = section.byte();
    // What a table of functions or of external references begins with.
    if (type != 0x70 && type != 0x6F) return "it has a table of a type that is not supported";
    const WasmLimits limits = read_limits(section);
    if (section.has_failed()) break;
    if (!limits.most || *limits.most > kMostTableElements)
      return fmt::format("its table needs a maximum of {} elements at most", kMostTableElements);
  }
  return {};
}

std::string wrong_in_memories(WasmBytes& section) {
  const uint64_t count = section.number();
  if (count > 1) return fmt::format("it has {} memories; one is allowed", count);
  if (count == 0) return {};
  const WasmLimits limits = read_limits(section);
  if (limits.least > kMostWasmPages) {
    return fmt::format("its memory begins with {} pages; a client may have {} ({} MiB)",
                       limits.least, kMostWasmPages, kMostWasmPages * kWasmPageBytes >> 20);
  }
  return {};
}

std::string wrong_in_code(WasmBytes& section) {
  const uint64_t count = section.number();
  for (uint64_t i = 0; i < count && !section.has_failed(); ++i) {
    WasmBytes body = section.part(section.number());
    const uint64_t groups = body.number();
    uint64_t locals = 0;
    for (uint64_t group = 0; group < groups && !body.has_failed(); ++group) {
      // Added one by one, the sum cannot overflow.
      locals = std::min(locals + std::min(body.number(), kMostLocals + 1), kMostLocals + 1);
      (void)body.byte();
    }
    if (body.has_failed()) return "its code is damaged";
    if (locals > kMostLocals)
      return fmt::format("a function of it has more than {} local variables", kMostLocals);
  }
  return {};
}

}  // namespace

bool is_wasm(std::string_view bytes) { return bytes.starts_with(kMagic); }

Status check_module_limits(std::string_view bytes, const std::string& name) {
  const auto wrong = [&](std::string_view what) {
    return make_error(ErrorCode::kUsage, fmt::format("{}: {}", name, what));
  };
  if (!is_wasm(bytes)) return wrong("it is no module in WebAssembly");
  if (bytes.substr(kMagic.size(), kCoreVersion.size()) != kCoreVersion)
    return wrong("it is a component, or of an unknown version; topspin runs modules of version 1");
  WasmBytes rest(bytes.substr(kMagic.size() + kCoreVersion.size()));
  while (!rest.is_empty()) {
    const uint8_t id = rest.byte();
    WasmBytes section = rest.part(rest.number());
    if (rest.has_failed()) return wrong("it is damaged or cut off");
    std::string what;
    switch (id) {
      case kCustomSection:
        // Native code, which no sandbox would hold.
        if (section.text() == "wasmedge")
          what = "it was compiled by \"wasmedge compile\"; give the module from before that";
        break;
      case kTableSection: what = wrong_in_tables(section); break;
      case kMemorySection: what = wrong_in_memories(section); break;
      case kCodeSection: what = wrong_in_code(section); break;
      default: break;
    }
    if (what.empty() && section.has_failed()) what = "it is damaged or cut off";
    if (!what.empty()) return wrong(what);
  }
  return {};
}

}  // namespace topspin
