// A real UDP server that drops, delays and duplicates a known share, and keeps the truth of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "core/base/unique_fd.h"

namespace topspin {

struct UdpMisbehaviour {
  uint64_t seed = 1;
  int drop_permille = 0;
  int delay_permille = 0;  // answered delay_ns later
  int64_t delay_ns = 0;
  int duplicate_permille = 0;   // answered twice
  int foreign_permille = 0;     // three bytes of nonsense beside the answer
  bool echo = false;            // else it says PONG
  int64_t stall_after_ns = -1;  // from the first datagram on: reads nothing for stall_ns
  int64_t stall_ns = 0;
};

struct UdpTruth {
  uint64_t received = 0;
  uint64_t dropped = 0;
  uint64_t delayed = 0;
  uint64_t duplicated = 0;
  uint64_t foreign = 0;
  uint64_t flows = 0;  // distinct ends that it heard from
};

class MisbehavingUdpServer {
 public:
  explicit MisbehavingUdpServer(const UdpMisbehaviour& behaviour,
                                const std::string& host = "127.0.0.1");
  ~MisbehavingUdpServer();

  /// "127.0.0.1:PORT"
  const std::string& target() const { return target_; }

  /// Ends the thread; the truth is whole.
  const UdpTruth& stop();

 private:
  void run();

  UdpMisbehaviour behaviour_;
  UniqueFd fd_;
  std::string target_;
  UdpTruth truth_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace topspin
