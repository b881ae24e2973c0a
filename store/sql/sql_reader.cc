#include "store/sql/sql_reader.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "core/base/text.h"
#include "store/flows/flow_changes.h"
#include "store/schema/database.h"
#include "store/sql/histogram_functions.h"
#include "store/sql/run_functions.h"
#include "store/sql/views.h"
#include "store/sqlite/foreign_sql.h"

namespace topspin {
namespace {

bool is_letter(char c) { return c == '_' || std::isalnum(static_cast<unsigned char>(c)) != 0; }

/// Where `sql` has this name as a word.
std::optional<size_t> place_of(std::string_view name, std::string_view sql) {
  for (size_t at = sql.find(name); at != std::string_view::npos; at = sql.find(name, at + 1)) {
    const size_t end = at + name.size();
    if ((at == 0 || !is_letter(sql[at - 1])) && (end == sql.size() || !is_letter(sql[end])))
      return at;
  }
  return std::nullopt;
}

/// The name that a message of SQLite's is about: "x" of "no such column: t.x".
std::string_view name_after(std::string_view message, std::string_view begin) {
  if (!message.starts_with(begin)) return {};
  message.remove_prefix(begin.size());
  message = message.substr(0, message.find(' '));
  return message.substr(message.rfind('.') + 1);
}

class SqliteRows final : public SqlRows {
 public:
  explicit SqliteRows(ForeignStatement statement) : statement_(std::move(statement)) {}

  std::vector<std::string> columns() const override { return statement_.columns(); }
  Result<bool> next(std::vector<SqlValue>& row) override { return statement_.step(row); }

 private:
  ForeignStatement statement_;
};

class SqliteReader final : public SqlReader {
 public:
  SqliteReader(std::unique_ptr<Connection> connection, DescribeRun describe)
      : connection_(std::move(connection)),
        store_(read_runs_of(*connection_)),
        runs_(*store_, std::move(describe)),
        sql_(*connection_),
        views_(view_definitions()) {}

  Status prepare(std::function<bool()> stop) {
    TOPSPIN_TRY(add_histogram_functions(sql_));
    TOPSPIN_TRY(runs_.add_to(sql_));
    TOPSPIN_TRY(read_flows_as_last_changed(*connection_));
    for (const ViewDefinition& view : views_) TOPSPIN_TRY(connection_->execute(view.create));
    return sql_.confine(std::move(stop));
  }

  std::unique_ptr<SqlRows> ask(const std::string& sql, SqlRefusal& refusal) override {
    auto statement = sql_.prepare(sql);
    if (statement.ok()) return std::make_unique<SqliteRows>(*std::move(statement));
    refusal.error = std::move(statement).error();
    refusal.offset = sql_.error_offset();
    explain(refusal, sql);
    return nullptr;
  }

 private:
  /// Adds what was probably meant, and the place if SQLite does not say it.
  void explain(SqlRefusal& refusal, std::string_view sql) const {
    const std::string message = refusal.error.message;
    const auto add = [&](std::string_view name, const std::vector<std::string_view>& known) {
      refusal.error.message += did_you_mean(name, known);
      if (!refusal.offset) refusal.offset = place_of(name, sql);
    };
    std::vector<std::string_view> known;
    if (const auto name = name_after(message, "no such column: "); !name.empty()) {
      const auto is_read = [&](const ViewDefinition& view) {
        return place_of(view.view.name, sql).has_value();
      };
      const bool any = std::any_of(views_.begin(), views_.end(), is_read);
      for (const ViewDefinition& view : views_) {
        if (!any || is_read(view))
          known.insert(known.end(), view.all_columns.begin(), view.all_columns.end());
      }
      add(name, known);
    } else if (const auto table = name_after(message, "no such table: "); !table.empty()) {
      for (const ViewDefinition& view : views_) known.emplace_back(view.view.name);
      add(table, known);
    } else if (const auto function = name_after(message, "no such function: "); !function.empty()) {
      add(function, {sql_.functions().begin(), sql_.functions().end()});
    }
  }

  // The others use the connection, so it is closed last.
  std::unique_ptr<Connection> connection_;
  std::unique_ptr<RunStore> store_;
  RunFunctions runs_;
  ForeignSql sql_;
  std::vector<ViewDefinition> views_;
};

}  // namespace

Result<std::unique_ptr<SqlReader>> open_file_questions(const std::string& path,
                                                       DescribeRun describe,
                                                       std::function<bool()> stop) {
  TOPSPIN_ASSIGN(auto connection, open_for_reading(path));
  auto reader = std::make_unique<SqliteReader>(std::move(connection), std::move(describe));
  TOPSPIN_TRY(reader->prepare(std::move(stop)));
  return std::unique_ptr<SqlReader>(std::move(reader));
}

}  // namespace topspin
