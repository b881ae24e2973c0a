// SQL that a user wrote, over a Connection that was opened for reading. A statement can only read,
// and what it can take of the host is limited. Functions of ours can be added first.
//
// Private to store. One thread; must not cross a fork.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/result.h"
#include "store/sqlite/sql_value.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

/// May be called for any values: it checks their types. Its error ends the statement.
using SqlFunction = std::function<Result<SqlValue>(std::span<const SqlValue>)>;

/// An aggregate function of one argument, over the rows of one group.
class SqlAggregate {
 public:
  virtual ~SqlAggregate() = default;
  virtual Status add(const SqlValue& value) = 0;
  virtual Result<SqlValue> result() = 0;
};
using MakeAggregate = std::function<std::unique_ptr<SqlAggregate>()>;

struct ForeignSqlState;

/// A statement that returns rows. REQUIRES: its ForeignSql lives longer.
class ForeignStatement {
 public:
  ForeignStatement(ForeignStatement&& other) noexcept;
  ForeignStatement& operator=(ForeignStatement&&) = delete;
  ForeignStatement(const ForeignStatement&) = delete;
  ForeignStatement& operator=(const ForeignStatement&) = delete;
  ~ForeignStatement();

  /// The names of the columns. Hostile text, as the values are.
  std::vector<std::string> columns() const;
  /// Reads the next row into `row`. False when there is none.
  Result<bool> step(std::vector<SqlValue>& row);

 private:
  friend class ForeignSql;
  ForeignStatement(ForeignSqlState& state, sqlite3_stmt* handle)
      : state_(&state), handle_(handle) {}

  ForeignSqlState* state_;
  sqlite3_stmt* handle_;
};

class ForeignSql {
 public:
  /// REQUIRES: `connection` was opened for reading, and lives longer.
  explicit ForeignSql(Connection& connection);
  ForeignSql(const ForeignSql&) = delete;
  ForeignSql& operator=(const ForeignSql&) = delete;
  ~ForeignSql();

  Status add_function(const char* name, int arguments, SqlFunction function);
  Status add_aggregate(const char* name, MakeAggregate make);

  /// From now on the connection only reads: it prepares SELECT and nothing else, with functions
  /// that have no side effects. SQLite gets at most kMostMemory in this process. `stop` is asked
  /// every few thousand steps of a statement; true ends it. It may be empty.
  Status confine(std::function<bool()> stop);
  static constexpr int64_t kMostMemory = 256 << 20;

  /// REQUIRES: confine(). kUsage if `sql` is not exactly one statement that only reads. The error
  /// is a sentence of SQLite's, such as "no such column: x", or of a function's.
  Result<ForeignStatement> prepare(const std::string& sql);
  /// Where in its text the statement was refused, in bytes.
  std::optional<size_t> error_offset() const { return error_offset_; }

  /// The functions that a statement may call, in lower case.
  const std::set<std::string, std::less<>>& functions() const;

 private:
  Error refusal(int code);

  std::unique_ptr<ForeignSqlState> state_;
  std::optional<size_t> error_offset_;
};

}  // namespace topspin
