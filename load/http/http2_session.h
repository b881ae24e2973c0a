// Http2Session: the client's side of an HTTP/2 connection, without its socket: bytes in, answers
// and bytes out. nghttp2 does the protocol; only http2_session.cc includes its header. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "load/http/http_response.h"

// nghttp2's.
struct nghttp2_session;

namespace topspin {

class Http2Session {
 public:
  /// At most `streams` exchanges at once, or fewer if the server says so.
  Http2Session(HttpKeep keep, uint32_t streams);
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;
  ~Http2Session();

  /// Whether another exchange may begin now.
  bool can_submit() const;
  /// Whether none can begin any more, because the server wants to end the connection.
  bool is_ending() const;
  size_t open() const { return streams_.size(); }
  /// `request` lives until the exchange has ended. REQUIRES: can_submit().
  void submit(uint64_t exchange, const PreparedHttpRequest& request, std::string_view scheme);
  /// The answer is not awaited any more.
  void cancel(uint64_t exchange);

  /// False: the bytes are no HTTP/2, and why() has the reason.
  bool feed(std::span<const uint8_t> bytes);
  const std::string& why() const { return why_; }
  /// The next bytes to send, valid until the next call; empty: none for now.
  std::string_view output();

  enum class Fate : uint8_t {
    kAnswered,
    kNotProcessed,  // the server says that it did not touch the request
    kReset,         // the server, or we because of an error of the server, ended the stream
  };
  struct Ended {
    uint64_t exchange = 0;
    Fate fate = Fate::kAnswered;
    bool has_bytes = false;
    uint32_t code = 0;  // kReset: HTTP/2's error code
    HttpAnswer answer;
  };
  /// Exchanges that ended, oldest first. The user removes them.
  std::deque<Ended>& ended() { return ended_; }
  /// Takes all open exchanges; nothing more is heard of them.
  std::deque<uint64_t> abandon();

 private:
  struct Stream {
    uint64_t exchange = 0;
    std::string_view body;  // what is left to send
    HttpAnswer answer;
    size_t header_bytes = 0;
    bool has_bytes = false;
    bool is_whole = false;
  };
  struct Callbacks;  // nghttp2's

  HttpKeep keep_;
  uint32_t most_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, Stream> streams_;  // by HTTP/2's stream id
  std::deque<Ended> ended_;
  std::string why_;
};

/// "REFUSED_STREAM", ...
std::string_view http2_error_name(uint32_t code);

}  // namespace topspin
