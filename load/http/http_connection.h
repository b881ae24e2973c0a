// HttpConnection: one connection to a server, over which requests go and answers come back, by
// HTTP/1.1 (one at a time) or HTTP/2 (several), plain or inside TLS. Whoever drives it has the
// event loop: a workload of topspin load, or a script's client.
//
//   auto opening = HttpConnection::open(server, source, &session);
//   epoll_ctl(.., opening.connection->fd(), {HttpConnection::kEvents, ..});
//   connection->begin(7, request);            // at once; it is sent when that is possible
//   connection->ready(events);                // whenever epoll says so
//   while (auto event = connection->next_event()) ...   // after each of these calls
//
// It never blocks, and has no timeout: its user gives up by destroying it or by cancel().
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/epoll.h>

#include "core/run/load_result.h"
#include "load/http/client_stream.h"
#include "load/http/http2_session.h"
#include "load/http/http_request.h"
#include "load/http/http_response.h"
#include "load/wire/target.h"

namespace topspin {

/// What the connections of one load share. Outlives them.
struct HttpServer {
  const Target* target = nullptr;
  std::shared_ptr<TlsContext> tls;  // null: plain
  bool http2 = false;               // with TLS by ALPN, else at once ("prior knowledge")
  uint32_t streams = 1;             // HTTP/2: exchanges at once on a connection
  HttpKeep keep;
};

struct HttpFailure {
  enum class Kind : uint8_t {
    kSocket,        // `number` is errno: refused, reset, ...
    kTruncated,     // the server ended the connection before the end of the answer
    kMalformed,     // what came is not HTTP; `text` is how it began, or what is wrong with it
    kTls,           // `text` says why
    kReset,         // HTTP/2: the server ended the stream; `text` is its reason
    kNotProcessed,  // HTTP/2: the server did not touch the request, which may be sent again
  };
  Kind kind = Kind::kSocket;
  int number = 0;
  bool has_bytes = false;  // of the answer
  std::string text;        // may be hostile

  /// The local kernel refused it.
  bool is_local() const;
};

/// Counts a request that failed, and says why: "refused", "truncated", "not HTTP", "TLS: ...". What
/// came and is not HTTP is counted in `http`. `tcp`: the connections' accounts; they say how it
/// ended, and `http` then has the reasons of TcpAccounts::failed. Null: the caller keeps the
/// reasons itself.
std::string count_failure(const HttpFailure& failure, bool is_http2, HttpAccounts& http,
                          TcpAccounts* tcp);

struct HttpEvent {
  enum class Kind : uint8_t {
    kConnected,  // TCP's handshake is done
    kSecured,    // TLS's handshake is done
    kAnswered,   // `answer` is valid until the next begin(), ready() or the connection's end
    kFailed,     // the exchange will not be answered: `failure`
    kStray,      // bytes came that answer nothing
    kEnded,  // the connection is of no more use, and has no exchange; `failure` of the handshake
  };
  Kind kind = Kind::kConnected;
  uint64_t exchange = 0;               // kAnswered, kFailed
  const HttpAnswer* answer = nullptr;  // kAnswered
  HttpFailure failure;
  int64_t at_monotonic_ns = 0;  // kConnected, kSecured: one call of ready() may do both
};

class HttpConnection {
 public:
  static constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

  struct Opening {
    std::unique_ptr<HttpConnection> connection;  // null after an error
    int local_errno = 0;                         // nothing was sent: no descriptor, no port
    int remote_errno = 0;                        // answered at once: refused, reset
  };
  /// `source`: for begin_connect(). `session` outlives the connection; it may be null.
  static Opening open(const HttpServer& server, std::optional<uint32_t> source,
                      TlsSession* session);

  int fd() const { return stream_.fd(); }
  bool is_connected() const { return state_ != State::kConnecting; }
  bool is_resumed() const { return stream_.is_resumed(); }
  std::string tls_version() const { return stream_.tls_version(); }
  std::string_view alpn() const { return stream_.alpn(); }
  /// Since the last call.
  uint64_t take_bytes_received() { return std::exchange(bytes_received_, 0); }

  /// Whether another exchange may begin now.
  bool can_begin() const;
  /// Whether no exchange can begin any more. The user closes it when none is open.
  bool is_over() const;
  size_t open_exchanges() const { return http2_ ? http2_->open() + waiting_.size() : is_busy_; }

  /// `request` lives until the exchange has ended. `is_last` says that to the server (HTTP/1.1).
  /// REQUIRES: can_begin().
  void begin(uint64_t exchange, const PreparedHttpRequest& request, bool is_last = false);
  /// HTTP/2: the exchange is not awaited any more, and has no event. False: the connection has to
  /// be closed instead.
  bool cancel(uint64_t exchange);
  /// epoll has events for fd().
  void ready(uint32_t events);
  /// ready() has left something unread, so that other connections have their turn. The user asks
  /// epoll again: Engine::watch_again().
  bool has_unread() const { return state_ != State::kEnded && stream_.is_cut_short(); }
  std::optional<HttpEvent> next_event();

 private:
  enum class State : uint8_t { kConnecting, kSecuring, kOpen, kEnded };

  HttpConnection(const HttpServer& server, UniqueFd fd, TlsSession* session);
  void connected();
  bool secure();
  bool flush();
  void read_http1(uint32_t events);
  void read_http2(uint32_t events);
  bool is_all(const IoResult& got, std::span<const uint8_t> buffer) const;
  void flush_http2();
  void take_http2();
  void fail(HttpFailure failure);
  void fail_io(const IoResult& result);
  void end_of_stream();
  void push(HttpEvent event) { events_.push_back(std::move(event)); }

  const HttpServer& server_;
  ClientStream stream_;
  TlsSession* session_;
  State state_ = State::kConnecting;
  std::vector<HttpEvent> events_;
  size_t next_event_ = 0;  // of events_
  uint64_t bytes_received_ = 0;
  std::string_view unsent_;  // of http1_, or of what HTTP/2 has to send

  // HTTP/1.1.
  HttpResponse response_;
  uint64_t exchange_ = 0;
  bool is_busy_ = false;
  bool was_last_ = false;
  int write_errno_ = 0;  // the server had reset the connection, or will

  // HTTP/2.
  std::unique_ptr<Http2Session> http2_;
  struct Waiting {
    uint64_t exchange;
    const PreparedHttpRequest* request;
  };
  std::vector<Waiting> waiting_;             // until the handshake is done
  std::list<Http2Session::Ended> answered_;  // whose answers events point to
};

}  // namespace topspin
