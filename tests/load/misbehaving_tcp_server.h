// A real TCP server whose connections (or HTTP answers) meet known fates, and the truth of them.
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
  kWhole,        // say: 64 bytes and FIN; HTTP: Content-Length
  kChunked,      // HTTP alone
  kUntilClose,   // HTTP alone: no length, the body ends with the connection
  kTruncated,    // half of it and FIN
  kResetBefore,  // RST, nothing said
  kResetAfter,   // half of it and RST
  kSilence,      // nothing, until the server ends
  kError,        // HTTP alone: a whole answer with status 500
  kNotFound,     // HTTP alone: a whole answer with status 404
};

struct TcpMisbehaviour {
  bool http = false;           // answers requests; else says its piece on accept
  std::vector<TcpFate> fates;  // in turn, one a connection or one a request
  int backlog = 1024;
  bool accepts = true;
  bool v6 = false;  // on ::1 alone
};

class MisbehavingTcpServer {
 public:
  explicit MisbehavingTcpServer(const TcpMisbehaviour& behaviour);
  ~MisbehavingTcpServer();

  const std::string& target() const { return target_; }

  struct Truth {
    uint64_t connections = 0;
    std::map<TcpFate, uint64_t> fates;
    std::string first_request;  // HTTP: its head
  };
  const Truth& stop();

 private:
  void run();
  TcpFate next_fate();
  bool meet(int fd, TcpFate fate);  // whether the connection goes on

  TcpMisbehaviour behaviour_;
  UniqueFd fd_;
  std::string target_;
  Truth truth_;
  size_t turn_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace topspin
