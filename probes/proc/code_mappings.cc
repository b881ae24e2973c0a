#include "probes/proc/code_mappings.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace topspin {
namespace {

std::optional<uint64_t> number(std::string_view text, int base) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Removes the text up to and including `after` (or all of it) from the front of `line`. Returns it
/// without `after`.
std::string_view take(std::string_view& line, char after) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const size_t end = std::min(line.find(after), line.size());
  const std::string_view part = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return part;
}

/// "5600-5700 r-xp 00001000 08:01 1234      /path with spaces"
std::optional<MappedCode> parse_line(std::string_view line) {
  std::string_view range = take(line, ' ');
  const std::string_view rights = take(line, ' ');
  if (rights.size() != 4 || rights[2] != 'x') return std::nullopt;
  const auto begin = number(take(range, '-'), 16), end = number(range, 16);
  const auto file_offset = number(take(line, ' '), 16);
  if (!begin || !end || !file_offset) return std::nullopt;
  MappedCode code{*begin, *end, *file_offset, 0, 0, ""};
  std::string_view device = take(line, ' ');
  const auto major = number(take(device, ':'), 16), minor = number(device, 16);
  const auto inode = number(take(line, ' '), 10);
  if (major && minor && inode) {
    code.device = *major << 32 | *minor;
    code.inode = *inode;
  }
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  code.path = line;
  return code;
}

}  // namespace

std::vector<MappedCode> parse_mapped_code(std::string_view maps) {
  std::vector<MappedCode> all;
  while (!maps.empty()) {
    const size_t end = std::min(maps.find('\n'), maps.size());
    if (auto code = parse_line(maps.substr(0, end))) all.push_back(std::move(*code));
    maps.remove_prefix(std::min(end + 1, maps.size()));
  }
  return all;
}

}  // namespace topspin
