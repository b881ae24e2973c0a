#include "store/team/postgres.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include <endian.h>
#include <fmt/format.h>
#include <libpq-fe.h>

#include "core/base/shared_library.h"
#include "store/team_address.h"

namespace topspin {
namespace {

// What is used of libpq, version 12 and later.
#define TOPSPIN_LIBPQ(use)                                                                      \
  use(PQconnectdbParams) use(PQfinish) use(PQstatus) use(PQerrorMessage) use(PQexec)            \
      use(PQexecParams) use(PQresultStatus) use(PQresultErrorField) use(PQclear) use(PQntuples) \
          use(PQgetisnull) use(PQgetlength) use(PQgetvalue) use(PQftype) use(PQnfields)         \
              use(PQcmdTuples) use(PQfname) use(PQsetNoticeProcessor)

struct Libpq {
#define TOPSPIN_DECLARE(name) decltype(&::name) name = nullptr;
  TOPSPIN_LIBPQ(TOPSPIN_DECLARE)
#undef TOPSPIN_DECLARE
};

Result<Libpq> load_libpq() {
  TOPSPIN_ASSIGN(
      SharedLibrary library,
      SharedLibrary::open(
          "libpq.so.5", {.needed = "a team's store needs libpq, the library of PostgreSQL",
                         .remedy = "install the package libpq5 (Debian, Ubuntu) or libpq (Fedora)",
                         .if_static = "libpq, the library of PostgreSQL; use the package of your "
                                      "distribution for a team's store"}));
  Libpq pq;
#define TOPSPIN_LOAD(function) library.find(#function, pq.function);
  TOPSPIN_LIBPQ(TOPSPIN_LOAD)
#undef TOPSPIN_LOAD
  if (!library.missing().empty()) {
    return make_error(
        ErrorCode::kUnsupported,
        fmt::format("the installed libpq is too old: it has no {}", library.missing()));
  }
  return pq;
}

/// Loaded once. REQUIRES: a connection was made, or the error is looked at.
const Result<Libpq>& loaded_libpq() {
  static const Result<Libpq> kLoaded = load_libpq();
  return kLoaded;
}
const Libpq& pq() { return *loaded_libpq(); }

/// The first line, without libpq's words before it.
std::string first_line(const char* message) {
  std::string line(message);
  line = line.substr(0, line.find('\n'));
  for (const std::string_view before : {"ERROR:  ", "FATAL:  "})
    if (line.starts_with(before)) line.erase(0, before.size());
  return line.empty() ? "the server does not answer" : line;
}

constexpr unsigned kBigint = 20;  // of pg_type.dat
constexpr int kBinary = 1;

}  // namespace

PostgresRows::PostgresRows(pg_result* result)
    : result_(result), size_(static_cast<size_t>(pq().PQntuples(result))) {}
PostgresRows::PostgresRows(PostgresRows&& other) noexcept
    : result_(std::exchange(other.result_, nullptr)), size_(other.size_) {}
PostgresRows::~PostgresRows() {
  if (result_ != nullptr) pq().PQclear(result_);
}

uint64_t PostgresRows::affected() const {
  uint64_t count = 0;
  for (const char* digit = pq().PQcmdTuples(result_); *digit >= '0' && *digit <= '9'; ++digit)
    count = count * 10 + static_cast<uint64_t>(*digit - '0');
  return count;
}

bool PostgresRows::is_null(size_t row, size_t column) const {
  return pq().PQgetisnull(result_, static_cast<int>(row), static_cast<int>(column)) != 0;
}

std::optional<int64_t> PostgresRows::integer(size_t row, size_t column) const {
  if (is_null(row, column) || pq().PQftype(result_, static_cast<int>(column)) != kBigint)
    return std::nullopt;
  const std::string_view big_endian = bytes(row, column);
  uint64_t value = 0;
  if (big_endian.size() != sizeof value) return std::nullopt;
  std::memcpy(&value, big_endian.data(), sizeof value);
  return static_cast<int64_t>(be64toh(value));
}

std::string_view PostgresRows::bytes(size_t row, size_t column) const {
  const int r = static_cast<int>(row), c = static_cast<int>(column);
  return {pq().PQgetvalue(result_, r, c), static_cast<size_t>(pq().PQgetlength(result_, r, c))};
}

std::vector<PostgresColumn> PostgresRows::columns() const {
  std::vector<PostgresColumn> columns(static_cast<size_t>(pq().PQnfields(result_)));
  for (size_t i = 0; i < columns.size(); ++i) {
    columns[i].name = pq().PQfname(result_, static_cast<int>(i));
    columns[i].type = pq().PQftype(result_, static_cast<int>(i));
  }
  return columns;
}

Result<std::unique_ptr<PostgresConnection>> PostgresConnection::connect(const std::string& url,
                                                                        bool notices_absence) {
  const Result<Libpq>& libpq = loaded_libpq();
  if (!libpq.ok()) return libpq.error();
  // Later words win over earlier ones, so the URL's own come last.
  std::vector<const char*> words = {"connect_timeout", "fallback_application_name"};
  std::vector<const char*> values = {notices_absence ? "3" : "10", "topspin"};
  if (notices_absence) {
    words.insert(words.end(), {"tcp_user_timeout", "keepalives_idle", "keepalives_interval",
                               "keepalives_count"});
    values.insert(values.end(), {"3000", "2", "1", "3"});
  }
  words.insert(words.end(), {"dbname", "client_encoding", nullptr});
  values.insert(values.end(), {url.c_str(), "UTF8", nullptr});
  std::unique_ptr<PostgresConnection> connection(new PostgresConnection(
      pq().PQconnectdbParams(words.data(), values.data(), 1), address_without_secrets(url)));
  if (connection->handle_ == nullptr || pq().PQstatus(connection->handle_) != CONNECTION_OK) {
    const std::string why = connection->handle_ == nullptr
                                ? std::string("not enough memory")
                                : first_line(pq().PQerrorMessage(connection->handle_));
    const bool refused = why.find("authentication failed") != std::string::npos ||
                         why.find("no password supplied") != std::string::npos ||
                         why.find("role \"") != std::string::npos ||
                         why.find("permission denied for database") != std::string::npos ||
                         why.find("no pg_hba.conf entry") != std::string::npos;
    const std::string_view advice =
        refused ? "give the user in the address and the password in PGPASSWORD or ~/.pgpass"
        : why.find("does not exist") != std::string::npos
            ? "name one that exists in the address, or create it with `createdb`"
            : "is the server running, and the address right?";
    return make_error(
        refused ? ErrorCode::kPermission : ErrorCode::kInput,
        fmt::format("cannot open the store {}: {}; {}", connection->name_, why, advice));
  }
  // Notices, such as of a table that exists already, are not for users.
  pq().PQsetNoticeProcessor(
      connection->handle_, [](void*, const char*) {}, nullptr);
  return connection;
}

PostgresConnection::~PostgresConnection() { pq().PQfinish(handle_); }

Error PostgresConnection::failed(const pg_result* result) {
  const char* state =
      result == nullptr ? nullptr : pq().PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* primary =
      result == nullptr ? nullptr : pq().PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const char* position =
      result == nullptr ? nullptr : pq().PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
  const std::string why = first_line(primary != nullptr ? primary : pq().PQerrorMessage(handle_));
  last_failure_ = {state == nullptr ? "" : state, why,
                   position == nullptr ? 0 : std::strtoul(position, nullptr, 10)};
  const std::string& last_state = last_failure_.state;
  const auto error = [&](ErrorCode code, std::string_view advice) {
    return make_error(code, fmt::format("the store {}: {}{}", name_, why, advice));
  };
  if (last_state == "42501")  // insufficient_privilege
    return error(ErrorCode::kPermission,
                 "; ask the store's owner for the role topspin_writer, topspin_reader to read, or "
                 "topspin_worker or topspin_coordinator for workers");
  if (last_state == "3F000" || last_state == "42P01")  // no such schema, or table
    return error(ErrorCode::kInput, "; has its owner run `topspin store init`?");
  if (last_state == "42703")  // no such column
    return error(ErrorCode::kInput,
                 "; it was made by an older topspin: its owner should run `topspin store init`");
  if (last_state.starts_with("53"))  // disk full, out of memory, too many connections
    return error(ErrorCode::kOutput, "; nothing of this was stored, so it can be tried again");
  if (last_state.empty() || last_state.starts_with("57") || last_state.starts_with("08"))
    return error(ErrorCode::kOutput, "; the server ended: what is not stored can be sent again");
  return error(ErrorCode::kInput, fmt::format(" (SQLSTATE {})", last_state));
}

Result<PostgresRows> PostgresConnection::checked(pg_result* result) {
  const ExecStatusType status = result == nullptr ? PGRES_FATAL_ERROR : pq().PQresultStatus(result);
  if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return PostgresRows(result);
  Error error = failed(result);
  if (result != nullptr) pq().PQclear(result);
  return error;
}

Status PostgresConnection::execute(const std::string& sql) {
  TOPSPIN_ASSIGN([[maybe_unused]] const PostgresRows rows,
                 checked(pq().PQexec(handle_, sql.c_str())));
  return {};
}

Result<PostgresRows> PostgresConnection::query(const std::string& sql,
                                               std::span<const PostgresParameter> parameters) {
  std::vector<std::string> texts;  // with the NUL that libpq expects behind a text
  texts.reserve(parameters.size());
  std::vector<const char*> values;
  std::vector<int> lengths, formats;
  for (const PostgresParameter& parameter : parameters) {
    if (!parameter.value) {
      values.push_back(nullptr);
    } else if (parameter.is_bytes) {
      // libpq takes a null pointer for NULL, also of no bytes.
      values.push_back(parameter.value->empty() ? "" : parameter.value->data());
    } else {
      values.push_back(texts.emplace_back(*parameter.value).c_str());
    }
    lengths.push_back(static_cast<int>(parameter.value ? parameter.value->size() : 0));
    formats.push_back(parameter.is_bytes ? 1 : 0);
  }
  return checked(pq().PQexecParams(handle_, sql.c_str(), static_cast<int>(parameters.size()),
                                   nullptr, values.data(), lengths.data(), formats.data(),
                                   kBinary));
}

Result<PostgresRows> PostgresConnection::query_texts(const std::string& sql) {
  constexpr int kText = 0;
  return checked(
      pq().PQexecParams(handle_, sql.c_str(), 0, nullptr, nullptr, nullptr, nullptr, kText));
}

Result<PostgresRows> PostgresConnection::query(const std::string& sql,
                                               std::initializer_list<std::string_view> texts) {
  std::vector<PostgresParameter> parameters;
  for (const std::string_view text : texts) parameters.push_back({text});
  return query(sql, parameters);
}

Result<PostgresTransaction> PostgresTransaction::begin(PostgresConnection& connection) {
  TOPSPIN_TRY(connection.execute("BEGIN"));
  return PostgresTransaction(&connection);
}

PostgresTransaction::~PostgresTransaction() {
  if (connection_ != nullptr) (void)connection_->execute("ROLLBACK");
}

Status PostgresTransaction::commit() {
  PostgresConnection* connection = std::exchange(connection_, nullptr);
  Status committed = connection->execute("COMMIT");
  if (!committed.ok()) (void)connection->execute("ROLLBACK");
  return committed;
}

}  // namespace topspin
