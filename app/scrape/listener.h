// Listener: serves a MetricsPage over HTTP, by libmicrohttpd.
//
// GET /metrics, and nothing else: no other path, no method that changes anything, no file. At most
// kMostClients at a time and kMostClientsPerAddress from one address, each for at most kTimeoutS
// without progress; a request may take kRequestBytes. One thread, that of the library.
//
// The library is loaded when it is wanted, as libpq is. The socket is opened while the recording
// may still open one (docs/sandbox.md).
#pragma once

#include <memory>
#include <string>

#include "app/scrape/metrics_page.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"

struct MHD_Daemon;  // NOLINT(readability-identifier-naming): not our name

namespace topspin {

class Listener {
 public:
  static constexpr unsigned kMostClients = 16;
  static constexpr unsigned kMostClientsPerAddress = 8;
  static constexpr unsigned kTimeoutS = 10;
  static constexpr size_t kRequestBytes = 8192;

  /// `where`: ADDRESS:PORT, [IPV6]:PORT, or a port of 127.0.0.1. Binds and listens; nobody is
  /// served yet. kUsage for nonsense and for a port that is taken, kUnsupported without the
  /// library.
  static Result<std::unique_ptr<Listener>> open(const std::string& where);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// Begins to serve `page`, which must live longer.
  Status serve(const MetricsPage& page);

  /// "127.0.0.1:9464": with the port that the kernel chose, if 0 was asked for.
  const std::string& address() const { return address_; }
  bool is_loopback() const { return is_loopback_; }

 private:
  explicit Listener(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
  std::string address_;
  bool is_loopback_ = false;
  MHD_Daemon* daemon_ = nullptr;
};

}  // namespace topspin
