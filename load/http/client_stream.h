// ClientStream: a non-blocking TCP connection, plain or inside TLS. TlsContext: what the TLS
// connections of a load share. OpenSSL does the TLS; only client_stream.cc includes its headers.
//
// The owner watches the descriptor for reading and writing, edge-triggered, and calls again what
// answered kAgain when there is an event. Nothing here blocks, and no SIGPIPE comes of it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/unique_fd.h"

// OpenSSL's.
struct ssl_ctx_st;
struct ssl_st;
struct ssl_session_st;

namespace topspin {

struct TlsSettings {
  bool verifies = true;      // the server's certificate and its name
  std::string ca_file;       // PEM; empty: the system's certificates
  bool resumes = true;       // sessions, where the server allows it
  bool wants_http2 = false;  // by ALPN: h2, else http/1.1
};

/// The session that one client may resume. Belongs to the client, and outlives its connections.
class TlsSession {
 public:
  TlsSession() = default;
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  ~TlsSession() { replace(nullptr); }
  ssl_session_st* get() const { return session_; }
  /// Takes ownership.
  void replace(ssl_session_st* session);

 private:
  ssl_session_st* session_ = nullptr;
};

/// Belongs to one thread, as the streams that use it.
class TlsContext {
 public:
  /// `host` is the server's name or address: it is verified, and a name is sent (SNI). kUsage if
  /// the certificates cannot be read.
  static Result<std::shared_ptr<TlsContext>> make(const TlsSettings& settings, std::string host);
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  ~TlsContext();

 private:
  friend class ClientStream;
  TlsContext(TlsSettings settings, std::string host);

  TlsSettings settings_;
  std::string host_;
  bool is_name_ = false;  // not an address
  ssl_ctx_st* context_ = nullptr;
};

struct IoResult {
  enum class Kind : uint8_t {
    kDone,   // `bytes` were read or written (at least one); the handshake is done
    kAgain,  // later
    kEnd,    // the other side has ended the connection
    kError,  // `number` is errno, or 0: tls_error() has the reason
  };
  Kind kind = Kind::kDone;
  size_t bytes = 0;
  int number = 0;
};

/// What OpenSSL's BIO knows of the socket.
struct SocketState {
  int fd = -1;
  bool is_drained = false;    // the last call read less than it had room for
  int reads_left = 0;         // of this turn
  bool is_cut_short = false;  // there may have been more to read in this turn
};

class ClientStream {
 public:
  /// Plain. The connection may still be in the making.
  explicit ClientStream(UniqueFd fd) : fd_(std::move(fd)) {}
  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;
  ~ClientStream();

  int fd() const { return fd_.get(); }

  /// From now on TLS. REQUIRES: connected; nothing was read or written. `context` outlives the
  /// stream. `session` (may be null) is resumed, and replaced by what the server gives.
  void secure(TlsContext& context, TlsSession* session);
  bool is_secure() const { return ssl_ != nullptr; }
  /// kEnd is an error, too: the server closed instead.
  IoResult handshake();

  /// From now on a limited number of reads: then read() returns kAgain, and is_cut_short() is true.
  /// So a server that sends faster than its answer is read cannot keep a thread for ever.
  void begin_turn();
  bool is_cut_short() const { return socket_.is_cut_short; }
  /// REQUIRES: begin_turn().
  IoResult read(std::span<uint8_t> into);
  /// Writes a part of `bytes`, or all. REQUIRES: not empty.
  IoResult write(std::string_view bytes);

  /// TLS: whether read() may have more at once. Not if a record has come whole, and nothing behind
  /// it, unless the connection has ended meanwhile.
  bool may_have_more() const;

  /// After a handshake.
  bool is_resumed() const;
  std::string_view alpn() const;  // "h2", "http/1.1", or empty
  std::string tls_version() const;
  /// Why TLS failed, such as "self-signed certificate". One of a limited number of texts.
  const std::string& tls_error() const { return tls_error_; }

 private:
  IoResult explain(int code);

  UniqueFd fd_;
  ssl_st* ssl_ = nullptr;  // null: plain
  SocketState socket_;
  std::string tls_error_;
};

}  // namespace topspin
