// JsonObject: one JSON object as text, a field at a time, for documents that are too long to be
// held as a tree (report/json/values.h): exports, and the data of a page's plots.
//
// Absent is null. Text is escaped, so that the output is ASCII.
#pragma once

#include <iterator>
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

/// [a,b,...] of what `write` makes of each element.
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
  /// An integer, a bool, or an optional of one; text: null where it is empty.
  template <typename T>
  JsonObject& operator()(std::string_view name, const T& value) {
    begin(name);
    put(value);
    return *this;
  }
  /// Text that is text even where it is empty.
  JsonObject& text(std::string_view name, std::string_view value) {
    return raw(name, json_line(value));
  }
  /// `json` is JSON already.
  JsonObject& raw(std::string_view name, std::string_view json) {
    begin(name);
    out_ += json;
    return *this;
  }
  /// The whole. Nothing follows.
  std::string end() {
    out_ += out_.empty() ? "{}" : "}";
    return std::move(out_);
  }

 private:
  /// Names are ours: nothing in them wants escaping.
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
      fmt::format_to(std::back_inserter(out_), "{}", value);
    }
  }
  template <typename T>
  void put(const std::optional<T>& value) {
    if (value)
      put(*value);
    else
      out_ += "null";
  }
  void put(const std::string& text) { out_ += text.empty() ? "null" : json_line(text); }

  std::string out_;
};

}  // namespace topspin
