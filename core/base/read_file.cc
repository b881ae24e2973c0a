#include "core/base/read_file.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/unique_fd.h"

namespace topspin {
namespace {

Error failed(int number) { return make_error(ErrorCode::kInput, std::strerror(number), number); }

bool is_device(const struct stat& info) { return S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode); }

}  // namespace

Result<std::string> read_file(const std::string& path, size_t most_bytes) {
  const Error device = make_error(ErrorCode::kInput, "it is a device, not a file");
  struct stat info {};
  // Check before opening, because opening some devices has an effect.
  if (::stat(path.c_str(), &info) != 0) return failed(errno);
  if (is_device(info)) return device;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file || ::fstat(file.get(), &info) != 0) return failed(errno);
  if (is_device(info)) return device;
  std::string bytes;
  std::array<char, 65'536> buffer;
  while (bytes.size() <= most_bytes) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno);
    if (got == 0) return bytes;
    bytes.append(buffer.data(), static_cast<size_t>(got));
  }
  return make_error(ErrorCode::kInput,
                    fmt::format("it is larger than {} MiB", most_bytes / (size_t{1} << 20)));
}

}  // namespace topspin
