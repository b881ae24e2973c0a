#include "app/sandbox/sandbox.h"

#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include <unistd.h>

#include "app/host/privileges.h"
#include "app/sandbox/keeper.h"
#include "app/sandbox/landlock.h"
#include "app/sandbox/syscall_filter.h"
#include "core/base/check.h"
#include "store/sqlite/file_access.h"
#include "store/team_address.h"
#include "store/team_store.h"

namespace topspin {
namespace {

/// Directories and files that every user may read, and that the libraries look at: their own state
/// and the host's in /proc, processors, time zones, locales and descriptions of terminals.
constexpr std::array kPublic = {
    "/proc",  "/sys/devices/system/cpu", "/usr/share",    "/usr/lib",       "/usr/lib64", "/lib",
    "/lib64", "/etc/localtime",          "/etc/terminfo", "/etc/os-release"};

/// The resolver's configuration, which may be a link into /run; certificates; name plugins, which
/// are loaded when the first name is looked up.
constexpr std::array kOfSenders = {"/etc",
                                   "/usr",
                                   "/lib",
                                   "/lib64",
                                   "/run/systemd/resolve",
                                   "/run/resolvconf",
                                   "/run/NetworkManager",
                                   "/var/lib/ca-certificates",
                                   "/dev/null",
                                   "/dev/random",
                                   "/dev/urandom"};

/// Set by enter_sandbox().
std::optional<FileKeeper>& keeper() {
  static auto* const the_keeper = new std::optional<FileKeeper>;  // also for the very end
  return *the_keeper;
}

bool is_limited_recording = false;

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real == nullptr ? std::string() : std::string(real.get());
}

/// The path by which the store reads a database.
void add_read(const std::string& path, std::vector<KeptDatabase>& kept) {
  const std::string real = real_path(path);
  if (!real.empty()) kept.push_back({real, false});
}

/// The path by which the store writes one, which is not followed if it is a link.
void add_written(const std::string& path, std::vector<KeptDatabase>& kept) {
  const std::string directory = real_path(directory_of(path));
  const std::string name = path.substr(path.rfind('/') + 1);
  if (directory.empty() || name.empty()) return;
  kept.push_back({(directory == "/" ? "" : directory) + "/" + name, true});
}

KeptFiles kept_files(const SandboxFiles& files) {
  KeptFiles kept;
  for (const std::string& database : files.changed_databases) add_written(database, kept.databases);
  for (const std::string& database : files.changed_databases) add_read(database, kept.databases);
  for (const std::string& database : files.databases) add_read(database, kept.databases);
  if (files.output != nullptr && !files.output->directory().empty()) {
    kept.output.directory = files.output->directory();
    kept.output.finish = [output = files.output] { return output->finish_here(); };
    kept.output.discard = [output = files.output] { output->discard_here(); };
  }
  kept.screen = files.screen;
  return kept;
}

void add_screen(std::vector<ReachableFile>& files) {
  files.push_back({"/dev/tty", Reach::kChange});
  if (const char* name = ::ttyname(STDOUT_FILENO)) files.push_back({name, Reach::kChange});
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    files.push_back({std::string(home) + "/.terminfo", Reach::kRead});
    files.push_back({std::string(home) + "/.topspin/colors", Reach::kRead});
  }
  if (const char* terminals = std::getenv("TERMINFO")) files.push_back({terminals, Reach::kRead});
  files.push_back({"/usr/local/share/terminfo", Reach::kRead});
  const char* directories = std::getenv("TERMINFO_DIRS");
  std::istringstream parts(directories != nullptr ? directories : "");
  for (std::string part; std::getline(parts, part, ':');)
    if (!part.empty()) files.push_back({part, Reach::kRead});
}

std::vector<ReachableFile> reachable(const SandboxFiles& named) {
  std::vector<ReachableFile> files;
  for (const char* path : kPublic) files.push_back({path, Reach::kRead});
  for (const std::string& input : named.inputs)
    if (!input.empty() && input != "-") files.push_back({input, Reach::kRead});
  if (named.screen) add_screen(files);
  return files;
}

}  // namespace

Status enter_sandbox(const SandboxFiles& files) {
  CHECK(!keeper());
  TOPSPIN_TRY(give_up_all_privileges(true));
  for (const std::string& database : files.changed_databases)
    TOPSPIN_TRY(refuse_team_address(database, "name"));
  bool holds_connection = false;
  for (const std::string& database : files.databases) {
    if (!is_team_address(database)) continue;
    TOPSPIN_TRY(open_team_store(database));
    holds_connection = true;
  }
  TOPSPIN_ASSIGN(FileKeeper started, FileKeeper::start(kept_files(files)));
  keeper().emplace(std::move(started));
  set_file_access(
      {[](const char* path, int flags, mode_t mode) { return keeper()->open(path, flags, mode); },
       [](const char* path) { return keeper()->remove(path); }});
  TOPSPIN_TRY(give_up_all_privileges(false));
  TOPSPIN_TRY(limit_files(reachable(files)));
  return limit_system_calls(holds_connection);
}

Status limit_recording(const RecordingNeeds& needs) {
  is_limited_recording = true;
  return limit_recorder_calls(needs);
}

Status limit_sender(const std::vector<std::string>& files) {
  std::vector<ReachableFile> reachable;
  for (const char* path : kOfSenders) reachable.push_back({path, Reach::kRead});
  for (const std::string& file : files)
    if (!file.empty()) reachable.push_back({file, Reach::kRead});
  TOPSPIN_TRY(limit_files(reachable, Network::kConnects));
  return limit_sender_calls();
}

Status finish_output(const Output& output) {
  return keeper() ? keeper()->finish_output() : output.finish_here();
}

void discard_output(const Output& output) {
  if (keeper())
    keeper()->discard_output();
  else
    output.discard_here();
}

Result<NewFile> save_screen() {
  return keeper() ? keeper()->create_screen_file() : create_screen_file();
}

SandboxSupport sandbox_support() { return {has_syscall_filters(), landlock_version()}; }

}  // namespace topspin

#ifdef TOPSPIN_SANITIZED
/// LeakSanitizer asks this at the end. It looks for leaks by tracing the process from another one,
/// which neither kind of sandbox allows.
extern "C" int __lsan_is_turned_off() {
  return topspin::keeper() || topspin::is_limited_recording ? 1 : 0;
}
#endif
