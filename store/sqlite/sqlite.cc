#include "store/sqlite/sqlite.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <unistd.h>

#include "store/run_store.h"
#include "store/sqlite/file_access.h"

namespace topspin {
namespace {

constexpr int kBusyTimeoutMs = 5000;  // another writer holds the lock for some ms per tick

/// Far above anything that we store. It limits what a hostile file can make us allocate.
constexpr int kMaxValueBytes = 64 << 20;

FileAccess file_access = {
    [](const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }, ::unlink};

// SQLite calls them through pointers of these types.
int open_for_sqlite(const char* path, int flags, int mode) {
  return file_access.open(path, flags, static_cast<mode_t>(mode));
}
int remove_for_sqlite(const char* path) { return file_access.remove(path); }

std::string os_reason(int os_errno) {
  return os_errno == 0 ? "input/output error" : std::strerror(os_errno);
}

bool file_sizes_are_limited() {
  rlimit limit{};
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

/// Explains a failure to the user.
Error explain(int code, int os_errno, const char* detail, const std::string& path, Access access) {
  const bool write = access == Access::kWrite;
  const auto full = [&] {
    return make_error(ErrorCode::kOutput,
                      fmt::format("cannot write {}: the disk is full (what was stored before is "
                                  "kept); free some space",
                                  path),
                      ENOSPC);
  };
  switch (code & 0xff) {
    case SQLITE_FULL: return full();
    case SQLITE_IOERR:
      if (os_errno == ENOSPC || os_errno == EDQUOT) return full();
      // SQLite does not always keep the reason.
      if (write && (os_errno == EFBIG || (os_errno == 0 && file_sizes_are_limited()))) {
        return make_error(ErrorCode::kOutput,
                          fmt::format("cannot write {}: it has reached the limit of file sizes "
                                      "(ulimit -f); raise that",
                                      path),
                          EFBIG);
      }
      return make_error(write ? ErrorCode::kOutput : ErrorCode::kInput,
                        fmt::format("{} {} failed: {}; check the disk, or choose another file with "
                                    "--db",
                                    write ? "writing" : "reading", path, os_reason(os_errno)),
                        os_errno);
    case SQLITE_NOTADB:
      return make_error(
          ErrorCode::kInput,
          fmt::format("{} is not a topspin database; choose another file with --db", path));
    case SQLITE_CORRUPT:
      return make_error(
          ErrorCode::kInput,
          fmt::format("{} is damaged; `sqlite3 {} .recover` may save a part of it, or "
                      "choose another file with --db",
                      path, path));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:  // too many other programs competed for the log's locks
      return make_error(write ? ErrorCode::kOutput : ErrorCode::kInput,
                        fmt::format("{} stays locked by another program; end that program, or "
                                    "choose another file with --db",
                                    path),
                        EBUSY);
    case SQLITE_CANTOPEN:
      if (!write) {
        return make_error(
            ErrorCode::kPermission,
            fmt::format("cannot open {} for reading: its recording did not end cleanly and its "
                        "directory cannot be written; copy it, with {}-wal if there is one, to a "
                        "directory of your own",
                        path, path),
            os_errno);
      }
      return make_error(
          os_errno == EACCES || os_errno == EPERM ? ErrorCode::kPermission : ErrorCode::kOutput,
          fmt::format("cannot open {}: {}; check that its directory can be written, or choose "
                      "another file with --db",
                      path, os_errno == 0 ? "SQLite refused it" : std::strerror(os_errno)),
          os_errno);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      if (!write) {
        return make_error(
            ErrorCode::kPermission,
            fmt::format("{} has an unfinished write that this user may not undo; open it as its "
                        "owner, or copy it, with its -wal and -journal, to a directory of your own",
                        path),
            os_errno);
      }
      return make_error(ErrorCode::kPermission,
                        fmt::format("{} cannot be written by this user; check the rights of the "
                                    "file and its directory, or choose another file with --db",
                                    path),
                        os_errno);
    case SQLITE_ERROR:
    case SQLITE_SCHEMA:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
      return make_error(ErrorCode::kInput,
                        fmt::format("{} does not have the tables of a topspin database ({}); "
                                    "choose another file with --db",
                                    path, detail));
    default:
      return make_error(
          ErrorCode::kInternal,
          fmt::format("SQLite failed on {}: {} (code {}); please report this", path, detail, code),
          os_errno);
  }
}

/// The file may be hostile, so its schema must not run any code.
void distrust(sqlite3* db) {
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);  // except our own, in temp
  // "x" is a column or an error, never a string.
  sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_limit(db, SQLITE_LIMIT_LENGTH, kMaxValueBytes);
  // A table of a hostile schema may be read by code of SQLite's extensions, such as full-text
  // search. Those of JSON read only their arguments.
  const char* kept_modules[] = {"json_each", "json_tree", nullptr};
  sqlite3_drop_modules(db, kept_modules);
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : connection_(other.connection_),
      handle_(std::exchange(other.handle_, nullptr)),
      bind_error_(other.bind_error_) {}

Statement::~Statement() {
  if (handle_ != nullptr) connection_->keep(handle_);
}

void Statement::bind_null(int parameter) {
  const int code = sqlite3_bind_null(handle_, parameter);
  if (code != SQLITE_OK) [[unlikely]]
    bind_error_ = code;
}

void Statement::bind_int(int parameter, int64_t value) {
  const int code = sqlite3_bind_int64(handle_, parameter, value);
  if (code != SQLITE_OK) [[unlikely]]
    bind_error_ = code;
}

// SQLite takes a null pointer for NULL, and an empty view may have one.
void Statement::bind_text(int parameter, std::string_view text) {
  const int code =
      sqlite3_bind_text64(handle_, parameter, text.data() == nullptr ? "" : text.data(),
                          text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) [[unlikely]]
    bind_error_ = code;
}

void Statement::bind_blob(int parameter, std::string_view bytes) {
  const int code = sqlite3_bind_blob64(
      handle_, parameter, bytes.data() == nullptr ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
  if (code != SQLITE_OK) [[unlikely]]
    bind_error_ = code;
}

Result<bool> Statement::step() {
  if (bind_error_ != SQLITE_OK) return connection_->error(bind_error_);
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return connection_->error(code);
}

Status Statement::run() {
  auto stepped = step();
  reset();
  if (!stepped.ok()) return std::move(stepped).error();
  return {};
}

void Statement::reset() {
  sqlite3_reset(handle_);  // repeats the error of step(), which was already returned
  bind_error_ = SQLITE_OK;
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}
bool Statement::is_int(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_INTEGER;
}
bool Statement::is_text(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_TEXT;
}
bool Statement::is_blob(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_BLOB;
}
int64_t Statement::int_at(int column) const { return sqlite3_column_int64(handle_, column); }

std::string_view Statement::bytes_at(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(handle_, column));
  if (data == nullptr) return {};
  return {data, static_cast<size_t>(sqlite3_column_bytes(handle_, column))};
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, Access access) {
  CHECK(!path.empty() && path.front() == '/');
  std::unique_ptr<Connection> connection(new Connection(path, access));
  const int flags =
      SQLITE_OPEN_NOMUTEX | (access == Access::kWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW
                                                      : SQLITE_OPEN_READONLY);
  const int code = sqlite3_open_v2(path.c_str(), &connection->handle_, flags, nullptr);
  if (code != SQLITE_OK) {
    if (connection->handle_ == nullptr) {
      return make_error(ErrorCode::kInternal, "SQLite found no memory to open a file");
    }
    return connection->error(code);
  }
  sqlite3* db = connection->handle_;
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_timeout(db, kBusyTimeoutMs);
  distrust(db);
  return connection;
}

Result<std::unique_ptr<Connection>> Connection::open_in_memory(std::string name) {
  std::unique_ptr<Connection> connection(new Connection(std::move(name), Access::kWrite));
  const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY;
  if (sqlite3_open_v2(":memory:", &connection->handle_, flags, nullptr) != SQLITE_OK)
    return make_error(ErrorCode::kInternal, "SQLite found no memory for a schema");
  return connection;
}

Result<std::unique_ptr<Connection>> Connection::open_bytes(std::string_view bytes,
                                                           std::string name) {
  TOPSPIN_ASSIGN(auto connection, open_in_memory(std::move(name)));
  sqlite3_extended_result_codes(connection->handle_, 1);
  distrust(connection->handle_);
  auto* copy = static_cast<unsigned char*>(sqlite3_malloc64(std::max<size_t>(bytes.size(), 1)));
  if (copy == nullptr) return connection->error(SQLITE_NOMEM);
  std::memcpy(copy, bytes.data(), bytes.size());
  const auto size = static_cast<sqlite3_int64>(bytes.size());
  // It takes the copy, and frees it even if it fails.
  const int code =
      sqlite3_deserialize(connection->handle_, "main", copy, size, size,
                          SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY);
  if (code != SQLITE_OK) return connection->error(code);
  return connection;
}

Result<std::string> Connection::serialize() {
  sqlite3_int64 size = 0;
  unsigned char* bytes = sqlite3_serialize(handle_, "main", &size, 0);
  if (bytes == nullptr) return error(SQLITE_NOMEM);
  std::string file(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  sqlite3_free(bytes);
  return file;
}

Connection::~Connection() {
  for (sqlite3_stmt* statement : idle_) sqlite3_finalize(statement);
  sqlite3_close_v2(handle_);
}

Error Connection::error(int code) const {
  // The handle's code is more precise, if it is about the same failure.
  const int extended = sqlite3_extended_errcode(handle_);
  const int fine = (extended & 0xff) == (code & 0xff) ? extended : code;
  return explain(fine, sqlite3_system_errno(handle_), sqlite3_errmsg(handle_), path_, access_);
}

Status Connection::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code);
  return {};
}

void Connection::keep(sqlite3_stmt* statement) {
  if (sqlite3_reset(statement) != SQLITE_OK || idle_.size() == kMostIdle) {
    sqlite3_finalize(statement);
    return;
  }
  sqlite3_clear_bindings(statement);
  idle_.push_back(statement);
}

Result<Statement> Connection::prepare(std::string_view sql) {
  const auto idle = std::find_if(idle_.begin(), idle_.end(), [&](sqlite3_stmt* candidate) {
    return sql == sqlite3_sql(candidate);
  });
  if (idle != idle_.end()) {
    sqlite3_stmt* const handle = *idle;
    idle_.erase(idle);
    return Statement(this, handle);
  }
  sqlite3_stmt* handle = nullptr;
  const int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
  if (code != SQLITE_OK) return error(code);
  return Statement(this, handle);
}

Result<int64_t> Connection::query_int(std::string_view sql) {
  TOPSPIN_ASSIGN(Statement statement, prepare(sql));
  TOPSPIN_ASSIGN(const bool row, statement.step());
  if (!row || !statement.is_int(0)) return error(SQLITE_CORRUPT);
  return statement.int_at(0);
}

Result<std::string> Connection::query_text(std::string_view sql) {
  TOPSPIN_ASSIGN(Statement statement, prepare(sql));
  TOPSPIN_ASSIGN(const bool row, statement.step());
  if (!row || !statement.is_text(0)) return error(SQLITE_CORRUPT);
  return std::string(statement.bytes_at(0));
}

Error Connection::not_a_database() const { return error(SQLITE_NOTADB); }
Error damaged(const Connection& connection, std::string_view what) {
  return make_error(ErrorCode::kInput,
                    fmt::format("{} is damaged: {} cannot be read; choose another file with --db",
                                connection.path(), what));
}

int64_t Connection::last_row() const { return sqlite3_last_insert_rowid(handle_); }
bool Connection::in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }

void Connection::set_busy_timeout(int ms) { sqlite3_busy_timeout(handle_, ms); }

void Connection::allow_checkpoint_on_close() {
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
}

Result<Transaction> Transaction::begin(Connection& connection, const std::string& how) {
  Transaction transaction(&connection);
  TOPSPIN_TRY(connection.execute(how));
  return transaction;
}

Status Transaction::commit() {
  TOPSPIN_TRY(connection_->execute("COMMIT"));
  connection_ = nullptr;
  return {};
}

// A full disk or a failed write has already rolled back; other errors have not.
Transaction::~Transaction() {
  if (connection_ != nullptr && connection_->in_transaction()) {
    (void)connection_->execute("ROLLBACK").ok();
  }
}

bool may_pass(const Error& error) {
  // EFBIG: the write-ahead log may have reached a file size limit.
  return error.os_errno == EBUSY || error.os_errno == ENOSPC || error.os_errno == EDQUOT ||
         error.os_errno == EFBIG;
}

void set_file_access(const FileAccess& access) {
  file_access = access;
  sqlite3_vfs* const files = sqlite3_vfs_find(nullptr);
  CHECK(files != nullptr && files->iVersion >= 3);
  const auto replace = [&](const char* call, auto* by) {
    CHECK(files->xSetSystemCall(files, call, reinterpret_cast<sqlite3_syscall_ptr>(by)) ==
          SQLITE_OK);
  };
  replace("open", open_for_sqlite);
  replace("unlink", remove_for_sqlite);
}

int open_database_file(const char* path, int flags, mode_t mode) {
  return file_access.open(path, flags, mode);
}

int remove_database_file(const char* path) { return file_access.remove(path); }

std::string sqlite_library_version() { return sqlite3_libversion(); }

}  // namespace topspin
