// HttpResponse: finds the end of one HTTP/1.x response in a stream of bytes, and keeps of it what
// its user wants. Pure.
//
// http-parser parses it (docs/decisions/0012-http-parser.md says why). A body ends by its
// Content-Length, by its chunks or with the connection. Interim responses (1xx) are skipped.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <http_parser.h>

#include "load/http/http_request.h"

namespace topspin {

/// The most bytes that are kept of a body. A check cannot see what is behind them.
inline constexpr size_t kKeptBodyBytes = size_t{1} << 20;
/// The most bytes that are kept of an answer's headers (http-parser reads no more either).
inline constexpr size_t kKeptHeaderBytes = size_t{80} << 10;

/// What is kept of an answer beside its status.
struct HttpKeep {
  bool headers = false;
  bool body = false;
};

struct HttpAnswer {
  int status = 0;
  uint64_t body_bytes = 0;
  HttpHeaders headers;  // if kept
  std::string body;     // if kept: the first kKeptBodyBytes

  void clear();
};

class HttpResponse {
 public:
  enum class State : uint8_t { kMore, kDone, kMalformed };
  static constexpr size_t kHeadBytes = 32;

  explicit HttpResponse(HttpKeep keep = {}) : keep_(keep) { reset(); }

  /// Reads `bytes` up to the end of the response, and returns how many it consumed.
  size_t feed(std::span<const uint8_t> bytes);

  /// Call this when the connection has ended. The state becomes kDone if the body ends with the
  /// connection, else it stays kMore.
  void end_of_stream();

  State state() const { return state_; }
  int status() const { return answer_.status; }
  bool keep_alive() const { return keep_alive_; }  // whether the connection can be used again
  uint64_t body_bytes() const { return answer_.body_bytes; }
  const HttpAnswer& answer() const { return answer_; }
  bool empty() const { return head_.empty(); }       // no byte so far
  const std::string& head() const { return head_; }  // the first bytes, at most kHeadBytes

  /// The next response; to a HEAD, which has no body, if `is_to_head`.
  void reset(bool is_to_head = false);

 private:
  // http-parser's callbacks.
  static int header_name_goes_on(http_parser* parser, const char* at, size_t length);
  static int header_value_goes_on(http_parser* parser, const char* at, size_t length);
  static int head_is_complete(http_parser* parser);
  static int body_goes_on(http_parser* parser, const char* at, size_t length);
  static int message_is_complete(http_parser* parser);
  static http_parser_settings callbacks(bool with_headers);

  size_t execute(const char* bytes, size_t length);

  HttpKeep keep_;
  http_parser parser_;
  State state_ = State::kMore;
  HttpAnswer answer_;
  std::string head_;
  bool keep_alive_ = false;
  bool is_to_head_ = false;
  bool is_in_value_ = false;  // of a header
};

}  // namespace topspin
