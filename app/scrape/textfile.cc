#include "app/scrape/textfile.h"

#include <cerrno>
#include <chrono>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <stdio.h>  // NOLINT(modernize-deprecated-headers): renameat is POSIX
#include <sys/stat.h>
#include <unistd.h>

#include "app/host/output_place.h"
#include "core/base/text.h"

namespace topspin {
namespace {

constexpr std::string_view kEnding = ".prom";
constexpr std::string_view kTemporary = ".tmp";

Error cannot_write(const std::string& path, int why) {
  const bool denied = why == EACCES || why == EPERM || why == EROFS;
  return make_error(denied ? ErrorCode::kPermission : ErrorCode::kOutput,
                    fmt::format("cannot write {} of --textfile", sanitize_for_terminal(path)), why);
}

}  // namespace

Result<std::unique_ptr<Textfile>> Textfile::open(const std::string& path) {
  std::string name = path.substr(path.rfind('/') + 1);
  if (!name.ends_with(kEnding) || name.size() == kEnding.size()) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("--textfile {} must end with .prom, or node_exporter does not "
                                  "read it",
                                  sanitize_for_terminal(path)));
  }
  UniqueFd directory(::open(directory_of(path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return cannot_write(path, errno);
  return std::unique_ptr<Textfile>(new Textfile(std::move(directory), path, std::move(name)));
}

Status Textfile::write_now() {
  const std::string text = page_->render(LiveFormat::kPrometheus);
  const std::string temporary = name_ + std::string(kTemporary);
  // Readable for node_exporter, whose user is another one. An old one is not followed or reused.
  ::unlinkat(directory_.get(), temporary.c_str(), 0);
  const UniqueFd file(::openat(directory_.get(), temporary.c_str(),
                               O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file) return cannot_write(path_, errno);
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(file.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int why = errno;
      ::unlinkat(directory_.get(), temporary.c_str(), 0);
      return cannot_write(path_, why);
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
  if (::renameat(directory_.get(), temporary.c_str(), directory_.get(), name_.c_str()) != 0)
    return cannot_write(path_, errno);
  return {};
}

Status Textfile::serve(const MetricsPage& page) {
  page_ = &page;
  TOPSPIN_TRY(write_now());
  thread_ = std::thread([this] { run(); });
  return {};
}

void Textfile::run() {
  pthread_setname_np(pthread_self(), "topspin-text");
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, std::chrono::seconds(kEverySeconds), [&] { return ending_; })) {
    lock.unlock();
    const Status written = write_now();
    lock.lock();
    const std::string now = written.ok() ? "" : written.error().message;
    if (now != last_problem_ && !now.empty()) problem_ = now;
    last_problem_ = now;
  }
}

std::optional<std::string> Textfile::take_problem() {
  const std::lock_guard lock(mutex_);
  return std::exchange(problem_, std::nullopt);
}

Textfile::~Textfile() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  thread_.join();
  ::unlinkat(directory_.get(), name_.c_str(), 0);
}

}  // namespace topspin
