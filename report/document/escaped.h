// Text that is safe in one kind of output: a terminal, Markdown or HTML. Each renderer has its own
// type, so that hostile text cannot get into an output by accident.
#pragma once

#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>

#include <fmt/format.h>

namespace topspin::document {

/// `Way` is a struct with `static std::string escape(std::string_view text, size_t most_bytes)`.
///
/// A value is made from literals in the source, from escaped text, and from other such values. A
/// std::string can be converted only with escaped().
template <typename Way>
class Escaped {
 public:
  Escaped() = default;
  template <size_t kSize>
  Escaped(const char (&words_in_the_source)[kSize]) : text_(words_in_the_source) {}

  static Escaped escaped(std::string_view hostile, size_t most_bytes) {
    Escaped text;
    text.text_ = Way::escape(hostile, most_bytes);
    return text;
  }
  /// `layout` is a format string of fmt. Arguments are Escaped texts or numbers.
  template <size_t kSize, typename... Args>
  static Escaped format(const char (&layout)[kSize], const Args&... args) {
    static_assert(((std::is_arithmetic_v<Args> || std::is_same_v<Args, Escaped>)&&...),
                  "escape text first");
    Escaped text;
    text.text_ = fmt::vformat(layout, fmt::make_format_args(piece(args)...));
    return text;
  }

  Escaped& operator+=(const Escaped& more) {
    text_ += more.text_;
    return *this;
  }
  friend Escaped operator+(Escaped a, const Escaped& b) { return a += b; }
  bool operator==(const Escaped&) const = default;

  bool empty() const { return text_.empty(); }
  size_t size() const { return text_.size(); }
  const std::string& str() const { return text_; }

 private:
  static const std::string& piece(const Escaped& text) { return text.text_; }
  template <typename T>
  static const T& piece(const T& number) {
    return number;
  }

  std::string text_;
};

}  // namespace topspin::document
