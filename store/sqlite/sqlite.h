// A small wrapper of SQLite: connections, statements and transactions that close themselves, and
// errors that say what to do. Only files of this room include sqlite3.h. It knows nothing about
// runs.
//
// A Connection and its Statements belong to one thread at a time and must not cross a fork.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace topspin {

class Connection;

/// A prepared statement. Parameters count from 1, columns from 0, as in SQLite. The next step()
/// returns errors of binding. REQUIRES: its Connection lives longer.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  void bind_null(int parameter);
  void bind_int(int parameter, int64_t value);
  void bind_text(int parameter, std::string_view text);   // borrowed until reset()
  void bind_blob(int parameter, std::string_view bytes);  // borrowed until reset()

  /// Returns true if there is a row to read, and false when done.
  Result<bool> step();

  /// Runs a statement that returns no rows: steps to the end and resets.
  Status run();

  /// Makes the statement ready for new parameters, and ends its read of the database.
  void reset();

  bool is_null(int column) const;
  bool is_int(int column) const;
  bool is_text(int column) const;
  bool is_blob(int column) const;
  int64_t int_at(int column) const;
  std::string_view bytes_at(int column) const;  // of text or blob; valid until the next step

 private:
  friend class Connection;
  Statement(Connection* connection, sqlite3_stmt* handle)
      : connection_(connection), handle_(handle) {}

  Connection* connection_;
  sqlite3_stmt* handle_;
  int bind_error_ = 0;  // the first code other than OK since the last reset
};

enum class Access { kRead, kWrite };

class Connection {
 public:
  /// Opens an existing file. `path` must be absolute, so that SQLite takes it for a file name. For
  /// kWrite its last part must not be a symbolic link. Nothing is read yet; if the file is not a
  /// database, the first statement fails.
  static Result<std::unique_ptr<Connection>> open(const std::string& path, Access access);

  /// An empty database in memory. `name` is for messages.
  static Result<std::unique_ptr<Connection>> open_in_memory(std::string name = "memory");
  /// Opens the bytes of a database file, which are copied, for reading.
  static Result<std::unique_ptr<Connection>> open_bytes(std::string_view bytes, std::string name);

  /// The database as the bytes of a file.
  Result<std::string> serialize();

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  /// Runs statements and ignores the rows that they return.
  Status execute(const std::string& sql);
  /// A statement that is done is kept for the next prepare() of the same text: for a table with
  /// hundreds of columns, preparing takes longer than a row of it.
  Result<Statement> prepare(std::string_view sql);

  /// The first column of the first row. kInput if there is none or it is of another type.
  Result<int64_t> query_int(std::string_view sql);
  Result<std::string> query_text(std::string_view sql);

  Error not_a_database() const;  // SQLite's error for a file that is not a database
  int64_t last_row() const;      // rowid of the last insert
  bool in_transaction() const;
  const std::string& path() const { return path_; }

  /// Sets how long a statement waits for a lock of another program.
  void set_busy_timeout(int ms);

  /// The last connection that closes moves the write-ahead log into the file and deletes it. This
  /// is off until this function is called, so that a file which is not ours is not changed.
  void allow_checkpoint_on_close();

 private:
  friend class Statement;
  friend struct ForeignSqlState;
  Connection(std::string path, Access access) : path_(std::move(path)), access_(access) {}
  Error error(int code) const;
  void keep(sqlite3_stmt* statement);

  static constexpr size_t kMostIdle = 64;
  std::string path_;
  Access access_;
  sqlite3* handle_ = nullptr;
  std::vector<sqlite3_stmt*> idle_;
};

/// The error that `what` of this database, such as "a load", is damaged.
Error damaged(const Connection& connection, std::string_view what);

/// BEGIN ... COMMIT; rolls back when it leaves scope uncommitted.
class Transaction {
 public:
  /// `how` begins the transaction and takes the write lock.
  static Result<Transaction> begin(Connection& connection,
                                   const std::string& how = "BEGIN IMMEDIATE");
  Transaction(Transaction&& other) noexcept : connection_(other.connection_) {
    other.connection_ = nullptr;
  }
  Transaction& operator=(Transaction&&) = delete;
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();

  Status commit();

 private:
  explicit Transaction(Connection* connection) : connection_(connection) {}
  Connection* connection_;  // null: committed, or moved from
};

}  // namespace topspin
