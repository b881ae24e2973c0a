#include "store/sqlite/foreign_sql.h"

#include <cstring>
#include <new>
#include <utility>

#include <fmt/format.h>
#include <sqlite3.h>

#include "core/base/text.h"

namespace topspin {

/// What statements and the callbacks of SQLite need.
struct ForeignSqlState {
  explicit ForeignSqlState(Connection& of) : connection(of) {}

  sqlite3* handle() const { return connection.handle_; }
  Error error(int code) const { return connection.error(code); }

  Connection& connection;
  std::function<bool()> stop;
  bool stopped = false;
  std::optional<Error> failure;  // of a function; SQLite passes on only its text
  std::set<std::string, std::less<>> functions;
  std::string refused_function;
};

namespace {

constexpr int kStepsBetweenAsking = 10'000;

SqlValue value_of(sqlite3_value* value) {
  const auto bytes = [&](const void* data) {
    const auto size = static_cast<size_t>(sqlite3_value_bytes(value));
    return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
  };
  switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER: return int64_t{sqlite3_value_int64(value)};
    case SQLITE_FLOAT: return sqlite3_value_double(value);
    case SQLITE_TEXT: return bytes(sqlite3_value_text(value));
    case SQLITE_BLOB: return SqlBlob{bytes(sqlite3_value_blob(value))};
    default: return {};
  }
}

SqlValue column_of(sqlite3_stmt* row, int column) {
  const auto bytes = [&](const void* data) {
    const auto size = static_cast<size_t>(sqlite3_column_bytes(row, column));
    return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
  };
  switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER: return int64_t{sqlite3_column_int64(row, column)};
    case SQLITE_FLOAT: return sqlite3_column_double(row, column);
    case SQLITE_TEXT: return bytes(sqlite3_column_text(row, column));
    case SQLITE_BLOB: return SqlBlob{bytes(sqlite3_column_blob(row, column))};
    default: return {};
  }
}

struct ReturnValue {
  sqlite3_context* context;

  void operator()(std::monostate) const { sqlite3_result_null(context); }
  void operator()(int64_t value) const { sqlite3_result_int64(context, value); }
  void operator()(double value) const { sqlite3_result_double(context, value); }
  void operator()(const std::string& text) const {
    sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  void operator()(const SqlBlob& blob) const {
    sqlite3_result_blob64(context, blob.bytes.data(), blob.bytes.size(), SQLITE_TRANSIENT);
  }
};

/// Calls work() -> Status. Its error becomes that of the statement.
template <typename Work>
void report_errors(sqlite3_context* context, std::optional<Error>& failure, Work work) {
  try {
    Status done = work();
    if (done.ok()) return;
    sqlite3_result_error(context, done.error().message.c_str(), -1);
    failure = std::move(done).error();
  } catch (const std::bad_alloc&) {
    sqlite3_result_error_nomem(context);
  }
}

template <typename Callee>
struct Registered {
  ForeignSqlState* state;
  Callee callee;

