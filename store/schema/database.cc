#include "store/schema/database.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "store/run_store.h"
#include "store/schema.h"
#include "store/schema/new_schema.h"
#include "store/schema/older_schema.h"
#include "store/schema/tick_columns.h"
#include "store/sqlite/file_access.h"
#include "store/team_address.h"

namespace topspin {
namespace {

/// The log is moved into the file every 16 MiB. This means fewer and larger syncs, and pages that
/// every tick rewrites are copied only once. It is truncated to that size after a reader has held
/// it open.
constexpr int kCheckpointPages = 4096;
constexpr int64_t kLogBytesKept = int64_t{kCheckpointPages} * 4096;

Error cannot_open(const std::string& path, int os_errno) {
  const auto code =
      os_errno == EACCES || os_errno == EPERM ? ErrorCode::kPermission : ErrorCode::kOutput;
  const std::string_view advice =
      os_errno == ENOENT ? "create its directory first, or choose another file with --db"
                         : "choose a file with --db in a directory that you may write";
  return make_error(code,
                    fmt::format("cannot create {}: {}; {}", address_without_secrets(path),
                                std::strerror(os_errno), advice),
                    os_errno);
}

struct PathParts {
  std::string directory;  // absolute, without symbolic links
  std::string file;       // the whole absolute path
};

Result<PathParts> resolve_directory(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  const std::string directory = slash == std::string::npos ? "."
                                : slash == 0               ? "/"
                                                           : path.substr(0, slash);
  if (name.empty() || name == "." || name == "..") {
    return make_error(ErrorCode::kUsage,
                      fmt::format("\"{}\" names no file; give one with --db", path));
  }
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(directory.c_str(), nullptr),
                                                             &std::free);
  if (resolved == nullptr) return cannot_open(path, errno);
  PathParts parts;
  parts.directory = resolved.get();
  parts.file = (parts.directory == "/" ? "" : parts.directory) + "/" + name;
  return parts;
}

/// Whether another user has put `entry` into `directory`, in which everybody may do so.
bool is_planted(const struct stat& entry, const std::string& directory, const FileOwner& owner) {
  struct stat parent {};
  if (::stat(directory.c_str(), &parent) != 0) return false;
  const bool shared = (parent.st_mode & S_ISVTX) != 0 && (parent.st_mode & S_IWOTH) != 0;
  const bool trusted =
      entry.st_uid == ::geteuid() || entry.st_uid == 0 || entry.st_uid == owner.uid;
  return shared && !trusted;
}

/// Refuses a path through a link that another user has planted, because that user decides where it
/// leads. The kernel does the same if fs.protected_symlinks is set, which is usual but not certain.
Status check_links(const std::string& path, const FileOwner& owner) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    struct stat entry {};
    if (::lstat(part.c_str(), &entry) != 0 || !S_ISLNK(entry.st_mode)) continue;
    const size_t before = part.rfind('/');
    const std::string directory = before == std::string::npos ? "."
                                  : before == 0               ? "/"
                                                              : part.substr(0, before);
    if (!is_planted(entry, directory, owner)) continue;
    return make_error(ErrorCode::kPermission,
                      fmt::format("{} is a symbolic link of another user, in a directory that "
                                  "everybody may write to; choose another file with --db",
                                  part));
  }
  return {};
}

/// Whether the existing file at `path` may be opened for writing.
Status check_existing(const std::string& path, const std::string& directory,
                      const struct stat& file, const FileOwner& owner) {
  if (S_ISLNK(file.st_mode)) {
    return make_error(
        ErrorCode::kOutput,
        fmt::format(
            "{} is a symbolic link, which is not followed for writing; name the file that it "
            "points to",
            path),
        ELOOP);
  }
  if (!S_ISREG(file.st_mode)) {
    return make_error(ErrorCode::kOutput,
                      fmt::format("{} is {}; choose a file with --db", path,
                                  S_ISDIR(file.st_mode) ? "a directory" : "not a regular file"));
  }
  if (is_planted(file, directory, owner)) {
    return make_error(ErrorCode::kPermission,
                      fmt::format("{} belongs to another user, in a directory that everybody may "
                                  "write to; choose another file with --db",
                                  path));
  }
  return {};
}

