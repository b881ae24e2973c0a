#include "load/http/client_stream.h"

#include <algorithm>
#include <cerrno>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/check.h"
#include "core/base/text.h"

namespace topspin {
namespace {

// Where other distributions than OpenSSL's own have their certificates.
constexpr const char* kOtherBundle = "/etc/pki/tls/certs/ca-bundle.crt";

// Of one connection, before others have their turn.
constexpr int kReadsPerTurn = 16;

/// As recv(); EAGAIN also after the last read of a turn.
ssize_t read_in_turn(SocketState& socket, void* bytes, size_t count) {
  if (socket.reads_left == 0) {
    socket.is_cut_short = true;
    errno = EAGAIN;
    return -1;
  }
  --socket.reads_left;
  return recv(socket.fd, bytes, count, MSG_DONTWAIT);
}

SocketState& socket_of(BIO* bio) { return *static_cast<SocketState*>(BIO_get_data(bio)); }

// OpenSSL's own BIO of a socket lets SIGPIPE come.
int send_bytes(BIO* bio, const char* bytes, int count) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent =
      send(socket_of(bio).fd, bytes, static_cast<size_t>(count), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno == EAGAIN) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int receive_bytes(BIO* bio, char* bytes, int count) {
  BIO_clear_retry_flags(bio);
  const ssize_t got = read_in_turn(socket_of(bio), bytes, static_cast<size_t>(count));
  socket_of(bio).is_drained = got < count;
  if (got < 0 && errno == EAGAIN) BIO_set_retry_read(bio);
  if (got == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(got);
}

long control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

const BIO_METHOD* socket_without_signals() {
  static const BIO_METHOD* const kMethod = [] {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "topspin");
    CHECK(method != nullptr);
    BIO_meth_set_write(method, send_bytes);
    BIO_meth_set_read(method, receive_bytes);
    BIO_meth_set_ctrl(method, control);
    return method;
  }();
  return kMethod;
}

bool is_address(const std::string& host) {
  in6_addr scratch{};
  return inet_pton(AF_INET, host.c_str(), &scratch) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &scratch) == 1;
}

/// OpenSSL's last error, in words; and empties its list.
std::string last_tls_error() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason != nullptr ? sanitize_for_terminal(reason) : "no reason given";
}

/// Takes the session that the server gave. Returns 1: OpenSSL leaves it to us.
int keep_session(SSL* ssl, SSL_SESSION* session) {
  auto* slot = static_cast<TlsSession*>(SSL_get_app_data(ssl));
  if (slot == nullptr) return 0;
  slot->replace(session);
  return 1;
}

}  // namespace

void TlsSession::replace(ssl_session_st* session) {
  SSL_SESSION_free(session_);
  session_ = session;
}

TlsContext::TlsContext(TlsSettings settings, std::string host)
    : settings_(std::move(settings)), host_(std::move(host)) {
  if (const size_t zone = host_.find('%'); zone != std::string::npos) host_.resize(zone);
  is_name_ = !is_address(host_);
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<std::shared_ptr<TlsContext>> TlsContext::make(const TlsSettings& settings,
                                                     std::string host) {
  std::shared_ptr<TlsContext> made(new TlsContext(settings, std::move(host)));
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  if (context == nullptr) return make_error(ErrorCode::kInternal, "OpenSSL has no memory");
  made->context_ = context;
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  // Head and content of a record come with one call.
  SSL_CTX_set_read_ahead(context, 1);
  // Servers that close without saying so are common. HTTP itself says where an answer ends.
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  if (settings.resumes) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_session);
  } else {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  }
  constexpr std::string_view kHttp1 = "\x08http/1.1", kHttp2 = "\x02h2";
  const std::string protocols =
      std::string(settings.wants_http2 ? kHttp2 : "") + std::string(kHttp1);
  CHECK(SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(protocols.data()),
                                static_cast<unsigned>(protocols.size())) == 0);
  if (!settings.verifies) return made;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  if (settings.ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(context);
    if (access(kOtherBundle, R_OK) == 0)
      SSL_CTX_load_verify_locations(context, kOtherBundle, nullptr);
    ERR_clear_error();
  } else if (SSL_CTX_load_verify_locations(context, settings.ca_file.c_str(), nullptr) != 1) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("cannot read certificates from {}: {}; give a file in PEM",
                                  settings.ca_file, last_tls_error()));
  }
  return made;
}

