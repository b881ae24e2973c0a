// JsonObject: writes a JSON object as text, one field at a time. It is for documents that are too
// long for a tree (report/json/values.h): exports, and the data of a page's plots.
//
// Absent values are null. Text is escaped, so that the output is ASCII.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include <fmt/format.h>

#include "report/json/values.h"

namespace topspin {

/// On one line.
inline std::string json_line(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

/// Writes [a,b,...], where `write` writes each element.
template <typename Range, typename Write>
std::string json_array(const Range& range, Write write) {
  std::string text = "[";
  for (const auto& element : range) {
    if (text.size() > 1) text += ',';
    text += write(element);
  }
  return text + "]";
}

class JsonObject {
 public:
  /// `expected_bytes`: of the whole object, if known, to allocate it once.
  explicit JsonObject(size_t expected_bytes = 0) { out_.reserve(expected_bytes); }

  /// Adds an integer, a bool, or an optional of one; or a text, which is null if it is empty.
  template <typename T>
  JsonObject& operator()(std::string_view name, const T& value) {
    begin(name);
    put(value);
    return *this;
  }
  /// Adds a text, also if it is empty.
  JsonObject& text(std::string_view name, std::string_view value) {
    begin(name);
    put_text(value);
    return *this;
  }
  /// `json` is JSON already.
  JsonObject& raw(std::string_view name, std::string_view json) {
    begin(name);
    out_ += json;
    return *this;
  }
  /// The complete object. Nothing can be added afterwards.
  std::string end() {
    out_ += out_.empty() ? "{}" : "}";
    return std::move(out_);
  }

 private:
  /// Names come from the source and need no escaping.
  void begin(std::string_view name) {
    out_ += out_.empty() ? "{\"" : ",\"";
    out_ += name;
    out_ += "\":";
  }
  template <typename T>
  requires std::is_integral_v<T>
  void put(T value) {
    if constexpr (std::is_same_v<T, bool>) {
      out_ += value ? "true" : "false";
    } else {
      const fmt::format_int digits(value);
      out_.append(digits.data(), digits.size());
    }
  }
  template <typename T>
  void put(const std::optional<T>& value) {
    if (value)
      put(*value);
    else
      out_ += "null";
  }
  void put(const std::string& text) {
    if (text.empty())
      out_ += "null";
    else
      put_text(text);
  }
  void put_text(std::string_view text) {
    const auto is_plain = [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; };
    if (!std::all_of(text.begin(), text.end(), is_plain)) {
      out_ += json_line(text);
      return;
    }
    out_ += '"';
    out_ += text;
    out_ += '"';
  }

  std::string out_;
};

}  // namespace topspin
