#include "app/sandbox/keeper.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/sandbox/landlock.h"
#include "store/sqlite/packet_files.h"

namespace topspin {
namespace {

/// The files of a database: itself first, and last its directory, which SQLite syncs.
constexpr std::array<std::string_view, 4> kEndings = {"", "-wal", "-shm", "-journal"};
constexpr uint8_t kDirectory = kEndings.size();
/// The file of packets of one run, which can only be removed.
constexpr uint8_t kPackets = kDirectory + 1;
constexpr size_t kRunIdLength = 36;

enum class Wish : uint8_t { kOpen, kRemove, kFinishOutput, kDiscardOutput, kScreenFile };

struct Request {
  Wish wish = Wish::kOpen;
  uint8_t file = 0;  // in kEndings, kDirectory or kPackets
  uint32_t database = 0;
  int32_t flags = 0;
  uint32_t mode = 0;
  std::array<char, kRunIdLength> run{};  // of kPackets; packet_file_of() refuses everything else
};

/// Comes with a descriptor if something was opened.
struct Answer {
  int32_t os_errno = 0;
  int32_t code = -1;               // an ErrorCode; -1: it went well
  std::array<char, 1'000> text{};  // of the error, or the name of a new file

  void put_text(std::string_view from) {
    const size_t size = std::min(from.size(), text.size() - 1);
    std::copy_n(from.begin(), size, text.begin());
    text[size] = '\0';
  }
};

class Server {
 public:
  Server(int client, const KeptFiles& files) : client_(client), files_(files) {}

  void serve() {
    while (true) {
      Request request;
      const ssize_t got = ::read(client_, &request, sizeof request);
      if (got < 0 && errno == EINTR) continue;
      if (got != sizeof request) break;
      Answer answer;
      const UniqueFd opened = handle(request, answer);
      if (!send(answer, opened.get())) break;
    }
    if (!is_output_done_ && files_.output.discard) files_.output.discard();
  }

 private:
  UniqueFd handle(const Request& request, Answer& answer) {
    switch (request.wish) {
      case Wish::kOpen: return open(request, answer);
      case Wish::kRemove: remove(request, answer); break;
      case Wish::kFinishOutput: finish_output(answer); break;
      case Wish::kDiscardOutput: discard_output(); break;
      case Wish::kScreenFile: return create_screen_file(answer);
    }
    return UniqueFd();
  }

  /// nullptr if the request is not one that our client makes.
  const KeptDatabase* database_of(const Request& request, Answer& answer) const {
    if (request.database < files_.databases.size() && request.file <= kDirectory)
      return &files_.databases[request.database];
    answer.os_errno = EINVAL;
    return nullptr;
  }

  UniqueFd open(const Request& request, Answer& answer) const {
    const KeptDatabase* database = database_of(request, answer);
    if (database == nullptr) return UniqueFd();
    constexpr int kKnown = O_ACCMODE | O_CREAT | O_EXCL;
    // Somebody may have put a pipe there, on which open() would wait.
    int flags = (request.flags & kKnown) | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    std::string path = database->path;
    if (request.file == kDirectory) {
      path = directory_of(path);
      flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    } else if (request.file > 0) {
      path += kEndings[request.file];
    } else if (!database->may_change && (flags & (O_ACCMODE | O_CREAT)) != O_RDONLY) {
      answer.os_errno = EACCES;
      return UniqueFd();
    }
    UniqueFd file(::open(path.c_str(), flags, request.mode & 0666));
    if (!file) answer.os_errno = errno;
    struct stat info {};
    if (file &&
        (::fstat(file.get(), &info) != 0 ||
         !(S_ISREG(info.st_mode) || (request.file == kDirectory && S_ISDIR(info.st_mode))))) {
      answer.os_errno = EACCES;
      return UniqueFd();
    }
    if (file && request.file > 0 && (flags & O_CREAT) != 0)
      make_alike(file.get(), request.mode & 0666, database->path);
    return file;
  }

  /// A new file beside a database is for the same users as the database, whatever the umask. SQLite
  /// would do this, but may not in the sandbox.
  static void make_alike(int file, mode_t mode, const std::string& database) {
    struct stat info {
    }, model{};
    if (::fstat(file, &info) != 0 || info.st_size != 0) return;
    if (::stat(database.c_str(), &model) != 0) return;
    if (mode != 0) (void)::fchmod(file, mode);  // before it belongs to another user
    if (::geteuid() == 0) (void)!::fchown(file, model.st_uid, model.st_gid);
  }

  void remove_packets(const Request& request, Answer& answer) const {
    const std::string_view run(request.run.data(), request.run.size());
    answer.os_errno = EACCES;
    if (request.database >= files_.databases.size()) return;
    const KeptDatabase& database = files_.databases[request.database];
    const auto path = packet_file_of(database.path, run);
    if (!database.may_change || !path) return;
    answer.os_errno = ::unlink(path->c_str()) == 0 ? 0 : errno;
  }

  void remove(const Request& request, Answer& answer) const {
    if (request.file == kPackets) return remove_packets(request, answer);
    const KeptDatabase* database = database_of(request, answer);
    if (database == nullptr) return;
    if (request.file == 0 || request.file == kDirectory)
      answer.os_errno = EACCES;
    else if (::unlink((database->path + std::string(kEndings[request.file])).c_str()) != 0)
      answer.os_errno = errno;
  }

  void finish_output(Answer& answer) {
    if (is_output_done_ || !files_.output.finish) return;
    const Status finished = files_.output.finish();
    is_output_done_ = finished.ok();
    if (!finished.ok()) put_error(finished.error(), answer);
  }

