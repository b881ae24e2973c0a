// Reads a datagram of the native protocol of systemd-journald
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): lines FIELD=value, or FIELD, a line break, the
// length of the value as 64 bits with the low byte first, the value, and a line break.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace topspin::test {

/// nullopt if it is not well-formed, or a field occurs twice.
inline std::optional<std::map<std::string, std::string>> read_journal_entry(
    std::string_view entry) {
  std::map<std::string, std::string> fields;
  while (!entry.empty()) {
    const size_t end = entry.find_first_of("=\n");
    if (end == std::string_view::npos || end == 0) return std::nullopt;
    const std::string_view name = entry.substr(0, end);
    if (name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != std::string_view::npos)
      return std::nullopt;
    size_t size = 0;
    const bool is_line = entry[end] == '=';
    entry.remove_prefix(end + 1);
    if (is_line) {
      size = entry.find('\n');
    } else {
      if (entry.size() < 8) return std::nullopt;
      for (size_t i = 8; i-- > 0;) size = size << 8 | static_cast<uint8_t>(entry[i]);
      entry.remove_prefix(8);
    }
    if (size >= entry.size() || entry[size] != '\n') return std::nullopt;
    if (!fields.emplace(name, entry.substr(0, size)).second) return std::nullopt;
    entry.remove_prefix(size + 1);
  }
  return fields;
}

}  // namespace topspin::test
