// Binds C++ values to a statement's parameters, and loads columns into C++ values. Loading checks
// ranges, because a database is hostile input. Visitors for columns.h; private to store.
//
// An unsigned count beyond SQLite's signed 64 bits is stored as the largest that fits. An empty
// text is NULL.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/base/result.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

/// Binds one parameter after the other.
class ParameterBinder {
 public:
  explicit ParameterBinder(Statement& statement, int first = 1)
      : statement_(statement), next_(first) {}

  template <typename T>
  void operator()(std::string_view, std::string_view, const T& value) {
    bind(value);
  }

  template <typename T>
  requires std::is_integral_v<T>
  void bind(T value) {
    if constexpr (std::is_same_v<T, uint64_t>) {
      constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
      statement_.bind_int(next_++, static_cast<int64_t>(std::min(value, kMost)));
    } else {
      statement_.bind_int(next_++, static_cast<int64_t>(value));
    }
  }
  template <typename T>
  void bind(const std::optional<T>& value) {
    if (value)
      bind(*value);
    else
      statement_.bind_null(next_++);
  }
  /// REQUIRES: the text lives until the statement is reset.
  void bind(const std::string& text) {
    if (text.empty())
      statement_.bind_null(next_++);
    else
      statement_.bind_text(next_++, text);
  }

  void bind_null() { statement_.bind_null(next_++); }

  /// The same for bytes. Empty bytes do not become NULL.
  void bind_blob(const std::string& bytes) { statement_.bind_blob(next_++, bytes); }

 private:
  Statement& statement_;
  int next_;
};

/// Runs `statement` with `values` as its parameters.
template <typename... Values>
Status run_with(Statement& statement, const Values&... values) {
  ParameterBinder bind(statement);
  (bind.bind(values), ...);
  return statement.run();
}

inline constexpr int64_t kMostNs = (int64_t{1} << 62) - 1;

/// Limits a time or duration (int64_t) to 146 years, so that the difference of any two fits. Leaves
/// other values as they are.
template <typename T>
void bound_time(T& value) {
  if constexpr (std::is_same_v<T, int64_t>) {
    value = std::clamp(value, -kMostNs, kMostNs);
  } else if constexpr (std::is_same_v<T, std::optional<int64_t>>) {
    if (value) value = std::clamp(*value, -kMostNs, kMostNs);
  }
}

/// Loads one column after the other. A value of the wrong type or out of range makes the row
/// damaged() and does not change the variable.
class ColumnLoader {
 public:
  explicit ColumnLoader(const Statement& statement, int first = 0)
      : statement_(statement), next_(first) {}

  template <typename T>
  void operator()(std::string_view, std::string_view, T& value) {
    load_bounded(value);
  }

  /// Like load(), with bound_time(). Timestamps of a capture file may be nonsense, and are stored
  /// as they are.
  template <typename T>
  void load_bounded(T& value) {
    load(value);
    bound_time(value);
  }

  template <typename T>
  requires std::is_integral_v<T>
  void load(T& value) {
    const int column = next_++;
    if (!statement_.is_int(column)) {
      damaged_ = true;
      return;
    }
    const int64_t stored = statement_.int_at(column);
    if constexpr (std::is_same_v<T, uint64_t>) {
      if (stored < 0) damaged_ = true;
    } else if (stored < static_cast<int64_t>(std::numeric_limits<T>::min()) ||
               stored > static_cast<int64_t>(std::numeric_limits<T>::max())) {
      damaged_ = true;
    }
    if (!damaged_) value = static_cast<T>(stored);
  }
  /// NULL does not change `value`.
  void load_or_keep(uint64_t& value) {
    if (statement_.is_null(next_))
      ++next_;
    else
      load(value);
  }
  template <typename T>
  void load(std::optional<T>& value) {
    if (statement_.is_null(next_)) {
      value.reset();
      ++next_;
    } else {
      load(value.emplace());
    }
  }
  void load(std::string& text) {
    const int column = next_++;
    if (statement_.is_null(column))
      text.clear();
    else if (statement_.is_text(column))
      text = statement_.bytes_at(column);
    else
      damaged_ = true;
  }
  void load_blob(std::string& bytes) {
    const int column = next_++;
    if (statement_.is_blob(column))
      bytes = statement_.bytes_at(column);
    else
      damaged_ = true;
  }

  /// nullopt for NULL.
  std::optional<std::string> load_optional_blob() {
    if (statement_.is_null(next_)) {
      ++next_;
      return std::nullopt;
    }
    std::string bytes;
    load_blob(bytes);
    return bytes;
  }

  bool damaged() const { return damaged_; }
  void set_damaged() { damaged_ = true; }

 private:
  const Statement& statement_;
  int next_;
  bool damaged_ = false;
};

/// Decodes into a histogram that is always measured, or into one that may be absent.
template <typename H>
Status decode_histogram(std::string_view bytes, H& into) {
  TOPSPIN_ASSIGN(into, H::decode(bytes));
  return {};
}
template <typename H>
Status decode_histogram(std::string_view bytes, std::optional<H>& into) {
  TOPSPIN_ASSIGN(into, H::decode(bytes));
  return {};
}

/// Collects the column names of a for_each_*_column: "a, b, c", "?1, ?2, ?3", "a = ?1, b = ?2".
class ColumnNames {
 public:
  template <typename T>
  void operator()(std::string_view prefix, std::string_view name, const T&) {
    add(std::string(prefix) + std::string(name));
  }
  void add(std::string_view name) {
    const char* separator = count_ == 0 ? "" : ", ";
    ++count_;
    const std::string parameter = "?" + std::to_string(count_);
    names_.append(separator).append(name);
    parameters_.append(separator).append(parameter);
    assignments_.append(separator).append(name).append(" = ").append(parameter);
  }

  int count() const { return count_; }
  const std::string& names() const { return names_; }
  const std::string& parameters() const { return parameters_; }
  const std::string& assignments() const { return assignments_; }

 private:
  int count_ = 0;
  std::string names_, parameters_, assignments_;
};

}  // namespace topspin
