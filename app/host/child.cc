#include "app/host/child.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace topspin {
namespace {

/// The errno why a command cannot be executed, checked before anything is opened for it; 0 if it
/// probably can.
int find_command(const std::string& command) {
  const auto executable = [](const std::string& path) {
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) return errno;
    if (!S_ISREG(info.st_mode)) return EACCES;
    return access(path.c_str(), X_OK) == 0 ? 0 : errno;
  };
  if (command.empty()) return ENOENT;
  if (command.find('/') != std::string::npos) return executable(command);
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  int best = ENOENT;
  while (true) {
    const size_t colon = rest.find(':');
    const std::string_view directory = rest.substr(0, colon);
    const int result =
        executable(fmt::format("{}/{}", directory.empty() ? "." : directory, command));
    if (result == 0) return 0;
    if (result == EACCES) best = EACCES;
    if (colon == std::string_view::npos) return best;
    rest.remove_prefix(colon + 1);
  }
}

Error cannot_execute(const std::string& command, int number) {
  if (number == ENOENT) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("command not found: {}; give its path, or correct PATH", command),
                      number);
  }
  return make_error(ErrorCode::kUsage,
                    fmt::format("cannot execute {}: {}", command, std::strerror(number)), number);
}

Error internal(std::string_view what) {
  const int number = errno;
  return make_error(ErrorCode::kInternal, fmt::format("{}: {}", what, std::strerror(number)),
                    number);
}

[[noreturn]] void run_child(const std::vector<std::string>& command,
                            const std::optional<UserIdentity>& user, const ChildSetting& setting,
                            int release_fd, int status_fd) {
  char go = 0;
  ssize_t got = 0;
  do {
    got = read(release_fd, &go, 1);
  } while (got < 0 && errno == EINTR);
  if (got != 1) _exit(127);  // topspin has ended

  const auto give_up = [&](int number) {
    (void)!write(status_fd, &number, sizeof number);
    _exit(127);
  };
  if (!setting.cpus.empty()) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (const int cpu : setting.cpus) {
      if (cpu < CPU_SETSIZE) CPU_SET(static_cast<unsigned>(cpu), &cpus);
    }
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) give_up(errno);
  }
  if (user) {
    if (!become_user(*user).ok()) give_up(EPERM);
    setenv("HOME", user->home.c_str(), 1);
    setenv("USER", user->name.c_str(), 1);
    setenv("LOGNAME", user->name.c_str(), 1);
  }
  // Ambient capabilities that topspin has (from a service manager, for example) are not for the
  // command.
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  // The command must not outlive its recording, however that ends. A change of user clears this
  // setting, so it comes after.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  for (const auto& [name, value] : setting.environment) setenv(name.c_str(), value.c_str(), 1);
  if (!setting.directory.empty() && chdir(setting.directory.c_str()) != 0) give_up(errno);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);

  const ChildStreams& streams = setting.streams;
  if (streams.input_fd >= 0) dup2(streams.input_fd, STDIN_FILENO);
  if (streams.output_fd >= 0) {
    dup2(streams.output_fd, STDOUT_FILENO);
    dup2(streams.output_fd, STDERR_FILENO);
  }
  if (streams.error_fd >= 0) dup2(streams.error_fd, STDERR_FILENO);

  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& argument : command)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  give_up(errno);
  _exit(127);
}

}  // namespace

Result<std::unique_ptr<Child>> Child::prepare(std::vector<std::string> command,
                                              const std::optional<UserIdentity>& user,
                                              const ChildSetting& setting) {
  CHECK(!command.empty());
  if (const int number = find_command(command.front()); number != 0) {
    return cannot_execute(command.front(), number);
  }
  int release[2], status[2];
  if (pipe2(release, O_CLOEXEC) != 0) return internal("pipe");
  UniqueFd release_read(release[0]), release_write(release[1]);
  if (pipe2(status, O_CLOEXEC) != 0) return internal("pipe");
  UniqueFd status_read(status[0]), status_write(status[1]);
  const pid_t pid = fork();
  if (pid < 0) return internal("fork");
  if (pid == 0) {
    release_write.reset();  // otherwise the child would wait forever if topspin died
    run_child(command, user, setting, release_read.get(), status_write.get());
  }
  return std::unique_ptr<Child>(
      new Child(pid, command.front(), std::move(release_write), std::move(status_read)));
}

Child::~Child() {
  if (poll_exit()) return;
  // We may have become another user, who may not kill the child. It ends by itself when this is
  // closed.
  release_fd_.reset();
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Status Child::release() {
  CHECK(release_fd_.valid());
  const char go = 1;
  if (write(release_fd_.get(), &go, 1) != 1) return internal("cannot start the command");
  release_fd_.reset();
  int number = 0;
  ssize_t got = 0;
  do {  // reads end of file as soon as exec has succeeded
    got = read(status_fd_.get(), &number, sizeof number);
  } while (got < 0 && errno == EINTR);
  status_fd_.reset();
  if (got != sizeof number) return {};
  if (number == ENOENT) {  // the file existed when it was checked
    return make_error(
        ErrorCode::kUsage,
        fmt::format("cannot execute {}: its interpreter does not exist; check its first line",
                    name_),
        number);
  }
  return cannot_execute(name_, number);
}

std::optional<int> Child::poll_exit() {
  if (exit_) return exit_;
  int status = 0;
  rusage used{};
  if (wait4(pid_, &status, WNOHANG, &used) != pid_) return std::nullopt;
  const auto in_ns = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<uint64_t>(time.tv_usec) * 1'000;
  };
  usage_ = {in_ns(used.ru_utime) + in_ns(used.ru_stime), static_cast<uint64_t>(used.ru_nvcsw),
            static_cast<uint64_t>(used.ru_nivcsw)};
  if (WIFEXITED(status)) exit_ = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) exit_ = 128 + WTERMSIG(status);
  return exit_;
}

void Child::send_signal(int number) const {
  if (!exit_) kill(pid_, number);
}

}  // namespace topspin
