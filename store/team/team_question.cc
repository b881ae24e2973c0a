// Questions in SQL to a team's store (`topspin sql --db postgresql://...`): the server's own SQL,
// over the views of docs/team-store.md.
//
// One question is asked in a transaction that may only read, and as a cursor, which takes nothing
// but one SELECT. The server ends it after its time.

#include <algorithm>
#include <cctype>
#include <charconv>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/base/clock.h"
#include "core/base/text.h"
#include "store/sql/sql_reader.h"
#include "store/team/session.h"
#include "store/team/team_schema.h"
#include "store/team/team_text.h"
#include "store/team_address.h"

namespace topspin {
namespace {

constexpr int64_t kDefaultTimeoutNs = 60 * kNanosPerSecond;
// Rows are fetched so many at a time that they have about this size together.
constexpr size_t kFetchBytes = size_t{4} << 20;
constexpr size_t kFirstFetch = 10, kMostFetch = 10'000;
constexpr size_t kLongestValue = size_t{64} << 20;  // as of a file

// Types by their number in pg_type.dat.
constexpr uint32_t kBool = 16, kBytea = 17, kInt8 = 20, kInt2 = 21, kInt4 = 23, kOid = 26,
                   kFloat4 = 700, kFloat8 = 701, kNumeric = 1700;

std::string from_hex(std::string_view digits) {
  const auto value = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
  };
  if (digits.starts_with("\\x")) digits.remove_prefix(2);
  std::string bytes;
  bytes.reserve(digits.size() / 2);
  for (size_t i = 0; i + 1 < digits.size(); i += 2)
    bytes += static_cast<char>(value(digits[i]) << 4 | value(digits[i + 1]));
  return bytes;
}

/// nullopt if it is not a number as a whole.
template <typename T>
std::optional<T> parse_whole(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// A number as it is in a file; what cannot be one stays text.
SqlValue number_from_text(std::string_view text) {
  if (const auto integer = parse_whole<int64_t>(text)) return *integer;
  if (const auto real = parse_whole<double>(text)) return *real;
  return std::string(text);
}

SqlValue value_from_text(std::string_view text, uint32_t type) {
  switch (type) {
    case kBool: return int64_t{text == "t"};
    case kBytea: return SqlBlob{from_hex(text)};
    case kInt2:
    case kInt4:
    case kInt8:
    case kOid:
    case kNumeric: return number_from_text(text);
    case kFloat4:
    case kFloat8: {
      const auto real = parse_whole<double>(text);
      return real ? SqlValue(*real) : SqlValue(std::string(text));
    }
    default: return from_team_text(text);
  }
}

/// As it was asked.
struct Question {
  std::string text;
  int64_t timeout_ns = 0;
};

bool is_of_word(char c) { return c == '_' || std::isalnum(static_cast<unsigned char>(c)) != 0; }

/// The first of `names` that the statement has as a word.
std::string_view first_word_of(std::string_view sql,
                               std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    for (size_t at = sql.find(name); at != std::string_view::npos; at = sql.find(name, at + 1)) {
      const size_t end = at + name.size();
      if ((at == 0 || !is_of_word(sql[at - 1])) && (end == sql.size() || !is_of_word(sql[end])))
        return name;
    }
  }
  return {};
}

/// An error of the server in the words of a question, with what to do.
Error explained(const Error& error, const PostgresFailure& failure, const Question& question) {
  const std::string& state = failure.state;
  if (state == "57014") {  // query_canceled
    return make_error(
        ErrorCode::kInput,
        fmt::format("the question took longer than {}; ask for less, or give it more time with "
                    "--timeout",
                    format_duration(question.timeout_ns)));
  }
  const std::string_view function =
      first_word_of(question.text, {"percentile", "merge", "part", "hist_count", "hist_sum",
                                    "hist_mean", "hist_min", "hist_max"});
  const std::string of_function =
      function.empty() || (state != "42883" && state != "42P01" && state != "42703")
          ? std::string()
          : fmt::format(
                "; {}() works in files only. The view metrics has percentiles: SELECT "
                "number, value FROM metrics WHERE metric = 'reply_latency_ns_p99'; for "
                "others get the run's file with `topspin pull RUN -o FILE.db`",
                function);
  const auto usage = [&](std::string_view advice) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{}{}{}", from_team_text(failure.message), advice, of_function));
  };
  if (state == "25006") return usage("; a question changes nothing");
  if (state == "42601")  // syntax_error
    return usage("; a store takes one SELECT, in PostgreSQL's words");
  if (state == "42P01") {  // undefined_table
    if (!of_function.empty()) return usage("");
    return usage(first_word_of(question.text, {"ticks", "flows", "threads", "replies", "totals",
                                               "measured", "stages", "events"})
                         .empty()
                     ? "; `topspin sql --db ADDRESS` lists the views"
                     : "; a store has the views runs, metrics and labels. The others are in each "
                       "run's file: `topspin pull RUN -o FILE.db`");
  }
  if (state == "42703")  // undefined_column
    return usage("; `topspin sql --db ADDRESS` lists the columns");
  if (state == "42501" || state.empty()) return error;
  const bool is_of_question = state.starts_with("42") || state.starts_with("0A") ||
                              state.starts_with("22") || state.starts_with("21");
  return is_of_question ? usage("") : error;
}

