#include "load/http/http_response.h"

#include <algorithm>

namespace topspin {
namespace {

constexpr int kSwitchingProtocols = 101, kNoContent = 204, kNotModified = 304;

bool is_interim(int status) { return status < 200 && status != kSwitchingProtocols; }

}  // namespace

void HttpAnswer::clear() {
  status = 0;
  body_bytes = 0;
  headers.clear();
  body.clear();
}

void HttpResponse::reset(bool is_to_head) {
  http_parser_init(&parser_, HTTP_RESPONSE);
  parser_.allow_chunked_length = 1;  // with both, the chunks count (RFC 9112, 6.3)
  state_ = State::kMore;
  answer_.clear();
  head_.clear();
  keep_alive_ = false;
  is_to_head_ = is_to_head;
  is_in_value_ = false;
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

http_parser_settings HttpResponse::callbacks(bool with_headers) {
  http_parser_settings settings;
  http_parser_settings_init(&settings);
  if (with_headers) {
    settings.on_header_field = header_name_goes_on;
    settings.on_header_value = header_value_goes_on;
  }
  settings.on_headers_complete = head_is_complete;
  settings.on_body = body_goes_on;
  settings.on_message_complete = message_is_complete;
  return settings;
}

size_t HttpResponse::execute(const char* bytes, size_t length) {
  static const http_parser_settings kPlain = callbacks(false), kWithHeaders = callbacks(true);
  parser_.data = this;
  return http_parser_execute(&parser_, keep_.headers ? &kWithHeaders : &kPlain, bytes, length);
}

int HttpResponse::header_name_goes_on(http_parser* parser, const char* at, size_t length) {
  auto& response = *static_cast<HttpResponse*>(parser->data);
  HttpHeaders& headers = response.answer_.headers;
  if (headers.empty() || response.is_in_value_) headers.emplace_back();
  response.is_in_value_ = false;
  headers.back().name.append(at, length);
  return 0;
}

int HttpResponse::header_value_goes_on(http_parser* parser, const char* at, size_t length) {
  auto& response = *static_cast<HttpResponse*>(parser->data);
  response.is_in_value_ = true;
  response.answer_.headers.back().value.append(at, length);
  return 0;
}

/// Returns 0: the body follows; 1: there is none; -1: malformed.
int HttpResponse::head_is_complete(http_parser* parser) {
  auto& response = *static_cast<HttpResponse*>(parser->data);
  const int status = static_cast<int>(parser->status_code);
  if (parser->http_major != 1 || status < 100) return -1;
  response.answer_.status = status;
  const bool has_none = status < 200 || status == kNoContent || status == kNotModified;
  return has_none || response.is_to_head_ ? 1 : 0;
}

int HttpResponse::body_goes_on(http_parser* parser, const char* at, size_t length) {
  auto& response = *static_cast<HttpResponse*>(parser->data);
  HttpAnswer& answer = response.answer_;
  answer.body_bytes += length;
  if (response.keep_.body)
    answer.body.append(at, std::min(length, kKeptBodyBytes - answer.body.size()));
  return 0;
}

int HttpResponse::message_is_complete(http_parser* parser) {
  auto& response = *static_cast<HttpResponse*>(parser->data);
  if (is_interim(response.status())) {  // the final response follows
    response.answer_.clear();
    return 0;
  }
  response.keep_alive_ =
      response.status() != kSwitchingProtocols && http_should_keep_alive(parser) != 0;
  response.state_ = State::kDone;
  http_parser_pause(parser, 1);  // the bytes that follow are not part of this response
  return 0;
}

}  // namespace topspin
