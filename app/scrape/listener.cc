#include "app/scrape/listener.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/base/shared_library.h"
#include "core/base/text.h"

namespace topspin {
namespace {

// What is used of libmicrohttpd, version 0.9.71 and later.
#define TOPSPIN_MICROHTTPD(use)                                                   \
  use(MHD_start_daemon) use(MHD_stop_daemon) use(MHD_create_response_from_buffer) \
      use(MHD_add_response_header) use(MHD_queue_response) use(MHD_destroy_response)

struct Microhttpd {
#define TOPSPIN_DECLARE(name) decltype(&::name) name = nullptr;
  TOPSPIN_MICROHTTPD(TOPSPIN_DECLARE)
#undef TOPSPIN_DECLARE
};

Result<Microhttpd> load_microhttpd() {
  TOPSPIN_ASSIGN(SharedLibrary library,
                 SharedLibrary::open(
                     "libmicrohttpd.so.12",
                     {.needed = "--listen needs libmicrohttpd",
                      .remedy = "install the package libmicrohttpd12 (Debian), libmicrohttpd12t64 "
                                "(Ubuntu) or libmicrohttpd (Fedora), or use --textfile",
                      .if_static = "libmicrohttpd, which --listen needs; --textfile works without "
                                   "it"}));
  Microhttpd http;
#define TOPSPIN_LOAD(function) library.find(#function, http.function);
  TOPSPIN_MICROHTTPD(TOPSPIN_LOAD)
#undef TOPSPIN_LOAD
  if (!library.missing().empty()) {
    return make_error(
        ErrorCode::kUnsupported,
        fmt::format("the installed libmicrohttpd is too old: it has no {}", library.missing()));
  }
  return http;
}

/// Loaded once. REQUIRES: a listener was opened, or the error is looked at.
const Result<Microhttpd>& microhttpd() {
  static const auto* const kLoaded = new Result<Microhttpd>(load_microhttpd());
  return *kLoaded;
}

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  socklen_t length() const {
    return any.sa_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  }
};

Result<SocketAddress> parse_address(const std::string& where) {
  const Error wrong = make_error(
      ErrorCode::kUsage,
      fmt::format("--listen {} must be ADDRESS:PORT, such as 127.0.0.1:9464 or [::1]:9464; names "
                  "are not looked up",
                  sanitize_for_terminal(where)));
  const size_t colon = where.rfind(':');
  std::string host = colon == std::string::npos ? "127.0.0.1" : where.substr(0, colon);
  const std::string port_text = colon == std::string::npos ? where : where.substr(colon + 1);
  uint16_t port = 0;
  const char* port_end = port_text.data() + port_text.size();
  const auto [end, error] = std::from_chars(port_text.data(), port_end, port);
  if (error != std::errc() || end != port_end || port_text.empty()) return wrong;
  SocketAddress address{};
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(port);
    if (::inet_pton(AF_INET6, host.c_str(), &address.v6.sin6_addr) != 1) return wrong;
  } else {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(port);
    if (::inet_pton(AF_INET, host.c_str(), &address.v4.sin_addr) != 1) return wrong;
  }
  return address;
}

bool is_of_loopback(const SocketAddress& address) {
  if (address.any.sa_family == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr);
  return (ntohl(address.v4.sin_addr.s_addr) >> 24) == 127;
}

std::string address_text(const SocketAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.any.sa_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &address.v6.sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), ntohs(address.v6.sin6_port));
  }
  ::inet_ntop(AF_INET, &address.v4.sin_addr, text.data(), text.size());
  return fmt::format("{}:{}", text.data(), ntohs(address.v4.sin_port));
}

MHD_Result answer(MHD_Connection* connection, unsigned status, std::string_view type,
                  const std::string& body) {
  const Microhttpd& http = *microhttpd();
  MHD_Response* response = http.MHD_create_response_from_buffer(
      body.size(), const_cast<char*>(body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  http.MHD_add_response_header(response, "Content-Type", std::string(type).c_str());
  http.MHD_add_response_header(response, "Cache-Control", "no-store");
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    http.MHD_add_response_header(response, "Allow", "GET, HEAD");
  const MHD_Result queued = http.MHD_queue_response(connection, status, response);
  http.MHD_destroy_response(response);
  return queued;
}

/// Called twice for each request: after its head, and when it is complete.
MHD_Result on_request(void* page, MHD_Connection* connection, const char* path, const char* method,
                      const char* /*version*/, const char* /*upload*/, size_t* upload_bytes,
                      void** seen) {
  constexpr std::string_view kPlain = "text/plain; charset=utf-8";
  const std::string_view wanted = method;
  if (wanted != "GET" && wanted != "HEAD")
    return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, kPlain, "only GET and HEAD\n");
  static int was_here = 0;
  if (*seen == nullptr) {
    *seen = &was_here;
    return MHD_YES;
  }
  *upload_bytes = 0;  // a body is read over
  if (std::string_view(path) != "/metrics")
    return answer(connection, MHD_HTTP_NOT_FOUND, kPlain, "the numbers are at /metrics\n");
  return answer(connection, MHD_HTTP_OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                static_cast<const MetricsPage*>(page)->render(LiveFormat::kOpenMetrics));
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::open(const std::string& where) {
  TOPSPIN_ASSIGN(SocketAddress address, parse_address(where));
  if (!microhttpd().ok()) return microhttpd().error();
  UniqueFd socket(::socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return make_error(ErrorCode::kInternal, "cannot open a socket for --listen", errno);
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(socket.get(), &address.any, address.length()) != 0 ||
      ::listen(socket.get(), static_cast<int>(kMostClients)) != 0) {
    const int why = errno;
    return make_error(why == EACCES ? ErrorCode::kPermission : ErrorCode::kUsage,
                      fmt::format("cannot listen on {}: {}; give --listen another address",
                                  address_text(address), std::strerror(why)),
                      why);
  }
  socklen_t length = sizeof(address);
  ::getsockname(socket.get(), &address.any, &length);
  std::unique_ptr<Listener> listener(new Listener(std::move(socket)));
  listener->address_ = address_text(address);
  listener->is_loopback_ = is_of_loopback(address);
  return listener;
}

Status Listener::serve(const MetricsPage& page) {
  daemon_ = (*microhttpd())
                .MHD_start_daemon(
                    MHD_USE_EPOLL_INTERNAL_THREAD, 0, nullptr, nullptr, on_request,
                    const_cast<MetricsPage*>(&page), MHD_OPTION_LISTEN_SOCKET, socket_.get(),
                    MHD_OPTION_CONNECTION_LIMIT, kMostClients, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                    kMostClientsPerAddress, MHD_OPTION_CONNECTION_TIMEOUT, kTimeoutS,
                    MHD_OPTION_CONNECTION_MEMORY_LIMIT, kRequestBytes, MHD_OPTION_END);
  if (daemon_ == nullptr)
    return make_error(ErrorCode::kInternal, "libmicrohttpd cannot serve --listen", errno);
  socket_.release();  // the library closes it
  return {};
}

Listener::~Listener() {
  if (daemon_ != nullptr) (*microhttpd()).MHD_stop_daemon(daemon_);
}

}  // namespace topspin