class TeamRows final : public SqlRows {
 public:
  TeamRows(PostgresConnection& store, std::function<bool()> stop, Question question)
      : store_(store), stop_(std::move(stop)), question_(std::move(question)) {}

  /// The next rows of the cursor.
  Status fetch() {
    auto rows = store_.query_texts(fmt::format("FETCH FORWARD {} FROM {}", wanted_, kCursor));
    if (!rows.ok()) return explained(rows.error(), store_.last_failure(), question_);
    rows_ = std::make_unique<PostgresRows>(*std::move(rows));
    columns_ = rows_->columns();
    is_last_ = rows_->size() < wanted_;
    at_ = 0;
    size_t bytes = 0;
    for (size_t row = 0; row < rows_->size(); ++row)
      for (size_t column = 0; column < columns_.size(); ++column)
        bytes += rows_->bytes(row, column).size();
    const size_t per_row = bytes / std::max<size_t>(1, rows_->size()) + 1;
    wanted_ = std::clamp<size_t>(kFetchBytes / per_row, 1, kMostFetch);
    return {};
  }

  std::vector<std::string> columns() const override {
    std::vector<std::string> names;
    names.reserve(columns_.size());
    for (const PostgresColumn& column : columns_) names.push_back(from_team_text(column.name));
    return names;
  }

  Result<bool> next(std::vector<SqlValue>& row) override {
    if (stop_ && stop_()) return make_error(ErrorCode::kInput, "the query was stopped");
    if (at_ == rows_->size()) {
      if (is_last_) return false;
      TOPSPIN_TRY(fetch());
      if (rows_->size() == 0) return false;
    }
    row.clear();
    for (size_t column = 0; column < columns_.size(); ++column) {
      const std::string_view text = rows_->bytes(at_, column);
      if (text.size() > kLongestValue)
        return make_error(ErrorCode::kInput, "a value is longer than 64 MiB; leave its column out");
      row.push_back(rows_->is_null(at_, column) ? SqlValue()
                                                : value_from_text(text, columns_[column].type));
    }
    ++at_;
    return true;
  }

  static constexpr std::string_view kCursor = "topspin_question";

 private:
  PostgresConnection& store_;
  std::function<bool()> stop_;
  Question question_;
  std::unique_ptr<PostgresRows> rows_;
  std::vector<PostgresColumn> columns_;
  size_t at_ = 0, wanted_ = kFirstFetch;
  bool is_last_ = false;
};

