// Questions in SQL to a database (`topspin sql`): SELECT over its tables, over views that have the
// words of the documents (store/sql/views.h), and with functions on histograms. docs/sql.md is the
// reference. The room's door.
//
// A team's store (store/team/team_question.cc) is asked in PostgreSQL's SQL, over views of its own.
//
// Nothing is changed, and nothing but the database is read. One thread; must not cross a fork.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "store/run_store.h"
#include "store/sqlite/sql_value.h"

namespace topspin {

/// What a list says of a run beside what is stored.
struct RunDescription {
  std::string state;    // "ok", "not judged", ...
  std::string reasons;  // why it may not be judged; empty if it may
  std::optional<int64_t> reply_latency_ns_p99;
  std::optional<double> failed_share;
};
using DescribeRun = std::function<RunDescription(RunStore& store, const StoredRun& run)>;

/// The rows of a question, one after the other.
class SqlRows {
 public:
  virtual ~SqlRows() = default;
  /// The names of the columns, and of `row` the values. All of it may be hostile.
  virtual std::vector<std::string> columns() const = 0;
  /// Reads the next row into `row`. False when there is none.
  virtual Result<bool> next(std::vector<SqlValue>& row) = 0;
};

/// Why a question was refused.
struct SqlRefusal {
  Error error;
  std::optional<size_t> offset;  // where in its text, in bytes
};

class SqlReader {
 public:
  virtual ~SqlReader() = default;

  /// `describe` is called for a run whose state, or another word of its description, is asked for.
  /// `stop` is asked every few thousand steps; true ends the question. It may be empty. The server
  /// of a team's store ends a question after `timeout_ns`, by default after a minute.
  static Result<std::unique_ptr<SqlReader>> open(const std::string& path, DescribeRun describe,
                                                 std::function<bool()> stop,
                                                 std::optional<int64_t> timeout_ns = {});

  /// One SELECT. Null if it is refused, and `refusal` says why. REQUIRES: the reader lives longer
  /// than the rows.
  virtual std::unique_ptr<SqlRows> ask(const std::string& sql, SqlRefusal& refusal) = 0;
};

/// The reader of a file, for SqlReader::open(). Private to store.
Result<std::unique_ptr<SqlReader>> open_file_questions(const std::string& path,
                                                       DescribeRun describe,
                                                       std::function<bool()> stop);

/// A view, for help and documents.
struct SqlView {
  std::string name;
  std::string holds;                 // a sentence
  std::vector<std::string> columns;  // without those of the registry's numbers
  std::string numbers;               // how these are named, a sentence; empty if it has none
  std::string example;               // a statement
};
std::vector<SqlView> sql_views();
/// Those of a team's store.
std::vector<SqlView> team_sql_views();

}  // namespace topspin
