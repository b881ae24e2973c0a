// A real UDP server that drops, delays and duplicates known shares, and counts what it did.
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
  int foreign_permille = 0;     // answered, and then sent three bytes of nonsense
  bool echo = false;            // otherwise answers PONG
  int64_t stall_after_ns = -1;  // after the first datagram; then nothing is read for stall_ns
  int64_t stall_ns = 0;
};

struct UdpTruth {
  uint64_t received = 0;
  uint64_t dropped = 0;
  uint64_t delayed = 0;
  uint64_t duplicated = 0;
  uint64_t foreign = 0;
  uint64_t flows = 0;  // distinct addresses and ports that sent something
};

class MisbehavingUdpServer {
 public:
  explicit MisbehavingUdpServer(const UdpMisbehaviour& behaviour,
                                const std::string& host = "127.0.0.1");
  ~MisbehavingUdpServer();

  /// "127.0.0.1:PORT"
  const std::string& target() const { return target_; }

  /// Reads what has arrived and ends the thread. After that, the counts are complete.
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