  static Registered& of(sqlite3_context* context) {
    return *static_cast<Registered*>(sqlite3_user_data(context));
  }
  static void destroy(void* self) { delete static_cast<Registered*>(self); }
};
using RegisteredFunction = Registered<SqlFunction>;
using RegisteredAggregate = Registered<MakeAggregate>;

void call_function(sqlite3_context* context, int count, sqlite3_value** values) {
  RegisteredFunction& self = RegisteredFunction::of(context);
  report_errors(context, self.state->failure, [&]() -> Status {
    std::vector<SqlValue> arguments;
    arguments.reserve(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) arguments.push_back(value_of(values[i]));
    TOPSPIN_ASSIGN(const SqlValue result, self.callee(arguments));
    std::visit(ReturnValue{context}, result);
    return {};
  });
}

/// SQLite keeps a pointer for each group, which is null at first.
void add_to_aggregate(sqlite3_context* context, int, sqlite3_value** values) {
  RegisteredAggregate& self = RegisteredAggregate::of(context);
  report_errors(context, self.state->failure, [&]() -> Status {
    auto** const group =
        static_cast<SqlAggregate**>(sqlite3_aggregate_context(context, sizeof(void*)));
    if (group == nullptr) throw std::bad_alloc();
    if (*group == nullptr) *group = self.callee().release();
    return (*group)->add(value_of(values[0]));
  });
}

/// Also called when the statement ends early, so that the group is freed.
void finish_aggregate(sqlite3_context* context) {
  RegisteredAggregate& self = RegisteredAggregate::of(context);
  report_errors(context, self.state->failure, [&]() -> Status {
    auto** const kept = static_cast<SqlAggregate**>(sqlite3_aggregate_context(context, 0));
    const std::unique_ptr<SqlAggregate> group(kept != nullptr && *kept != nullptr
                                                  ? std::exchange(*kept, nullptr)
                                                  : self.callee().release());
    TOPSPIN_ASSIGN(const SqlValue result, group->result());
    std::visit(ReturnValue{context}, result);
    return {};
  });
}

/// Everything that a statement would do is asked for before it is prepared.
int authorize(void* state, int action, const char*, const char* name, const char*, const char*) {
  auto& self = *static_cast<ForeignSqlState*>(state);
  if (action == SQLITE_SELECT || action == SQLITE_READ || action == SQLITE_RECURSIVE)
    return SQLITE_OK;
  if (action != SQLITE_FUNCTION || name == nullptr) return SQLITE_DENY;
  if (self.functions.contains(lower_case(name))) return SQLITE_OK;
  self.refused_function = name;
  return SQLITE_DENY;
}

int should_stop(void* state) {
  auto& self = *static_cast<ForeignSqlState*>(state);
  self.stopped = self.stop();
  return self.stopped ? 1 : 0;
}

Error only_reads() {
  return make_error(ErrorCode::kUsage, "only SELECT is allowed: a query changes nothing");
}

}  // namespace

ForeignStatement::ForeignStatement(ForeignStatement&& other) noexcept
    : state_(other.state_), handle_(std::exchange(other.handle_, nullptr)) {}

ForeignStatement::~ForeignStatement() { sqlite3_finalize(handle_); }

std::vector<std::string> ForeignStatement::columns() const {
  std::vector<std::string> names;
  for (int i = 0; i < sqlite3_column_count(handle_); ++i) {
    const char* name = sqlite3_column_name(handle_, i);
    names.emplace_back(name == nullptr ? "" : name);
  }
  return names;
}

Result<bool> ForeignStatement::step(std::vector<SqlValue>& row) {
  state_->failure.reset();
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) {
    row.clear();
    for (int i = 0; i < sqlite3_column_count(handle_); ++i) row.push_back(column_of(handle_, i));
    return true;
  }
  if (code == SQLITE_DONE) return false;
  // A statement of a function may have been stopped, which is then that function's error.
  if (state_->stopped) return make_error(ErrorCode::kInput, "the query was stopped");
  switch (code & 0xff) {
    case SQLITE_AUTH: return only_reads();  // of a statement within, as pragma_table_info() makes
    case SQLITE_NOMEM:
      return make_error(ErrorCode::kInput,
                        fmt::format("the query needs more than {} MiB of memory; let it sort or "
                                    "group fewer rows",
                                    ForeignSql::kMostMemory >> 20));
    case SQLITE_ERROR:
      if (state_->failure) return *std::exchange(state_->failure, std::nullopt);
      [[fallthrough]];
    case SQLITE_TOOBIG: return make_error(ErrorCode::kUsage, sqlite3_errmsg(state_->handle()));
    default: return state_->error(code);
  }
}

ForeignSql::ForeignSql(Connection& connection)
    : state_(std::make_unique<ForeignSqlState>(connection)) {}

ForeignSql::~ForeignSql() {
  sqlite3_set_authorizer(state_->handle(), nullptr, nullptr);
  sqlite3_progress_handler(state_->handle(), 0, nullptr, nullptr);
}