/// Makes sure that parts.file is a regular file: the existing one, or a new one that belongs to
/// `owner`. An existing file is not opened, because closing our descriptor would drop the locks
/// that SQLite holds on it elsewhere in this process.
Status claim_file(const std::string& path, const PathParts& parts, const FileOwner& owner) {
  constexpr int kTries = 3;  // the file may be created or deleted between the checks
  for (int i = 0; i < kTries; ++i) {
    struct stat file {};
    if (::lstat(parts.file.c_str(), &file) == 0) {
      return check_existing(path, parts.directory, file, owner);
    }
    if (errno != ENOENT) return cannot_open(path, errno);
    const UniqueFd fd(open_database_file(parts.file.c_str(),
                                         O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!fd) {
      if (errno == EEXIST) continue;
      return cannot_open(path, errno);
    }
    if (owner.uid || owner.gid) {
      // SQLite gives -wal and -shm the same owner, if it runs as root.
      const uid_t uid = owner.uid.value_or(static_cast<uid_t>(-1));
      const gid_t gid = owner.gid.value_or(static_cast<gid_t>(-1));
      if (::fchown(fd.get(), uid, gid) != 0) {
        const int os_errno = errno;
        return make_error(
            ErrorCode::kPermission,
            fmt::format("cannot give {} to its user: {}; record as that user, or choose "
                        "another file with --db",
                        path, std::strerror(os_errno)),
            os_errno);
      }
    }
    return {};
  }
  return cannot_open(path, EEXIST);
}

Error not_ours(const std::string& path) {
  return make_error(
      ErrorCode::kInput,
      fmt::format("{} is a database of another program; choose another file with --db", path));
}

/// The schema version of one of our files.
Result<int64_t> identify(Connection& connection) {
  TOPSPIN_ASSIGN(const int64_t application, connection.query_int("PRAGMA application_id"));
  if (application != kApplicationId) {
    TOPSPIN_ASSIGN(const int64_t pages, connection.query_int("PRAGMA page_count"));
    if (pages == 0) return connection.not_a_database();  // too short for SQLite to read
    return not_ours(connection.path());
  }
  TOPSPIN_ASSIGN(const int64_t version, connection.query_int("PRAGMA user_version"));
  if (version <= 0) {
    return make_error(
        ErrorCode::kInput,
        fmt::format("{} is damaged: it has no schema version; choose another file with "
                    "--db",
                    connection.path()));
  }
  const auto known = static_cast<int64_t>(migrations().size());
  if (version > known) {
    return make_error(
        ErrorCode::kInput,
        fmt::format(
            "{} was written by a newer topspin: schema {}, this one knows {}; upgrade topspin, "
            "or choose another file with --db",
            connection.path(), version, known));
  }
  return version;
}

/// Whether the file holds nothing at all yet. The pages are read first, because that rolls back a
/// creation that was killed.
Result<bool> is_empty_file(Connection& connection) {
  TOPSPIN_ASSIGN(const int64_t pages, connection.query_int("PRAGMA page_count"));
  struct stat file {};
  if (::stat(connection.path().c_str(), &file) != 0) return cannot_open(connection.path(), errno);
  return pages == 0 && file.st_size == 0;
}

/// Checks that the database is ours, and reads one of an older schema as one of the newest.
Status read_as_newest(Connection& connection) {
  TOPSPIN_ASSIGN(const int64_t version, identify(connection));
  TOPSPIN_ASSIGN(const auto missing, missing_number_columns(connection, "tick"));
  if (version < static_cast<int64_t>(migrations().size()) || !missing.empty())
    return read_as_newest_schema(connection, version);
  return {};
}

}  // namespace

std::span<const char* const> migrations() {
  static const std::string kSchema5 = with_number_columns(kSchema5Sql);
  static const std::array kMigrations = {kSchemaSql,       kSchema2Sql, kSchema3Sql, kSchema4Sql,
                                         kSchema5.c_str(), kSchema6Sql, kSchema7Sql, kSchema8Sql,
                                         kSchema9Sql,      kSchema10Sql};
  return kMigrations;
}

Status migrate(Connection& connection, std::span<const char* const> steps) {
  // auto_vacuum is fixed by the first page and ignored later. The pragma writes that page itself,
  // so it must be inside the transaction, before anything else.
  TOPSPIN_ASSIGN(const int64_t pages, connection.query_int("PRAGMA page_count"));
  TOPSPIN_ASSIGN(
      Transaction transaction,
      Transaction::begin(
          connection, pages == 0 ? "BEGIN; PRAGMA auto_vacuum = INCREMENTAL" : "BEGIN IMMEDIATE"));
  TOPSPIN_ASSIGN(const int64_t version, connection.query_int("PRAGMA user_version"));
  if (version == 0) {
    // Another program may have created its tables between our check and our lock.
    TOPSPIN_ASSIGN(const int64_t objects,
                   connection.query_int("SELECT count(*) FROM sqlite_schema"));
    if (objects != 0) return not_ours(connection.path());
    TOPSPIN_TRY(connection.execute(fmt::format("PRAGMA application_id = {}", kApplicationId)));
  }
  if (version == 0 && steps.size() == migrations().size()) {
    TOPSPIN_TRY(connection.execute(schema_of_new_file(steps)));
  } else {
    for (const char* step : steps.subspan(std::min(static_cast<size_t>(version), steps.size())))
      TOPSPIN_TRY(connection.execute(step));
  }
  if (static_cast<size_t>(version) < steps.size())
    TOPSPIN_TRY(connection.execute(fmt::format("PRAGMA user_version = {}", steps.size())));
  return transaction.commit();
}

