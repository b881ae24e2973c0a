#include "store/sqlite/packet_files.h"

#include <algorithm>

#include <sys/stat.h>

#include "store/sqlite/file_access.h"

namespace topspin {
namespace {

constexpr size_t kIdLength = 36;

/// Eight hexadecimal digits, three times four, and twelve, with dashes between.
bool is_run_id(std::string_view text) {
  if (text.size() != kIdLength) return false;
  for (size_t i = 0; i < kIdLength; ++i) {
    const bool is_dash_place = i == 8 || i == 13 || i == 18 || i == 23;
    const char c = text[i];
    const bool is_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (is_dash_place ? c != '-' : !is_digit) return false;
  }
  return true;
}

}  // namespace

std::optional<std::string> packet_file_of(std::string_view database, std::string_view run_id) {
  if (!is_run_id(run_id)) return std::nullopt;
  std::string path(database);
  path += '-';
  path += run_id;
  path += kPacketFileEnding;
  return path;
}

std::optional<std::string_view> run_of_packet_file(std::string_view database,
                                                   std::string_view path) {
  if (path.size() != database.size() + 1 + kIdLength + kPacketFileEnding.size())
    return std::nullopt;
  const std::string_view id = path.substr(database.size() + 1, kIdLength);
  if (packet_file_of(database, id) != path) return std::nullopt;
  return id;
}

uint64_t packet_file_bytes(std::string_view database, std::string_view run_id) {
  const auto path = packet_file_of(database, run_id);
  struct stat info {};
  if (!path || ::lstat(path->c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return 0;
  return static_cast<uint64_t>(info.st_size);
}

std::optional<uint64_t> remove_packet_file(std::string_view database, std::string_view run_id) {
  const uint64_t bytes = packet_file_bytes(database, run_id);
  const auto path = packet_file_of(database, run_id);
  if (bytes > 0 && remove_database_file(path->c_str()) != 0) return std::nullopt;
  return bytes;
}

}  // namespace topspin
