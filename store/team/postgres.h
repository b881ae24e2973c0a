// A small wrapper of libpq: connections, queries, and errors that say what to do and never hold a
// password. libpq is loaded when a store is first opened, so that topspin starts as fast without
// it and its packages do not depend on it. Only postgres.cc knows libpq. It knows nothing about
// runs.
//
// A connection belongs to one thread at a time and must not cross a fork.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

struct pg_conn;
struct pg_result;

namespace topspin {

/// A parameter of a query; absent: NULL. The text or bytes are borrowed.
struct PostgresParameter {
  std::optional<std::string_view> value;
  bool is_bytes = false;  // bytea; otherwise the text form of any type
};

/// What is known of a column, in a result that is text.
struct PostgresColumn {
  std::string name;
  uint32_t type = 0;  // its number in pg_type
};

/// The last statement that failed.
struct PostgresFailure {
  std::string state;    // SQLSTATE, such as "23505"; empty if the server did not answer
  std::string message;  // the server's own first line
  size_t position = 0;  // in the statement, in characters from 1; 0: not known
};

/// The rows of a query. Columns count from 0.
class PostgresRows {
 public:
  PostgresRows(PostgresRows&& other) noexcept;
  PostgresRows& operator=(PostgresRows&&) = delete;
  ~PostgresRows();

  size_t size() const { return size_; }
  uint64_t affected() const;  // rows that the statement inserted, changed or removed
  bool is_null(size_t row, size_t column) const;
  /// Of a column of the type bigint; nullopt for NULL, or if it is of another type.
  std::optional<int64_t> integer(size_t row, size_t column) const;
  /// Of text or bytea, or of anything if the rows are text; empty for NULL. Lives as long as the
  /// rows.
  std::string_view bytes(size_t row, size_t column) const;
  std::vector<PostgresColumn> columns() const;

 private:
  friend class PostgresConnection;
  explicit PostgresRows(pg_result* result);
  pg_result* result_;
  size_t size_ = 0;
};

class PostgresConnection {
 public:
  /// `url` is a connection URI or string of libpq, whose environment (PGPASSWORD, PGSSLMODE, ...)
  /// and files (.pgpass) count too. kUnsupported without libpq; kInput if the server cannot be
  /// reached; kPermission if it refuses the user.
  /// With `notices_absence` a server whose host goes away without a word is an error within
  /// seconds.
  static Result<std::unique_ptr<PostgresConnection>> connect(const std::string& url,
                                                             bool notices_absence = false);

  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;
  ~PostgresConnection();

  Status execute(const std::string& sql);
  Result<PostgresRows> query(const std::string& sql,
                             std::span<const PostgresParameter> parameters = {});
  /// All parameters are texts.
  Result<PostgresRows> query(const std::string& sql, std::initializer_list<std::string_view> texts);

  /// One statement, of any type of columns: all values are texts. A second one behind ';' is an
  /// error.
  Result<PostgresRows> query_texts(const std::string& sql);

  const PostgresFailure& last_failure() const { return last_failure_; }
  const std::string& last_state() const { return last_failure_.state; }

  /// Where it is connected, without any secret: "postgresql://ci@db.example/topspin".
  const std::string& name() const { return name_; }

 private:
  PostgresConnection(pg_conn* handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  Result<PostgresRows> checked(pg_result* result);
  Error failed(const pg_result* result);

  pg_conn* handle_;
  std::string name_;
  PostgresFailure last_failure_;
};

/// BEGIN ... COMMIT; rolls back when it leaves scope uncommitted.
class PostgresTransaction {
 public:
  static Result<PostgresTransaction> begin(PostgresConnection& connection);
  PostgresTransaction(PostgresTransaction&& other) noexcept : connection_(other.connection_) {
    other.connection_ = nullptr;
  }
  PostgresTransaction& operator=(PostgresTransaction&&) = delete;
  ~PostgresTransaction();
  Status commit();

 private:
  explicit PostgresTransaction(PostgresConnection* connection) : connection_(connection) {}
  PostgresConnection* connection_;  // null: committed, or moved from
};

}  // namespace topspin
