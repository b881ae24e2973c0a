// HttpResponse: finds the end of one HTTP/1.x response in a stream of bytes, and its status. Pure.
//
// http-parser parses it (docs/decisions/0012-http-parser.md says why). A body ends by its
// Content-Length, by its chunks or with the connection. Interim responses (1xx) are skipped.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <http_parser.h>

namespace topspin {

class HttpResponse {
 public:
  enum class State : uint8_t { kMore, kDone, kMalformed };
  static constexpr size_t kHeadBytes = 32;

  HttpResponse() { reset(); }

  /// Reads `bytes` up to the end of the response, and returns how many it consumed.
  size_t feed(std::span<const uint8_t> bytes);

  /// Call this when the connection has ended. The state becomes kDone if the body ends with the
  /// connection, else it stays kMore.
  void end_of_stream();

  State state() const { return state_; }
  int status() const { return status_; }
  bool keep_alive() const { return keep_alive_; }  // whether the connection can be used again
  uint64_t body_bytes() const { return body_bytes_; }
  bool empty() const { return head_.empty(); }       // no byte so far
  const std::string& head() const { return head_; }  // the first bytes, at most kHeadBytes

  void reset();

 private:
  // http-parser's callbacks.
  static int head_is_complete(http_parser* parser);
  static int body_goes_on(http_parser* parser, const char* at, size_t length);
  static int message_is_complete(http_parser* parser);

  size_t execute(const char* bytes, size_t length);

  http_parser parser_;
  State state_ = State::kMore;
  int status_ = 0;
  uint64_t body_bytes_ = 0;
  std::string head_;
  bool keep_alive_ = false;
};

}  // namespace topspin
