#include "app/host/output_place.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/base/unique_fd.h"

namespace topspin {

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

bool is_shared_directory(const std::string& path) {
  struct stat info {};
  return ::stat(directory_of(path).c_str(), &info) == 0 && (info.st_mode & S_ISVTX) != 0 &&
         (info.st_mode & S_IWOTH) != 0;
}

Result<NewFile> create_screen_file() {
  std::string when = format_utc(wall_now_ns());
  std::replace(when.begin(), when.end(), ':', '.');
  NewFile made;
  made.name = fmt::format("topspin-{}.txt", when);
  made.file = UniqueFd(
      ::open(made.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (made.file) return made;
  const int number = errno;
  return make_error(ErrorCode::kOutput,
                    fmt::format("cannot write {} here: {}", made.name, std::strerror(number)),
                    number);
}

bool is_database(const std::string& path) {
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  std::array<char, kMagic.size()> begin{};
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  return file && ::read(file.get(), begin.data(), begin.size()) == std::ssize(begin) &&
         std::string_view(begin.data(), begin.size()) == kMagic;
}

}  // namespace topspin
