#include "app/sandbox/sandbox.h"

#include <array>
#include <cstdlib>
#include <memory>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/host/output_place.h"
#include "app/host/privileges.h"
#include "app/sandbox/landlock.h"
#include "app/sandbox/syscall_filter.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {

/// Directories and files that every user may read, and that the libraries look at: their own state
/// and the host's in /proc, processors, time zones, locales and descriptions of terminals.
constexpr std::array kPublic = {
    "/proc",  "/sys/devices/system/cpu", "/usr/share",    "/usr/lib",       "/usr/lib64", "/lib",
    "/lib64", "/etc/localtime",          "/etc/terminfo", "/etc/os-release"};

bool is_inside = false;

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real == nullptr ? std::string() : std::string(real.get());
}

bool is_there(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

/// Whether SQLite reads the database without writing beside it: its last writer ended cleanly, and
/// it is not in the mode of a write-ahead log, for which two bytes of its header stand.
bool is_at_rest(const std::string& database) {
  for (const char* ending : {"-wal", "-shm", "-journal"})
    if (is_there(database + ending)) return false;
  const UniqueFd file(::open(database.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  std::array<char, 2> versions{};
  constexpr off_t kVersionsOffset = 18;
  return file && ::pread(file.get(), versions.data(), versions.size(), kVersionsOffset) == 2 &&
         versions[0] == 1 && versions[1] == 1;
}

/// A screen may be shown for hours, and a recording into the same database may begin meanwhile, so
/// SQLite must be able to read its log.
void add_database(const std::string& database, bool for_long, std::vector<ReachableFile>& files) {
  const std::string real = real_path(database);
  if (real.empty()) return;
  if (!is_at_rest(real))
    files.push_back({directory_of(real), Reach::kChange});
  else
    files.push_back({for_long ? directory_of(real) : real, Reach::kRead});
}

/// A file is written under another name in its directory, and then renamed. A pipe or a device is
/// written as it is.
void add_output(const std::string& output, std::vector<ReachableFile>& files) {
  struct stat info {};
  if (::stat(output.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    files.push_back({output, Reach::kWrite});
    return;
  }
  files.push_back({directory_of(output), Reach::kChange});
  const std::string real = real_path(output);  // behind a link
  if (!real.empty()) files.push_back({directory_of(real), Reach::kChange});
}

void add_screen(std::vector<ReachableFile>& files) {
  files.push_back({"/dev/tty", Reach::kChange});
  if (const char* name = ::ttyname(STDOUT_FILENO)) files.push_back({name, Reach::kChange});
  files.push_back({".", Reach::kChange});  // key E saves the screen here
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    files.push_back({std::string(home) + "/.terminfo", Reach::kRead});
    files.push_back({std::string(home) + "/.topspin/colors", Reach::kRead});
  }
  if (const char* terminals = std::getenv("TERMINFO")) files.push_back({terminals, Reach::kRead});
}

std::vector<ReachableFile> reachable(const SandboxFiles& named) {
  std::vector<ReachableFile> files;
  for (const char* path : kPublic) files.push_back({path, Reach::kRead});
  const auto is_file = [](const std::string& name) { return !name.empty() && name != "-"; };
  for (const std::string& input : named.inputs)
    if (is_file(input)) files.push_back({input, Reach::kRead});
  for (const std::string& database : named.databases)
    if (is_file(database)) add_database(database, named.screen, files);
  for (const std::string& output : named.outputs)
    if (is_file(output)) add_output(output, files);
  if (named.screen) add_screen(files);
  return files;
}

}  // namespace

Status enter_sandbox(const SandboxFiles& files) {
  TOPSPIN_TRY(give_up_all_privileges());
  TOPSPIN_TRY(limit_files(reachable(files)));
  TOPSPIN_TRY(limit_system_calls());
  is_inside = true;
  return {};
}

SandboxSupport sandbox_support() { return {has_syscall_filters(), landlock_version()}; }

}  // namespace topspin

#ifdef TOPSPIN_SANITIZED
/// LeakSanitizer asks this at the end. It looks for leaks by tracing the process from another one,
/// which the sandbox does not allow.
extern "C" int __lsan_is_turned_off() { return topspin::is_inside ? 1 : 0; }
#endif
