#include "load/http/http_connection.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "core/base/check.h"
#include "core/base/clock.h"
#include "load/wire/tcp_socket.h"

namespace topspin {
namespace {

/// One for each thread: what is read is used before anything else is read.
std::span<uint8_t> read_buffer() {
  thread_local std::array<uint8_t, 65536> buffer;
  return buffer;
}

}  // namespace

bool HttpFailure::is_local() const { return kind == Kind::kSocket && is_local_failure(number); }

std::string count_failure(const HttpFailure& failure, bool is_http2, HttpAccounts& http,
                          TcpAccounts* tcp) {
  std::string reason;
  switch (failure.kind) {
    case HttpFailure::Kind::kSocket:
      if (tcp) count_failure(*tcp, failure.number, failure.has_bytes);
      return std::string(failure_name(failure.number));
    case HttpFailure::Kind::kTruncated:
      if (tcp) ++tcp->truncated;
      return "truncated";
    case HttpFailure::Kind::kMalformed:
      if (!is_http2) {
        if (tcp) ++tcp->failed;
        http.count_malformed(failure.text);
        return "not HTTP";
      }
      reason = "HTTP/2: " + failure.text;
      break;
    case HttpFailure::Kind::kTls: reason = "TLS: " + failure.text; break;
    case HttpFailure::Kind::kReset:
      reason = "HTTP/2: the server ended the stream: " + failure.text;
      break;
    case HttpFailure::Kind::kNotProcessed: reason = "HTTP/2: the server refused the stream"; break;
  }
  if (tcp) {
    ++tcp->failed;
    http.count_failure(reason);
  }
  return reason;
}

HttpConnection::HttpConnection(const HttpServer& server, UniqueFd fd, TlsSession* session)
    : server_(server), stream_(std::move(fd)), session_(session), response_(server.keep) {
  if (server.http2) http2_ = std::make_unique<Http2Session>(server.keep, server.streams);
}

HttpConnection::Opening HttpConnection::open(const HttpServer& server,
                                             std::optional<uint32_t> source, TlsSession* session) {
  TcpBeginning begun = begin_connect(*server.target, source);
  Opening opening;
  opening.local_errno = begun.local_errno;
  opening.remote_errno = begun.remote_errno;
  if (begun.local_errno == 0 && begun.remote_errno == 0)
    opening.connection.reset(new HttpConnection(server, std::move(begun.fd), session));
  return opening;
}

bool HttpConnection::is_over() const {
  if (state_ == State::kEnded) return true;
  return http2_ ? http2_->is_ending() : was_last_;
}

bool HttpConnection::can_begin() const {
  if (is_over()) return false;
  if (!http2_) return !is_busy_;
  return http2_->open() + waiting_.size() < server_.streams && http2_->can_submit();
}

void HttpConnection::begin(uint64_t exchange, const PreparedHttpRequest& request, bool is_last) {
  CHECK(can_begin());
  if (http2_) {
    if (state_ != State::kOpen) {
      waiting_.push_back({exchange, &request});
      return;
    }
    http2_->submit(exchange, request, stream_.is_secure() ? "https" : "http");
    flush_http2();
    take_http2();
    return;
  }
  exchange_ = exchange;
  is_busy_ = true;
  was_last_ = is_last;
  response_.reset(request.request.is_head());
  unsent_ = is_last ? request.http1_last : request.http1;
  if (state_ == State::kOpen) (void)flush();
}

bool HttpConnection::cancel(uint64_t exchange) {
  if (!http2_ || state_ == State::kEnded) return false;
  if (const auto waits = std::find_if(waiting_.begin(), waiting_.end(),
                                      [&](const Waiting& w) { return w.exchange == exchange; });
      waits != waiting_.end()) {
    waiting_.erase(waits);
    return !waiting_.empty();
  }
  http2_->cancel(exchange);
  if (http2_->open() == 0) return false;  // perhaps the whole connection is stuck
  flush_http2();
  return true;
}

std::optional<HttpEvent> HttpConnection::next_event() {
  if (next_event_ < events_.size()) return std::move(events_[next_event_++]);
  events_.clear();
  next_event_ = 0;
  return std::nullopt;
}

void HttpConnection::fail(HttpFailure failure) {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  unsent_ = {};
  const auto lose = [&](uint64_t exchange) {
    HttpEvent event{HttpEvent::Kind::kFailed, exchange, nullptr, failure, 0};
    push(std::move(event));
  };
  if (std::exchange(is_busy_, false)) lose(exchange_);
  for (const Waiting& waiting : std::exchange(waiting_, {})) lose(waiting.exchange);
  if (http2_) {
    for (const uint64_t exchange : http2_->abandon()) lose(exchange);
  }
  push({HttpEvent::Kind::kEnded, 0, nullptr, std::move(failure), 0});
}

void HttpConnection::fail_io(const IoResult& result) {
  HttpFailure failure;
  failure.has_bytes = !response_.empty();
  failure.number = result.number;
  if (result.kind == IoResult::Kind::kEnd) {
    failure.kind = HttpFailure::Kind::kTruncated;
  } else if (result.number == 0) {
    failure.kind = HttpFailure::Kind::kTls;
    failure.text = stream_.tls_error();
  }
  fail(std::move(failure));
}

void HttpConnection::connected() {
  push({HttpEvent::Kind::kConnected, 0, nullptr, {}, monotonic_now_ns()});
  if (server_.tls) {
    stream_.secure(*server_.tls, session_);
    state_ = State::kSecuring;
  } else {
    state_ = State::kOpen;
  }
}

/// Goes on with TLS's handshake. True: it is done.
bool HttpConnection::secure() {
  const IoResult result = stream_.handshake();
  if (result.kind == IoResult::Kind::kAgain) return false;
  if (result.kind != IoResult::Kind::kDone) {
    if (result.kind == IoResult::Kind::kEnd)
      fail({HttpFailure::Kind::kTls, 0, false, "the server closed during the handshake"});
    else
      fail_io(result);
    return false;
  }
  push({HttpEvent::Kind::kSecured, 0, nullptr, {}, monotonic_now_ns()});
  if (http2_ && stream_.alpn() != "h2") {
    fail({HttpFailure::Kind::kTls, 0, false, "the server does not choose h2 by ALPN"});
    return false;
  }
  state_ = State::kOpen;
  return true;
}

/// Sends what can be sent. False: the connection has ended.
bool HttpConnection::flush() {
  while (!unsent_.empty()) {
    const IoResult result = stream_.write(unsent_);
    if (result.kind == IoResult::Kind::kAgain) return true;
    if (result.kind == IoResult::Kind::kDone) {
      unsent_.remove_prefix(result.bytes);
      continue;
    }
    // A server may answer and close without reading. Its answer must still be read.
    if (result.number == EPIPE || result.number == ECONNRESET) {
      unsent_ = {};
      write_errno_ = result.number;
      return true;
    }
    fail_io(result);
    return false;
  }
  return true;
}

void HttpConnection::ready(uint32_t events) {
  answered_.clear();
  stream_.begin_turn();
  if (state_ == State::kEnded) return;
  if (state_ == State::kConnecting) {
    if (const int number = take_socket_error(fd()); number != 0) {
      fail({HttpFailure::Kind::kSocket, number, false, {}});
      return;
    }
    connected();
  }
  if (state_ == State::kSecuring && !secure()) return;
  if (http2_) {
    const bool secure = stream_.is_secure();
    for (const Waiting& waiting : std::exchange(waiting_, {}))
      http2_->submit(waiting.exchange, *waiting.request, secure ? "https" : "http");
    flush_http2();
    read_http2(events);
    take_http2();
    return;
  }
  if (!unsent_.empty() && !flush()) return;
  read_http1(events);
}

void HttpConnection::end_of_stream() {
  if (!is_busy_) {
    fail({HttpFailure::Kind::kTruncated, 0, false, {}});
    return;
  }
  response_.end_of_stream();
  if (response_.state() != HttpResponse::State::kDone) {
    // The kernel tells of a reset once, and the write has heard it.
    const auto kind =
        write_errno_ != 0 ? HttpFailure::Kind::kSocket : HttpFailure::Kind::kTruncated;
    fail({kind, write_errno_, !response_.empty(), {}});
    return;
  }
  is_busy_ = false;
  push({HttpEvent::Kind::kAnswered, exchange_, &response_.answer(), {}, 0});
  fail({HttpFailure::Kind::kTruncated, 0, false, {}});
}

void HttpConnection::read_http1(uint32_t events) {
  const std::span<uint8_t> buffer = read_buffer();
  while (true) {
    const IoResult got = stream_.read(buffer);
    if (got.kind == IoResult::Kind::kAgain) return;
    if (got.kind == IoResult::Kind::kEnd) return end_of_stream();
    if (got.kind == IoResult::Kind::kError) return fail_io(got);
    bytes_received_ += got.bytes;
    std::span<const uint8_t> bytes = buffer.first(got.bytes);
    if (is_busy_) {
      bytes = bytes.subspan(response_.feed(bytes));
      if (response_.state() == HttpResponse::State::kMalformed)
        return fail({HttpFailure::Kind::kMalformed, 0, true, response_.head()});
      if (response_.state() == HttpResponse::State::kDone) {
        is_busy_ = false;
        // After an answer to half a request, nothing else can be said here.
        was_last_ = was_last_ || !response_.keep_alive() || !unsent_.empty();
        unsent_ = {};
        push({HttpEvent::Kind::kAnswered, exchange_, &response_.answer(), {}, 0});
      }
    }
    if (!bytes.empty()) {
      // These bytes answer no request, so later answers on this connection could not be recognised.
      push({HttpEvent::Kind::kStray, 0, nullptr, {}, 0});
      return fail({HttpFailure::Kind::kMalformed, 0, true, {}});
    }
    if (was_last_ && !is_busy_) return;  // its user closes it
    // Less than the buffer holds: there is no more, unless the connection has ended.
    const bool has_ended = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (is_all(got, buffer) && !has_ended) return;
  }
}

/// Whether nothing more can be read for now.
bool HttpConnection::is_all(const IoResult& got, std::span<const uint8_t> buffer) const {
  return stream_.is_secure() ? !stream_.may_have_more() : got.bytes < buffer.size();
}

void HttpConnection::flush_http2() {
  while (state_ == State::kOpen) {
    if (unsent_.empty()) unsent_ = http2_->output();
    if (unsent_.empty()) return;
    const bool goes_on = flush();
    if (!goes_on || !unsent_.empty()) return;
  }
}

void HttpConnection::read_http2(uint32_t events) {
  const std::span<uint8_t> buffer = read_buffer();
  while (state_ == State::kOpen) {
    const IoResult got = stream_.read(buffer);
    if (got.kind == IoResult::Kind::kAgain) break;
    if (got.kind != IoResult::Kind::kDone) {
      take_http2();
      return fail_io(got);
    }
    bytes_received_ += got.bytes;
    if (!http2_->feed(buffer.first(got.bytes))) {
      take_http2();
      return fail({HttpFailure::Kind::kMalformed, 0, true, http2_->why()});
    }
    const bool has_ended = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (is_all(got, buffer) && !has_ended) break;
  }
  flush_http2();
}

/// Makes events of the exchanges that have ended.
void HttpConnection::take_http2() {
  std::deque<Http2Session::Ended>& ended = http2_->ended();
  for (; !ended.empty(); ended.pop_front()) {
    Http2Session::Ended& one = answered_.emplace_back(std::move(ended.front()));
    switch (one.fate) {
      case Http2Session::Fate::kAnswered:
        push({HttpEvent::Kind::kAnswered, one.exchange, &one.answer, {}, 0});
        break;
      case Http2Session::Fate::kNotProcessed:
        push({HttpEvent::Kind::kFailed,
              one.exchange,
              nullptr,
              {HttpFailure::Kind::kNotProcessed, 0, one.has_bytes, "REFUSED_STREAM"},
              0});
        break;
      case Http2Session::Fate::kReset:
        push(
            {HttpEvent::Kind::kFailed,
             one.exchange,
             nullptr,
             {HttpFailure::Kind::kReset, 0, one.has_bytes, std::string(http2_error_name(one.code))},
             0});
        break;
    }
  }
}

}  // namespace topspin