Status ForeignSql::add_function(const char* name, int arguments, SqlFunction function) {
  // Without SQLITE_INNOCUOUS, the schema of a file cannot call it.
  const int code =
      sqlite3_create_function_v2(state_->handle(), name, arguments, SQLITE_UTF8,
                                 new RegisteredFunction{state_.get(), std::move(function)},
                                 call_function, nullptr, nullptr, RegisteredFunction::destroy);
  if (code != SQLITE_OK) return state_->error(code);
  state_->functions.insert(name);
  return {};
}

Status ForeignSql::add_aggregate(const char* name, MakeAggregate make) {
  const int code =
      sqlite3_create_function_v2(state_->handle(), name, 1, SQLITE_UTF8,
                                 new RegisteredAggregate{state_.get(), std::move(make)}, nullptr,
                                 add_to_aggregate, finish_aggregate, RegisteredAggregate::destroy);
  if (code != SQLITE_OK) return state_->error(code);
  state_->functions.insert(name);
  return {};
}

Status ForeignSql::confine(std::function<bool()> stop) {
  {
    // SQLite marks what has no side effects as innocuous; some versions forget those of JSON.
    TOPSPIN_ASSIGN(Statement select,
                   state_->connection.prepare(fmt::format(
                       "SELECT name FROM pragma_function_list WHERE flags & {} OR name GLOB 'json*'"
                       " OR name GLOB '->*'",
                       SQLITE_INNOCUOUS)));
    while (true) {
      TOPSPIN_ASSIGN(const bool row, select.step());
      if (!row) break;
      state_->functions.insert(lower_case(select.bytes_at(0)));
    }
  }
  // A table that SQLite makes when it is first used counts as a change of the schema.
  TOPSPIN_TRY(state_->connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')"));
  TOPSPIN_TRY(state_->connection.execute("PRAGMA query_only = ON"));
  sqlite3_hard_heap_limit64(kMostMemory);
  state_->stop = std::move(stop);
  if (state_->stop)
    sqlite3_progress_handler(state_->handle(), kStepsBetweenAsking, should_stop, state_.get());
  if (const int code = sqlite3_set_authorizer(state_->handle(), authorize, state_.get());
      code != SQLITE_OK)
    return state_->error(code);
  return {};
}

const std::set<std::string, std::less<>>& ForeignSql::functions() const {
  return state_->functions;
}

Error ForeignSql::refusal(int code) {
  const int offset = sqlite3_error_offset(state_->handle());
  if (offset >= 0) error_offset_ = static_cast<size_t>(offset);
  if (!state_->refused_function.empty()) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("the function {}() is not allowed", state_->refused_function));
  }
  switch (code & 0xff) {
    case SQLITE_AUTH: return only_reads();
    case SQLITE_ERROR:
    case SQLITE_RANGE:
    case SQLITE_TOOBIG: return make_error(ErrorCode::kUsage, sqlite3_errmsg(state_->handle()));
    default: return state_->error(code);
  }
}

Result<ForeignStatement> ForeignSql::prepare(const std::string& sql) {
  error_offset_.reset();
  state_->refused_function.clear();
  sqlite3_stmt* handle = nullptr;
  const char* rest = nullptr;
  const int code = sqlite3_prepare_v3(state_->handle(), sql.c_str(), -1, 0, &handle, &rest);
  if (code != SQLITE_OK) return refusal(code);
  if (handle == nullptr) return make_error(ErrorCode::kUsage, "there is no statement to run");
  ForeignStatement statement(*state_, handle);
  if (sqlite3_stmt_readonly(handle) == 0 || sqlite3_column_count(handle) == 0) return only_reads();
  while (*rest != '\0') {  // what follows may be only comments
    const char* const second = rest;
    sqlite3_stmt* more = nullptr;
    const int more_code = sqlite3_prepare_v3(state_->handle(), second, -1, 0, &more, &rest);
    sqlite3_finalize(more);
    if (more_code == SQLITE_OK && more == nullptr) continue;
    error_offset_ = static_cast<size_t>(second - sql.c_str()) + std::strspn(second, " \t\r\n;");
    return make_error(ErrorCode::kUsage, "there is more than one statement");
  }
  return statement;
}

}  // namespace topspin
