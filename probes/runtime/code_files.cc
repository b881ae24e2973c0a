#include "probes/runtime/code_files.h"

#include <fmt/format.h>

#include "core/base/read_file.h"

namespace topspin {
namespace {

constexpr size_t kMostMapsBytes = 32u << 20;

}  // namespace

std::vector<MappedCode> parse_code_files(std::string_view maps) {
  std::vector<MappedCode> files = parse_mapped_code(maps);
  std::erase_if(files, [](const MappedCode& code) {
    return code.inode == 0 || !code.path.starts_with('/') || code.path.ends_with(" (deleted)");
  });
  return files;
}

std::vector<MappedCode> code_files(const std::string& proc_root, int32_t pid) {
  const auto maps = read_file(fmt::format("{}/{}/maps", proc_root, pid), kMostMapsBytes);
  return maps.ok() ? parse_code_files(*maps) : std::vector<MappedCode>{};
}

std::optional<uint64_t> own_file_offset(uintptr_t address) {
  const auto maps = read_file("/proc/self/maps", kMostMapsBytes);
  if (!maps.ok()) return std::nullopt;
  for (const MappedCode& file : parse_code_files(*maps)) {
    if (address >= file.begin && address < file.end) return address - file.begin + file.file_offset;
  }
  return std::nullopt;
}

}  // namespace topspin