Result<std::unique_ptr<Connection>> open_for_writing(const std::string& path,
                                                     const FileOwner& owner) {
  TOPSPIN_TRY(refuse_team_address(path, "write to"));
  TOPSPIN_TRY(check_links(path, owner));
  TOPSPIN_ASSIGN(const PathParts parts, resolve_directory(path));
  TOPSPIN_TRY(claim_file(path, parts, owner));
  TOPSPIN_ASSIGN(auto connection, Connection::open(parts.file, Access::kWrite));
  TOPSPIN_TRY(connection->execute("PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY"));

  TOPSPIN_ASSIGN(const bool empty, is_empty_file(*connection));
  if (empty) {
    // Nothing can be lost yet. The first checkpoint syncs the whole file.
    TOPSPIN_TRY(connection->execute("PRAGMA page_size = 4096; PRAGMA synchronous = OFF"));
    TOPSPIN_TRY(migrate(*connection, migrations()));
  }
  TOPSPIN_ASSIGN(const int64_t version, identify(*connection));
  if (version < static_cast<int64_t>(migrations().size())) {
    TOPSPIN_TRY(migrate(*connection, migrations()));
  }
  TOPSPIN_TRY(add_missing_number_columns(*connection));
  connection->allow_checkpoint_on_close();

  // A commit in WAL mode with synchronous = NORMAL is in the kernel's cache when it returns, so it
  // survives the end of the process. A power cut may lose the ticks since the last checkpoint, but
  // damages nothing. If the file system has no shared memory, the journal stays a rollback journal,
  // which is slower but as safe.
  auto mode = connection->query_text("PRAGMA journal_mode = WAL");
  if (!mode.ok() && mode.error().code != ErrorCode::kOutput) return std::move(mode).error();
  TOPSPIN_TRY(connection->execute(fmt::format(
      "PRAGMA synchronous = NORMAL; PRAGMA secure_delete = OFF; PRAGMA cache_size = -16384; "
      "PRAGMA wal_autocheckpoint = {}; PRAGMA journal_size_limit = {}",
      kCheckpointPages, kLogBytesKept)));
  return connection;
}

Result<std::unique_ptr<Connection>> open_for_reading(const std::string& path) {
  TOPSPIN_TRY(refuse_team_address(path, "name"));
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr),
                                                             &std::free);
  struct stat file {};
  if (resolved == nullptr || ::stat(resolved.get(), &file) != 0) {
    const int os_errno = errno;
    if (os_errno == ENOENT) {
      return make_error(
          ErrorCode::kInput,
          fmt::format("there is no database {}; record a run first, or name another file "
                      "with --db",
                      address_without_secrets(path)),
          os_errno);
    }
    return make_error(os_errno == EACCES ? ErrorCode::kPermission : ErrorCode::kInput,
                      fmt::format("cannot open {}: {}; name another file with --db", path,
                                  std::strerror(os_errno)),
                      os_errno);
  }
  if (!S_ISREG(file.st_mode)) {
    return make_error(ErrorCode::kInput,
                      fmt::format("{} is {}; name a topspin database with --db", path,
                                  S_ISDIR(file.st_mode) ? "a directory" : "not a regular file"));
  }
  if (::access(resolved.get(), R_OK) != 0) {
    const int os_errno = errno;
    return make_error(
        ErrorCode::kPermission,
        fmt::format("cannot read {}: {}; ask its owner, or name another file with --db", path,
                    std::strerror(os_errno)),
        os_errno);
  }
  TOPSPIN_ASSIGN(auto connection, Connection::open(resolved.get(), Access::kRead));
  TOPSPIN_TRY(connection->execute("PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY"));
  TOPSPIN_ASSIGN(const bool empty, is_empty_file(*connection));
  if (empty) {
    return make_error(ErrorCode::kInput,
                      fmt::format("{} is empty: no run was ever stored in it; record one first, or "
                                  "name another file with --db",
                                  path));
  }
  TOPSPIN_TRY(read_as_newest(*connection));
  return connection;
}

Result<std::unique_ptr<Connection>> open_bytes_for_reading(std::string_view bytes,
                                                           const std::string& name) {
  TOPSPIN_ASSIGN(auto connection, Connection::open_bytes(bytes, name));
  TOPSPIN_TRY(connection->execute("PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY"));
  TOPSPIN_TRY(read_as_newest(*connection));
  return connection;
}

Result<std::unique_ptr<Connection>> new_database_in_memory(const std::string& name) {
  TOPSPIN_ASSIGN(auto connection, Connection::open_in_memory(name));
  TOPSPIN_TRY(connection->execute("PRAGMA page_size = 4096; PRAGMA temp_store = MEMORY"));
  TOPSPIN_TRY(migrate(*connection, migrations()));
  TOPSPIN_TRY(add_missing_number_columns(*connection));
  return connection;
}

Result<std::unique_ptr<Connection>> open_existing_for_writing(const std::string& path) {
  { TOPSPIN_ASSIGN(const auto existing, open_for_reading(path)); }
  return open_for_writing(path, {});
}

bool leave_wal_mode(Connection& connection) {
  // Two writers that end together each see the other still connected, so one of them must try
  // again.
  constexpr int kTries = 20;
  constexpr auto kPause = std::chrono::milliseconds(10);
  for (int i = 0; i < kTries; ++i) {
    if (i != 0) std::this_thread::sleep_for(kPause);
    const auto mode = connection.query_text("PRAGMA journal_mode = DELETE");
    if (mode.ok() && *mode == "delete") return true;
  }
  return false;
}

}  // namespace topspin
