// Errors as values: `Result<T>` is shaped like std::expected (which GCC 12 has only in C++23).
//
// An Error carries a code (what kind, and so which exit code), the errno if there was one, and one
// sentence that says what happened and what to do about it. Bugs are not errors: they abort through
// CHECK (check.h). Thread-agnostic plain values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "core/base/check.h"

namespace topspin {

/// What kind of failure. The application maps each kind to one of its exit codes (exit_code()).
enum class ErrorCode {
  kUsage,        // wrong option, argument, filter or plan, or a name of something that is not there
  kInvalidRun,   // the run was kept but cannot be judged
  kPermission,   // this user is not allowed to do it
  kUnsupported,  // this kernel or host cannot do it
  kInput,        // input is unreadable, truncated, or not what it should be
  kOutput,       // output could not be written: full disk, read-only directory
  kInternal,     // a call failed that should not fail
};

struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kInternal;
  int os_errno = 0;  // 0: none
  std::string
      message;  // one sentence, no trailing newline; may quote hostile text, so print it sanitised
};

/// The process exit code that belongs to a failure: 2 usage, 3 invalid, 4 permission or host, 5
/// i/o.
int exit_code(ErrorCode code);

inline Error make_error(ErrorCode code, std::string message, int os_errno = 0) {
  return Error{code, os_errno, std::move(message)};
}

/// "what: Permission denied", kInternal, from errno. Call it right after the failed call.
Error os_error(std::string_view what);

/// Either a T or an Error. Access to the one that it does not hold aborts.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    CHECK(ok());
    return std::get<0>(state_);
  }
  const T& value() const& {
    CHECK(ok());
    return std::get<0>(state_);
  }
  T&& value() && {
    CHECK(ok());
    return std::get<0>(std::move(state_));
  }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }

  const Error& error() const& {
    CHECK(!ok());
    return std::get<1>(state_);
  }
  Error&& error() && {
    CHECK(!ok());
    return std::get<1>(std::move(state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const& {
    CHECK(!ok());
    return *error_;
  }
  Error&& error() && {
    CHECK(!ok());
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace topspin

/// Returns the Error of `expression` (a Status) from the enclosing function, if it is one.
#define TOPSPIN_TRY(expression)                                     \
  do {                                                              \
    if (auto topspin_status = (expression); !topspin_status.ok()) { \
      return std::move(topspin_status).error();                     \
    }                                                               \
  } while (false)

#define TOPSPIN_CONCAT_INNER(a, b) a##b
#define TOPSPIN_CONCAT(a, b) TOPSPIN_CONCAT_INNER(a, b)

/// `TOPSPIN_ASSIGN(auto x, expression)`: x is the value of a Result, or its Error is returned.
#define TOPSPIN_ASSIGN(declaration, expression) \
  TOPSPIN_ASSIGN_IMPL(TOPSPIN_CONCAT(topspin_result_, __LINE__), declaration, expression)
#define TOPSPIN_ASSIGN_IMPL(name, declaration, expression) \
  auto name = (expression);                                \
  if (!(name).ok()) return std::move(name).error();        \
  declaration = std::move(name).value()