ClientStream::~ClientStream() {
  if (ssl_ == nullptr) return;
  // Says goodbye if the handshake was done; else OpenSSL would call the session bad.
  if (SSL_is_init_finished(ssl_) != 0 && tls_error_.empty()) SSL_shutdown(ssl_);
  SSL_free(ssl_);
  ERR_clear_error();
}

void ClientStream::secure(TlsContext& context, TlsSession* session) {
  CHECK(ssl_ == nullptr);
  ssl_ = SSL_new(context.context_);
  BIO* bio = BIO_new(socket_without_signals());
  CHECK(ssl_ != nullptr && bio != nullptr);
  BIO_set_data(bio, &socket_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_connect_state(ssl_);
  if (context.is_name_) {
    // As SSL_set_tlsext_host_name(), whose casts are in C.
    SSL_ctrl(ssl_, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(context.host_.c_str()));
    if (context.settings_.verifies) SSL_set1_host(ssl_, context.host_.c_str());
  } else if (context.settings_.verifies) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), context.host_.c_str());
  }
  if (session == nullptr || !context.settings_.resumes) return;
  SSL_set_app_data(ssl_, session);
  if (session->get() != nullptr) SSL_set_session(ssl_, session->get());
}

IoResult ClientStream::explain(int code) {
  const int number = errno;
  switch (SSL_get_error(ssl_, code)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return {IoResult::Kind::kAgain};
    case SSL_ERROR_ZERO_RETURN: return {IoResult::Kind::kEnd};
    case SSL_ERROR_SYSCALL:
      ERR_clear_error();
      tls_error_ = "the connection ended";  // no goodbye any more
      if (number == 0 || number == EAGAIN) return {IoResult::Kind::kEnd};
      return {IoResult::Kind::kError, 0, number};
    default: break;
  }
  const long verified = SSL_get_verify_result(ssl_);
  const std::string why = last_tls_error();
  tls_error_ = verified == X509_V_OK ? why : X509_verify_cert_error_string(verified);
  return {IoResult::Kind::kError};
}

IoResult ClientStream::handshake() {
  ERR_clear_error();
  errno = 0;
  const int code = SSL_do_handshake(ssl_);
  return code == 1 ? IoResult{} : explain(code);
}

void ClientStream::begin_turn() {
  socket_.fd = fd_.get();
  socket_.reads_left = kReadsPerTurn;
  socket_.is_cut_short = false;
}

IoResult ClientStream::read(std::span<uint8_t> into) {
  if (ssl_ == nullptr) {
    const ssize_t got = read_in_turn(socket_, into.data(), into.size());
    if (got > 0) return {IoResult::Kind::kDone, static_cast<size_t>(got)};
    if (got == 0) return {IoResult::Kind::kEnd};
    if (errno == EAGAIN) return {IoResult::Kind::kAgain};
    return {IoResult::Kind::kError, 0, errno};
  }
  ERR_clear_error();
  errno = 0;
  size_t got = 0;
  const int code = SSL_read_ex(ssl_, into.data(), into.size(), &got);
  return code == 1 ? IoResult{IoResult::Kind::kDone, got} : explain(code);
}

IoResult ClientStream::write(std::string_view bytes) {
  if (ssl_ == nullptr) {
    const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return {IoResult::Kind::kDone, static_cast<size_t>(sent)};
    if (errno == EAGAIN) return {IoResult::Kind::kAgain};
    return {IoResult::Kind::kError, 0, errno};
  }
  ERR_clear_error();
  errno = 0;
  size_t sent = 0;
  const int code = SSL_write_ex(ssl_, bytes.data(), bytes.size(), &sent);
  return code == 1 ? IoResult{IoResult::Kind::kDone, sent} : explain(code);
}

bool ClientStream::may_have_more() const {
  return ssl_ == nullptr || !socket_.is_drained || SSL_has_pending(ssl_) != 0;
}

bool ClientStream::is_resumed() const { return ssl_ != nullptr && SSL_session_reused(ssl_) != 0; }

std::string_view ClientStream::alpn() const {
  if (ssl_ == nullptr) return {};
  const unsigned char* name = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl_, &name, &length);
  return {reinterpret_cast<const char*>(name), length};
}

std::string ClientStream::tls_version() const {
  return ssl_ == nullptr ? std::string() : SSL_get_version(ssl_);
}

}  // namespace topspin
