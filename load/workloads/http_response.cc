#include "load/workloads/http_response.h"

#include <algorithm>

namespace topspin {
namespace {

constexpr int kSwitchingProtocols = 101, kNoContent = 204, kNotModified = 304;

bool is_interim(int status) { return status < 200 && status != kSwitchingProtocols; }

}  // namespace

void HttpResponse::reset() {
  http_parser_init(&parser_, HTTP_RESPONSE);
  parser_.allow_chunked_length = 1;  // with both, the chunks count (RFC 9112, 6.3)
  state_ = State::kMore;
  status_ = 0;
  body_bytes_ = 0;
  head_.clear();
  keep_alive_ = false;
}

size_t HttpResponse::feed(std::span<const uint8_t> bytes) {
  if (bytes.empty() || state_ != State::kMore) return 0;
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  head_.append(text, std::min(bytes.size(), kHeadBytes - head_.size()));
  const size_t taken = execute(text, bytes.size());
  const http_errno error = HTTP_PARSER_ERRNO(&parser_);
  if (state_ == State::kMore && error != HPE_OK) state_ = State::kMalformed;
  return taken;
}

void HttpResponse::end_of_stream() {
  if (state_ == State::kMore) execute(nullptr, 0);
}

size_t HttpResponse::execute(const char* bytes, size_t length) {
  static const http_parser_settings kCallbacks = [] {
    http_parser_settings settings;
    http_parser_settings_init(&settings);
    settings.on_headers_complete = head_is_complete;
    settings.on_body = body_goes_on;
    settings.on_message_complete = message_is_complete;
    return settings;
  }();
  parser_.data = this;
  return http_parser_execute(&parser_, &kCallbacks, bytes, length);
}

/// Returns 0: the body follows; 1: there is none; -1: malformed.
int HttpResponse::head_is_complete(http_parser* parser) {
  auto& response = *static_cast<HttpResponse*>(parser->data);
  const int status = static_cast<int>(parser->status_code);
  if (parser->http_major != 1 || status < 100) return -1;
  response.status_ = status;
  return status < 200 || status == kNoContent || status == kNotModified ? 1 : 0;
}

int HttpResponse::body_goes_on(http_parser* parser, const char*, size_t length) {
  static_cast<HttpResponse*>(parser->data)->body_bytes_ += length;
  return 0;
}

int HttpResponse::message_is_complete(http_parser* parser) {
  auto& response = *static_cast<HttpResponse*>(parser->data);
  if (is_interim(response.status_)) return 0;  // the final response follows
  response.keep_alive_ =
      response.status_ != kSwitchingProtocols && http_should_keep_alive(parser) != 0;
  response.state_ = State::kDone;
  http_parser_pause(parser, 1);  // the bytes that follow are not part of this response
  return 0;
}

}  // namespace topspin