  void discard_output() {
    if (is_output_done_ || !files_.output.discard) return;
    files_.output.discard();
    is_output_done_ = true;
  }

  UniqueFd create_screen_file(Answer& answer) const {
    if (!files_.screen) {
      answer.os_errno = EACCES;
      return UniqueFd();
    }
    auto made = topspin::create_screen_file();
    if (!made.ok()) {
      put_error(made.error(), answer);
      return UniqueFd();
    }
    answer.put_text(made->name);
    return std::move(made->file);
  }

  static void put_error(const Error& error, Answer& answer) {
    answer.code = static_cast<int32_t>(error.code);
    answer.os_errno = error.os_errno;
    answer.put_text(error.message);
  }

  /// false if the client has ended meanwhile. It is not served again if its answer is lost for
  /// another reason, for it would wait for ever.
  bool send(Answer& answer, int fd) const {
    iovec part{&answer, sizeof answer};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (fd >= 0) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* const rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof fd);
      std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    return ::sendmsg(client_, &message, MSG_NOSIGNAL) >= 0;
  }

  int client_;
  const KeptFiles& files_;
  bool is_output_done_ = false;
};

[[noreturn]] void serve(UniqueFd client, const KeptFiles& files) {
  // The process ends with its client, and not by a signal from the terminal.
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  {
    // The client's pipes and terminal are not ours.
    const UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing.get(), fd);
  }
  std::vector<ReachableFile> reachable;
  for (const KeptDatabase& database : files.databases)
    reachable.push_back({directory_of(database.path), Reach::kChange});
  if (!files.output.directory.empty())
    reachable.push_back({files.output.directory, Reach::kChange});
  if (files.screen) reachable.push_back({".", Reach::kChange});
  if (!limit_files(reachable).ok()) ::_exit(1);
  Server(client.get(), files).serve();
  ::_exit(0);
}

struct Reply {
  Answer answer;
  UniqueFd file;
};

/// EIO if the process has ended.
Reply ask(int process, const Request& request) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  Reply reply;
  reply.answer.os_errno = EIO;
  if (::write(process, &request, sizeof request) != sizeof request) return reply;
  Answer answer;
  iovec part{&answer, sizeof answer};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(process, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got != sizeof answer) return reply;
  reply.answer = answer;
  const cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  if (rights != nullptr && rights->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
    reply.file = UniqueFd(fd);
  }
  return reply;
}

Error error_of(const Answer& answer) {
  if (answer.code < 0)
    return make_error(ErrorCode::kInternal, std::strerror(answer.os_errno), answer.os_errno);
  return make_error(static_cast<ErrorCode>(answer.code), answer.text.data(), answer.os_errno);
}

/// The place of a path among the files of the databases.
std::optional<Request> find(const std::vector<KeptDatabase>& databases, std::string_view path) {
  Request request;
  for (const KeptDatabase& database : databases) {
    for (request.file = 0; request.file < kEndings.size(); ++request.file) {
      const std::string_view ending = kEndings[request.file];
      if (path.size() == database.path.size() + ending.size() && path.starts_with(database.path) &&
          path.ends_with(ending))
        return request;
    }
    if (path == directory_of(database.path)) return request;  // file is kDirectory here
    if (const auto run = run_of_packet_file(database.path, path)) {
      request.file = kPackets;
      std::copy_n(run->begin(), kRunIdLength, request.run.begin());
      return request;
    }
    ++request.database;
  }
  return std::nullopt;
}

}  // namespace

Result<FileKeeper> FileKeeper::start(KeptFiles files) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return make_error(ErrorCode::kInternal, "cannot start the process that keeps files", errno);
  UniqueFd ours(ends[0]), theirs(ends[1]);
  const pid_t child = ::fork();
  if (child < 0)
    return make_error(ErrorCode::kInternal, "cannot start the process that keeps files", errno);
  if (child == 0) {
    ours.reset();
    serve(std::move(theirs), files);
  }
  return FileKeeper(std::move(ours), std::move(files.databases));
}

int FileKeeper::open(const char* path, int flags, mode_t mode) const {
  auto request = find(databases_, path);
  if (!request) return ::open(path, flags, mode);
  request->flags = flags;
  request->mode = mode;
  Reply reply = ask(process_.get(), *request);
  if (reply.file) return reply.file.release();
  errno = reply.answer.os_errno != 0 ? reply.answer.os_errno : EIO;
  return -1;
}

int FileKeeper::remove(const char* path) const {
  auto request = find(databases_, path);
  if (!request) {
    errno = EACCES;
    return -1;
  }
  request->wish = Wish::kRemove;
  const Reply reply = ask(process_.get(), *request);
  errno = reply.answer.os_errno;
  return errno == 0 ? 0 : -1;
}

Status FileKeeper::finish_output() const {
  Request request;
  request.wish = Wish::kFinishOutput;
  const Reply reply = ask(process_.get(), request);
  if (reply.answer.code >= 0 || reply.answer.os_errno != 0) return error_of(reply.answer);
  return {};
}

void FileKeeper::discard_output() const {
  Request request;
  request.wish = Wish::kDiscardOutput;
  (void)ask(process_.get(), request);
}

Result<NewFile> FileKeeper::create_screen_file() const {
  Request request;
  request.wish = Wish::kScreenFile;
  Reply reply = ask(process_.get(), request);
  if (!reply.file) return error_of(reply.answer);
  return NewFile{std::move(reply.file), reply.answer.text.data()};
}

}  // namespace topspin
