// A value of SQL: in a row of a statement, or as an argument of a function. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

namespace topspin {

struct SqlBlob {
  std::string bytes;

  bool operator==(const SqlBlob&) const = default;
};

/// NULL, an integer, a real number, a text, or a blob. The text may be hostile, and is not
/// certain to be UTF-8.
using SqlValue = std::variant<std::monostate, int64_t, double, std::string, SqlBlob>;

inline bool is_null(const SqlValue& value) { return std::holds_alternative<std::monostate>(value); }

}  // namespace topspin
