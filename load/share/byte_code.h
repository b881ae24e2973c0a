// Bytes of what workers and their coordinator tell each other: numbers as LEB128 varints, texts
// with their length before them. A reader takes foreign bytes; after the first that is wrong it
// reads zeros and empty texts, and is_good() is false. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace topspin {

class ByteWriter {
 public:
  void number(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  /// REQUIRES: not negative, as all times and sums here.
  void number(int64_t value) { number(value < 0 ? 0 : static_cast<uint64_t>(value)); }
  void signed_number(int64_t value) {
    number((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }
  void number(uint32_t value) { number(uint64_t{value}); }
  void text(std::string_view text) {
    number(uint64_t{text.size()});
    bytes_ += text;
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  /// At most `most`; else the bytes are wrong.
  uint64_t number(uint64_t most = INT64_MAX) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) break;
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte >= 0x80) continue;
      if (value > most) break;
      return is_good_ ? value : 0;
    }
    return fail(), 0;
  }
  int64_t time() { return static_cast<int64_t>(number()); }
  int64_t signed_number() {
    const uint64_t value = number(UINT64_MAX);
    return static_cast<int64_t>((value >> 1) ^ (0 - (value & 1)));
  }
  std::string_view text() {
    const uint64_t size = number();
    if (size > rest_.size()) return fail(), std::string_view();
    const std::string_view text = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return text;
  }
  void fail() {
    is_good_ = false;
    rest_ = {};
  }
  bool is_good() const { return is_good_; }
  bool is_at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  bool is_good_ = true;
};

}  // namespace topspin
