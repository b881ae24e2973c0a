#include "probes/runtime/code_files.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "core/base/read_file.h"

namespace topspin {
namespace {

constexpr size_t kMostMapsBytes = 32u << 20;

/// Takes a number and the character after it off the front of `line`.
std::optional<uint64_t> take_number(std::string_view& line, char after, int base) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value, base);
  const auto length = static_cast<size_t>(end - line.data());
  if (error != std::errc{} || length >= line.size() || line[length] != after) return std::nullopt;
  line.remove_prefix(length + 1);
  return value;
}

/// A line is "7f00-7f10 r-xp 00001000 fe:01 1234      /usr/bin/node".
std::optional<CodeFile> parse_mapping(std::string_view line) {
  CodeFile file;
  const auto begin = take_number(line, '-', 16);
  const auto end = begin ? take_number(line, ' ', 16) : std::nullopt;
  if (!end || line.size() < 5 || line[2] != 'x' || line[4] != ' ') return std::nullopt;
  line.remove_prefix(5);
  const auto offset = take_number(line, ' ', 16);
  const auto major = offset ? take_number(line, ':', 16) : std::nullopt;
  const auto minor = major ? take_number(line, ' ', 16) : std::nullopt;
  const auto inode = minor ? take_number(line, ' ', 10) : std::nullopt;
  if (!inode || *inode == 0) return std::nullopt;
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  if (!line.starts_with('/') || line.ends_with(" (deleted)")) return std::nullopt;
  return CodeFile{*begin, *end, *offset, *major << 32 | *minor, *inode, std::string(line)};
}

}  // namespace

std::vector<CodeFile> parse_code_files(std::string_view maps) {
  std::vector<CodeFile> files;
  while (!maps.empty()) {
    const size_t end = std::min(maps.find('\n'), maps.size());
    if (auto file = parse_mapping(maps.substr(0, end))) files.push_back(std::move(*file));
    maps.remove_prefix(std::min(end + 1, maps.size()));
  }
  return files;
}

std::vector<CodeFile> code_files(const std::string& proc_root, int32_t pid) {
  const auto maps = read_file(fmt::format("{}/{}/maps", proc_root, pid), kMostMapsBytes);
  return maps.ok() ? parse_code_files(*maps) : std::vector<CodeFile>{};
}

std::optional<uint64_t> own_file_offset(uintptr_t address) {
  const auto maps = read_file("/proc/self/maps", kMostMapsBytes);
  if (!maps.ok()) return std::nullopt;
  for (const CodeFile& file : parse_code_files(*maps)) {
    if (address >= file.begin && address < file.end) return address - file.begin + file.file_offset;
  }
  return std::nullopt;
}

}  // namespace topspin
