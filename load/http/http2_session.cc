#include "load/http/http2_session.h"

#include <algorithm>
#include <array>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "core/base/check.h"

namespace topspin {
namespace {

constexpr int32_t kStreamWindow = 1 << 20;
constexpr int32_t kConnectionWindow = 16 << 20;

nghttp2_nv name_value(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {  // nghttp2 only reads them
    return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

struct Http2Session::Callbacks {
  static Stream* find(void* user, int32_t id) {
    auto& streams = static_cast<Http2Session*>(user)->streams_;
    const auto found = streams.find(id);
    return found == streams.end() ? nullptr : &found->second;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                       size_t name_length, const uint8_t* value, size_t value_length, uint8_t,
                       void* user) {
    Stream* stream = find(user, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_length);
    const std::string_view text(reinterpret_cast<const char*>(value), value_length);
    if (key == ":status") {
      // nghttp2 has checked that it is three digits. The final status follows an interim one.
      stream->answer.clear();
      for (const char digit : text)
        stream->answer.status = stream->answer.status * 10 + (digit - '0');
      return 0;
    }
    if (!static_cast<Http2Session*>(user)->keep_.headers || key.starts_with(':')) return 0;
    stream->header_bytes += key.size() + text.size();
    if (stream->header_bytes > kKeptHeaderBytes) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    stream->answer.headers.push_back({std::string(key), std::string(text)});
    return 0;
  }

  static int on_data(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t length,
                     void* user) {
    Stream* stream = find(user, id);
    if (stream == nullptr) return 0;
    HttpAnswer& answer = stream->answer;
    answer.body_bytes += length;
    stream->has_bytes = true;
    if (static_cast<Http2Session*>(user)->keep_.body) {
      answer.body.append(reinterpret_cast<const char*>(data),
                         std::min(length, kKeptBodyBytes - answer.body.size()));
    }
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    const bool is_answer = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    Stream* stream = is_answer ? find(user, frame->hd.stream_id) : nullptr;
    if (stream == nullptr) return 0;
    stream->has_bytes = true;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) stream->is_whole = true;
    return 0;
  }

  static int on_close(nghttp2_session*, int32_t id, uint32_t code, void* user) {
    auto& session = *static_cast<Http2Session*>(user);
    Stream* stream = find(user, id);
    if (stream == nullptr) return 0;
    Ended ended;
    ended.exchange = stream->exchange;
    ended.has_bytes = stream->has_bytes;
    ended.code = code;
    if (stream->is_whole && code == NGHTTP2_NO_ERROR)
      ended.fate = Fate::kAnswered;
    else
      ended.fate = code == NGHTTP2_REFUSED_STREAM ? Fate::kNotProcessed : Fate::kReset;
    ended.answer = std::move(stream->answer);
    session.streams_.erase(id);
    session.ended_.push_back(std::move(ended));
    return 0;
  }

  static ssize_t read_body(nghttp2_session*, int32_t id, uint8_t* into, size_t size,
                           uint32_t* flags, nghttp2_data_source*, void* user) {
    Stream* stream = find(user, id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const size_t part = std::min(size, stream->body.size());
    std::copy_n(stream->body.data(), part, reinterpret_cast<char*>(into));
    stream->body.remove_prefix(part);
    if (stream->body.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(part);
  }
};

Http2Session::Http2Session(HttpKeep keep, uint32_t streams) : keep_(keep), most_(streams) {
  nghttp2_session_callbacks* callbacks = nullptr;
  CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::on_data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::on_close);
  CHECK(nghttp2_session_client_new(&session_, callbacks, this) == 0);
  nghttp2_session_callbacks_del(callbacks);
  const std::array<nghttp2_settings_entry, 2> settings = {
      {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow}}};
  CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) ==
        0);
  CHECK(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) ==
        0);
}

Http2Session::~Http2Session() { nghttp2_session_del(session_); }

bool Http2Session::is_ending() const {
  return nghttp2_session_check_request_allowed(session_) == 0;
}

bool Http2Session::can_submit() const {
  const uint32_t allowed =
      nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return streams_.size() < std::min(most_, allowed) && !is_ending();
}

void Http2Session::submit(uint64_t exchange, const PreparedHttpRequest& prepared,
                          std::string_view scheme) {
  const HttpRequest& request = prepared.request;
  std::vector<std::string> names;  // HTTP/2 has them in lower case
  names.reserve(request.headers.size());
  std::vector<nghttp2_nv> fields = {
      name_value(":method", request.method), name_value(":scheme", scheme),
      name_value(":authority", prepared.authority), name_value(":path", request.path)};
  for (const HttpHeader& header : request.headers) {
    std::string& name = names.emplace_back(header.name);
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    fields.push_back(name_value(name, header.value));
  }
  nghttp2_data_provider body{};
  body.read_callback = Callbacks::read_body;
  const int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(),
                                            request.body.empty() ? nullptr : &body, nullptr);
  if (id < 0) {  // no ids or no memory are left
    ended_.push_back({exchange, Fate::kNotProcessed, false, 0, {}});
    return;
  }
  Stream& stream = streams_[id];
  stream.exchange = exchange;
  stream.body = request.body;
}

void Http2Session::cancel(uint64_t exchange) {
  const auto found = std::find_if(streams_.begin(), streams_.end(), [&](const auto& stream) {
    return stream.second.exchange == exchange;
  });
  if (found == streams_.end()) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, found->first, NGHTTP2_CANCEL);
  streams_.erase(found);
}

bool Http2Session::feed(std::span<const uint8_t> bytes) {
  const ssize_t taken = nghttp2_session_mem_recv(session_, bytes.data(), bytes.size());
  if (taken >= 0 && nghttp2_session_want_read(session_) == 0 && !streams_.empty()) {
    // nghttp2 has ended the connection because of an error of the server.
    why_ = "the server broke the protocol of HTTP/2";
    return false;
  }
  if (taken >= 0) return true;
  why_ = nghttp2_strerror(static_cast<int>(taken));
  return false;
}

std::string_view Http2Session::output() {
  const uint8_t* bytes = nullptr;
  const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
  if (size <= 0) return {};
  return {reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)};
}

std::deque<uint64_t> Http2Session::abandon() {
  std::deque<uint64_t> exchanges;
  for (const auto& [id, stream] : streams_) exchanges.push_back(stream.exchange);
  streams_.clear();
  return exchanges;
}

std::string_view http2_error_name(uint32_t code) { return nghttp2_http2_strerror(code); }

}  // namespace topspin
