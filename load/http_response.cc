#include "load/http_response.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace topspin {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Whether a list "a, b, c" has `word`.
bool has_word(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (equal_ignoring_case(trim(list.substr(0, comma)), word)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

std::optional<uint64_t> parse_u64(std::string_view text, int base) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

size_t HttpResponse::feed(std::span<const uint8_t> bytes) {
  size_t at = 0;
  if (!bytes.empty()) begun_ = true;
  while (at < bytes.size() && state_ == State::kMore) {
    if (part_ == Part::kLength || part_ == Part::kChunk || part_ == Part::kUntilEnd) {
      uint64_t take = bytes.size() - at;
      if (part_ != Part::kUntilEnd) take = std::min(take, left_);
      at += take;
      body_bytes_ += take;
      if (part_ == Part::kUntilEnd) continue;
      left_ -= take;
      if (left_ > 0) continue;
      if (part_ == Part::kLength) {
        state_ = State::kDone;
      } else {
        part_ = Part::kChunkEnd;
      }
      continue;
    }
    const char c = static_cast<char>(bytes[at++]);
    if (++head_bytes_ > kHttpHeadBytesMax) {
      malformed();
    } else if (c == '\n') {
      if (!line_.empty() && line_.back() == '\r') line_.pop_back();
      take_line();
      line_.clear();
    } else {
      line_ += c;
    }
  }
  return at;
}

void HttpResponse::take_line() {
  switch (part_) {
    case Part::kStatus: {
      // HTTP/1.1 200 OK
      const std::string_view line = line_;
      if (!line.starts_with("HTTP/1.") || line.size() < 12 || line[8] != ' ' ||
          (line.size() > 12 && line[12] != ' ')) {
        return malformed();
      }
      const auto status = parse_u64(line.substr(9, 3), 10);
      if (!status || *status < 100) return malformed();
      status_ = static_cast<int>(*status);
      keep_alive_ = line[7] != '0';
      part_ = Part::kHeader;
      return;
    }
    case Part::kHeader:
      if (!line_.empty() && (line_.front() == ' ' || line_.front() == '\t')) {
        // A line that begins so continues the header before it (RFC 9112, 5.2).
        if (header_.empty()) return malformed();
        header_ += ' ';
        header_ += trim(line_);
        return;
      }
      if (!header_.empty()) take_header();
      header_ = line_;
      if (line_.empty() && state_ == State::kMore) end_of_head();
      return;
    case Part::kChunkSize: {
      const std::string_view line = line_;
      const auto size = parse_u64(trim(line.substr(0, line.find(';'))), 16);
      if (!size) return malformed();
      head_bytes_ = 0;  // a long body has many such lines
      left_ = *size;
      part_ = *size == 0 ? Part::kTrailer : Part::kChunk;
      return;
    }
    case Part::kChunkEnd:
      if (!line_.empty()) return malformed();
      part_ = Part::kChunkSize;
      return;
    case Part::kTrailer:
      if (line_.empty()) state_ = State::kDone;
      return;
    case Part::kLength:
    case Part::kChunk:
    case Part::kUntilEnd: return;  // no lines there
  }
}

void HttpResponse::take_header() {
  const std::string_view line = header_;
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return malformed();
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trim(line.substr(colon + 1));
  if (equal_ignoring_case(name, "content-length")) {
    const auto length = parse_u64(value, 10);
    if (!length || (has_length_ && *length != left_)) return malformed();
    has_length_ = true;
    left_ = *length;
  } else if (equal_ignoring_case(name, "transfer-encoding")) {
    if (has_word(value, "chunked")) chunked_ = true;
  } else if (equal_ignoring_case(name, "connection")) {
    if (has_word(value, "close")) keep_alive_ = false;
    if (has_word(value, "keep-alive")) keep_alive_ = true;
  }
}

void HttpResponse::end_of_head() {
  if (status_ < 200 && status_ != 101) {  // an interim answer; the real one follows
    const bool begun = begun_;
    reset();
    begun_ = begun;
    return;
  }
  if (status_ == 101 || status_ == 204 || status_ == 304) {
    state_ = State::kDone;
    if (status_ == 101) keep_alive_ = false;
  } else if (chunked_) {
    left_ = 0;
    part_ = Part::kChunkSize;
  } else if (has_length_) {
    part_ = Part::kLength;
    if (left_ == 0) state_ = State::kDone;
  } else {
    part_ = Part::kUntilEnd;
    keep_alive_ = false;
  }
}

void HttpResponse::end_of_stream() {
  if (state_ == State::kMore && part_ == Part::kUntilEnd) state_ = State::kDone;
}

}  // namespace topspin