/// The place in bytes of a character that is counted from 0.
size_t byte_of_character(std::string_view text, size_t character) {
  size_t at = 0;
  while (at < text.size()) {
    const bool begins = (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
    if (begins && character-- == 0) break;
    ++at;
  }
  return at;
}

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

/// Where a statement's own WITH, or WITH RECURSIVE, ends; 0 if it begins with another word.
struct OwnWith {
  size_t end = 0;
  bool is_recursive = false;
};

size_t behind_spaces_and_comments(std::string_view sql, size_t at) {
  while (at < sql.size()) {
    if (is_space(sql[at])) {
      ++at;
    } else if (sql.substr(at).starts_with("--")) {
      at = std::min(sql.find('\n', at), sql.size());
    } else if (sql.substr(at).starts_with("/*")) {
      const size_t end = sql.find("*/", at + 2);
      at = end == std::string_view::npos ? sql.size() : end + 2;
    } else {
      break;
    }
  }
  return at;
}

/// Where the word ends, if it is the next one; 0 otherwise.
size_t behind_word(std::string_view sql, size_t at, std::string_view word) {
  at = behind_spaces_and_comments(sql, at);
  const size_t end = at + word.size();
  const bool is_next = lower_case(sql.substr(at, word.size())) == word &&
                       (end == sql.size() || !is_of_word(sql[end]));
  return is_next ? end : 0;
}

OwnWith own_with(std::string_view sql) {
  OwnWith own{behind_word(sql, 0, "with")};
  if (own.end == 0) return own;
  if (const size_t end = behind_word(sql, own.end, "recursive"); end != 0) own = {end, true};
  return own;
}

class TeamReader final : public SqlReader {
 public:
  TeamReader(std::shared_ptr<TeamSession> session, std::function<bool()> stop, int64_t timeout_ns)
      : session_(std::move(session)), stop_(std::move(stop)), timeout_ns_(timeout_ns) {}

  Status prepare() {
    PostgresConnection& store = *session_->connection;
    TOPSPIN_TRY(check_team_schema(store));
    const int64_t timeout_ms = std::clamp<int64_t>(timeout_ns_ / kNanosPerMilli, 1, INT32_MAX);
    for (const std::string& statement : std::vector<std::string>{
             "SET default_transaction_read_only = on", "SET search_path = topspin",
             fmt::format("SET statement_timeout = {}", timeout_ms), "SET bytea_output = 'hex'",
             "SET datestyle = 'ISO'", "SET timezone = 'UTC'", "BEGIN READ ONLY"})
      TOPSPIN_TRY(store.execute(statement));
    return {};
  }

  std::unique_ptr<SqlRows> ask(const std::string& sql, SqlRefusal& refusal) override {
    if (sql.find('\0') != std::string::npos) {
      refusal.error = make_error(ErrorCode::kUsage, "the statement has a zero byte");
      return nullptr;
    }
    std::string_view question = sql;
    while (!question.empty() && (question.back() == ';' || is_space(question.back())))
      question.remove_suffix(1);
    if (question.empty()) {
      refusal.error = make_error(ErrorCode::kUsage, "there is no statement to run");
      return nullptr;
    }
    // The views have the project's runs only: they come first in the statement's own WITH.
    const OwnWith own = own_with(question);
    std::string before = fmt::format("DECLARE {} NO SCROLL CURSOR FOR WITH{}", TeamRows::kCursor,
                                     own.is_recursive ? " RECURSIVE" : "");
    for (const SqlView& view : team_sql_views())
      before +=
          fmt::format("{} {} AS (SELECT * FROM topspin.{} WHERE project = '{}')",
                      before.ends_with(')') ? "," : "", view.name, view.name, session_->project);
    before += own.end > 0 ? ", " : " ";
    PostgresConnection& store = *session_->connection;
    const auto declared = store.query_texts(fmt::format("{}{}", before, question.substr(own.end)));
    const Question asked = {std::string(question), timeout_ns_};
    if (declared.ok()) {
      auto rows = std::make_unique<TeamRows>(store, stop_, asked);
      const Status fetched = rows->fetch();
      if (fetched.ok()) return rows;
      refusal.error = fetched.error();
      return nullptr;
    }
    refusal.error = explained(declared.error(), store.last_failure(), asked);
    const size_t position = store.last_failure().position;
    if (position > before.size())
      refusal.offset =
          own.end + byte_of_character(question.substr(own.end), position - 1 - before.size());
    return nullptr;
  }

 private:
  std::shared_ptr<TeamSession> session_;
  std::function<bool()> stop_;
  int64_t timeout_ns_;
};

}  // namespace

std::vector<SqlView> team_sql_views() {
  return {{"runs",
           "one row per run",
           {"project", "run", "number", "started", "status", "duration_seconds", "branch",
            "commit_hash", "changed", "hostname", "kernel", "cpu_model", "interface", "subject",
            "stored", "file_bytes"},
           "",
           "SELECT number, started, status, branch FROM runs ORDER BY number DESC LIMIT 20"},
          {"metrics",
           "one row per run and metric; metric is the gate's word, such as reply_latency_ns_p99",
           {"project", "run", "number", "started", "status", "branch", "commit_hash", "metric",
            "name", "unit", "statistic", "better", "gating", "value"},
           "",
           "SELECT number, value FROM metrics WHERE metric = 'reply_latency_ns_p99'"},
          {"labels",
           "one row per run and label",
           {"project", "run", "key", "value"},
           "",
           "SELECT key, value, count(*) FROM labels GROUP BY key, value"}};
}

Result<std::unique_ptr<SqlReader>> SqlReader::open(const std::string& path, DescribeRun describe,
                                                   std::function<bool()> stop,
                                                   std::optional<int64_t> timeout_ns) {
  if (!is_team_address(path))
    return open_file_questions(path, std::move(describe), std::move(stop));
  TOPSPIN_ASSIGN(auto session, team_session(path));
  auto reader = std::make_unique<TeamReader>(std::move(session), std::move(stop),
                                             timeout_ns.value_or(kDefaultTimeoutNs));
  TOPSPIN_TRY(reader->prepare());
  return std::unique_ptr<SqlReader>(std::move(reader));
}

}  // namespace topspin
