// A real TCP server that treats its connections (or HTTP requests) in known ways, and counts them.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "core/base/unique_fd.h"

namespace topspin {

enum class TcpFate : uint8_t {
  kWhole,        // 64 bytes and FIN; HTTP: a response with Content-Length
  kChunked,      // HTTP only
  kUntilClose,   // HTTP only: no length, the body ends with the connection
  kTruncated,    // half of the bytes and FIN
  kResetBefore,  // RST, no bytes
  kResetAfter,   // half of the bytes and RST
  kSilence,      // nothing, until the server ends
  kError,        // HTTP only: a complete response with status 500
  kNotFound,     // HTTP only: a complete response with status 404
};

struct TcpMisbehaviour {
  bool http = false;           // answers requests; otherwise speaks first, after accept
  std::vector<TcpFate> fates;  // used in turn, one per connection or per HTTP request
  int backlog = 1024;
  bool accepts = true;
  bool v6 = false;  // listens only on ::1
};

class MisbehavingTcpServer {
 public:
  explicit MisbehavingTcpServer(const TcpMisbehaviour& behaviour);
  ~MisbehavingTcpServer();

  const std::string& target() const { return target_; }

  struct Truth {
    uint64_t connections = 0;
    std::map<TcpFate, uint64_t> fates;
    std::string first_request;  // HTTP: head of the first request
  };
  const Truth& stop();

 private:
  void run();
  TcpFate next_fate();
  bool meet(int fd, TcpFate fate);  // whether the connection stays open

  TcpMisbehaviour behaviour_;
  UniqueFd fd_;
  std::string target_;
  Truth truth_;
  size_t turn_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace topspin
